// What is written down of a suspended account outside of its files, which are for other hands meanwhile:
// `.canopy/suspended/DOMAIN/NAME` on its store (docs/formats/store.md). While it is there the account is
// suspended, whatever its settings say. Prepared names are names of files as they are. For the store's loop.
#pragma once

#include <optional>
#include <string>

#include "daemon/account/settings_files.h"
#include "daemon/store/store.h"
#include "daemon/tree/names.h"

namespace canopy {

inline constexpr std::string_view kSuspendedRoot = ".canopy/suspended";
inline constexpr uint64_t kSuspendedMarkBytesMax = 512;

// What the account's mark holds: LogEnd::to_text(), or nothing while that is not known. nullopt: no mark.
Task<Result<std::optional<std::string>>> suspended_mark(Store& store, AccountAddress address);
// Makes the mark, or replaces it; durable.
Task<Result<void>> mark_suspended(SettingsFiles& files, AccountAddress address, std::string log_end);
// Removes it; fine when there is none.
Task<Result<void>> unmark_suspended(Store& store, AccountAddress address);
// Before an account or domain gets another name: the new one has the same marks as the old, and no others.
// The old one's are to be removed when nothing bears it any more.
Task<Result<void>> copy_suspended_mark(SettingsFiles& files, AccountAddress from, AccountAddress to);
Task<Result<void>> copy_suspended_marks(Store& store, std::string from_domain, std::string to_domain);
Task<Result<void>> remove_suspended_marks(Store& store, std::string domain);

}  // namespace canopy
