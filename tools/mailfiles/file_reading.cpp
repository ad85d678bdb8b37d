#include "tools/mailfiles/file_reading.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "tools/mailfiles/mail_item.h"

namespace canopy::mailfiles {

namespace fs = std::filesystem;

Result<FileStamp> stat_file(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) return fail_errno(errno, path, "stat");
  return FileStamp{static_cast<uint64_t>(status.st_size), status.st_mtime};
}

Result<std::string> read_whole_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return fail_errno(errno, path, "open");
  std::string bytes;
  std::string chunk(1u << 20, '\0');
  for (;;) {
    const ssize_t got = ::read(file, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      auto error = fail_errno(errno, path, "read");
      ::close(file);
      return error;
    }
    if (got == 0) break;
    bytes.append(chunk.data(), static_cast<size_t>(got));
    if (bytes.size() > kMailBytesMax) {
      ::close(file);
      return fail(Code::kTooLarge, path, "the file is larger than a message may be");
    }
  }
  ::close(file);
  return bytes;
}

static Result<void> write_all(int file, const std::string& path, std::string_view bytes, int64_t mtime) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(file, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail_errno(errno, path, "write");
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  if (mtime != 0) {
    const timespec times[2] = {{mtime, 0}, {mtime, 0}};
    if (::futimens(file, times) != 0) return fail_errno(errno, path, "set the time");
  }
  return {};
}

Result<void> write_new_file(const std::string& path, std::string_view bytes, int64_t mtime) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return fail_errno(errno, path, "create");
  Result<void> written = write_all(file, path, bytes, mtime);
  ::close(file);
  return written;
}

Result<std::vector<std::string>> sorted_entries(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> names;
  fs::directory_iterator entries(directory, error);
  while (!error && entries != fs::directory_iterator()) {
    names.push_back(entries->path().filename().string());
    entries.increment(error);
  }
  if (error) return fail_errno(error.value(), directory, "list");
  std::sort(names.begin(), names.end());
  return names;
}

Result<void> make_empty_directory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail_errno(error.value(), path, "create the directory");
  CANOPY_ASSIGN(auto names, sorted_entries(path));
  if (!names.empty()) return fail(Code::kAlreadyExists, path, "the directory is not empty; name a new one");
  return {};
}

Result<void> sync_file_system(const std::string& path) {
  const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return fail_errno(errno, path, "open");
  const int status = ::syncfs(directory);
  const int reason = errno;
  ::close(directory);
  if (status != 0) return fail_errno(reason, path, "sync");
  return {};
}

}  // namespace canopy::mailfiles
