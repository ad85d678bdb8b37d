// CPU time and memory of this and other processes, from /proc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "daemon/base/error.h"

namespace canopy::bench {

double own_cpu_seconds();                       // user and system, all threads
double cpu_seconds(const std::vector<pid_t>&);  // of processes that are there; others count as 0
double cpu_seconds_exactly(pid_t pid);          // the same in nanoseconds, of threads that still run
// Proportional set size: private pages, and shared ones by their share. kIo when a process cannot be looked
// at.
Result<uint64_t> pss_bytes(const std::vector<pid_t>&);
// As many open files as the system lets this process have; answers how many.
uint64_t raise_open_files();

}  // namespace canopy::bench
