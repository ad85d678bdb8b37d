// HoldUps: whether system calls that may read the disk are still short enough for the loop, by how the last
// ones went (docs/decisions/quick-calls.md). Pure.
#pragma once

#include <sys/resource.h>

#include "daemon/runtime/loop.h"

namespace canopy::local {

class HoldUps {
 public:
  static constexpr Nanos kLong = kMillisecond;
  static constexpr int kShare = 20;  // of the time, one part at most is spent in calls that are long

  bool may_run(Nanos now) const { return now >= not_before_; }
  // Whether `ended()` is to be told of a call.
  static bool is_long(Nanos begun, Nanos now) { return now - begun > kLong; }
  // What getrusage(2) said of the thread before and after. A thread that has only lost its processor to
  // others, for however long, has not waited for the disk.
  void ended(Nanos begun, Nanos now, const rusage& before, const rusage& after) {
    const bool waited = after.ru_nvcsw != before.ru_nvcsw;
    const bool preempted = after.ru_nivcsw != before.ru_nivcsw;
    if (waited || !preempted) not_before_ = now + kShare * (now - begun);
  }

 private:
  Nanos not_before_ = 0;
};

}  // namespace canopy::local
