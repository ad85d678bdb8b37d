#include "tools/canopy-bench/process_figures.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace canopy::bench {

double own_cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double cpu_seconds(const std::vector<pid_t>& pids) {
  double total = 0;
  for (pid_t pid : pids) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string text((std::istreambuf_iterator<char>(file)), {});
    size_t name_end = text.rfind(')');  // the name may hold anything
    if (name_end == std::string::npos) continue;
    std::istringstream fields(text.substr(name_end + 2));
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    double user = 0, system = 0;
    fields >> user >> system;
    total += (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  return total;
}

double cpu_seconds_exactly(pid_t pid) {
  double total = 0;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), error)) {
    std::ifstream file(task.path() / "schedstat");
    double nanoseconds = 0;
    if (file >> nanoseconds) total += nanoseconds / 1e9;
  }
  return total;
}

Result<uint64_t> pss_bytes(const std::vector<pid_t>& pids) {
  uint64_t total = 0;
  for (pid_t pid : pids) {
    std::string path = fmt::format("/proc/{}/smaps_rollup", pid);
    std::ifstream file(path);
    std::string word;
    bool found = false;
    while (!found && file >> word) found = word == "Pss:";
    uint64_t kib = 0;
    if (!found || !(file >> kib))
      return fail(Code::kIo, path, "cannot be read: is the process there, and yours?");
    total += kib * 1024;
  }
  return total;
}

uint64_t raise_open_files() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  for (rlim_t wanted :
       {rlim_t{1'000'000}, limit.rlim_max}) {  // beyond the hard limit only with the privilege
    rlimit raised{wanted, std::max(wanted, limit.rlim_max)};
    if (wanted <= limit.rlim_cur || setrlimit(RLIMIT_NOFILE, &raised) == 0) break;
  }
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

}  // namespace canopy::bench
