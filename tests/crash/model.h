// What accounts must hold after a crash, from what was acknowledged. Pure: no I/O. One thread.
//
// The content of a message follows from its token ("12.3.4096": account, number, size), so that a content
// that is cut, mixed up or another's is seen from the message alone.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace canopy::crash {

// A whole message: header with the token, then lines that depend on token and position; CRLF, no line begins
// with a dot.
std::string content_of(std::string_view token);
// The token of a message as it was stored, empty when it is not whole. Fields that servers put before it are
// allowed.
std::string token_of(std::string_view stored);

struct Message {
  std::string token;
  uint32_t flags = 0;
  std::set<std::string> keywords;
  int64_t date = 0;  // 0: not known
};

struct Mailbox {
  uint32_t uid_validity = 0;
  uint64_t modseq = 0;  // the highest that was acknowledged
  std::map<uint32_t, Message> messages;
  std::set<uint32_t> gone;  // expunged or moved away, acknowledged

  // An acknowledged message. Answers what is wrong with that, or nothing.
  std::string add(uint32_t uid, uint32_t validity, Message message);
  void remove(uint32_t uid) {
    messages.erase(uid);
    gone.insert(uid);
  }
};

// A dictionary with a version (settings or info of an account).
struct Versioned {
  uint64_t version = 0;
  std::map<std::string, std::string> entries;
};

struct Account {
  std::string name;
  std::map<std::string, Mailbox> mailboxes;  // those that hold messages
  std::set<std::string> other_mailboxes;     // created, renamed and removed; empty
  std::set<std::string> removed_mailboxes;
  Versioned settings, info;
  // Sent over LMTP, which tells no UID: true once it was acknowledged. They leave this map when they are
  // found.
  std::map<std::string, bool> unplaced;
};

// What a restarted daemon answers.
struct Seen {
  std::map<std::string, Mailbox> mailboxes;
  std::set<std::string> names;  // of all mailboxes
  Versioned settings, info;
};

// Every way in which `seen` is not what `account` says, in sentences. Messages from LMTP that are found for
// the first time become part of `account`.
std::vector<std::string> compare(Account& account, const Seen& seen);

}  // namespace canopy::crash
