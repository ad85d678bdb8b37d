#include "daemon/wire/services/tree_changes.h"

#include <algorithm>

namespace canopy::wire {

uint64_t TreeChanges::add_locked(TreeChange change) {
  ++last_;
  std::erase_if(watchers_, [&](Watcher& watcher) {
    if (!change.session.empty() && watcher.session == change.session) {
      watcher.cursor = last_;
      return false;
    }
    LoopWaiter::wake(std::move(watcher.waiter));
    return true;
  });
  ring_.push_back(std::move(change));
  if (ring_.size() > kTreeChangesMax) ring_.pop_front();
  return last_;
}

uint64_t TreeChanges::add(TreeChange change) {
  std::lock_guard lock(gate_);
  return add_locked(std::move(change));
}

uint64_t TreeChanges::add_content(const FileIdentity& file, const std::string& session, uint64_t last) {
  std::lock_guard lock(gate_);
  if (last > taken_ && last_ - last < ring_.size()) return last;
  TreeChange change;
  change.file = file;
  change.session = session;
  return add_locked(std::move(change));
}

TreeChanges::Batch TreeChanges::take(const std::string& session, uint64_t cursor) {
  std::lock_guard lock(gate_);
  Batch batch;
  if (cursor > last_ || last_ - cursor > ring_.size()) {
    batch.lost = true;
    batch.cursor = last_;
    taken_ = last_;
    return batch;
  }
  while (cursor < last_ && batch.changes.size() < kTreeChangesAtOnce) {
    const TreeChange& change = ring_[ring_.size() - static_cast<size_t>(last_ - cursor)];
    if (session.empty() || change.session != session) batch.changes.push_back(change);
    ++cursor;
  }
  batch.cursor = cursor;
  taken_ = std::max(taken_, cursor);
  return batch;
}

uint64_t TreeChanges::last() const {
  std::lock_guard lock(gate_);
  return last_;
}

bool TreeChanges::wait(const std::string& session, uint64_t cursor, std::shared_ptr<LoopWaiter> waiter) {
  std::lock_guard lock(gate_);
  if (cursor != last_) return false;
  watchers_.push_back(Watcher{session, cursor, std::move(waiter)});
  return true;
}

uint64_t TreeChanges::stop_waiting(const std::shared_ptr<LoopWaiter>& waiter, uint64_t cursor) {
  std::lock_guard lock(gate_);
  std::erase_if(watchers_, [&](const Watcher& watcher) {
    if (watcher.waiter != waiter) return false;
    cursor = watcher.cursor;
    return true;
  });
  return cursor;
}

}  // namespace canopy::wire
