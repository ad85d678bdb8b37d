#include "fuse/held_locks.h"

namespace canopy::mount {

std::vector<FileLock> without(const std::vector<FileLock>& ranges, const FileLock& taken) {
  std::vector<FileLock> left;
  for (const FileLock& each : ranges) {
    if (each.end < taken.start || each.start > taken.end) {
      left.push_back(each);
      continue;
    }
    if (each.start < taken.start) {
      left.push_back(each);
      left.back().end = taken.start - 1;
    }
    if (each.end > taken.end) {
      left.push_back(each);
      left.back().start = taken.end + 1;
    }
  }
  return left;
}

void HeldLocks::give_back(const std::string& key, const FileLock& range) {
  auto found = held_.find(Key{key, range.whole, range.owner});
  if (found == held_.end()) return;
  found->second = without(found->second, range);
  if (found->second.empty()) held_.erase(found);
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
