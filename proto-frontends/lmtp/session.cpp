#include "proto-frontends/lmtp/session.h"

#include "daemon/base/bytes.h"
#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "proto-frontends/lmtp/replies.h"
#include "proto-frontends/lmtp/trace.h"

namespace canopy::lmtp {
namespace {

using Filled = frontend::Connection::Filled;

constexpr std::string_view kFarewell = "421 4.3.2 Shutting down, please come again\r\n";

}  // namespace

Session::Session(frontend::Connection& connection, const frontend::SessionContext& context,
                 RecipientCache& cache)
    : connection_(connection), context_(context), cache_(cache), id_(connection.loop().random()) {}

Task<void> Session::run() {
  connection_.reply(fmt::format("220 {} LMTP Canopy", context_.options.hostname));
  for (bool open = true; open;) {
    open = co_await work();
    if (open) co_await answer_recipients();
    bool written = co_await connection_.flush();
    if (!written) {
      connection_.end_reason = "lost";
      break;
    }
    if (!open) break;
    bool between =
        parser_.in_commands() && content_state_ == ContentState::kNone && connection_.unread().empty();
    Filled filled = co_await connection_.fill(context_.options.idle, between, kFarewell);
    if (filled == Filled::kBytes) continue;
    if (filled == Filled::kIdle) {
      connection_.reply("421 4.4.2 Nothing was said for too long");
      connection_.end_reason = "idle";
      co_await connection_.flush();
    } else {
      connection_.end_reason = filled == Filled::kEnd        ? "closed"
                               : filled == Filled::kDraining ? "shutdown"
                                                             : "lost";
    }
    break;
  }
  if (upload_id_ != 0) context_.backend.drop_upload(upload_id_);
}

Task<bool> Session::work() {
  for (;;) {
    std::string_view unread = connection_.unread();
    size_t before = unread.size();
    Event event = parser_.next(unread, content_);
    connection_.consume(before - unread.size());
    switch (event.kind) {
      case Event::Kind::kNeedMore: co_return true;
      case Event::Kind::kCommand: {
        ++connection_.commands;
        bool open = co_await handle_command(event.command);
        if (!open) co_return false;
        break;
      }
      case Event::Kind::kContent: co_await content_came(); break;
      case Event::Kind::kContentEnd:
        co_await content_came();
        co_await content_ended();
        break;
    }
  }
}

Task<bool> Session::handle_command(const Command& command) {
  if (command.verb != Verb::kRcpt) co_await answer_recipients();
  if (!command.refusal.empty()) {
    if (command.verb == Verb::kRcpt)
      asked_.push_back({{}, std::string(command.refusal)});
    else
      connection_.reply(command.refusal);
    // A chunk that was announced in words we cannot read: where it ends, and commands begin again, is not
    // known.
    if (command.verb == Verb::kBdat) connection_.end_reason = "protocol-error";
    co_return command.verb != Verb::kBdat && ++bad_commands_ < kBadCommandsMax;
  }
  switch (command.verb) {
    case Verb::kLhlo: lhlo(command); break;
    case Verb::kRset:
      reset();
      connection_.reply("250 2.0.0 OK");
      break;
    case Verb::kNoop: connection_.reply("250 2.0.0 OK"); break;
    case Verb::kVrfy: connection_.reply("252 2.1.5 Send some mail, and RCPT will say"); break;
    case Verb::kQuit: connection_.reply("221 2.0.0 Bye"); co_return false;
    case Verb::kStartTls: co_return co_await start_tls();
    default: co_return co_await handle_message_command(command);
  }
  co_return true;
}

Task<bool> Session::handle_message_command(const Command& command) {
  // Between the chunks of a message there is nothing but chunks (RFC 3030 section 2).
  if (in_chunks_ && command.verb != Verb::kBdat) {
    bad_command("503 5.5.1 The message is not complete: BDAT or RSET");
    co_return true;
  }
  switch (command.verb) {
    case Verb::kMail: mail(command); break;
    case Verb::kRcpt: rcpt(command); break;
    case Verb::kData: co_await data(); break;
    case Verb::kBdat: co_await bdat(command); break;
    default: bad_command("500 5.5.2 Command not known");
  }
  co_return bad_commands_ < kBadCommandsMax;
}

void Session::bad_command(std::string_view reply) {
  ++bad_commands_;
  connection_.reply(reply);
}

void Session::lhlo(const Command& command) {
  reset();
  helo_ = command.argument;
  connection_.reply("250-" + context_.options.hostname);
  for (std::string_view keyword : {"PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME"})
    connection_.reply(fmt::format("250-{}", keyword));
  if (context_.tls != nullptr && !connection_.tls()) connection_.reply("250-STARTTLS");
  connection_.reply(fmt::format("250-SIZE {}", context_.options.message_bytes_max));
  connection_.reply("250 ENHANCEDSTATUSCODES");
}

void Session::mail(const Command& command) {
  if (helo_.empty()) return bad_command("503 5.5.1 Say LHLO first");
  if (mail_given_) return bad_command("503 5.5.1 There is a sender already");
  if (command.size > context_.options.message_bytes_max)
    return connection_.reply(
        fmt::format("552 5.3.4 A message has at most {} bytes", context_.options.message_bytes_max));
  mail_given_ = true;
  body_ = command.body;
  utf8_ = command.smtputf8;
  announced_bytes_ = command.size;
  return_path_ = command.address;
  connection_.reply("250 2.1.0 OK");
}

void Session::rcpt(const Command& command) {
  if (!mail_given_) {
    ++bad_commands_;
    asked_.push_back({{}, "503 5.5.1 MAIL comes first"});
    return;
  }
  // Counted with those that wait for their answer, so that a pipelined flood is bounded too.
  if (recipients_.size() + asked_.size() >= context_.options.recipients_max) {
    asked_.push_back({{}, "452 4.5.3 Too many recipients"});
    return;
  }
  std::string address = command.address;
  if (address.find('@') == address.npos) {
    if (context_.options.domain.empty()) {
      asked_.push_back({{}, "550 5.1.3 The address has no domain"});
      return;
    }
    address += "@" + context_.options.domain;
  }
  asked_.push_back({std::move(address), {}});
}

Task<void> Session::answer_recipients() {
  if (asked_.empty()) co_return;
  Nanos now = connection_.loop().now();
  std::vector<std::string> unknown;
  for (const Recipient& recipient : asked_)
    if (recipient.reply.empty() && !cache_.contains(recipient.address, now))
      unknown.push_back(recipient.address);
  std::vector<Result<std::string>> answers;
  std::optional<Error> failed;
  if (!unknown.empty()) {
    auto resolved = co_await context_.backend.resolve(std::move(unknown), announced_bytes_);
    if (resolved)
      answers = std::move(*resolved);
    else
      failed = resolved.error();
  }
  size_t next = 0;
  for (Recipient& recipient : asked_) {
    if (!recipient.reply.empty()) {
      connection_.reply(recipient.reply);
      continue;
    }
    if (!cache_.contains(recipient.address, now)) {
      bool answered = !failed && next < answers.size();
      if (!answered || !answers[next]) {
        connection_.reply(failed || !answered
                              ? "451 4.3.0 The mail store does not answer at the moment"
                              : reply_for(answers[next].error(), context_.options.quota_is_permanent));
        ++next;
        continue;
      }
      ++next;
    }
    connection_.reply("250 2.1.5 OK");
    recipients_.push_back(std::move(recipient.address));
    if (!failed) cache_.insert(recipients_.back(), now);
  }
  asked_.clear();
}

Task<bool> Session::start_tls() {
  if (context_.tls == nullptr || connection_.tls()) {
    bad_command("502 5.5.1 STARTTLS is not offered");
    co_return true;
  }
  // What follows in the clear would be taken for something said under TLS.
  if (!connection_.unread().empty()) {
    connection_.reply("501 5.5.4 Nothing may follow STARTTLS before the handshake");
    connection_.end_reason = "protocol-error";
    co_return false;
  }
  connection_.reply("220 2.0.0 Go ahead");
  bool written = co_await connection_.flush();
  if (!written) co_return false;
  auto upgraded = co_await connection_.start_tls(context_.tls);
  if (!upgraded) {
    connection_.end_reason = "tls-failed";
    co_return false;
  }
  helo_.clear();  // what was said in the clear does not count (RFC 3207 section 4.2)
  reset();
  co_return true;
}

void Session::reset() {
  if (upload_id_ != 0) context_.backend.drop_upload(upload_id_);
  mail_given_ = utf8_ = in_chunks_ = last_chunk_ = false;
  body_ = Body::k7Bit;
  announced_bytes_ = content_bytes_ = trace_bytes_ = uploaded_bytes_ = upload_id_ = 0;
  return_path_.clear();
  recipients_.clear();
  content_state_ = ContentState::kNone;
  content_ = std::string();
  content_reply_.clear();
}

}  // namespace canopy::lmtp
