// canopy-bench-slow-disk: a directory with one file, `disk`, each fsync of which takes some milliseconds
// longer, as the cache flush of a disk without non-volatile memory does. Behind a loop device it is a disk
// for a file system, whose own grouping of syncs then is what is measured. libfuse's high-level API; reads,
// writes and syncs run on its threads. https://libfuse.github.io/doxygen/structfuse__operations.html
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <thread>

#define FUSE_USE_VERSION 35
#include <fuse3/fuse.h>

namespace {

constexpr std::string_view kName = "/disk";

int g_backing = -1;
std::chrono::microseconds g_sync_delay{0};

int answer(ssize_t done) { return done < 0 ? -errno : static_cast<int>(done); }

int get_attributes(const char* path, struct stat* attributes, fuse_file_info*) {
  if (std::string_view(path) == "/") {
    *attributes = {};
    attributes->st_mode = S_IFDIR | 0700;
    attributes->st_nlink = 2;
    return 0;
  }
  if (path != kName) return -ENOENT;
  if (fstat(g_backing, attributes) != 0) return -errno;
  attributes->st_nlink = 1;
  return 0;
}

int read_directory(const char*, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info*,
                   fuse_readdir_flags) {
  fill(buffer, kName.data() + 1, nullptr, 0, fuse_fill_dir_flags{});
  return 0;
}

int open_file(const char* path, fuse_file_info*) { return path == kName ? 0 : -ENOENT; }

int read_file(const char*, char* bytes, size_t size, off_t offset, fuse_file_info*) {
  return answer(pread(g_backing, bytes, size, offset));
}

int write_file(const char*, const char* bytes, size_t size, off_t offset, fuse_file_info*) {
  return answer(pwrite(g_backing, bytes, size, offset));
}

int sync_file(const char*, int, fuse_file_info*) {
  const int failed = fdatasync(g_backing) != 0 ? errno : 0;
  std::this_thread::sleep_for(g_sync_delay);
  return -failed;
}

int discard(const char*, int mode, off_t offset, off_t length, fuse_file_info*) {
  return fallocate(g_backing, mode, offset, length) != 0 ? -errno : 0;
}

fuse_operations operations() {
  fuse_operations table = {};
  table.getattr = get_attributes;
  table.readdir = read_directory;
  table.open = open_file;
  table.read = read_file;
  table.write = write_file;
  table.fsync = sync_file;
  table.fallocate = discard;
  return table;
}

}  // namespace

// canopy-bench-slow-disk BACKING MICROSECONDS DIRECTORY [options of libfuse]
int main(int count, char** words) {
  if (count < 4) {
    std::fprintf(stderr, "usage: %s BACKING-FILE SYNC-MICROSECONDS DIRECTORY [-f]\n", words[0]);
    return 2;
  }
  unsigned delay = 0;
  const char* end = words[2] + std::strlen(words[2]);
  if (auto [rest, wrong] = std::from_chars(words[2], end, delay); wrong != std::errc{} || rest != end) {
    std::fprintf(stderr, "%s: not a number of microseconds\n", words[2]);
    return 2;
  }
  g_sync_delay = std::chrono::microseconds(delay);
  g_backing = open(words[1], O_RDWR | O_CLOEXEC);
  if (g_backing < 0) {
    std::perror(words[1]);
    return 1;
  }
  words[2] = words[0];
  const fuse_operations table = operations();
  return fuse_main(count - 2, words + 2, &table, nullptr);
}
