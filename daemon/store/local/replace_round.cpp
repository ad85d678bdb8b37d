#include "daemon/store/local/replace_round.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include <cerrno>

#include "daemon/store/store_path.h"

namespace canopy::local {

namespace {

constexpr long kXfsMagic = 0x58465342;
constexpr long kF2fsMagic = 0xF2F52010;

// As LocalStore opens: below the root, and through no symbolic link.
int open_beneath(int root, const char* path, int flags, uint32_t mode) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  while (true) {
    const long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) return static_cast<int>(fd);
  }
}

// The directory of the name that was asked for last: those that follow one another often have the same.
class LastDirectory {
 public:
  explicit LastDirectory(int root) : root_(root) {}

  int of(const std::string& path) {  // -1 and errno
    const std::string_view parent = store_parent_of(path);
    if (fd_ && parent == path_) return fd_.get();
    path_ = parent;
    fd_ = Fd(open_beneath(root_, path_.empty() ? "." : path_.c_str(), O_PATH | O_DIRECTORY, 0));
    return fd_.get();
  }

 private:
  const int root_;
  std::string path_;
  Fd fd_;
};

Result<void> write_staged(int root, const Replacement& what) {
  Fd file(open_beneath(root, what.staged.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (!file) return fail_system(errno, what.staged, "open");
  std::string_view left = what.text;
  while (!left.empty()) {
    const ssize_t wrote = write(file.get(), left.data(), left.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail_system(errno, what.staged, "write");
    if (wrote == 0) return fail(Code::kIo, what.staged, "write: the system took no byte and gave no reason");
    left.remove_prefix(static_cast<size_t>(wrote));
  }
  return {};
}

Result<void> rename_staged(LastDirectory& stage, LastDirectory& target, const Replacement& what) {
  const int from = stage.of(what.staged);
  if (from < 0) return fail_system(errno, what.staged, "open");
  const int to = target.of(what.path);
  if (to < 0) return fail_system(errno, what.path, "open");
  const std::string from_leaf(store_leaf_of(what.staged)), to_leaf(store_leaf_of(what.path));
  if (renameat(from, from_leaf.c_str(), to, to_leaf.c_str()) == 0) return {};
  const bool about_target = errno == ENOTEMPTY || errno == EISDIR || errno == ENOTDIR || errno == EEXIST;
  if (about_target) return fail_system(errno, what.path, "rename");
  return fail_system(errno, what.staged, "rename to " + what.path);
}

Result<void> round_now(int root, const ReplaceGroups::Group& renames, const ReplaceGroups::Group& writes) {
  LastDirectory stage(root), target(root);
  for (const auto& item : renames) item->result = rename_staged(stage, target, item->what);
  for (const auto& item : writes) item->result = write_staged(root, item->what);
  if (syncfs(root) != 0) return fail_system(errno, "a group of replaced files", "syncfs");
  return {};
}

}  // namespace

bool syncs_as_a_whole(int fd) {
  struct statfs found;
  if (fstatfs(fd, &found) != 0) return false;
  switch (static_cast<long>(found.f_type)) {
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case kXfsMagic:
    case kF2fsMagic: return true;
    default: return false;
  }
}

Task<Result<void>> replace_round(const Blocking& calls, int root, ReplaceGroups::Group renames,
                                 ReplaceGroups::Group writes) {
  co_return co_await calls.run([&] { return round_now(root, renames, writes); });
}

}  // namespace canopy::local
