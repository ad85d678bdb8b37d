#include "daemon/store/local/local_store.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <cerrno>

#include "daemon/store/local/journal_round.h"
#include "daemon/store/local/local_file.h"
#include "daemon/store/store_path.h"

namespace canopy {

using local::fail_system;
using local::Fd;

LocalStore::LocalStore(UringLoop& loop, Fd root, LocalStoreOptions options)
    : loop_(loop),
      root_(std::move(root)),
      options_(std::move(options)),
      blocking_(loop, options_.workers, options_.shared),
      directory_sync_(blocking_) {}

LocalStore::~LocalStore() = default;

bool LocalStore::may_have_journal() const { return !options_.shared && local::syncs_as_a_whole(root_.get()); }

JournalOptions::Round LocalStore::journal_round() const {
  return local::make_journal_round(loop_, Fd(fcntl(root_.get(), F_DUPFD_CLOEXEC, 0)));
}

std::pair<uint64_t, uint64_t> LocalStore::identity() const {
  struct stat found{};
  (void)fstat(root_.get(), &found);
  return {found.st_dev, found.st_ino};
}

Result<std::unique_ptr<LocalStore>> LocalStore::open_root(UringLoop& loop, const std::string& root,
                                                          LocalStoreOptions options) {
  Fd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_system(errno, root, "opening the root of a store");
  return std::unique_ptr<LocalStore>(new LocalStore(loop, std::move(fd), std::move(options)));
}

Task<Result<Fd>> LocalStore::open_at(std::string path, int flags, uint32_t mode) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  std::string at = path.empty() ? "." : path;
  if ((flags & (O_CREAT | O_TRUNC)) == 0 &&
      !options_.shared) {  // what the kernel has in its memory it finds at once
    open_how known = how;
    known.resolve |= RESOLVE_CACHED;
    const long fd = syscall(SYS_openat2, root_.get(), at.c_str(), &known, sizeof known);
    if (fd >= 0) co_return Fd(static_cast<int>(fd));
    if (errno == ENOENT) co_return fail_system(ENOENT, std::move(path), "open");
  }
  auto now = [&] {
    return static_cast<int>(syscall(SYS_openat2, root_.get(), at.c_str(), &how, sizeof how));
  };
  auto later = [&](io_uring_sqe* sqe) { io_uring_prep_openat2(sqe, root_.get(), at.c_str(), &how); };
  while (true) {
    // Emptying a large file takes its time.
    int32_t fd =
        (flags & O_TRUNC) == 0 ? co_await blocking_.quickly(now, later) : co_await blocking_.by_ring(later);
    if (fd >= 0) co_return Fd(fd);
    if (fd != -EINTR && fd != -EAGAIN) co_return fail_system(-fd, std::move(path), "open");
    // EAGAIN: a rename elsewhere ran against the look-up (RESOLVE_BENEATH); once more.
  }
}

Task<Result<LocalStore::Parent>> LocalStore::open_parent(std::string path, Durable durable) {
  CANOPY_CO_TRY(check_store_name(path));
  Parent parent;
  // What is not to be synced needs no open file, which costs more than the name.
  const int how = durable == Durable::kNo ? O_PATH : O_RDONLY;
  auto fd = co_await open_at(std::string(store_parent_of(path)), how | O_DIRECTORY, 0);
  if (!fd) co_return fail(fd.error().code(), std::move(path), fd.error().message());
  parent.fd = std::move(*fd);
  parent.leaf = store_leaf_of(path);
  co_return parent;
}

Task<Result<void>> LocalStore::settle(Parent& parent, std::string path, Durable durable) {
  if (durable == Durable::kNo) co_return Result<void>();
  co_return co_await directory_sync_.sync(parent.fd.get(), std::move(path));
}

