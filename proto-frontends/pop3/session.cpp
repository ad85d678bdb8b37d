#include "proto-frontends/pop3/session.h"

#include "daemon/base/base64.h"
#include "daemon/base/log.h"
#include "proto-frontends/common/text.h"
#include "proto-frontends/pop3/replies.h"

namespace canopy::pop3 {
namespace {

using Filled = frontend::Connection::Filled;

constexpr std::string_view kFarewell = "-ERR [SYS/TEMP] Shutting down, please come again\r\n";
// What was fetched ahead is dropped when the client does not come for it.
constexpr Nanos kKeepAhead = 2 * kSecond;

}  // namespace

Session::Session(frontend::Connection& connection, const frontend::SessionContext& context)
    : connection_(connection), context_(context) {}

const std::string& Session::account() const {
  static const std::string kNone;
  return open_ == nullptr ? kNone : open_->access.account;
}

Task<void> Session::run() {
  connection_.reply(fmt::format("+OK {} Canopy POP3", context_.options.hostname));
  for (;;) {
    bool open = co_await work();
    bool written = co_await connection_.flush();
    if (!written) connection_.end_reason = "lost";
    if (!open || !written) break;
    Filled filled = co_await fill();
    if (filled == Filled::kBytes) continue;
    if (filled == Filled::kIdle) {
      connection_.reply("-ERR Nothing was said for too long");
      connection_.end_reason = "idle";
      co_await connection_.flush();
    } else {
      connection_.end_reason = filled == Filled::kEnd        ? "closed"
                               : filled == Filled::kDraining ? "shutdown"
                                                             : "lost";
    }
    break;
  }
  co_await close_maildrop();
}

Task<Filled> Session::fill() {
  Nanos idle = context_.options.idle;
  bool between = connection_.unread().empty();
  if (open_ != nullptr && !open_->ahead.empty() && idle > kKeepAhead) {
    Filled filled = co_await connection_.fill(kKeepAhead, between, kFarewell);
    if (filled != Filled::kIdle) co_return filled;
    open_->ahead = {};
    idle -= kKeepAhead;
  }
  co_return co_await connection_.fill(idle, between, kFarewell);
}

Task<bool> Session::work() {
  using Status = frontend::LineScanner::Status;
  for (;;) {
    std::string_view unread = connection_.unread();
    size_t before = unread.size();
    auto found = lines_.next(unread, kCommandBytesMax);
    size_t used = before - unread.size();
    if (found.status == Status::kNeedMore) {
      connection_.consume(used);
      co_return true;
    }
    ++connection_.commands;
    Command command;
    if (found.status == Status::kLine)
      command = parse_command(found.line);
    else
      command.refusal = "-ERR The line is too long";
    connection_.consume(used);
    bool open = co_await handle(command);
    if (!open) co_return false;
    bool written = co_await flush_when_large();
    if (!written) co_return false;
  }
}

Task<bool> Session::flush_when_large() {
  if (connection_.out().size() < kFlushBytes) co_return true;
  co_return co_await connection_.flush();
}

Task<bool> Session::handle(const Command& command) {
  if (!command.refusal.empty()) {
    connection_.reply(command.refusal);
    co_return ++bad_commands_ < kBadCommandsMax;
  }
  switch (command.verb) {
    case Verb::kCapa: capa(); co_return true;
    case Verb::kLang: lang(command); co_return true;
    case Verb::kQuit: co_await quit(); co_return false;
    default: break;
  }
  if (open_ != nullptr) co_return co_await handle_transaction(command);
  co_return co_await handle_authorization(command);
}

Task<bool> Session::handle_authorization(const Command& command) {
  switch (command.verb) {
    case Verb::kUser:
      if (may_log_in()) {
        user_ = command.text;
        connection_.reply("+OK Now the password");
      }
      co_return true;
    case Verb::kPass: co_return co_await pass(command);
    case Verb::kAuth: co_return co_await auth(command);
    case Verb::kStls: co_return co_await stls();
    case Verb::kUtf8:
      utf8_ = true;
      connection_.reply("+OK UTF-8 it is");
      co_return true;
    default: connection_.reply("-ERR Log in first"); co_return ++bad_commands_ < kBadCommandsMax;
  }
}

void Session::capa() {
  connection_.reply("+OK Capabilities follow");
  for (std::string_view line :
       {"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "LANG"})
    connection_.reply(line);
  bool may_log_in_here = connection_.tls() || context_.options.plaintext_auth;
  if (may_log_in_here) {
    connection_.reply("USER");
    connection_.reply("SASL PLAIN SCRAM-SHA-256");
  }
  connection_.reply("UTF8 USER");
  if (open_ == nullptr && context_.tls != nullptr && !connection_.tls()) connection_.reply("STLS");
  connection_.reply("IMPLEMENTATION Canopy");
  connection_.reply(".");
}

// RFC 6856 section 3. There are no translations, so there is one language, and the one that every server has.
void Session::lang(const Command& command) {
  if (command.text.empty()) {
    for (std::string_view line : {"+OK Languages follow", "en English", "i-default Default", "."})
      connection_.reply(line);
  } else if (command.text == "*" || frontend::equals_ignoring_case(command.text, "i-default")) {
    connection_.reply("+OK i-default Texts are in English");
  } else if (frontend::equals_ignoring_case(command.text, "en")) {
    connection_.reply("+OK en Texts are in English");
  } else {
    connection_.reply("-ERR There are no texts in that language");
  }
}

Task<bool> Session::stls() {
  if (context_.tls == nullptr || connection_.tls()) {
    connection_.reply(connection_.tls() ? "-ERR TLS is active already" : "-ERR STLS is not offered");
    co_return ++bad_commands_ < kBadCommandsMax;
  }
  // What follows in the clear would be taken for something said under TLS.
  if (!connection_.unread().empty()) {
    connection_.reply("-ERR Nothing may follow STLS before the handshake");
    connection_.end_reason = "protocol-error";
    co_return false;
  }
  connection_.reply("+OK Go ahead");
  bool written = co_await connection_.flush();
  if (!written) co_return false;
  auto upgraded = co_await connection_.start_tls(context_.tls);
  user_.clear();
  utf8_ = false;
  if (!upgraded) connection_.end_reason = "tls-failed";
  co_return upgraded.has_value();
}

Task<void> Session::quit() {
  if (open_ == nullptr) {
    connection_.reply("+OK Bye");
    co_return;
  }
  std::vector<uint32_t> uids = open_->maildrop.deleted_uids();
  bool failed = false;
  if (!uids.empty()) {
    auto expunged =
        co_await context_.backend.expunge(open_->access, open_->maildrop.mailbox_id(), std::move(uids),
                                          frontend::new_request_id(connection_.loop()));
    failed = !expunged;
    if (failed)
      log_event(LogLevel::kWarning, "expunge-failed", open_->access.account,
                {{"error", expunged.error().to_string()}});
  }
  co_await close_maildrop();
  connection_.reply(failed ? "-ERR [SYS/TEMP] Some deleted messages were not removed" : "+OK Bye");
}

// Before QUIT is answered: the client's next session must find the maildrop free.
Task<void> Session::close_maildrop() {
  if (open_ == nullptr || open_->lock_id == 0) co_return;
  uint64_t lock_id = std::exchange(open_->lock_id, 0);
  auto unlocked = co_await context_.backend.unlock_maildrop(open_->access, lock_id);
  if (!unlocked)
    log_event(LogLevel::kWarning, "unlock-failed", open_->access.account,
              {{"error", unlocked.error().to_string()}});
}

}  // namespace canopy::pop3
