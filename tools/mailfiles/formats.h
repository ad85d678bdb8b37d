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

// A directory with an mbox, or a directory of .eml files, for each mailbox: called by its name in modified
// UTF-7 (and .mbox), INBOX is the root. kInvalidArgument names a directory that has nothing to import.
Result<std::unique_ptr<MailSource>> open_mbox_folder(const std::string& path);
Result<std::unique_ptr<MailSource>> open_eml_folder(const std::string& path);
// Whether a directory is the first of the two.
Result<bool> holds_mboxes(const std::string& path);

// Beside .eml files. One line a message: file, seconds since 1970 UTC, zone in minutes, flags as a number,
// keywords by spaces.
inline constexpr const char* kIndexFile = "index.tsv";

bool begins_as_mbox(const std::string& path);  // false too when it cannot be read
bool is_eml_name(const std::string& name);
// Of the names in a directory: it has .eml files, or the index that an empty mailbox leaves too.
bool holds_eml(const std::vector<std::string>& names);

// "From SENDER DATE": the date, when the line is one. The zone follows the year where it is not UTC.
struct FromLine {
  int64_t date = 0;
  int32_t zone_minutes = 0;
};
std::optional<FromLine> parse_from_line(std::string_view line);
std::string format_from_line(std::string_view sender, int64_t date, int32_t zone_minutes);

}  // namespace canopy::mailfiles
