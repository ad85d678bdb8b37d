#include "daemon/store/capacity.h"

#include <algorithm>

#include <fmt/format.h>

namespace canopy {

uint64_t store_reserve_bytes(uint64_t bytes_total) {
  const uint64_t least = std::min(kStoreReserveBytesMin, bytes_total / 10);
  return std::clamp(bytes_total / 100, least, kStoreReserveBytesMax);
}

// Other loops and other programs write to the same store, so what was taken here says little once it is much.
bool StoreCapacity::known() const {
  return !asking_.locked() && looked_ && loop_.now() < look_again_at_ && taken_ <= bytes_reserved_ / 8 &&
         !full();
}

Task<void> StoreCapacity::look() {
  const uint64_t before = looks_;
  const auto guard = co_await asking_.lock();
  if (looks_ != before) co_return;
  ++looks_;
  auto space = co_await store_.space_at(site_.root);
  looked_ = true;
  look_again_at_ = loop_.now() + options_.look_every;
  taken_ = 0;
  if (!space) {
    bytes_free_ = UINT64_MAX;
    files_left_ = true;
    co_return;
  }
  bytes_free_ = space->bytes_free;
  bytes_reserved_ = options_.reserve_bytes.value_or(
      space->bytes_reserved.value_or(store_reserve_bytes(space->bytes_total)));
  // Some file systems count no files and say 0.
  files_left_ = space->files_total == 0 ||
                space->files_free > std::min(kStoreReserveFilesMax, space->files_total / 100);
}

bool StoreCapacity::has_room(uint64_t bytes) const {
  return files_left_ && bytes_free_ > bytes_reserved_ && bytes_free_ - bytes_reserved_ >= bytes;
}

Result<void> StoreCapacity::check(uint64_t bytes) const {
  if (!has_room(bytes)) {
    return fail(
        Code::kStoreFull, site_.name.empty() ? std::string(store_.name()) : site_.name,
        files_left_
            ? fmt::format("over store capacity: {} bytes are free, and {} of them are kept for expunges, "
                          "flags and compaction",
                          bytes_free_, std::min(bytes_free_, bytes_reserved_))
            : "over store capacity: it holds as many files as it can");
  }
  return {};
}

Result<void> StoreCapacity::take(uint64_t bytes) {
  if (auto room = check(bytes); !room) return room;
  if (bytes_free_ != UINT64_MAX) bytes_free_ -= bytes;
  taken_ += bytes;
  return {};
}

}  // namespace canopy
