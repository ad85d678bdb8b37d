// Lease: until when this process may answer for the accounts that it serves (DESIGN.md "Ownership and
// cluster"). Renewed by the heartbeat on one loop, looked at by all when an operation completes.
#pragma once

#include <atomic>

#include "daemon/runtime/loop.h"

namespace canopy {

inline constexpr Nanos kLeaseNanos = 6 * kSecond;
inline constexpr Nanos kDriftNanos = 500 * kMillisecond;

// Any thread. Times are Loop::now(): CLOCK_BOOTTIME, which goes on while the machine sleeps.
class Lease {
 public:
  // A renewal that was sent at `sent` has succeeded: held from then for a lease less drift. An older one
  // never shortens it, and none brings an ended lease back.
  void renew(Nanos sent) {
    const Nanos until = sent + kLeaseNanos - kDriftNanos;
    Nanos had = until_.load();
    while (had != kEnded && had < until && !until_.compare_exchange_weak(had, until)) {
    }
  }
  void end() { until_.store(kEnded); }  // somebody else has taken over: for good
  bool held(Nanos now) const { return now < until_.load(std::memory_order_relaxed); }

 private:
  static constexpr Nanos kEnded = -1;
  std::atomic<Nanos> until_{0};
};

}  // namespace canopy
