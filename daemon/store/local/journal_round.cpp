#include "daemon/store/local/journal_round.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "daemon/runtime/workers.h"
#include "daemon/store/local/local_file.h"
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

Result<void> write_all(int fd, std::string_view left, off_t offset, const std::string& object) {
  while (!left.empty()) {
    const ssize_t wrote = pwrite(fd, left.data(), left.size(), offset);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail_system(errno, object, "write");
    if (wrote == 0) return fail(Code::kIo, object, "write: the system took no byte and gave no reason");
    left.remove_prefix(static_cast<size_t>(wrote));
    offset += wrote;
  }
  return {};
}

// What has the length of the old content, within one page, in memory and with room, nothing can keep from
// being overwritten, and nobody sees more than a moment of it: a tenth of the work of making, exchanging and
// removing a file. Where it would be longer or shorter, or has other names, it is replaced instead, as
// whoever reads it would find an end that is not its own. Answers whether the file is written.
bool overwrite(int root, const Replacement& what) {
  if (!what.in_place || what.text.empty() || what.text.size() > journal::kInPlaceBytesMax) return false;
  open_how how{};
  how.flags = O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  // On another file system the sync of this one would say nothing of it.
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  Fd file(static_cast<int>(syscall(SYS_openat2, root, what.path.c_str(), &how, sizeof how)));
  if (!file) return false;
  struct stat there;
  if (fstat(file.get(), &there) != 0 || !S_ISREG(there.st_mode) || there.st_nlink != 1) return false;
  const auto bytes = static_cast<off_t>(what.text.size());
  if (there.st_size != bytes || there.st_blocks * 512 < bytes) return false;
  char first;
  iovec piece{&first, 1};
  if (preadv2(file.get(), &piece, 1, 0, RWF_NOWAIT) != 1)
    return false;  // else it would be read from the disk first
  return pwrite(file.get(), what.text.data(), what.text.size(), 0) == bytes;
}

// A rename over a file would have ext4 begin to write the new one at once (auto_da_alloc); an exchange does
// not, and the journal holds the content until a sync of everything.
Result<void> place(LastDirectory& stage, LastDirectory& target, const Replacement& what) {
  const int from = stage.of(what.staged);
  if (from < 0) return fail_system(errno, what.staged, "open");
  const int to = target.of(what.path);
  if (to < 0) return fail_system(errno, what.path, "open");
  const std::string staged(store_leaf_of(what.staged)), leaf(store_leaf_of(what.path));
  {
    Fd file(openat(from, staged.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return fail_system(errno, what.staged, "open");
    CANOPY_TRY(write_all(file.get(), what.text, 0, what.staged));
  }
  struct stat there;
  const bool old = fstatat(to, leaf.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
  if (old && S_ISDIR(there.st_mode)) return fail_system(EISDIR, what.path, "rename");
  const unsigned how = old ? RENAME_EXCHANGE : RENAME_NOREPLACE;
  if (renameat2(from, staged.c_str(), to, leaf.c_str(), how) != 0)
    return fail_system(errno, what.staged, "rename to " + what.path);
  if (old) unlinkat(from, staged.c_str(), 0);  // else it goes with the stage
  return {};
}

Result<void> round_now(int root, bool in_place, int file, uint64_t offset, std::string_view batch,
                       std::span<JournalOptions::Step> steps) {
  const std::string object(journal::kDirectory);
  CANOPY_TRY(write_all(file, batch, static_cast<off_t>(offset), object));
  if (fdatasync(file) != 0) return fail_system(errno, object, "fdatasync");
  LastDirectory stage(root), target(root);
  for (JournalOptions::Step& step : steps)
    if (!in_place || !overwrite(root, *step.what)) step.result = place(stage, target, *step.what);
  return {};
}

struct Rounds {
  UringLoop& loop;
  Fd root;
  bool in_place;
  WorkerPool worker{"canopy-journal", 1, 4};  // a disk that does not answer holds up this one alone
};

Task<Result<void>> run_round(Rounds& rounds, int file, uint64_t offset, std::string_view batch,
                             std::span<JournalOptions::Step> steps) {
  co_return co_await rounds.worker.run(
      rounds.loop, [&] { return round_now(rounds.root.get(), rounds.in_place, file, offset, batch, steps); });
}

long file_system_of(int fd) {  // 0: not known
  struct statfs found;
  return fstatfs(fd, &found) == 0 ? static_cast<long>(found.f_type) : 0;
}

// Where a block that has been written once is written again at its place. Others (XFS with shared blocks,
// Btrfs) look for room each time, and may have none.
bool overwrites_in_place(int fd) { return file_system_of(fd) == EXT4_SUPER_MAGIC; }

}  // namespace

bool syncs_as_a_whole(int fd) {
  switch (file_system_of(fd)) {
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case kXfsMagic:
    case kF2fsMagic: return true;
    default: return false;
  }
}

JournalOptions::Round make_journal_round(UringLoop& loop, Fd root) {
  const bool in_place = overwrites_in_place(root.get());
  return [rounds = std::make_unique<Rounds>(loop, std::move(root), in_place)](
             File& file, uint64_t offset, std::string_view batch, std::span<JournalOptions::Step> steps) {
    return run_round(*rounds, static_cast<LocalFile&>(file).descriptor(), offset, batch, steps);
  };
}

}  // namespace canopy::local
