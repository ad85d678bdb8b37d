// What a listener says about an accept that fails: once when failures begin and once when they have ended,
// not at every try. While descriptors are scarce, each that is closed lets one connection in: failures have
// ended when none came for a while.
#pragma once

#include "daemon/runtime/loop.h"

namespace canopy {

class AcceptFailures {
 public:
  static constexpr Nanos kQuiet = 10 * kSecond;

  // Whether this failure begins them.
  bool begin(Nanos now) {
    last_ = now;
    ++count_;
    return count_ == 1;
  }
  // After an accept that succeeded: how many failures have ended just now; 0 says that there were none or
  // that they may go on.
  uint64_t end(Nanos now) {
    if (count_ == 0 || now - last_ < kQuiet) return 0;
    return std::exchange(count_, 0);
  }

 private:
  uint64_t count_ = 0;
  Nanos last_ = 0;
};

}  // namespace canopy
