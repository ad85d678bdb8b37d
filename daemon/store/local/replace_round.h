// A round of ReplaceGroups on a local file system, by plain system calls on a worker thread: one switch for a
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

// `root`: of the store, opened for rounds alone, as the kernel reports a failed write to each description
// once. It stays open until the answer.
Task<Result<void>> replace_round(const Blocking& calls, int root, ReplaceGroups::Group renames,
                                 ReplaceGroups::Group writes);

}  // namespace local
}  // namespace canopy
