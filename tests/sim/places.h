// Where accounts lie on the disk, looked at from outside of any process.
#pragma once

#include "daemon/store/memory/memory_disk.h"
#include "daemon/tree/layout.h"
#include "tests/sim/trace.h"

namespace canopy::sim {

// Every account directory and every settings or info file that lies apart is where `layout` has it: once, and
// nowhere else. What is not is a violation.
void check_places(MemoryDisk& disk, const TreeLayout& layout, std::string_view domain, Trace& trace);

}  // namespace canopy::sim
