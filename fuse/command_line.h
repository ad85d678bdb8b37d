// What canopy-mount is told: by its own command line, or by mount(8), whose helper it is under a name that
// begins with `mount.`. One thread.
#pragma once

#include <unistd.h>

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "daemon/base/error.h"

namespace canopy::mount {

struct Options {
  std::string url, directory;
  std::vector<std::string> mount_options;  // as given with -o, comma-separated
  std::string ca, certificate, key;
  bool foreground = false;
  bool fake = false;  // mount -f: all but the mount itself
  double wait_seconds = 30;
  std::string log_file;
  // From mount_options:
  std::vector<std::string> for_fuse;
  uint32_t uid = getuid(), gid = getgid();
  double cache_seconds = 0.05, told_seconds = 60;
  size_t nodes_max = 250'000;
};

// The names of what -o takes from us; the second kind with a value behind `=`.
std::vector<std::string> plain_mount_options();
std::vector<std::string> valued_mount_options();

void add_command_line(CLI::App& app, Options& options);
// Takes apart what was given with -o. kInvalidArgument names the option.
Result<void> take_options(Options& options);
// As mount(8) calls its helpers: URL DIR [-sfnvrw] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]. Answers what
// canopy-mount itself takes; `fake`: all but the mount.
std::vector<std::string> arguments_of_helper(const std::vector<std::string>& given, bool& fake);

}  // namespace canopy::mount
