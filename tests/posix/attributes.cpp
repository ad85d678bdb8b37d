// Modes, owners, times, and the space of the file system.
#include <sys/statvfs.h>

#include <cerrno>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

struct stat attributes_of(Case& test, const char* path) {
  struct stat found = {};
  must(test, "lstat", lstat(path, &found));
  return found;
}

bool before(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

void modes(Case& test) {
  must_write(test, "f", "");
  for (const mode_t mode : {0644u, 0u, 07777u, 04755u, 01000u}) {
    test.done("chmod", chmod("f", mode));
    test.count("mode", attributes_of(test, "f").st_mode);
  }
  const int file = must_open(test, "f", O_RDONLY);
  test.done("fchmod", fchmod(file, 0600));
  test.count("its mode", attributes_of(test, "f").st_mode);
  must(test, "mkdir", mkdir("d", 0755));
  test.done("of a directory", chmod("d", 02700));
  test.count("its mode", attributes_of(test, "d").st_mode);
  must(test, "symlink", symlink("f", "s"));
  test.done("through a symlink", chmod("s", 0640));
  test.count("mode through it", attributes_of(test, "f").st_mode);
}

void owners(Case& test) {
  must_write(test, "f", "");
  must(test, "chmod", chmod("f", 06755));
  if (geteuid() != 0) {
    test.text("chown", "needs root");
    return;
  }
  test.done("chown", chown("f", 1234, 5678));
  struct stat found = attributes_of(test, "f");
  test.count("user", found.st_uid);
  test.count("group", found.st_gid);
  test.count("mode without set-id bits", found.st_mode);
  test.done("group alone", chown("f", static_cast<uid_t>(-1), 99));
  found = attributes_of(test, "f");
  test.count("user stays", found.st_uid);
  test.count("group then", found.st_gid);
  must(test, "symlink", symlink("f", "s"));
  test.done("lchown", lchown("s", 7, 8));
  test.count("the link's user", attributes_of(test, "s").st_uid);
  test.count("the file's user", attributes_of(test, "f").st_uid);
  must(test, "mkdir", mkdir("d", 0755));
  test.done("of a directory", chown("d", 3, 4));
  test.count("its user", attributes_of(test, "d").st_uid);
}

void times(Case& test) {
  must_write(test, "f", "");
  const timespec given[2] = {{1'000'000'001, 123'456'789}, {2'000'000'002, 987'654'321}};
  test.done("utimens", utimensat(AT_FDCWD, "f", given, 0));
  struct stat found = attributes_of(test, "f");
  test.count("access seconds", found.st_atim.tv_sec);
  test.count("access nanoseconds", found.st_atim.tv_nsec);
  test.count("change seconds", found.st_mtim.tv_sec);
  test.count("change nanoseconds", found.st_mtim.tv_nsec);
  const timespec one[2] = {{0, UTIME_OMIT}, {-1, 500}};
  test.done("one of them, before 1970", utimensat(AT_FDCWD, "f", one, 0));
  found = attributes_of(test, "f");
  test.count("access stays", found.st_atim.tv_nsec);
  test.text("change seconds before 1970", std::to_string(found.st_mtim.tv_sec));
  const timespec far[2] = {{5'000'000'000, 1}, {10'000'000'000, 2}};
  test.done("beyond 2038", utimensat(AT_FDCWD, "f", far, 0));
  test.count("change seconds beyond 2038", attributes_of(test, "f").st_mtim.tv_sec);
  must(test, "symlink", symlink("f", "s"));
  test.done("of a symlink", utimensat(AT_FDCWD, "s", given, AT_SYMLINK_NOFOLLOW));
  test.count("its seconds", attributes_of(test, "s").st_mtim.tv_sec);
  test.count("the file's", attributes_of(test, "f").st_mtim.tv_sec);
  test.done("now", utimensat(AT_FDCWD, "f", nullptr, 0));
  test.yes("now is later", attributes_of(test, "f").st_mtim.tv_sec < 5'000'000'000);
  const timespec wrong[2] = {{0, 1'000'000'000}, {0, 0}};
  test.done("nanoseconds too many", utimensat(AT_FDCWD, "f", wrong, 0));
  const int file = must_open(test, "f", O_RDONLY);
  test.done("futimens", futimens(file, given));
  test.count("nanoseconds", attributes_of(test, "f").st_mtim.tv_nsec);
}

// Sets times of long ago, does something, and says which have moved on.
struct Watch {
  Watch(Case& to, const char* of) : test(to), path(of) {
    const timespec old[2] = {{1000, 0}, {1000, 0}};
    must(test, "utimens", utimensat(AT_FDCWD, path, old, 0));
    start = attributes_of(test, path);
    usleep(20'000);  // more than a tick of the kernel's clock
  }
  void moved(const char* what) {
    const struct stat now = attributes_of(test, path);
    test.text(what, std::string(before(start.st_mtim, now.st_mtim) ? "m" : "-") +
                        (before(start.st_ctim, now.st_ctim) ? "c" : "-"));
  }
  Case& test;
  const char* path;
  struct stat start = {};
};

void times_of_changes(Case& test) {
  must_write(test, "f", "content");
  must(test, "mkdir", mkdir("d", 0755));
  const int file = must_open(test, "f", O_RDWR);
  Watch write_watch(test, "f");
  must(test, "pwrite", pwrite(file, "x", 1, 0));
  write_watch.moved("write");
  Watch truncate_watch(test, "f");
  must(test, "ftruncate", ftruncate(file, 100));
  truncate_watch.moved("ftruncate");
  Watch mode_watch(test, "f");
  must(test, "chmod", chmod("f", 0600));
  mode_watch.moved("chmod");
  Watch link_watch(test, "f");
  must(test, "link", link("f", "g"));
  link_watch.moved("link");
  Watch rename_watch(test, "f");
  must(test, "rename", rename("g", "h"));
  rename_watch.moved("rename of another name");
  Watch unlink_watch(test, "f");
  must(test, "unlink", unlink("h"));
  unlink_watch.moved("unlink");
  Watch create_watch(test, "d");
  must_write(test, "d/x", "");
  create_watch.moved("directory: create");
  Watch inner_watch(test, "d");
  must_write(test, "d/x", "more");
  inner_watch.moved("directory: write within");
  Watch move_watch(test, "d");
  must(test, "rename", rename("d/x", "d/y"));
  move_watch.moved("directory: rename");
  Watch remove_watch(test, "d");
  must(test, "unlink", unlink("d/y"));
  remove_watch.moved("directory: unlink");
}

void sizes(Case& test) {
  must_write(test, "f", std::string(10'000, 'x'));
  test.count("size", attributes_of(test, "f").st_size);
  const int file = must_open(test, "f", O_WRONLY | O_APPEND);
  test.count("append", write(file, "y", 1));
  test.count("size then", attributes_of(test, "f").st_size);
  must(test, "fsync", fsync(file));
  test.yes("blocks", attributes_of(test, "f").st_blocks * 512 >= 10'001);
  test.count("block size", attributes_of(test, "f").st_blksize);
}

void space(Case& test) {
  struct statvfs found = {};
  test.done("statvfs", statvfs(".", &found));
  test.count("longest name", static_cast<long>(found.f_namemax));
  test.count("block", static_cast<long>(found.f_bsize));
  test.count("fragment", static_cast<long>(found.f_frsize));
  test.yes("blocks",
           found.f_blocks > 0 && found.f_bfree <= found.f_blocks && found.f_bavail <= found.f_bfree);
  test.yes("files", found.f_files > 0 && found.f_ffree <= found.f_files);
  test.yes("written to", (found.f_flag & ST_RDONLY) == 0);
  test.count("PATH_MAX", pathconf(".", _PC_PATH_MAX));
  test.count("LINK_MAX is some", pathconf(".", _PC_LINK_MAX) > 1);
}

}  // namespace

void add_attributes(Suite& suite) {
  suite.run("attributes", "modes", modes);
  suite.run("attributes", "owners", owners);
  suite.run("attributes", "times", times);
  suite.run("attributes", "times_of_changes", times_of_changes);
  suite.run("attributes", "sizes", sizes);
  suite.run("attributes", "space", space);
}

}  // namespace canopy::posix
