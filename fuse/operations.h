// The kernel's requests (libfuse's low-level operations) as tasks on the mount's loop.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

namespace canopy::mount {

const fuse_lowlevel_ops& fuse_operations();

}  // namespace canopy::mount
