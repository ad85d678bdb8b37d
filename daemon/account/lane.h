// Lane: who may change an account now. Deliveries share it (they wait together and go out in one write);
// everything else has it alone. Fair: nobody overtakes a waiter. For one loop's thread.
#pragma once

#include "daemon/runtime/sync.h"

namespace canopy {

class Lane {
 public:
  explicit Lane(Loop& loop) : permits_(loop, kAll) {}

  using Hold = Semaphore::Permit;
  auto shared() { return permits_.acquire(1); }
  auto alone() { return permits_.acquire(kAll); }

 private:
  static constexpr uint64_t kAll = 1u << 20;
  Semaphore permits_;
};

}  // namespace canopy
