// MessageSummary: what a list of messages shows of one (RFC 9051 ENVELOPE and BODYSTRUCTURE), derived from
// its content once. Pure; any thread.
#pragma once

#include "daemon/base/error.h"
#include "daemon/catalog/mime_scanner.h"

namespace canopy {

struct MessageSummary {
  std::string date, subject;  // subject: decoded
  // Sender and reply_to are From where the message has none, as RFC 9051 asks.
  std::vector<MailAddress> from, sender, reply_to, to, cc, bcc;
  std::string in_reply_to, message_id;
  std::string structure;  // BODYSTRUCTURE as IMAP prints it, strings quoted, in UTF-8

  bool operator==(const MessageSummary&) const = default;
  std::string encode() const;  // docs/formats/catalog.md, "Summaries"
  static Result<MessageSummary> decode(std::string_view bytes);
};

// Derives one summary from a message that comes in pieces. Memory: what MimeScanner keeps.
class Summarizer {
 public:
  void feed(std::string_view piece) { scanner_.feed(piece); }
  MessageSummary finish();

 private:
  MimeScanner scanner_;
};

std::string print_body_structure(const MimePart& part);  // RFC 9051 section 7.5.2, with extension data

}  // namespace canopy
