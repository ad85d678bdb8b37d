// The readers and writers behind open_source() and create_sink(), one file each.
#pragma once

#include "tools/mailfiles/mail_item.h"

namespace canopy::mailfiles {

// mbox: "From " lines with a date, mboxrd quoting (RFC 4155 and its appendix), flags in Status, X-Status and
// X-Keywords. A message ends in a line break there, whether it did before or not.
Result<std::unique_ptr<MailSource>> open_mbox(const std::string& path);
Result<std::unique_ptr<MailSink>> create_mbox(const std::string& path);

// Maildir with Maildir++ folders; flags in the name, keywords as letters by the file dovecot-keywords, date
// as mtime.
Result<std::unique_ptr<MailSource>> open_maildir(const std::string& path);
Result<std::unique_ptr<MailSink>> create_maildir(const std::string& path);

// One file or a directory of NAME.eml; dates and flags in index.tsv beside them, else the date is the mtime.
Result<std::unique_ptr<MailSource>> open_eml(const std::string& path);
Result<std::unique_ptr<MailSink>> create_eml(const std::string& path);

// "From SENDER DATE": the date, when the line is one. The zone follows the year where it is not UTC.
struct FromLine {
  int64_t date = 0;
  int32_t zone_minutes = 0;
};
std::optional<FromLine> parse_from_line(std::string_view line);
std::string format_from_line(std::string_view sender, int64_t date, int32_t zone_minutes);

}  // namespace canopy::mailfiles
