// Where accounts lie on the disks, looked at from outside of any process.
#pragma once

#include <span>

#include "daemon/store/memory/memory_disk.h"
#include "daemon/tree/layout.h"
#include "daemon/tree/mount_table.h"
#include "tests/sim/trace.h"

namespace canopy::sim {

// Every account directory, every settings or info file that lies apart, and every file of the domain is where
// `layout` and `mounts` have it: on the disk of that store, once, and nowhere else. What is not is a
// violation. The disks are in the order of kStoreNames.
void check_places(std::span<MemoryDisk> disks, const MountTable& mounts, const TreeLayout& layout,
                  std::string_view domain, Trace& trace);

// Nothing is left in the stage and the trash of a store whose process has had nothing to do for a while.
void check_stage(MemoryDisk& disk, std::string_view store, Trace& trace);

}  // namespace canopy::sim
