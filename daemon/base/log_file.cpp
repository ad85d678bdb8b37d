#include "daemon/base/log_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace canopy {

Result<void> check_log_file(const std::string& path) {
  if (path.empty()) return {};
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return fail_errno(errno, path, "the log cannot be written there");
  ::close(fd);
  return {};
}

}  // namespace canopy
