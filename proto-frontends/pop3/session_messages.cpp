// The TRANSACTION state: lists, messages, marks.
#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "proto-frontends/pop3/replies.h"
#include "proto-frontends/pop3/session.h"
#include "proto-frontends/pop3/stuffing.h"

namespace canopy::pop3 {

Task<bool> Session::handle_transaction(const Command& command) {
  Maildrop& maildrop = open_->maildrop;
  if (command.message && !maildrop.has(*command.message)) {
    connection_.reply("-ERR No such message");
    co_return true;
  }
  switch (command.verb) {
    case Verb::kStat: connection_.reply(fmt::format("+OK {} {}", maildrop.count(), maildrop.bytes())); break;
    case Verb::kList: list(command); break;
    case Verb::kUidl: uidl(command); break;
    case Verb::kRetr:
    case Verb::kTop: co_return co_await retrieve(command);
    case Verb::kDele:
      maildrop.mark_deleted(*command.message);
      connection_.reply("+OK Marked as deleted");
      break;
    case Verb::kRset:
      maildrop.unmark_all();
      connection_.reply("+OK");
      break;
    case Verb::kNoop: connection_.reply("+OK"); break;
    default: connection_.reply("-ERR Not in this state"); co_return ++bad_commands_ < kBadCommandsMax;
  }
  co_return true;
}

void Session::list(const Command& command) {
  const Maildrop& maildrop = open_->maildrop;
  if (command.message)
    return connection_.reply(fmt::format("+OK {} {}", *command.message, maildrop.size(*command.message)));
  std::string& out = connection_.out();
  fmt::format_to(std::back_inserter(out), "+OK {} messages ({} octets)\r\n", maildrop.count(),
                 maildrop.bytes());
  for (uint32_t number = 1; number <= maildrop.highest_number(); ++number)
    if (maildrop.has(number))
      fmt::format_to(std::back_inserter(out), "{} {}\r\n", number, maildrop.size(number));
  connection_.reply(".");
}

void Session::uidl(const Command& command) {
  const Maildrop& maildrop = open_->maildrop;
  if (command.message)
    return connection_.reply(
        fmt::format("+OK {} {}", *command.message, maildrop.unique_id(*command.message)));
  std::string& out = connection_.out();
  connection_.reply("+OK");
  for (uint32_t number = 1; number <= maildrop.highest_number(); ++number)
    if (maildrop.has(number))
      fmt::format_to(std::back_inserter(out), "{} {}\r\n", number, maildrop.unique_id(number));
  connection_.reply(".");
}

Task<bool> Session::retrieve(const Command& command) {
  uint32_t number = *command.message;
  if (open_->maildrop.size(number) > kStreamedBytesMin) co_return co_await stream_message(command, number);
  Result<std::string> whole = co_await content(number);
  if (!whole) {
    if (whole.error().code() == Code::kTooLarge) co_return co_await stream_message(command, number);
    connection_.reply(message_reply(whole.error()));
    log_event(LogLevel::kWarning, "fetch-failed", open_->access.account,
              {{"uid", open_->maildrop.uid(number)}, {"error", whole.error().to_string()}});
    co_return true;
  }
  std::string& out = connection_.out();
  bool top = command.verb == Verb::kTop;
  if (out.capacity() - out.size() < whole->size())
    out.reserve(out.size() + whole->size() + whole->size() / 32 + 64);
  if (top)
    out.append("+OK Top follows\r\n");
  else
    fmt::format_to(std::back_inserter(out), "+OK {} octets\r\n", whole->size());
  Stuffer stuffer(top ? static_cast<int64_t>(std::min<uint64_t>(command.lines, INT64_MAX)) : -1);
  stuffer.append(*whole, out);
  stuffer.finish(out);
  co_return true;
}

// A large message, or what TOP needs of it, with one part in memory.
Task<bool> Session::stream_message(const Command& command, uint32_t number) {
  const Open& open = *open_;
  uint32_t uid = open.maildrop.uid(number);
  bool top = command.verb == Verb::kTop;
  // TOP is asked for the header and a few lines.
  uint32_t part_bytes = top ? 64u << 10 : kStreamedBytesMin;
  Stuffer stuffer(top ? static_cast<int64_t>(std::min<uint64_t>(command.lines, INT64_MAX)) : -1);
  for (uint64_t offset = 0;;) {
    auto part =
        co_await context_.backend.fetch(open.access, open.maildrop.mailbox_id(), uid, offset, part_bytes);
    if (!part) {
      log_event(LogLevel::kWarning, "fetch-failed", open.access.account,
                {{"uid", uid}, {"offset", offset}, {"error", part.error().to_string()}});
      if (offset == 0) {
        connection_.reply(message_reply(part.error()));
        co_return true;
      }
      // The client must not take a part for the whole: the dot never comes.
      connection_.end_reason = "fetch-failed";
      co_await connection_.flush();
      co_return false;
    }
    if (offset == 0)
      connection_.reply(top ? "+OK Top follows" : fmt::format("+OK {} octets", open.maildrop.size(number)));
    offset += part->data.size();
    stuffer.append(part->data, connection_.out());
    bool last = part->end || part->data.empty() || stuffer.done();
    if (last) break;
    bool written = co_await connection_.flush();
    if (!written) co_return false;
  }
  stuffer.finish(connection_.out());
  co_return true;
}

Task<Result<std::string>> Session::content(uint32_t number) {
  Open& open = *open_;
  uint32_t uid = open.maildrop.uid(number);
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (size_t i = 0; i < open.ahead.size(); ++i) {
      if (open.ahead[i].uid != uid) continue;
      bool too_large = open.ahead[i].too_large;
      std::string found = std::move(open.ahead[i].content);
      open.ahead.erase(open.ahead.begin(), open.ahead.begin() + static_cast<ptrdiff_t>(i) + 1);
      open.last_number = number;
      if (too_large) co_return fail(Code::kTooLarge, std::to_string(uid), "it does not fit into one answer");
      co_return found;
    }
    if (attempt > 0) break;
    open.ahead.clear();
    std::vector<uint32_t> uids = uids_ahead(number);
    auto fetched = co_await context_.backend.fetch_many(open.access, open.maildrop.mailbox_id(),
                                                        std::move(uids), kWireChunkBytesMax);
    if (!fetched) co_return fail(fetched.error());
    open.ahead = std::move(*fetched);
  }
  co_return fail(Code::kNotFound, std::to_string(uid), "the message was expunged");
}

