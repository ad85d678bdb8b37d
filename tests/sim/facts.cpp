#include "tests/sim/facts.h"

#include <algorithm>

namespace canopy::sim {

std::string RowFact::Flags::to_string() const {
  return fmt::format("{:x} {}", system, fmt::join(keywords, ","));
}

std::string content_of(const std::string& token, uint64_t size) {
  std::string text = token + " " + std::to_string(size) + "\r\n";
  uint64_t x = 0xcbf29ce484222325;
  for (char c : token) x = (x ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  while (text.size() < size) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    text.push_back(static_cast<char>('!' + x % 90));
  }
  return text;
}

std::string token_of(std::string_view content) {
  const size_t begin = content.find("T:");  // behind a Return-Path
  if (begin == std::string_view::npos) return "";
  content.remove_prefix(begin);
  const size_t space = content.find(' ');
  if (space == std::string_view::npos) return "";
  std::string token(content.substr(0, space));
  const uint64_t size = std::strtoull(std::string(content.substr(space + 1, 20)).c_str(), nullptr, 10);
  return content == content_of(token, size) ? token : "";
}

// ---- AccountFacts

void AccountFacts::check_token(uint32_t mailbox, uint32_t uid, const std::string& token) {
  auto [at, is_new] = tokens_.try_emplace({mailbox, uid}, token);
  if (!is_new && at->second != token) {
    trace_.violation("{}: UID {} of mailbox {} is {}, but it was {}", name, uid, mailbox, token, at->second);
  }
}

void AccountFacts::gave_uid(const Floor& before, uint32_t mailbox, uint32_t uid, const std::string& token) {
  check_token(mailbox, uid, token);
  auto known = before.uid_next.find(mailbox);
  if (known != before.uid_next.end() && uid < known->second) {
    trace_.violation("{}: {} got UID {} of mailbox {} after {} was the next one", name, token, uid, mailbox,
                     known->second);
  }
  uint32_t& next = floor_.uid_next[mailbox];
  next = std::max(next, uid + 1);
}

void AccountFacts::gave_modseq(const Floor& before, uint64_t modseq, std::string_view what) {
  if (modseq <= before.modseq) {
    trace_.violation("{}: {} got mod-sequence {}, but {} was there before", name, what, modseq,
                     before.modseq);
  }
  floor_.modseq = std::max(floor_.modseq, modseq);
}

void AccountFacts::gave_uid_validity(uint32_t mailbox, uint32_t uid_validity) {
  auto [at, is_new] = uid_validities_.try_emplace(mailbox, uid_validity);
  if (!is_new && at->second != uid_validity) {
    trace_.violation("{}: mailbox {} has UIDVALIDITY {}, it was {}", name, mailbox, uid_validity, at->second);
  }
}

void AccountFacts::gave_version(const Floor& before, bool settings, uint64_t epoch, uint64_t version) {
  const std::pair<uint64_t, uint64_t> given{epoch, version};
  const auto& known = settings ? before.settings : before.info;
  if (given <= known) {
    trace_.violation("{}: a change of {} got version {:x}/{} after {:x}/{}", name,
                     settings ? "settings" : "info", epoch, version, known.first, known.second);
  }
  auto& highest = settings ? floor_.settings : floor_.info;
  highest = std::max(highest, given);
}

void AccountFacts::saw(const Floor& before, const Seen& seen) {
  for (const auto& [id, box] : seen.mailboxes) {
    gave_uid_validity(id, box.uid_validity);
    auto uid_next = before.uid_next.find(id);
    if (uid_next != before.uid_next.end() && box.uid_next < uid_next->second) {
      trace_.violation("{}: the next UID of {} went back from {} to {}", name, box.name, uid_next->second,
                       box.uid_next);
    }
    auto modseq = before.box_modseq.find(id);
    if (modseq != before.box_modseq.end() && box.highest_modseq < modseq->second) {
      trace_.violation("{}: the highest mod-sequence of {} went back from {} to {}", name, box.name,
                       modseq->second, box.highest_modseq);
    }
    auto raise = [](auto& to, auto value) { to = std::max(to, value); };
    raise(floor_.uid_next[id], box.uid_next);
    raise(floor_.box_modseq[id], box.highest_modseq);
    raise(floor_.modseq, box.highest_modseq);
    for (const auto& [uid, message] : box.messages) {
      if (!message.error.empty()) {
        trace_.violation("{}: UID {} of {} cannot be read: {}", name, uid, box.name, message.error);
      } else if (message.token.empty()) {
        trace_.violation("{}: UID {} of {} has content that nobody sent", name, uid, box.name);
      } else {
        check_token(id, uid, message.token);
      }
      if (uid >= box.uid_next)
        trace_.violation("{}: UID {} of {} is not below {}", name, uid, box.name, box.uid_next);
    }
  }
  auto version = [&](const SeenDict& dict, const std::pair<uint64_t, uint64_t>& known, auto& highest,
                     std::string_view what) {
    const std::pair<uint64_t, uint64_t> is{dict.epoch, dict.version};
    if (is < known) {
      trace_.violation("{}: {} are at version {:x}/{} after {:x}/{}", name, what, is.first, is.second,
                       known.first, known.second);
    }
    highest = std::max(highest, is);
  };
  version(seen.settings, before.settings, floor_.settings, "settings");
  version(seen.info, before.info, floor_.info, "info");
}

// ---- ClientFacts

namespace {

struct Check {
  const std::string& account;
  const Seen& seen;
  Trace& trace;
  Explained& explained;

