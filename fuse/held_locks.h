// HeldLocks: which locks this mount holds at the daemon, so that it can ask for them again when the daemon
// was restarted, and give back what a closed file leaves. Pure; for the mount's loop.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace canopy::mount {

struct FileLock {
  bool whole = false;  // flock(2), not fcntl(2)
  bool exclusive = false;
  bool wait = false;
  uint64_t start = 0, end = UINT64_MAX;  // both belong to it
  uint64_t owner = 0;                    // as the kernel calls it
  uint32_t pid = 0;
};

// What is left of `ranges` beside that one.
std::vector<FileLock> without(const std::vector<FileLock>& ranges, const FileLock& taken);

class HeldLocks {
 public:
  struct Held {
    std::string key;  // of the file's node
    FileLock lock;
  };
  void take(const std::string& key, const FileLock& lock);
  void give_back(const std::string& key, const FileLock& range);  // of that owner and kind
  bool holds(const std::string& key, bool whole, uint64_t owner) const;
  std::vector<FileLock> of(const std::string& key, bool whole, uint64_t owner) const;
  std::vector<Held> all() const;

 private:
  using Key = std::tuple<std::string, bool, uint64_t>;  // node, whole, owner
  std::map<Key, std::vector<FileLock>> held_;
};

}  // namespace canopy::mount