// This message and those that are likely to be asked for next: what is pipelined behind the command, or else
// what follows in order, more of it the longer the client keeps to the order.
std::vector<uint32_t> Session::uids_ahead(uint32_t number) {
  Open& open = *open_;
  const Maildrop& maildrop = open.maildrop;
  std::vector<uint32_t> uids{maildrop.uid(number)};
  uint64_t bytes = maildrop.size(number);
  auto add = [&](uint32_t next, uint32_t bytes_max) {
    bytes += maildrop.size(next);
    if (bytes > bytes_max || uids.size() >= kReadAheadMessagesMax) return false;
    uids.push_back(maildrop.uid(next));
    return true;
  };
  frontend::LineScanner scanner(frontend::LineEnd::kAnyNewline);
  std::string_view unread = connection_.unread();
  bool pipelined = false;
  for (auto found = scanner.next(unread, kCommandBytesMax);
       found.status == frontend::LineScanner::Status::kLine; found = scanner.next(unread, kCommandBytesMax)) {
    Command next = parse_command(found.line);
    if ((next.verb != Verb::kRetr && next.verb != Verb::kTop) || !next.message ||
        !maildrop.has(*next.message))
      break;
    pipelined = true;
    if (!add(*next.message, kReadAheadBytesMax)) break;
  }
  if (pipelined) return uids;
  bool in_order = number == open.last_number + 1;
  open.ahead_bytes = in_order ? std::min(kReadAheadBytesMax, open.ahead_bytes * 2) : kReadAheadBytesMin;
  if (!in_order) return uids;
  for (uint32_t next = number + 1; next <= maildrop.highest_number(); ++next)
    if (maildrop.has(next) && !add(next, open.ahead_bytes)) break;
  return uids;
}

}  // namespace canopy::pop3
