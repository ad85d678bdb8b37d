// How fast a store is at what Canopy asks of it most. Writes below `.canopy/` only, and removes what it
// wrote. For one loop's thread.
#pragma once

#include <string>
#include <vector>

#include "daemon/runtime/loop.h"
#include "daemon/store/store.h"

namespace canopy {

struct StoreMeasurement {
  std::string operation;
  uint32_t depth = 1;  // at the same time
  uint64_t operations = 0, bytes = 0;
  Nanos took = 0, p50 = 0, p99 = 0;
};

// Each row for `each`. Errors are the store's.
Task<Result<std::vector<StoreMeasurement>>> measure_store(Store& store, Loop& loop, Nanos each);

}  // namespace canopy
