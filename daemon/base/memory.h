// How the process's allocator deals with large buffers.
#pragma once

namespace canopy {

// Chunks of the wire protocol and of files are buffers of 1 MiB and some more that come and go. By itself the
// allocator gives each back to the kernel, and every new one is paid with a fault a page: a third of what a
// chunk costs in all (docs/decisions/unary-only.md has the figures). Up to 8 MiB stay with each arena. Before
// threads begin.
void keep_large_buffers();

}  // namespace canopy
