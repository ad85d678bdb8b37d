// What must be true of the accounts, from what clients asked for and what was answered. Every message and
// mailbox has one client that changes it, one operation at a time, so that its state is known exactly
// whenever nothing is under way; what a client gave up on is known as one of two states. Pure.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/trace.h"

namespace canopy::sim {

// A message in a mailbox.
struct RowFact {
  enum class Is {
    kThere,
    kMaybe,  // it was asked for, and nobody knows
    kGone,
  };
  struct Flags {
    uint32_t system = 0;
    std::set<std::string> keywords;
    bool operator==(const Flags&) const = default;
    std::string to_string() const;
  };

  std::string token;  // its content begins with it; copies have the same
  uint64_t size = 0;
  std::shared_ptr<struct BoxFact> box;
  uint32_t uid = 0;  // 0: not known
  Is is = Is::kMaybe;
  Flags flags;
  std::optional<Flags> or_flags;     // a change that nobody knows of
  std::shared_ptr<RowFact> instead;  // a move that nobody knows of: exactly one of the two is there
  bool busy = false;                 // used by an operation, or one was given up: not to be touched
  bool certain() const { return is != Is::kMaybe && !or_flags && !busy; }
};

struct BoxFact {
  std::string name;
  std::string or_name;  // a rename that nobody knows of
  uint32_t id = 0;      // 0: not known
  uint32_t uid_validity = 0;
  RowFact::Is is = RowFact::Is::kMaybe;
  bool busy = false;
  bool certain() const { return is != RowFact::Is::kMaybe && or_name.empty() && !busy; }
};

// A key of an account's settings or info that one client counts up.
struct CounterFact {
  std::string key;
  int64_t acknowledged = 0;  // 0: none
  int64_t asked = 0;
  bool busy = false;
};

// The content of a message: the token, then what follows from it.
std::string content_of(const std::string& token, uint64_t size);
// "" when the content is not what some token says.
std::string token_of(std::string_view content);

// ---- what a reader saw

struct SeenMessage {
  uint32_t uid = 0;
  uint64_t modseq = 0;
  RowFact::Flags flags;
  std::string token;  // empty: its content could not be had: `error`
  uint64_t size = 0;
  std::string error;
  bool operator==(const SeenMessage&) const = default;
};
struct SeenMailbox {
  std::string name;
  uint32_t id = 0, uid_validity = 0, uid_next = 0;
  uint64_t highest_modseq = 0;
  std::map<uint32_t, SeenMessage> messages;
  bool operator==(const SeenMailbox&) const = default;
};
struct SeenDict {
  uint64_t epoch = 0, version = 0;
  std::map<std::string, int64_t> counters;
  bool operator==(const SeenDict&) const = default;
};
struct Seen {
  uint64_t epoch = 0;  // of the process that answered all of it
  std::map<uint32_t, SeenMailbox> mailboxes;
  SeenDict settings, info;
};

// ---- what nobody may contradict, whoever asks: of one account

class AccountFacts {
 public:
  AccountFacts(std::string account, Trace& trace) : name(std::move(account)), trace_(trace) {}

  const std::string name;
  std::shared_ptr<BoxFact> inbox = std::make_shared<BoxFact>();

  // Highest values that were acknowledged or seen. Take them before asking, and hold the answer against them.
  struct Floor {
    uint64_t modseq = 0;
    std::map<uint32_t, uint64_t> box_modseq;
    std::map<uint32_t, uint32_t> uid_next;
    std::pair<uint64_t, uint64_t> settings, info;  // epoch, version
  };
  Floor floor() const { return floor_; }

  // A UID that an answer named: it was never another message's, and it is above all that were known before.
  void gave_uid(const Floor& before, uint32_t mailbox, uint32_t uid, const std::string& token);
  void gave_modseq(const Floor& before, uint64_t modseq, std::string_view what);
  void gave_uid_validity(uint32_t mailbox, uint32_t uid_validity);
  void gave_version(const Floor& before, bool settings, uint64_t epoch, uint64_t version);
  // What any reader of the rightful owner saw, against what held before it asked.
  void saw(const Floor& before, const Seen& seen);

 private:
  void check_token(uint32_t mailbox, uint32_t uid, const std::string& token);

  Trace& trace_;
  Floor floor_;
  std::map<std::pair<uint32_t, uint32_t>, std::string> tokens_;  // by mailbox and UID
  std::map<uint32_t, uint32_t> uid_validities_;
};

// What one client knows of one account.
struct ClientFacts {
  std::list<std::shared_ptr<RowFact>> rows;
  std::list<std::shared_ptr<BoxFact>> boxes;
  std::vector<CounterFact> settings, info;
};

// Holds the client's facts against what was seen; what was seen of a doubtful fact makes it certain. Rows of
// `seen` that belong to a fact are put into `explained` (mailbox, UID).
using Explained = std::set<std::pair<uint32_t, uint32_t>>;
void check_facts(ClientFacts& facts, const std::string& account, const Seen& seen, Trace& trace,
                 Explained& explained, std::set<uint32_t>& explained_boxes);

}  // namespace canopy::sim
