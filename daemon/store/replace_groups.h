// ReplaceGroups: files that are replaced at the same time share their syncs (docs/decisions/info-groups.md).
//
// Rounds follow one another as long as anybody waits. A round renames what the one before has made durable,
// writes what has come meanwhile, and makes the whole store durable: one sync serves the names of one group
// and the content of the next. A name is changed only after its content is durable, and answered only after
// the name is. While few are under way each is made durable on its own, as nobody is there to share with.
//
// For one loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "daemon/runtime/sync.h"
#include "daemon/store/store.h"

namespace canopy {

inline constexpr size_t kReplaceGroupMax =
    1024;  // files of a round: those that are written, and those renamed
// A round makes durable what everybody else has written to the store, too. After one that took so long, files
// are made durable one by one for so many times as long.
inline constexpr Nanos kReplaceRoundLong = kSecond;
inline constexpr int kReplaceAloneAfterLong = 10;

class ReplaceGroups {
 public:
  struct Item {
    Item(Loop& loop, Replacement replacement) : what(std::move(replacement)), answered(loop) {}
    const Replacement what;
    Result<void> result;  // of its own step in the round
    Event answered;
  };
  using Group = std::vector<std::shared_ptr<Item>>;
  // A round: renames, then writes, setting the `result` of each; then the sync, whose result it answers. It
  // may do so on another thread.
  using Round = std::move_only_function<Task<Result<void>>(Group renames, Group writes)>;

  // `from`: so many that are under way at once make groups. `store` does those that are alone; it and the
  // loop outlive this, and this outlives what is under way.
  ReplaceGroups(Loop& loop, Store& store, uint32_t from, Round round)
      : loop_(loop), store_(store), from_(from), round_(std::move(round)) {}
  ReplaceGroups(const ReplaceGroups&) = delete;
  ReplaceGroups& operator=(const ReplaceGroups&) = delete;

  // As Store::replace(). The error of a sync is that of all whose content or name it was to make durable.
  Task<Result<void>> replace(Replacement what);

  uint64_t rounds() const { return rounds_; }

 private:
  Task<Result<void>> replace_on_its_own(Replacement what);
  Task<void> go_round();
  Group take_waiting();

  Loop& loop_;
  Store& store_;
  const uint32_t from_;
  Round round_;
  Group waiting_;  // in the order in which they came
  bool going_round_ = false;
  uint32_t on_their_own_ = 0;
  uint64_t rounds_ = 0;
  Nanos alone_until_ = 0;
};

// A round by the store's own operations: open(), write(), rename() and sync_all().
Task<Result<void>> replace_round_over(Store& store, ReplaceGroups::Group renames,
                                      ReplaceGroups::Group writes);

}  // namespace canopy
