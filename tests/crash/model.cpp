#include "tests/crash/model.h"

#include <fmt/format.h>

#include <charconv>

namespace canopy::crash {
namespace {

constexpr std::string_view kTokenField = "X-Crash-Token: ";
constexpr std::string_view kFirstField = "From: crash@example.com\r\n";

uint64_t size_in(std::string_view token) {
  uint64_t size = 0;
  size_t dot = token.rfind('.');
  if (dot == std::string_view::npos) return 0;
  std::from_chars(token.data() + dot + 1, token.data() + token.size(), size);
  return size;
}

std::string said(const Message& message) {
  std::string text = fmt::format("{} flags {:#x}", message.token, message.flags);
  for (const std::string& keyword : message.keywords) text += " " + keyword;
  return text;
}

class Comparison {
 public:
  Comparison(Account& account, const Seen& seen) : account_(account), seen_(seen) {}

  std::vector<std::string> run() {
    for (auto& [name, box] : account_.mailboxes) compare_mailbox(name, box);
    for (const auto& [name, box] : seen_.mailboxes) {
      if (account_.mailboxes.contains(name)) continue;
      if (!box.messages.empty())
        complain("{} holds {} messages and should not exist", name, box.messages.size());
    }
    for (const std::string& name : account_.other_mailboxes) {
      if (!seen_.names.contains(name)) complain("the mailbox {} is missing", name);
    }
    for (const std::string& name : account_.removed_mailboxes) {
      if (seen_.names.contains(name)) complain("the mailbox {} is there again", name);
    }
    for (const auto& [token, acknowledged] : account_.unplaced) {
      if (acknowledged) complain("the message {} was acknowledged over LMTP and is missing", token);
    }
    compare_versioned("settings", account_.settings, seen_.settings);
    compare_versioned("info", account_.info, seen_.info);
    return std::move(complaints_);
  }

 private:
  template <class... A>
  void complain(fmt::format_string<A...> text, A&&... arguments) {
    complaints_.push_back(account_.name + ": " + fmt::format(text, std::forward<A>(arguments)...));
  }

  void compare_mailbox(const std::string& name, Mailbox& expected) {
    auto at = seen_.mailboxes.find(name);
    if (at == seen_.mailboxes.end()) {
      if (!expected.messages.empty()) complain("the mailbox {} is missing", name);
      return;
    }
    const Mailbox& seen = at->second;
    if (expected.uid_validity == 0) expected.uid_validity = seen.uid_validity;
    if (seen.uid_validity != expected.uid_validity)
      complain("{}: UIDVALIDITY was {}, is {}", name, expected.uid_validity, seen.uid_validity);
    if (seen.modseq < expected.modseq)
      complain("{}: mod-sequence {} was acknowledged, the highest is {}", name, expected.modseq, seen.modseq);
    expected.modseq = std::max(expected.modseq, seen.modseq);
    for (const auto& [uid, message] : expected.messages) {
      auto found = seen.messages.find(uid);
      if (found == seen.messages.end())
        complain("{}: UID {} ({}) is missing", name, uid, message.token);
      else
        compare_message(name, uid, message, found->second);
    }
    for (const auto& [uid, message] : seen.messages) {
      if (!expected.messages.contains(uid)) adopt(name, expected, uid, message);
    }
  }

  void compare_message(const std::string& name, uint32_t uid, const Message& expected, const Message& seen) {
    if (seen.token != expected.token)
      complain("{}: UID {} holds {}, not {}", name, uid,
               seen.token.empty() ? "bytes that are not whole" : seen.token, expected.token);
    else if (seen.flags != expected.flags || seen.keywords != expected.keywords)
      complain("{}: UID {} is {}, should be {}", name, uid, said(seen), said(expected));
    else if (expected.date != 0 && seen.date != expected.date)
      complain("{}: UID {} has date {}, should have {}", name, uid, seen.date, expected.date);
  }

  // Nobody was told of this UID: it may only be a message from LMTP, once.
  void adopt(const std::string& name, Mailbox& expected, uint32_t uid, const Message& message) {
    if (expected.gone.contains(uid)) {
      complain("{}: UID {} ({}) was expunged and is there again", name, uid, message.token);
      return;
    }
    auto waiting = name == "INBOX" ? account_.unplaced.find(message.token) : account_.unplaced.end();
    if (waiting == account_.unplaced.end()) {
      complain("{}: UID {} ({}) is there and nobody was told, or twice", name, uid, message.token);
      return;
    }
    if (message.flags != 0 || !message.keywords.empty())
      complain("{}: UID {} is {}", name, uid, said(message));
    account_.unplaced.erase(waiting);
    expected.messages.emplace(uid, message);
  }

  void compare_versioned(std::string_view kind, const Versioned& expected, const Versioned& seen) {
    if (seen.version < expected.version)
      complain("{}: version {} was acknowledged, {} is there", kind, expected.version, seen.version);
    for (const auto& [key, value] : expected.entries) {
      auto found = seen.entries.find(key);
      if (found == seen.entries.end() || found->second != value)
        complain("{}: {} is {}, should be {}", kind, key,
                 found == seen.entries.end() ? "absent" : found->second, value);
    }
  }

  Account& account_;
  const Seen& seen_;
  std::vector<std::string> complaints_;
};

}  // namespace

std::string content_of(std::string_view token) {
  uint64_t size = size_in(token);
  std::string text(kFirstField);
  text.append(kTokenField).append(token).append("\r\n\r\n");
  uint64_t line = 0;
  while (text.size() < size)
    text += fmt::format("{} line {} of the message that a crash must not change\r\n", token, line++);
  return text;
}

std::string token_of(std::string_view stored) {
  size_t begin = stored.find(kFirstField);
  if (begin == std::string_view::npos) return {};
  std::string_view own = stored.substr(begin);
  std::string_view rest = own.substr(kFirstField.size());
  if (!rest.starts_with(kTokenField)) return {};
  rest.remove_prefix(kTokenField.size());
  std::string token(rest.substr(0, rest.find('\r')));
  return own == content_of(token) ? token : std::string();
}

std::string Mailbox::add(uint32_t uid, uint32_t validity, Message message) {
  if (uid_validity == 0) uid_validity = validity;
  if (uid_validity != validity)
    return fmt::format("{}: UIDVALIDITY {} became {}", message.token, uid_validity, validity);
  if (gone.contains(uid)) return fmt::format("{}: UID {} was given a second time", message.token, uid);
  auto [at, fresh] = messages.emplace(uid, message);
  if (!fresh) return fmt::format("{}: UID {} is {}'s already", message.token, uid, at->second.token);
  return {};
}

std::vector<std::string> compare(Account& account, const Seen& seen) {
  return Comparison(account, seen).run();
}

}  // namespace canopy::crash
