// Whether a store does what Canopy needs of it (docs/formats/store.md): what the white paper asks of storage,
// and what durability and fencing rest on. Writes below `.canopy/` only, and removes what it wrote. For one
// loop's thread.
#pragma once

#include <string>
#include <vector>

#include "daemon/runtime/loop.h"
#include "daemon/store/store.h"

namespace canopy {

struct StoreFinding {
  std::string requirement;
  bool good = false;
  std::string found;   // what was seen
  std::string advice;  // empty when good
};

// Takes some seconds on a slow store. One finding for each requirement, in a fixed order.
Task<std::vector<StoreFinding>> check_store(Store& store, Loop& loop);

// A directory for such trials, `.canopy/NAME.RANDOM`, made.
Task<Result<std::string>> make_trial_directory(Store& store, Loop& loop, std::string name);

}  // namespace canopy
