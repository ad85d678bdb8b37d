// TreeLocks: advisory locks on files of the raw tree, among the sessions of all clients: byte ranges as
// fcntl(2) gives them, and whole files as flock(2) does, which do not see one another. Nothing of it is kept
// on the store: a session that comes again after a restart asks for its locks again (docs/protocol/tree.md,
// "Locks"). Any thread; the lock inside is held for the look-up only.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/wire/services/file_identity.h"
#include "daemon/wire/services/tree_once.h"

namespace canopy::wire {

inline constexpr size_t kTreeLocksPerSessionMax = 65'536;  // ranges
// So long the locks of a session without a connection are kept for it, and so long a new process gives locks
// only to those who held them before.
inline constexpr Nanos kTreeSessionKept = 45 * kSecond;
inline constexpr Nanos kTreeLocksGrace = 4 * kSecond;
inline constexpr std::string_view kTreeLocksMark = ".canopy/tree/locks";  // there while there are locks

class TreeLocks {
 public:
  enum class Kind : uint8_t { kRange, kWhole };
  enum class Type : uint8_t { kNone, kRead, kWrite };
  struct Owner {
    std::string session;
    uint64_t number = 0;
    auto operator<=>(const Owner&) const = default;
  };
  struct Range {
    uint64_t start = 0, end = UINT64_MAX;  // both belong to it
    Type type = Type::kNone;
    uint32_t pid = 0;
    Owner owner;
  };

  // Takes, changes or gives back a range (kNone). Nullopt: done; otherwise a lock in the way. kTooLarge.
  Result<std::optional<Range>> set(const FileIdentity& file, Kind kind, const Range& wanted);
  // A lock that would be in the way.
  std::optional<Range> in_the_way(const FileIdentity& file, Kind kind, const Range& wanted) const;

  // To wait: registers before the last try, so that no release is missed. `waiter` is woken when a lock of
  // the file goes. kConflict with EDEADLK when its owner holds what the one in the way waits for.
  Result<void> wait_for(const FileIdentity& file, Kind kind, const Range& wanted,
                        const std::shared_ptr<LoopWaiter>& waiter);
  void stop_waiting(const FileIdentity& file, Kind kind, const std::shared_ptr<LoopWaiter>& waiter);

  // A session has a connection more, or less.
  void attach(const std::string& session);
  void detach(const std::string& session, Nanos now);
  // Ends the sessions that have been gone for too long; how many locks went.
  size_t end_sessions(Nanos now);
  size_t size() const;  // ranges

 private:
  struct Waiting {
    std::shared_ptr<LoopWaiter> waiter;
    Range wanted;
  };
  struct File {
    std::vector<Range> held;  // of one owner neither overlapping nor touching with the same type
    std::vector<Waiting> waiting;
  };
  struct Session {
    uint32_t connections = 0;
    size_t ranges = 0;
    Nanos until = 0;
  };
  using Key = std::pair<FileIdentity, Kind>;
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return FileIdentityHash()(key.first) * 2 + static_cast<size_t>(key.second);
    }
  };

  static const Range* conflict(const File& file, const Range& wanted);
  static std::vector<Range> without(const std::vector<Range>& held, const Range& taken);
  bool waits_in_a_circle(const Owner& asking, const Owner& holder, std::set<Owner>& seen) const;
  static void wake(File& file);
  void forget_if_empty(const Key& key);
  void count(const std::string& session, size_t before, size_t after);

  mutable std::mutex gate_;
  std::unordered_map<Key, File, KeyHash> files_;
  std::unordered_map<std::string, Session> sessions_;
  size_t ranges_ = 0;
};

}  // namespace canopy::wire
