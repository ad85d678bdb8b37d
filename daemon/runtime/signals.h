// Signals as something a task waits for.
#pragma once

#include <signal.h>

#include <initializer_list>

#include "daemon/runtime/uring_loop.h"

namespace canopy {

// Holds these signals back in the calling thread and in every thread that it starts afterwards. To be called
// at the start of main(), before any thread is made: a thread that does not hold them back would be killed by
// them.
void block_signals(std::initializer_list<int> signals);

// The number of the next of these signals. One that came between two calls is not lost. -errno on failure.
Task<int> wait_signal(UringLoop& loop, std::initializer_list<int> signals);

}  // namespace canopy