Task<Result<std::unique_ptr<File>>> LocalStore::open(std::string path, OpenOptions options) {
  if ((options.create || options.truncate) && !options.write) {
    co_return fail(Code::kInvalidArgument, path, "creating and truncating need an open for writing");
  }
  CANOPY_CO_TRY(check_store_path(path));
  if (path.empty()) co_return fail(Code::kIsDirectory, "/", "is the root directory");
  int flags = options.write ? O_RDWR : O_RDONLY;
  if (options.create) flags |= O_CREAT;
  if (options.create && options.exclusive) flags |= O_EXCL;
  if (options.truncate) flags |= O_TRUNC;
  // O_NONBLOCK so that a FIFO or device that somebody put into the tree cannot hold us up.
  bool keeps_time = options.keep_access_time && !options.write;
  auto opened = co_await open_at(path, flags | O_NONBLOCK | O_NOCTTY | (keeps_time ? O_NOATIME : 0),
                                 options.create ? options.mode & 07777 : 0);
  if (!opened && keeps_time && opened.error().code() == Code::kPermissionDenied) {  // it is another user's
    keeps_time = false;
    opened = co_await open_at(path, flags | O_NONBLOCK | O_NOCTTY, 0);
  }
  if (!opened) co_return fail(std::move(opened).error());
  Fd fd = std::move(*opened);
  struct stat found;
  if (fstat(fd.get(), &found) != 0) co_return fail_system(errno, path, "fstat");
  if (S_ISDIR(found.st_mode)) co_return fail(Code::kIsDirectory, path, "is a directory");
  if (!S_ISREG(found.st_mode)) co_return fail(Code::kUnsupported, path, "neither a file nor a directory");
  if (fcntl(fd.get(), F_SETFL, keeps_time ? O_NOATIME : 0) != 0)
    co_return fail_system(errno, path, "fcntl");  // else io_uring would answer EAGAIN
  std::unique_ptr<File> file = std::make_unique<local::LocalFile>(blocking_, std::move(fd), std::move(path),
                                                                  options.write, options_.shared);
  co_return file;
}

Task<Result<Attributes>> LocalStore::attributes(std::string path) {
  CANOPY_CO_TRY(check_store_path(path));
  CANOPY_CO_ASSIGN(Fd fd, co_await open_at(path, O_PATH | O_NOFOLLOW, 0));
  co_return co_await local::fresh_attributes(loop_, fd.get(), options_.shared, std::move(path));
}

