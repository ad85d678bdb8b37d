// What earlier processes left in `.canopy/stage` and `.canopy/trash` of a store, at the start of a new one.
// For the thread of the store's loop; the Store outlives it.
#pragma once

#include <string>
#include <vector>

#include "daemon/account/settings_files.h"

namespace canopy {

// To be awaited before anything is served: afterwards a late rename of a process with a lower epoch finds
// nothing of what it staged. On a store of this machine alone one rename puts all stages into the trash: its
// processes are gone, and thousands of directories need not be removed before the first answer. On a shared
// one they go one by one, because another client may hold their handles. Answers the names in the trash that
// are now nobody's.
Task<Result<std::vector<std::string>>> retire_older_stages(Store& store, uint64_t epoch);

// Removes these names from the trash; what cannot be removed is logged and stays for the next start.
// Meanwhile others may use the trash.
Task<void> empty_trash(Store& store, std::vector<std::string> names);

}  // namespace canopy
