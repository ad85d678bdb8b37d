// TreeChanges: what the clients of the raw tree have changed, for those who keep copies of it. A ring of the
// newest changes: whoever falls behind is told that it has lost some (docs/protocol/tree.md, "Changes"). Any
// thread; the lock inside is held for the look-up only.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/wire/services/file_identity.h"
#include "daemon/wire/services/tree_once.h"

namespace canopy::wire {

inline constexpr size_t kTreeChangesMax = 16'384;
inline constexpr size_t kTreeChangesAtOnce = 512;  // in an answer

struct TreeChange {
  enum class Kind : uint8_t { kContent, kName, kMoved };
  Kind kind = Kind::kContent;
  std::string path, to;
  FileIdentity file;    // kContent: whose; kName: what the name means now
  std::string session;  // whose change it is
};

class TreeChanges {
 public:
  uint64_t add(TreeChange change);  // its number
  // Of a file's bytes, unless everybody who watches has yet to learn of `last`, an earlier one.
  uint64_t add_content(const FileIdentity& file, const std::string& session, uint64_t last);

  struct Batch {
    std::vector<TreeChange> changes;  // by others than `session`
    uint64_t cursor = 0;
    bool lost = false;
  };
  Batch take(const std::string& session, uint64_t cursor);
  uint64_t last() const;

  // Wakes `waiter` at the next change by others than `session`. False: there are changes already.
  bool wait(const std::string& session, uint64_t cursor, std::shared_ptr<LoopWaiter> waiter);
  // The cursor, which its own changes have moved on.
  uint64_t stop_waiting(const std::shared_ptr<LoopWaiter>& waiter, uint64_t cursor);

 private:
  struct Watcher {
    std::string session;
    uint64_t cursor;
    std::shared_ptr<LoopWaiter> waiter;
  };
  uint64_t add_locked(TreeChange change);

  mutable std::mutex gate_;
  std::deque<TreeChange> ring_;  // the last one has the number last_
  uint64_t last_ = 0;
  uint64_t taken_ = 0;  // the highest number that anybody was told
  std::vector<Watcher> watchers_;
};

}  // namespace canopy::wire
