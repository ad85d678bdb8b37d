#include "daemon/wire/services/tree_locks.h"

#include <algorithm>
#include <cerrno>

namespace canopy::wire {
namespace {

bool overlap(const TreeLocks::Range& a, const TreeLocks::Range& b) {
  return a.start <= b.end && b.start <= a.end;
}

}  // namespace

const TreeLocks::Range* TreeLocks::conflict(const File& file, const Range& wanted) {
  if (wanted.type == Type::kNone) return nullptr;
  for (const Range& held : file.held) {
    if (held.owner == wanted.owner || !overlap(held, wanted)) continue;
    if (held.type == Type::kWrite || wanted.type == Type::kWrite) return &held;
  }
  return nullptr;
}

// What is left of the owner's ranges when `taken` is cut out of them.
std::vector<TreeLocks::Range> TreeLocks::without(const std::vector<Range>& held, const Range& taken) {
  std::vector<Range> left;
  for (const Range& range : held) {
    if (range.owner != taken.owner || !overlap(range, taken)) {
      left.push_back(range);
      continue;
    }
    if (range.start < taken.start) {
      left.push_back(range);
      left.back().end = taken.start - 1;
    }
    if (range.end > taken.end) {
      left.push_back(range);
      left.back().start = taken.end + 1;
    }
  }
  return left;
}

void TreeLocks::wake(File& file) {
  for (Waiting& each : file.waiting) LoopWaiter::wake(each.waiter);
}

void TreeLocks::forget_if_empty(const Key& key) {
  auto found = files_.find(key);
  if (found != files_.end() && found->second.held.empty() && found->second.waiting.empty())
    files_.erase(found);
}

void TreeLocks::count(const std::string& session, size_t before, size_t after) {
  sessions_[session].ranges += after - before;  // modulo 2^64: may be less than before
  ranges_ += after - before;
}

Result<std::optional<TreeLocks::Range>> TreeLocks::set(const FileIdentity& file, Kind kind,
                                                       const Range& wanted) {
  std::lock_guard lock(gate_);
  const Key key{file, kind};
  File& in = files_[key];
  if (const Range* other = conflict(in, wanted)) return *other;
  if (wanted.type != Type::kNone && sessions_[wanted.owner.session].ranges >= kTreeLocksPerSessionMax) {
    forget_if_empty(key);
    return std::unexpected<Error>(
        Error(Code::kTooLarge, "locks",
              fmt::format("one client has at most {} ranges locked", kTreeLocksPerSessionMax), ENOLCK));
  }
  std::vector<Range> held = without(in.held, wanted);
  if (wanted.type != Type::kNone) {
    Range joined = wanted;  // with what touches it
    std::erase_if(held, [&](const Range& range) {
      const bool touches = (range.end != UINT64_MAX && range.end + 1 == joined.start) ||
                           (joined.end != UINT64_MAX && joined.end + 1 == range.start);
      if (range.owner != joined.owner || range.type != joined.type || !touches) return false;
      joined.start = std::min(joined.start, range.start);
      joined.end = std::max(joined.end, range.end);
      return true;
    });
    held.push_back(std::move(joined));
  }
  count(wanted.owner.session, in.held.size(), held.size());
  in.held = std::move(held);
  wake(in);  // a lock may have gone, or become a weaker one
  forget_if_empty(key);
  return std::nullopt;
}

std::optional<TreeLocks::Range> TreeLocks::in_the_way(const FileIdentity& file, Kind kind,
                                                      const Range& wanted) const {
  std::lock_guard lock(gate_);
  auto found = files_.find(Key{file, kind});
  if (found == files_.end()) return std::nullopt;
  const Range* other = conflict(found->second, wanted);
  if (other == nullptr) return std::nullopt;
  return *other;
}

// Whether `holder` waits, through others, for `asking`.
bool TreeLocks::waits_in_a_circle(const Owner& asking, const Owner& holder, std::set<Owner>& seen) const {
  if (holder == asking) return true;
  if (!seen.insert(holder).second) return false;
  for (const auto& [key, file] : files_) {
    if (key.second != Kind::kRange) continue;
    for (const Waiting& each : file.waiting) {
      if (each.wanted.owner != holder) continue;
      for (const Range& held : file.held) {
        const bool blocks = held.owner != holder && overlap(held, each.wanted) &&
                            (held.type == Type::kWrite || each.wanted.type == Type::kWrite);
        if (blocks && waits_in_a_circle(asking, held.owner, seen)) return true;
      }
    }
  }
  return false;
}

Result<void> TreeLocks::wait_for(const FileIdentity& file, Kind kind, const Range& wanted,
                                 const std::shared_ptr<LoopWaiter>& waiter) {
  std::lock_guard lock(gate_);
  File& in = files_[Key{file, kind}];
  std::set<Owner> seen;
  const Range* other = kind == Kind::kRange ? conflict(in, wanted) : nullptr;
  if (other != nullptr && waits_in_a_circle(wanted.owner, other->owner, seen)) {
    return std::unexpected<Error>(
        Error(Code::kConflict, "lock", "whoever holds it waits for one of this owner's", EDEADLK));
  }
  in.waiting.push_back(Waiting{waiter, wanted});
  return {};
}

void TreeLocks::stop_waiting(const FileIdentity& file, Kind kind, const std::shared_ptr<LoopWaiter>& waiter) {
  std::lock_guard lock(gate_);
  const Key key{file, kind};
  auto found = files_.find(key);
  if (found == files_.end()) return;
  std::erase_if(found->second.waiting, [&](const Waiting& each) { return each.waiter == waiter; });
  forget_if_empty(key);
}

void TreeLocks::attach(const std::string& session) {
  std::lock_guard lock(gate_);
  ++sessions_[session].connections;
}

void TreeLocks::detach(const std::string& session, Nanos now) {
  std::lock_guard lock(gate_);
  Session& of = sessions_[session];
  if (--of.connections == 0) of.until = now + kTreeSessionKept;
}

size_t TreeLocks::end_sessions(Nanos now) {
  std::lock_guard lock(gate_);
  std::set<std::string> ended;
  for (const auto& [name, session] : sessions_)
    if (session.connections == 0 && session.until <= now) ended.insert(name);
  if (ended.empty()) return 0;
  size_t gone = 0;
  for (auto file = files_.begin(); file != files_.end();) {
    const size_t went = std::erase_if(
        file->second.held, [&](const Range& range) { return ended.contains(range.owner.session); });
    gone += went;
    if (went != 0) wake(file->second);
    if (file->second.held.empty() && file->second.waiting.empty())
      file = files_.erase(file);
    else
      ++file;
  }
  ranges_ -= gone;
  for (const std::string& name : ended) sessions_.erase(name);
  return gone;
}

size_t TreeLocks::size() const {
  std::lock_guard lock(gate_);
  return ranges_;
}

}  // namespace canopy::wire
