// Ballast: a file whose space is given back when a store has none left, so that a daemon can start and the
// first messages can be removed there. Nothing else than that needs it: new content is refused long before
// (capacity.h). For one loop's thread.
#pragma once

#include "daemon/store/store.h"

namespace canopy {

inline constexpr uint64_t kBallastBytesMax = 8u << 20;
inline constexpr std::string_view kBallastPath = ".canopy/ballast";

// Gives it back where the store is full, and makes it where there is room again. What fails is logged: a
// store without ballast works, too.
Task<void> keep_ballast(Store& store);

}  // namespace canopy
