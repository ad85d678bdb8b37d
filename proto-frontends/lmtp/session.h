// One LMTP session: the parser's events, the backend's answers, the replies. Memory: one read buffer,
// kWireChunkBytesMax of content, and the recipients.
#pragma once

#include "proto-frontends/common/session.h"
#include "proto-frontends/lmtp/parser.h"
#include "proto-frontends/lmtp/recipient_cache.h"

namespace canopy::lmtp {

inline constexpr size_t kReadBytes = 64u << 10;
inline constexpr uint32_t kBadCommandsMax = 50;  // then the connection is ended: nobody sensible is there

class Session {
 public:
  // All three outlive the session.
  Session(frontend::Connection& connection, const frontend::SessionContext& context, RecipientCache& cache);

  // From the greeting to the end of the conversation; the caller closes the connection then.
  Task<void> run();
  uint64_t delivered() const { return delivered_; }

 private:
  struct Recipient {
    std::string address;
    std::string reply;  // RCPT: what is to be said already, or empty until it is resolved
  };
  enum class ContentState { kNone, kTaking, kRefused };

  Task<bool> work();  // handles every event that unread() holds; false: the session is over
  Task<bool> handle_command(const Command& command);
  Task<bool> handle_message_command(const Command& command);
  void lhlo(const Command& command);
  void mail(const Command& command);
  void rcpt(const Command& command);
  Task<bool> start_tls();
  Task<void> data();
  Task<void> bdat(const Command& command);

  Task<void> answer_recipients();  // the RCPTs of this pipelined group, in one Resolve
  Task<void> content_came();
  Task<void> content_ended();
  Task<void> send_chunk(bool last);
  Task<void> deliver();
  void refuse_content(std::string reply);
  void begin_content();
  void reset();
  void bad_command(std::string_view reply);

  frontend::Connection& connection_;
  const frontend::SessionContext& context_;
  RecipientCache& cache_;
  Parser parser_;

  std::string helo_;
  bool mail_given_ = false;
  Body body_ = Body::k7Bit;
  bool utf8_ = false;
  uint64_t announced_bytes_ = 0;
  std::string return_path_;
  std::vector<Recipient> asked_;         // RCPTs without a reply yet
  std::vector<std::string> recipients_;  // taken

  ContentState content_state_ = ContentState::kNone;
  std::string content_;
  uint64_t content_bytes_ = 0;  // of the whole message so far, content_ included
  uint64_t trace_bytes_ = 0;    // of these, ours
  uint64_t uploaded_bytes_ = 0;
  uint64_t upload_id_ = 0;
  std::string content_reply_;  // kRefused: for every recipient
  bool in_chunks_ = false;     // BDAT
  bool last_chunk_ = false;

  uint32_t bad_commands_ = 0;
  uint64_t delivered_ = 0;
  uint64_t id_;
};

}  // namespace canopy::lmtp
