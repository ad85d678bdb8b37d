// StoreCapacity: whether a store takes new content. Below a watermark it takes none ("over store capacity"):
// what is left is kept for expunges, flags and compaction, so that a full store can be emptied by its users.
// For one loop's thread; the store outlives it.
#pragma once

#include <optional>

#include "daemon/runtime/loop.h"
#include "daemon/runtime/sync.h"
#include "daemon/store/store.h"

namespace canopy {

inline constexpr uint64_t kStoreReserveBytesMin = 64u << 20;  // of a store of at least ten times that
inline constexpr uint64_t kStoreReserveBytesMax = 4ull << 30;
inline constexpr uint64_t kStoreReserveFilesMax = 1000;

struct CapacityOptions {
  std::optional<uint64_t> reserve_bytes = {};  // absent: a hundredth of the store, within the bounds above
  Nanos look_every = kSecond;
};

class StoreCapacity {
 public:
  // Of the store that `site` names, where `store` is made of several.
  StoreCapacity(Loop& loop, Store& store, CapacityOptions options = {}, StoreSite site = {})
      : loop_(loop), store_(store), options_(options), site_(std::move(site)), asking_(loop) {}

  // What is known is recent enough for take(); otherwise look() first. False while somebody looks, so that
  // nobody overtakes who waits.
  bool known() const;
  // Asks the store, or waits for an answer to another's question that was sent since; callers go on in the
  // order in which they came. A store that does not answer counts as having room: the write will tell.
  Task<void> look();
  // kStoreFull when `bytes` more would go below the watermark.
  Result<void> check(uint64_t bytes) const;
  // Counts `bytes` of new content; kStoreFull when that would go below the watermark.
  Result<void> take(uint64_t bytes);
  // At the watermark or near it, as of the last look.
  bool full() const { return looked_ && !has_room(bytes_reserved_ / 8); }

 private:
  bool has_room(uint64_t bytes) const;

  Loop& loop_;
  Store& store_;
  const CapacityOptions options_;
  const StoreSite site_;
  Mutex asking_;
  uint64_t looks_ = 0;  // begun
  bool looked_ = false;
  Nanos look_again_at_ = 0;
  uint64_t bytes_free_ = UINT64_MAX;  // as of the last look, less what was taken since
  uint64_t bytes_reserved_ = 0;
  uint64_t taken_ = 0;  // since the last look
  bool files_left_ = true;
};

// What is held back on a store of that size.
uint64_t store_reserve_bytes(uint64_t bytes_total);

}  // namespace canopy
