// What /proc says of a process that has asked the mount for something and waits for the answer. Any thread.
#pragma once

#include <sys/types.h>

#include <string_view>

namespace canopy::mount {

// Whether a signal has ended this thread's process, so that the kernel closes its files: what it was writing
// it has not finished. False where that cannot be known: a thread of another pid namespace, or of another
// user than the mount's, unless that is root.
bool was_killed(pid_t thread);

// The same of the content of /proc/THREAD/stat (proc_pid_stat(5)). Pure.
bool says_killed(std::string_view stat);

}  // namespace canopy::mount
