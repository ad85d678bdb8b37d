// Many changes of names on a local file system, by plain system calls on a worker thread: one switch for a
// group instead of several for each file.
#pragma once

#include "daemon/store/local/blocking.h"
#include "daemon/store/replace_groups.h"

namespace canopy {

// Replacements under way at once from which they are made durable in groups (docs/decisions/info-groups.md).
inline constexpr uint32_t kReplaceGroupsFrom = 64;

namespace local {

// Whether syncfs(2) on the file system of this descriptor makes everything durable and reports what could not
// be written (since Linux 5.8, which io_uring's operations on names presuppose).
bool syncs_as_a_whole(int fd);

// A round of ReplaceGroups. `root`: of the store, opened for rounds alone, as the kernel reports a failed
// write to each description once. It stays open until the answer.
Task<Result<void>> replace_round(const Blocking& calls, int root, ReplaceGroups::Group renames,
                                 ReplaceGroups::Group writes);

inline constexpr Nanos kRenameRoundMost = 5 * kMillisecond;  // others wait for what is renamed

// As Store::rename_all(). `all` stays in place until the answer. kTryAgain: nothing was done, as too much
// waits for a worker.
Task<Result<std::vector<Result<void>>>> rename_round(const Blocking& calls, int root,
                                                     const std::vector<Renaming>& all, RenameMode mode);

}  // namespace local
}  // namespace canopy
