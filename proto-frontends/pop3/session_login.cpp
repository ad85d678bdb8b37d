// Logging in: USER and PASS, AUTH (RFC 5034), and opening the maildrop.
#include "daemon/base/base64.h"
#include "daemon/base/log.h"
#include "proto-frontends/common/text.h"
#include "proto-frontends/pop3/replies.h"
#include "proto-frontends/pop3/session.h"

namespace canopy::pop3 {
namespace {

using Filled = frontend::Connection::Filled;

// The lock ends with our connection to the backend; this is for a backend that does not notice its end.
constexpr uint32_t kLockSeconds = 24 * 3600;
constexpr Nanos kSaslIdle = 60 * kSecond;

}  // namespace

bool Session::may_log_in() {
  if (connection_.tls() || context_.options.plaintext_auth) return true;
  connection_.reply(context_.tls != nullptr ? "-ERR Passwords are only taken under TLS: STLS first"
                                            : "-ERR Passwords are only taken under TLS");
  return false;
}

Task<bool> Session::pass(const Command& command) {
  if (!may_log_in()) co_return true;
  if (user_.empty()) {
    connection_.reply("-ERR USER comes first");
    co_return true;
  }
  std::string response =
      std::string("\0", 1) + std::exchange(user_, {}) + std::string("\0", 1) + command.text;
  co_return co_await log_in("PLAIN", std::move(response));
}

Task<bool> Session::auth(const Command& command) {
  if (command.text.empty()) {  // what old clients ask to learn the mechanisms
    bool offered = connection_.tls() || context_.options.plaintext_auth;
    connection_.reply("+OK Mechanisms follow");
    if (offered) connection_.reply("PLAIN\r\nSCRAM-SHA-256");
    connection_.reply(".");
    co_return true;
  }
  std::string mechanism;
  for (std::string_view known : {"PLAIN", "SCRAM-SHA-256"})
    if (frontend::equals_ignoring_case(command.text, known)) mechanism = known;
  if (mechanism.empty()) {
    connection_.reply("-ERR Mechanism not known");
    co_return true;
  }
  if (!may_log_in()) co_return true;
  std::optional<std::string> response;
  if (command.initial) {
    response = *command.initial == "=" ? std::string() : base64_decode(*command.initial);
    if (!response) {
      connection_.reply("-ERR Not base64");
      co_return true;
    }
  }
  co_return co_await log_in(std::move(mechanism), std::move(response));
}

Task<bool> Session::log_in(std::string mechanism, std::optional<std::string> response) {
  Loop& loop = connection_.loop();
  std::optional<Nanos> delay = context_.delays.take_turn(connection_.client(), loop.now());
  if (!delay) {
    connection_.reply("-ERR [SYS/TEMP] Too many failed logins from your address, try later");
    connection_.end_reason = "failed-logins";
    co_return false;
  }
  if (*delay > 0) co_await loop.sleep(*delay);
  auto answer = co_await exchange(std::move(mechanism), std::move(response));
  Result<void> opened;
  if (answer)
    opened = co_await open_maildrop(std::move(answer->access));
  else
    opened = fail(answer.error());
  if (opened) {
    context_.delays.succeeded(connection_.client());
    connection_.reply(fmt::format("+OK {} messages", open_->maildrop.count()));
    co_return true;
  }
  if (opened.error().code() == Code::kCancelled) {  // by the client, or it is gone
    connection_.reply("-ERR Given up");
    co_return true;
  }
  connection_.reply(login_reply(opened.error()));
  bool wrong = !answer && is_wrong_password(answer.error());
  log_event(wrong ? LogLevel::kInfo : LogLevel::kWarning, "login-failed", connection_.client().to_string(),
            {{"protocol", "pop3"}, {"error", opened.error().to_string()}});
  if (!wrong) co_return true;
  context_.delays.failed(connection_.client(), loop.now());
  bool go_on = ++failed_logins_ < kFailedLoginsMax;
  if (!go_on) connection_.end_reason = "failed-logins";
  co_return go_on;
}

// The backend verifies; here the messages only pass (RFC 5034 section 4).
Task<Result<frontend::SaslAnswer>> Session::exchange(std::string mechanism,
                                                     std::optional<std::string> response) {
  std::string conversation;
  for (int round = 0; round < 8; ++round) {
    if (!response) {
      if (round == 0) connection_.reply("+ ");
      response = co_await read_response();
      if (!response) co_return fail(Code::kCancelled, "AUTH", "the client gave up");
    }
    frontend::SaslRound asked;
    asked.mechanism = mechanism;
    asked.response = std::move(*response);
    asked.conversation = std::move(conversation);
    asked.client_address = connection_.client().to_string();
    asked.protocol = "pop3";
    asked.domain = context_.options.domain;
    response.reset();
    auto answer = co_await context_.backend.authenticate(std::move(asked));
    if (!answer) co_return fail(answer.error());
    if (answer->done && answer->challenge.empty()) co_return std::move(*answer);
    connection_.reply("+ " + base64_encode(answer->challenge));
    if (answer->done) {
      // The server's last word goes as a challenge, which the client answers with nothing.
      auto nothing = co_await read_response();
      if (!nothing) co_return fail(Code::kCancelled, "AUTH", "the client gave up");
      co_return std::move(*answer);
    }
    conversation = std::move(answer->conversation);
  }
  co_return fail(Code::kUnauthenticated, "AUTH", "the exchange has too many rounds");
}

Task<std::optional<std::string>> Session::read_response() {
  using Status = frontend::LineScanner::Status;
  for (;;) {
    std::string_view unread = connection_.unread();
    size_t before = unread.size();
    auto found = lines_.next(unread, kSaslBytesMax);
    std::optional<std::string> response;
    if (found.status == Status::kLine && found.line != "*") response = base64_decode(found.line);
    connection_.consume(before - unread.size());
    if (found.status != Status::kNeedMore) co_return response;
    bool written = co_await connection_.flush();
    if (!written) co_return std::nullopt;
    Filled filled = co_await connection_.fill(kSaslIdle, false, {});
    if (filled != Filled::kBytes) co_return std::nullopt;
  }
}

Task<Result<void>> Session::open_maildrop(frontend::AccountAccess access) {
  uint64_t lock_id = 0;
  CANOPY_CO_ASSIGN(lock_id, co_await context_.backend.lock_maildrop(access, kLockSeconds));
  auto list = co_await context_.backend.list_inbox(access);
  if (!list) {
    // A state that passes must not look like an empty maildrop: a client would forget what it has seen.
    co_await context_.backend.unlock_maildrop(access, lock_id);
    co_return fail(list.error());
  }
  open_ = std::make_unique<Open>(std::move(access), lock_id, Maildrop(std::move(*list)));
  co_return Result<void>{};
}

}  // namespace canopy::pop3
