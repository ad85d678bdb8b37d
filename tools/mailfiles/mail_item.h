// Messages in the files that other programs keep them in: mbox (mboxrd), Maildir and single .eml files. Plain
// code over the local file system, one message in memory at a time; one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"

namespace canopy::mailfiles {

// The bits of canopy.proto's Flags.system.
inline constexpr uint32_t kSeen = 1, kAnswered = 2, kFlagged = 4, kDeleted = 8, kDraft = 16;

// No file with a larger message is read: the protocol would refuse it anyhow.
inline constexpr uint64_t kMailBytesMax = 512ull << 20;

struct MailItem {
  std::string content;        // lines end in CRLF unless the message is binary
  int64_t internal_date = 0;  // seconds since 1970 UTC; 0: not known
  int32_t zone_minutes = 0;   // east is positive
  uint32_t system_flags = 0;
  std::vector<std::string> keywords;
  std::string mailbox;   // where there are several: its name, levels separated by '/'; "" is the root
  std::string position;  // where it lay: "file:offset" or "file"; the same in every run over the same files
};

// Reads messages in an order that does not change between runs.
class MailSource {
 public:
  virtual ~MailSource() = default;
  // nullopt at the end. kInvalidArgument names the place when a file cannot be read as what it should be.
  virtual Result<std::optional<MailItem>> next() = 0;
  // Passes over what a former run has imported; false at the end. Cheaper than next() where the format
  // allows.
  virtual Result<bool> skip() = 0;
  // Mailboxes of the source besides the root, those without messages too.
  virtual std::vector<std::string> mailboxes() const { return {}; }
};

// Writes messages; what was put is complete and synced only after finish().
class MailSink {
 public:
  virtual ~MailSink() = default;
  virtual Result<void> put(const MailItem& item) = 0;
  // Makes a mailbox even if no message goes into it; formats without mailboxes have nothing to do.
  virtual Result<void> add_mailbox(const std::string&) { return {}; }
  virtual Result<void> finish() = 0;
};

enum class Format { kMbox, kMaildir, kEml };

Result<Format> parse_format(std::string_view name);  // "mbox", "maildir", "eml"
// By what lies there: a directory with cur/ is a Maildir, another one holds mboxes, or .eml files and
// directories of them; a file that begins with "From " is an mbox, and so is an empty one, any other file is
// one message.
Result<Format> detect_format(const std::string& path);

Result<std::unique_ptr<MailSource>> open_source(const std::string& path, Format format);
// The target must not exist (mbox) or be absent or empty (directories): nothing is mixed into what is there.
Result<std::unique_ptr<MailSink>> create_sink(const std::string& path, Format format);

// True when every line ends in CRLF and there is no other CR or LF.
bool lines_are_crlf(std::string_view content);
// LF becomes CRLF, unless the first line ends in CRLF: then the message is taken as it is.
std::string to_wire_lines(std::string content);
// CRLF becomes LF when lines_are_crlf(); otherwise the message stays as it is, so that nothing is lost.
std::string to_file_lines(std::string_view content);

// A mailbox name for a file system and back: IMAP's modified UTF-7 (RFC 3501 section 5.1.3), which also hides
// '.' and
// '/' when `escape_separators`.
std::string encode_mutf7(std::string_view utf8, bool escape_separators);
Result<std::string> decode_mutf7(std::string_view encoded);

}  // namespace canopy::mailfiles
