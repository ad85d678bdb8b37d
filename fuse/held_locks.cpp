#include "fuse/held_locks.h"

namespace canopy::mount {

void HeldLocks::give_back(const std::string& key, const FileLock& range) {
  auto found = held_.find(Key{key, range.whole, range.owner});
  if (found == held_.end()) return;
  std::vector<FileLock> left;
  for (const FileLock& each : found->second) {
    if (each.end < range.start || each.start > range.end) {
      left.push_back(each);
      continue;
    }
    if (each.start < range.start) {
      left.push_back(each);
      left.back().end = range.start - 1;
    }
    if (each.end > range.end) {
      left.push_back(each);
      left.back().start = range.end + 1;
    }
  }
  if (left.empty())
    held_.erase(found);
  else
    found->second = std::move(left);
}

void HeldLocks::take(const std::string& key, const FileLock& lock) {
  give_back(key, lock);
  held_[Key{key, lock.whole, lock.owner}].push_back(lock);
}

bool HeldLocks::holds(const std::string& key, bool whole, uint64_t owner) const {
  return held_.contains(Key{key, whole, owner});
}

std::vector<FileLock> HeldLocks::of(const std::string& key, bool whole, uint64_t owner) const {
  auto found = held_.find(Key{key, whole, owner});
  return found == held_.end() ? std::vector<FileLock>() : found->second;
}

std::vector<HeldLocks::Held> HeldLocks::all() const {
  std::vector<Held> out;
  for (const auto& [key, locks] : held_)
    for (const FileLock& lock : locks) out.push_back(Held{std::get<0>(key), lock});
  return out;
}

}  // namespace canopy::mount
