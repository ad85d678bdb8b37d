// One POP3 session. Memory: nothing but this object while the client is silent (its maildrop's list once it
// is logged in); while it talks one read buffer, kReadAheadBytesMax of messages and the reply.
#pragma once

#include "proto-frontends/common/line_scanner.h"
#include "proto-frontends/common/session.h"
#include "proto-frontends/pop3/command.h"
#include "proto-frontends/pop3/maildrop.h"

namespace canopy::pop3 {

inline constexpr size_t kReadBytes = 4096;
inline constexpr uint32_t kFailedLoginsMax = 5;  // of one connection
inline constexpr uint32_t kBadCommandsMax = 50;
inline constexpr uint32_t kReadAheadMessagesMax = 128;
inline constexpr uint32_t kReadAheadBytesMin = 64u << 10;
inline constexpr uint32_t kReadAheadBytesMax = 512u << 10;
inline constexpr uint32_t kStreamedBytesMin = 512u << 10;  // a larger message goes out part by part
inline constexpr size_t kFlushBytes = 128u << 10;

class Session {
 public:
  // Both outlive the session.
  Session(frontend::Connection& connection, const frontend::SessionContext& context);

  // From the greeting to the end of the conversation; the caller closes the connection then.
  Task<void> run();
  const std::string& account() const;  // for the log; empty before the login

 private:
  // What there is only after a login.
  struct Open {
    frontend::AccountAccess access;
    uint64_t lock_id;
    Maildrop maildrop;
    std::vector<frontend::FetchedContent> ahead;  // fetched and not asked for yet, in that order
    uint32_t ahead_bytes = kReadAheadBytesMin;    // grows while the client reads on in order
    uint32_t last_number = 0;
  };

  Task<bool> work();  // handles every whole line of unread(); false: the session is over
  Task<frontend::Connection::Filled> fill();
  Task<bool> handle(const Command& command);
  Task<bool> handle_authorization(const Command& command);
  Task<bool> handle_transaction(const Command& command);

  bool may_log_in();  // or has said why not
  Task<bool> auth(const Command& command);
  Task<bool> pass(const Command& command);
  // Runs the exchange and opens the maildrop; answers the client. False: the session is over.
  Task<bool> log_in(std::string mechanism, std::optional<std::string> response);
  Task<Result<frontend::SaslAnswer>> exchange(std::string mechanism, std::optional<std::string> response);
  Task<std::optional<std::string>>
  read_response();  // a decoded line of the exchange; empty: cancelled or gone
  Task<Result<void>> open_maildrop(frontend::AccountAccess access);
  Task<bool> stls();
  void capa();
  void lang(const Command& command);

  void list(const Command& command);
  void uidl(const Command& command);
  Task<bool> retrieve(const Command& command);  // RETR and TOP
  Task<bool> stream_message(const Command& command, uint32_t number);
  Task<Result<std::string>> content(uint32_t number);
  std::vector<uint32_t> uids_ahead(uint32_t number);
  Task<bool> flush_when_large();
  Task<void> quit();
  Task<void> close_maildrop();

  frontend::Connection& connection_;
  const frontend::SessionContext& context_;
  frontend::LineScanner lines_{frontend::LineEnd::kAnyNewline};
  bool utf8_ = false;
  uint8_t failed_logins_ = 0;
  uint8_t bad_commands_ = 0;
  std::string user_;
  std::unique_ptr<Open> open_;
};

}  // namespace canopy::pop3
