#include "daemon/store/local/system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>

namespace canopy::local {

namespace {

constexpr size_t kDirectoryBufferBytes = 32768;
// The smallest record of getdents64 is 24 bytes, so that this many entries at most come from one call.
constexpr size_t kEntriesACallMax = kDirectoryBufferBytes / 24;

FileTime time_from(const statx_timestamp& at) { return FileTime{at.tv_sec, at.tv_nsec}; }

int change_mode(int fd, bool path_only, uint32_t mode) {
  if (!path_only) return fchmod(fd, mode) == 0 ? 0 : errno;
#ifdef SYS_fchmodat2
  if (syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH) == 0) return 0;
  if (errno != ENOSYS) return errno;
#endif
  return chmod(fmt::format("/proc/self/fd/{}", fd).c_str(), mode) == 0 ? 0 : errno;
}

}  // namespace

const unsigned kStatxMask = STATX_BASIC_STATS | STATX_BTIME;

std::unexpected<Error> fail_system(int error_number, std::string object, std::string_view operation) {
  switch (error_number) {
    case EMFILE:
      return fail(
          Code::kTryAgain, std::move(object),
          fmt::format("{}: this process has too many open files; raise its limit (LimitNOFILE)", operation));
    case ENFILE:
      return fail(Code::kTryAgain, std::move(object),
                  fmt::format("{}: the system has too many open files; raise fs.file-max", operation));
    case ENOSPC:
      return fail(Code::kStoreFull, std::move(object),
                  fmt::format("{}: no space left on the store", operation));
    case ELOOP:
      return fail(Code::kLoop, std::move(object),
                  fmt::format("{}: a symbolic link is on the way, and none is followed", operation));
    default: return fail_errno(error_number, std::move(object), operation);
  }
}

FileType type_from_mode(unsigned mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return FileType::kRegular;
    case S_IFDIR: return FileType::kDirectory;
    case S_IFLNK: return FileType::kSymlink;
    default: return FileType::kOther;
  }
}

FileType type_from_entry(unsigned char d_type) {
  switch (d_type) {
    case DT_REG: return FileType::kRegular;
    case DT_DIR: return FileType::kDirectory;
    case DT_LNK: return FileType::kSymlink;
    default: return FileType::kOther;
  }
}

Attributes attributes_from(const struct statx& found) {
  Attributes out;
  out.type = type_from_mode(found.stx_mode);
  out.mode = found.stx_mode & 07777;
  out.links = found.stx_nlink;
  out.uid = found.stx_uid;
  out.gid = found.stx_gid;
  out.size = found.stx_size;
  out.allocated = found.stx_blocks * 512;
  out.file_id = found.stx_ino;
  out.accessed = time_from(found.stx_atime);
  out.modified = time_from(found.stx_mtime);
  out.changed = time_from(found.stx_ctime);
  if ((found.stx_mask & STATX_BTIME) != 0) out.born = time_from(found.stx_btime);
  return out;
}

Result<Attributes> attributes_now(int fd, const std::string& object) {
  struct statx found;
  if (statx(fd, "", AT_EMPTY_PATH, kStatxMask, &found) != 0) return fail_system(errno, object, "statx");
  return attributes_from(found);
}

Result<void> change_now(int fd, bool path_only, const SetAttributes& change, const std::string& object) {
  if (change.size && ftruncate(fd, static_cast<off_t>(*change.size)) != 0)
    return fail_system(errno, object, "ftruncate");
  if (change.uid || change.gid) {  // before the mode: changing the owner clears set-id bits
    uid_t uid = change.uid.value_or(static_cast<uid_t>(-1));
    gid_t gid = change.gid.value_or(static_cast<gid_t>(-1));
    if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) != 0) return fail_system(errno, object, "fchown");
  }
  if (change.mode) {
    if (int error_number = change_mode(fd, path_only, *change.mode & 07777)) {
      return fail_system(error_number, object, "fchmod");
    }
  }
  if (change.accessed || change.modified) {
    auto to_timespec = [](const std::optional<FileTime>& time) {
      timespec out{0, UTIME_OMIT};
      if (time) out = timespec{static_cast<time_t>(time->seconds), static_cast<long>(time->nanoseconds)};
      return out;
    };
    timespec times[2] = {to_timespec(change.accessed), to_timespec(change.modified)};
    int answer = path_only ? utimensat(fd, "", times, AT_EMPTY_PATH) : futimens(fd, times);
    if (answer != 0) return fail_system(errno, object, "utimens");
  }
  return {};
}

Result<DirectoryPage> list_now(int fd, uint64_t cookie, Listing listing, size_t most,
                               const std::string& object) {
  if (lseek(fd, static_cast<off_t>(cookie), SEEK_SET) < 0) return fail_system(errno, object, "lseek");
  DirectoryPage page;
  page.next_cookie = cookie;
  alignas(dirent64) char buffer[kDirectoryBufferBytes];
  // No further call when its entries might not all find room; those of the first that find none wait.
  const size_t full = most > kEntriesACallMax ? most - kEntriesACallMax : 0;
  do {
    ssize_t got = getdents64(fd, buffer, sizeof buffer);
    if (got < 0) return fail_system(errno, object, "getdents64");
    if (got == 0) {
      page.end = true;
      break;
    }
    for (ssize_t at = 0; at < got && page.entries.size() < most;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      at += entry->d_reclen;
      page.next_cookie = static_cast<uint64_t>(entry->d_off);
      std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (listing == Listing::kAttributes) {
        struct statx found;
        if (statx(fd, entry->d_name, AT_SYMLINK_NOFOLLOW, kStatxMask, &found) != 0) {
          if (errno == ENOENT) continue;  // it has gone meanwhile
          return fail_system(errno, object, "statx");
        }
        page.attributes.push_back(attributes_from(found));
      }
      FileType type = type_from_entry(entry->d_type);
      if (entry->d_type == DT_UNKNOWN) {  // some file systems do not say
        struct stat found;
        if (fstatat(fd, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0)
          type = type_from_mode(found.st_mode);
      }
      page.entries.push_back(DirectoryEntry{std::string(name), type, entry->d_ino, page.next_cookie});
    }
  } while (page.entries.size() <= full);
  return page;
}

}  // namespace canopy::local