  const SeenMailbox* mailbox_of(const BoxFact& box) const {
    if (box.id != 0) {
      auto at = seen.mailboxes.find(box.id);
      return at == seen.mailboxes.end() ? nullptr : &at->second;
    }
    for (const auto& [id, found] : seen.mailboxes)
      if (found.name == box.name || (!box.or_name.empty() && found.name == box.or_name)) return &found;
    return nullptr;
  }

  void box(BoxFact& fact, std::set<uint32_t>& explained_boxes) {
    const SeenMailbox* found = mailbox_of(fact);
    if (found != nullptr) explained_boxes.insert(found->id);
    if (fact.is == RowFact::Is::kThere && found == nullptr) {
      trace.violation("{}: mailbox {} (id {}) is lost", account, fact.name, fact.id);
    } else if (fact.is == RowFact::Is::kGone && found != nullptr) {
      trace.violation("{}: mailbox {} (id {}) was deleted and is there", account, fact.name, fact.id);
    }
    if (found == nullptr && fact.id != 0) fact.is = RowFact::Is::kGone;  // seen to be deleted
    if (found == nullptr || fact.is == RowFact::Is::kGone) return;
    if (fact.id == 0) {  // seen to be created
      fact.is = RowFact::Is::kThere;
      fact.id = found->id;
      fact.uid_validity = found->uid_validity;
    }
    if (found->name == fact.or_name) fact.name = std::exchange(fact.or_name, "");
    if (found->name != fact.name) {
      trace.violation("{}: mailbox {} (id {}) is called {}", account, fact.name, found->id, found->name);
    }
    if (fact.uid_validity != 0 && fact.uid_validity != found->uid_validity) {
      trace.violation("{}: mailbox {} has UIDVALIDITY {}, it was {}", account, fact.name, found->uid_validity,
                      fact.uid_validity);
    }
  }

  // The row's message, when it is there. One whose UID is not known is told by what it must look like, among
  // those that no other row explains.
  const SeenMessage* message_of(const RowFact& row) const {
    const SeenMailbox* box = mailbox_of(*row.box);
    if (box == nullptr) return nullptr;
    if (row.uid != 0) {
      auto at = box->messages.find(row.uid);
      return at == box->messages.end() ? nullptr : &at->second;
    }
    for (const auto& [uid, message] : box->messages)
      if (message.token == row.token && message.flags == row.flags && !explained.contains({box->id, uid}))
        return &message;
    return nullptr;
  }

