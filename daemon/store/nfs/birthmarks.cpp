#include "daemon/store/nfs/birthmarks.h"

namespace canopy::nfs {
namespace {

constexpr Nanos kUnits[] = {100, kMicrosecond, kMillisecond, 10 * kMillisecond, kSecond, 2 * kSecond};
constexpr uint64_t kSpreadSeconds = 1u << 24;

FileTime rounded(const FileTime& time, Nanos unit) {
  if (unit < kSecond) {
    const auto part = static_cast<uint32_t>(unit);
    return {.seconds = time.seconds, .nanoseconds = time.nanoseconds / part * part};
  }
  return {.seconds = time.seconds - time.seconds % (unit / kSecond), .nanoseconds = 0};
}

}  // namespace

FileTime Birthmarks::next(int64_t now_seconds, uint64_t random) const {
  FileTime mark{.seconds = now_seconds, .nanoseconds = static_cast<uint32_t>(random % 1'000'000'000)};
  // Too few multiples are in one second.
  if (unit_ > kMicrosecond) mark.seconds -= static_cast<int64_t>((random >> 32) % kSpreadSeconds);
  return rounded(mark, unit_);
}

void Birthmarks::learn(const FileTime& mark, const FileTime& accessed) {
  if (accessed == mark) return;
  for (Nanos unit : kUnits) {
    if (unit <= unit_ || rounded(mark, unit) != accessed) continue;
    unit_ = unit;
    return;
  }
}

}  // namespace canopy::nfs
