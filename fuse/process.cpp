#include "fuse/process.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

#include <fmt/format.h>

namespace canopy::mount {
namespace {

// Fields of stat, as proc_pid_stat(5) numbers them. The name, which may hold anything, is the second.
constexpr int kFirstAfterName = 3, kFlagsField = 9, kExitCodeField = 52;
constexpr uint64_t kExiting = 0x4;        // PF_EXITING of the kernel
constexpr uint64_t kSignalOfExit = 0x7f;  // of an exit code as wait(2) has it

}  // namespace

bool says_killed(std::string_view stat) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return false;
  stat.remove_prefix(name_end + 1);
  uint64_t flags = 0, exit_code = 0;
  for (int field = kFirstAfterName; field <= kExitCodeField; ++field) {
    stat.remove_prefix(std::min(stat.find_first_not_of(" \n"), stat.size()));
    const std::string_view word = stat.substr(0, stat.find_first_of(" \n"));
    stat.remove_prefix(word.size());
    if (word.empty()) return false;  // a kernel older than the field
    uint64_t* const out = field == kFlagsField ? &flags : field == kExitCodeField ? &exit_code : nullptr;
    if (out != nullptr) std::from_chars(word.data(), word.data() + word.size(), *out);
  }
  return (flags & kExiting) != 0 && (exit_code & kSignalOfExit) != 0;
}

bool was_killed(pid_t thread) {
  if (thread <= 0) return false;
  const int fd = ::open(fmt::format("/proc/{}/stat", thread).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[2048];  // 52 numbers and a name
  const ssize_t got = ::read(fd, text, sizeof(text));
  ::close(fd);
  return got > 0 && says_killed(std::string_view(text, static_cast<size_t>(got)));
}

}  // namespace canopy::mount
