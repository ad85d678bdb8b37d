// Advisory locks (fcntl(2), flock(2)) as the kernel asks for them.
#pragma once

#include "fuse/mount.h"
#include "fuse/operations.h"

namespace canopy::mount {

void add_lock_operations(fuse_lowlevel_ops& operations);

// A file descriptor was closed: its process' locks on the file go, whichever descriptor they came through.
Task<void> give_back_locks_of_owner(NodeRef node, uint64_t owner);
// The last descriptor of an opening was closed: locks that were taken through it go.
Task<void> give_back_locks_of_file(OpenFileRef file, uint64_t owner);

}  // namespace canopy::mount