Task<Result<void>> LocalStore::set_attributes(std::string path, SetAttributes change, Durable durable) {
  CANOPY_CO_TRY(check_store_path(path));
  bool path_only = false;
  auto opened = co_await open_at(path, (change.size ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY, 0);
  if (!opened && !change.size) {  // a symbolic link, or a file that we may change but not read
    path_only = true;
    opened = co_await open_at(path, O_PATH | O_NOFOLLOW, 0);
    if (!opened) co_return fail(opened.error());
    CANOPY_CO_ASSIGN(Attributes found, local::attributes_now(opened->get(), path));
    if (found.type == FileType::kSymlink && change.mode) {
      co_return fail(Code::kUnsupported, path, "a symbolic link has no mode of its own");
    }
  }
  if (!opened) co_return fail(opened.error());
  if (change.size) {
    CANOPY_CO_TRY(
        co_await blocking_.run([&] { return local::change_now(opened->get(), path_only, change, path); }));
  } else {
    CANOPY_CO_TRY(local::change_now(opened->get(), path_only, change, path));
  }
  if (durable == Durable::kNo) co_return Result<void>();
  if (path_only) co_return co_await sync_whole_file_system(std::move(path));
  int32_t answer =
      co_await blocking_.by_ring([&](io_uring_sqe* sqe) { io_uring_prep_fsync(sqe, opened->get(), 0); });
  if (answer == -EINVAL) co_return co_await sync_whole_file_system(std::move(path));  // a FIFO, a device
  if (answer < 0) co_return fail_system(-answer, path, "fsync");
  co_return Result<void>();
}

// For what no descriptor of its own can sync: a symbolic link, a special file, a file that may not be opened.
// It is rare.
Task<Result<void>> LocalStore::sync_whole_file_system(std::string path) {
  co_return co_await blocking_.run([&]() -> Result<void> {
    if (syncfs(root_.get()) != 0) return fail_system(errno, path, "syncfs");
    return {};
  });
}

Task<Result<void>> LocalStore::make_directory(std::string path, uint32_t mode, Durable durable) {
  if (path.empty()) co_return fail(Code::kAlreadyExists, "/", "the root is always there");
  CANOPY_CO_ASSIGN(Parent parent, co_await open_parent(path, durable));
  const int in = parent.fd.get();
  const char* leaf = parent.leaf.c_str();
  int32_t answer = co_await blocking_.quickly(
      [&] { return mkdirat(in, leaf, mode & 07777); },
      [&](io_uring_sqe* sqe) { io_uring_prep_mkdirat(sqe, in, leaf, mode & 07777); });
  if (answer < 0) co_return fail_system(-answer, std::move(path), "mkdir");
  co_return co_await settle(parent, std::move(path), durable);
}

// With its last name the space of a large file is given back, which takes its time.
bool LocalStore::is_large(int directory, const std::string& leaf) {  // leaf empty: the descriptor itself
  constexpr off_t kLarge = 16 << 20;
  struct stat there;
  return fstatat(directory, leaf.c_str(), &there, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0 &&
         there.st_nlink == 1 && S_ISREG(there.st_mode) && there.st_size > kLarge;
}

Task<Result<void>> LocalStore::unlink(std::string path, int flags, Durable durable) {
  CANOPY_CO_ASSIGN(Parent parent, co_await open_parent(path, durable));
  const int in = parent.fd.get();
  const char* leaf = parent.leaf.c_str();
  auto later = [&](io_uring_sqe* sqe) { io_uring_prep_unlinkat(sqe, in, leaf, flags); };
  // With its last name only the name goes as long as it is open; its inode and its space, which take as long
  // again, when it is closed behind the answer.
  Fd held;
  if (flags == 0 && blocking_.may_run_here()) held = Fd(openat(in, leaf, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  const bool large = held && is_large(held.get(), "");
  if (large) held = Fd();
  int32_t answer = large ? co_await blocking_.by_ring(later)
                         : co_await blocking_.quickly([&] { return unlinkat(in, leaf, flags); }, later);
  if (held) blocking_.close_later(std::move(held));
  if (answer < 0) co_return fail_system(-answer, std::move(path), flags == 0 ? "unlink" : "rmdir");
  co_return co_await settle(parent, std::move(path), durable);
}

Task<Result<void>> LocalStore::remove_directory(std::string path, Durable durable) {
  return unlink(std::move(path), AT_REMOVEDIR, durable);
}

Task<Result<void>> LocalStore::remove(std::string path, Durable durable) {
  return unlink(std::move(path), 0, durable);
}

Task<Result<void>> LocalStore::rename(std::string from, std::string to, RenameMode mode, Durable durable) {
  CANOPY_CO_ASSIGN(Parent source, co_await open_parent(from, durable));
  const bool within = store_parent_of(from) == store_parent_of(to);
  Parent elsewhere;
  if (within) {
    CANOPY_CO_TRY(check_store_name(to));
  } else {
    CANOPY_CO_ASSIGN(elsewhere, co_await open_parent(to, durable));
  }
  Parent& target = within ? source : elsewhere;
  const std::string to_leaf(store_leaf_of(to));
  unsigned flags = 0;
  if (mode == RenameMode::kNoReplace) flags = RENAME_NOREPLACE;
  if (mode == RenameMode::kExchange) flags = RENAME_EXCHANGE;
  const char* leaf = source.leaf.c_str();
  const char* new_leaf = to_leaf.c_str();
  auto later = [&](io_uring_sqe* sqe) {
    io_uring_prep_renameat(sqe, source.fd.get(), leaf, target.fd.get(), new_leaf, flags);
  };
  int32_t answer =
      mode != RenameMode::kNoReplace && is_large(target.fd.get(), to_leaf)
          ? co_await blocking_.by_ring(later)
          : co_await blocking_.quickly(
                [&] { return renameat2(source.fd.get(), leaf, target.fd.get(), new_leaf, flags); }, later);
  if (answer < 0) {
    bool about_target = answer == -EEXIST || answer == -ENOTEMPTY || answer == -EISDIR || answer == -ENOTDIR;
    if (about_target) co_return fail_system(-answer, std::move(to), "rename");
    // What moves into its place is often a file that nobody has heard of.
    co_return fail_system(-answer, std::move(from), "rename to " + to);
  }
  // The new name first: a crash between the two syncs may show both names, never none.
  CANOPY_CO_TRY(co_await settle(target, to, durable));
  if (!within) CANOPY_CO_TRY(co_await settle(source, from, durable));
  co_return Result<void>();
}

Task<Result<void>> LocalStore::sync_all() {
  if (!local::syncs_as_a_whole(root_.get())) co_return co_await Store::sync_all();
  co_return co_await sync_whole_file_system(options_.name);
}

Task<Result<void>> LocalStore::link(std::string from, std::string to, Durable durable) {
  CANOPY_CO_ASSIGN(Parent source, co_await open_parent(from, durable));
  CANOPY_CO_ASSIGN(Parent target, co_await open_parent(to, durable));
  const char* leaf = source.leaf.c_str();
  const char* new_leaf = target.leaf.c_str();
  int32_t answer = co_await blocking_.quickly(
      [&] { return linkat(source.fd.get(), leaf, target.fd.get(), new_leaf, 0); },
      [&](io_uring_sqe* sqe) {
        io_uring_prep_linkat(sqe, source.fd.get(), leaf, target.fd.get(), new_leaf, 0);
      });
  if (answer < 0) co_return fail_system(-answer, answer == -EEXIST ? std::move(to) : std::move(from), "link");
  co_return co_await settle(target, std::move(to), durable);
}

Task<Result<void>> LocalStore::make_symlink(std::string target, std::string path, Durable durable) {
  if (target.empty() || target.find('\0') != std::string::npos) {
    co_return fail(Code::kInvalidArgument, path, "a symbolic link needs a target without NUL bytes");
  }
  if (target.size() > kSymlinkBytesMax) co_return fail(Code::kNoSpaceForName, path, "the target is too long");
  CANOPY_CO_ASSIGN(Parent parent, co_await open_parent(path, durable));
  const char* leaf = parent.leaf.c_str();
  int32_t answer = co_await blocking_.quickly(
      [&] { return symlinkat(target.c_str(), parent.fd.get(), leaf); },
      [&](io_uring_sqe* sqe) { io_uring_prep_symlinkat(sqe, target.c_str(), parent.fd.get(), leaf); });
  if (answer < 0) co_return fail_system(-answer, std::move(path), "symlink");
  co_return co_await settle(parent, std::move(path), durable);
}

Task<Result<std::string>> LocalStore::read_symlink(std::string path) {
  CANOPY_CO_TRY(check_store_path(path));
  CANOPY_CO_ASSIGN(Fd fd, co_await open_at(path, O_PATH | O_NOFOLLOW, 0));
  CANOPY_CO_ASSIGN(Attributes found, local::attributes_now(fd.get(), path));
  if (found.type != FileType::kSymlink) co_return fail(Code::kInvalidArgument, path, "not a symbolic link");
  std::string target(kSymlinkBytesMax + 1, '\0');
  ssize_t size = readlinkat(fd.get(), "", target.data(), target.size());
  if (size < 0) co_return fail_system(errno, path, "readlink");
  target.resize(static_cast<size_t>(size));
  co_return target;
}

Task<Result<DirectoryPage>> LocalStore::list(std::string path, uint64_t cookie, Listing listing) {
  return list_up_to(std::move(path), cookie, listing, kStoreDirectoryPageEntries);
}

Task<Result<DirectoryPage>> LocalStore::list_few(std::string path, uint64_t cookie, size_t most) {
  return list_up_to(std::move(path), cookie, Listing::kAttributes,
                    std::clamp<size_t>(most, 1, kStoreDirectoryPageEntries));
}

Task<Result<DirectoryPage>> LocalStore::list_up_to(std::string path, uint64_t cookie, Listing listing,
                                                   size_t most) {
  CANOPY_CO_TRY(check_store_path(path));
  CANOPY_CO_ASSIGN(Fd fd, co_await open_at(path, O_RDONLY | O_DIRECTORY, 0));
  co_return co_await blocking_.run([&] { return local::list_now(fd.get(), cookie, listing, most, path); });
}

Task<Result<void>> LocalStore::sync_directory(std::string path) {
  CANOPY_CO_TRY(check_store_path(path));
  CANOPY_CO_ASSIGN(Fd fd, co_await open_at(path, O_RDONLY | O_DIRECTORY, 0));
  co_return co_await directory_sync_.sync(fd.get(), std::move(path));
}

// ------------------------------------------------------------------------------------------------ attributes

namespace {

// A path that means the very file, a symbolic link too, whatever its mode.
std::string path_of_descriptor(const Fd& fd) { return fmt::format("/proc/self/fd/{}", fd.get()); }

std::unexpected<Error> fail_xattr(int error_number, std::string path, const std::string& name,
                                  std::string_view operation) {
  if (error_number == ENODATA) {
    return std::unexpected<Error>(
        Error(Code::kNotFound, std::move(path), fmt::format("it has no attribute {}", name), ENODATA));
  }
  return fail_system(error_number, std::move(path), operation);
}

}  // namespace

Task<Result<std::string>> LocalStore::xattr(std::string path, std::string name) {
  CANOPY_CO_TRY(check_xattr_name(name));
  CANOPY_CO_TRY(check_store_path(path));
  CANOPY_CO_ASSIGN(Fd fd, co_await open_at(path, O_PATH | O_NOFOLLOW, 0));
  const std::string at = path_of_descriptor(fd);
  std::string value(256, '\0');
  while (true) {
    const ssize_t size = getxattr(at.c_str(), name.c_str(), value.data(), value.size());
    if (size >= 0) {
      value.resize(static_cast<size_t>(size));
      co_return value;
    }
    if (errno != ERANGE || value.size() >= kStoreXattrBytesMax)
      co_return fail_xattr(errno, std::move(path), name, "getxattr");
    value.resize(kStoreXattrBytesMax);
  }
}

Task<Result<std::vector<std::string>>> LocalStore::list_xattrs(std::string path) {
  CANOPY_CO_TRY(check_store_path(path));
  CANOPY_CO_ASSIGN(Fd fd, co_await open_at(path, O_PATH | O_NOFOLLOW, 0));
  std::string all(kStoreXattrBytesMax, '\0');
  const ssize_t size = listxattr(path_of_descriptor(fd).c_str(), all.data(), all.size());
  if (size < 0) co_return fail_system(errno, std::move(path), "listxattr");
  std::vector<std::string> names;
  for (size_t at = 0; at < static_cast<size_t>(size);) {
    names.emplace_back(all.c_str() + at);
    at += names.back().size() + 1;
  }
  co_return names;
}

Task<Result<void>> LocalStore::set_xattr(std::string path, std::string name, std::string value,
                                         XattrMode mode, Durable durable) {
  CANOPY_CO_TRY(check_xattr_name(name));
  CANOPY_CO_TRY(check_store_path(path));
  CANOPY_CO_ASSIGN(Fd fd, co_await open_at(path, O_PATH | O_NOFOLLOW, 0));
  const int flags = mode == XattrMode::kCreate    ? XATTR_CREATE
                    : mode == XattrMode::kReplace ? XATTR_REPLACE
                                                  : 0;
  if (setxattr(path_of_descriptor(fd).c_str(), name.c_str(), value.data(), value.size(), flags) != 0)
    co_return fail_xattr(errno, std::move(path), name, "setxattr");
  co_return co_await settle_xattrs(std::move(path), durable);
}

Task<Result<void>> LocalStore::remove_xattr(std::string path, std::string name, Durable durable) {
  CANOPY_CO_TRY(check_xattr_name(name));
  CANOPY_CO_TRY(check_store_path(path));
  CANOPY_CO_ASSIGN(Fd fd, co_await open_at(path, O_PATH | O_NOFOLLOW, 0));
  if (removexattr(path_of_descriptor(fd).c_str(), name.c_str()) != 0)
    co_return fail_xattr(errno, std::move(path), name, "removexattr");
  co_return co_await settle_xattrs(std::move(path), durable);
}

Task<Result<void>> LocalStore::settle_xattrs(std::string path, Durable durable) {
  if (durable == Durable::kNo) co_return Result<void>();
  co_return co_await set_attributes(std::move(path), SetAttributes{}, durable);
}

Task<Result<StoreSpace>> LocalStore::space() {
  struct statfs found;
  if (fstatfs(root_.get(), &found) != 0) co_return fail_system(errno, options_.name, "statfs");
  auto block = static_cast<uint64_t>(found.f_bsize);
  co_return StoreSpace{found.f_blocks * block, found.f_bavail * block, found.f_files, found.f_ffree};
}

}  // namespace canopy
