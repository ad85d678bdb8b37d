// What the file system itself gives to whoever replaces small files durably: the limit beside which
// `canopy-bench info` is read.
#pragma once

#include <string>

#include "daemon/base/error.h"
#include "tools/canopy-bench/report.h"

namespace canopy::bench {

struct BareReplace {
  std::string directory;    // files are made below, and removed at the end
  uint32_t files = 20'000;  // in 256 folders
  uint32_t parallel = 256;  // under way at once
  uint32_t bytes = 300;
  double seconds = 10;  // of each row
};

// Two rows: by `parallel` threads, each on its own (written, fdatasync, renamed, both directories synced);
// and by one thread in groups of half as many, where one syncfs serves the names of one group and the content
// of the next.
Result<void> measure_bare_replace(const BareReplace& options, Report& report);

}  // namespace canopy::bench
