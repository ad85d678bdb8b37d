// canopyctl account create --from-csv: a million rows in batches, several on their way at once, resumable.
#pragma once

#include "tools/canopyctl/command.h"

namespace canopy::ctl {

struct CsvArguments {
  std::string file;
  std::string domain;  // of names without one
  bool exist_ok = false;
  bool restart = false;
};

Result<void> create_accounts_from_csv(Context& context, const CsvArguments& arguments);

}  // namespace canopy::ctl