  // Copies of a message look alike, so that the order counts: first those whose UID is known, then what must
  // be there because it was moved away from where it was. The target of a move that has not happened explains
  // nothing: what looks like it is another copy.
  void all_rows(const std::list<std::shared_ptr<RowFact>>& rows) {
    std::map<const RowFact*, const RowFact*> moved_from;
    for (const auto& fact : rows)
      if (fact->instead) moved_from[fact->instead.get()] = fact.get();
    std::vector<RowFact*> with_uid, moved, others;
    for (const auto& fact : rows) {
      auto source = moved_from.find(fact.get());
      if (fact->uid != 0) {
        with_uid.push_back(fact.get());
      } else if (source == moved_from.end()) {
        others.push_back(fact.get());
      } else if (message_of(*source->second) == nullptr) {
        moved.push_back(fact.get());
      }
    }
    for (const auto& group : {with_uid, moved, others})
      for (RowFact* fact : group) row(*fact);
  }

  void row(RowFact& fact) {
    const SeenMessage* found = message_of(fact);
    const uint32_t box_id = found == nullptr ? 0 : mailbox_of(*fact.box)->id;
    if (found != nullptr) explained.insert({box_id, found->uid});
    if (fact.is == RowFact::Is::kThere && found == nullptr) {
      trace.violation("{}: {} is lost (UID {} of {})", account, fact.token, fact.uid, fact.box->name);
      return;
    }
    if (fact.is == RowFact::Is::kGone && found != nullptr) {
      trace.violation("{}: {} was expunged and is there (UID {} of {})", account, fact.token, fact.uid,
                      fact.box->name);
      return;
    }
    if (found == nullptr && fact.uid != 0) fact.is = RowFact::Is::kGone;  // seen to be expunged
    if (found == nullptr) return;
    if (fact.uid == 0) {  // seen to have arrived
      fact.is = RowFact::Is::kThere;
      fact.uid = found->uid;
    }
    if (fact.or_flags && found->flags == *fact.or_flags) {
      fact.flags = *fact.or_flags;
      fact.or_flags.reset();
    }
    if (found->token != fact.token) {
      trace.violation("{}: UID {} of {} is {}, not {}", account, found->uid, fact.box->name, found->token,
                      fact.token);
    }
    if (found->flags != fact.flags && (!fact.or_flags || found->flags != *fact.or_flags)) {
      trace.violation("{}: {} (UID {} of {}) has flags {}, not {}{}", account, fact.token, found->uid,
                      fact.box->name, found->flags.to_string(), fact.flags.to_string(),
                      fact.or_flags ? " or " + fact.or_flags->to_string() : "");
    }
  }
};

void check_counters(const std::vector<CounterFact>& facts, const SeenDict& seen, const std::string& account,
                    std::string_view what, Trace& trace) {
  for (const CounterFact& fact : facts) {
    auto at = seen.counters.find(fact.key);
    const int64_t is = at == seen.counters.end() ? 0 : at->second;
    if (is < fact.acknowledged || is > fact.asked) {
      trace.violation("{}: {} {} is {}, acknowledged {}, asked for {}", account, what, fact.key, is,
                      fact.acknowledged, fact.asked);
    }
  }
}

}  // namespace

void check_facts(ClientFacts& facts, const std::string& account, const Seen& seen, Trace& trace,
                 Explained& explained, std::set<uint32_t>& explained_boxes) {
  Check check{account, seen, trace, explained};
  for (auto& box : facts.boxes) check.box(*box, explained_boxes);
  check.all_rows(facts.rows);
  for (auto& row : facts.rows) {
    if (row->instead == nullptr) continue;
    const bool here = check.message_of(*row) != nullptr;
    const bool there = row->instead->uid != 0 && check.message_of(*row->instead) != nullptr;
    if (here == there) {
      trace.violation("{}: {} was moved from {} to {} and is in {}", account, row->token, row->box->name,
                      row->instead->box->name, here ? "both" : "neither");
    }
  }
  check_counters(facts.settings, seen.settings, account, "setting", trace);
  check_counters(facts.info, seen.info, account, "info", trace);
}

}  // namespace canopy::sim
