// What import and export share: their command lines.
#pragma once

#include "tools/canopyctl/command.h"
#include "tools/mailfiles/mail_item.h"

namespace canopy::ctl {

struct ImportArguments {
  std::string account, path, mailbox = "INBOX", format, state_file;
  bool restart = false;
  bool again = false;
};

struct ExportArguments {
  std::string account, path, mailbox = "INBOX", format = "mbox";
  bool all = false;
};

Result<void> import_mail(Context& context, const ImportArguments& arguments);
Result<void> export_mail(Context& context, const ExportArguments& arguments);

}  // namespace canopy::ctl
