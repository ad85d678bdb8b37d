// Files without a name: removed while open, and O_TMPFILE.
#include <sys/mman.h>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

void while_open(Case& test) {
  const int file = must_open(test, "f", O_RDWR | O_CREAT);
  test.count("write", pwrite(file, "before", 6, 0));
  const int other = must_open(test, "f", O_RDONLY);
  test.done("unlink", unlink("f"));
  test.text("list", names_in("."));
  test.count("write then", pwrite(file, " and after", 10, 6));
  test.text("read", content_of(file));
  test.text("by the other descriptor", content_of(other));
  struct stat found = {};
  test.done("fstat", fstat(file, &found));
  test.count("links", static_cast<long>(found.st_nlink));
  test.count("size", found.st_size);
  test.done("fchmod", fchmod(file, 0600));
  test.done("fchown", fchown(file, getuid(), getgid()));
  test.done("ftruncate", ftruncate(file, 3));
  test.text("cut", content_of(file));
  test.done("futimens", futimens(file, nullptr));
  test.done("fsync", fsync(file));
  must_write(test, "f", "another");
  test.text("a new one of the name", content_of("f"));
  test.text("the old one", content_of(file));
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  test.done("open it again", open(path.c_str(), O_RDONLY));
}

void mapped(Case& test) {
  must_write(test, "f", std::string(4096, 'a'));
  const int file = must_open(test, "f", O_RDWR);
  void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) test.broken("mmap");
  test.done("unlink", unlink("f"));
  static_cast<char*>(at)[0] = 'b';
  test.done("msync", msync(at, 4096, MS_SYNC));
  test.text("read", content_of(file).substr(0, 2));
}

void replaced(Case& test) {
  must_write(test, "old", "old");
  must_write(test, "new", "new");
  const int file = must_open(test, "old", O_RDWR);
  test.done("rename over it", rename("new", "old"));
  test.count("write", pwrite(file, "O", 1, 0));
  test.text("the open one", content_of(file));
  test.text("the one of the name", content_of("old"));
}

void never_named(Case& test) {
  const int file = open(".", O_RDWR | O_TMPFILE, 0600);
  test.done("open", file);
  if (file < 0) return;
  test.count("write", write(file, "content", 7));
  test.text("list", names_in("."));
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  test.done("give it a name", linkat(AT_FDCWD, path.c_str(), AT_FDCWD, "f", AT_SYMLINK_FOLLOW));
  test.text("content", content_of("f"));
}

}  // namespace

void add_removed(Suite& suite) {
  suite.run("removed", "while_open", while_open);
  suite.run("removed", "mapped", mapped);
  suite.run("removed", "replaced", replaced);
  suite.run("removed", "never_named", never_named);
}

}  // namespace canopy::posix
