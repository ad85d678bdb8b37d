// Hard and symbolic links.
#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

long links_of(Case& test, const char* path) {
  struct stat found = {};
  must(test, "stat", lstat(path, &found));
  return static_cast<long>(found.st_nlink);
}

void hard(Case& test) {
  must_write(test, "a", "content");
  test.done("link", link("a", "b"));
  test.count("links", links_of(test, "a"));
  struct stat a = {}, b = {};
  must(test, "stat", stat("a", &a));
  must(test, "stat", stat("b", &b));
  test.yes("one file", a.st_ino == b.st_ino);
  must_write(test, "b", "changed");
  test.text("by the other name", content_of("a"));
  test.done("over a file", link("a", "b"));
  must(test, "mkdir", mkdir("d", 0755));
  test.done("in a directory", link("a", "d/c"));
  test.count("links then", links_of(test, "d/c"));
  test.done("of a directory", link("d", "e"));
  test.done("over a directory", link("a", "d"));
  test.done("unlink the first", unlink("a"));
  test.text("by the second", content_of("b"));
  test.count("links at last", links_of(test, "b"));
}

void symbolic(Case& test) {
  char target[5000];
  must_write(test, "f", "content");
  test.done("symlink", symlink("f", "s"));
  test.text("content", content_of("s"));
  const ssize_t got = readlink("s", target, sizeof target);
  test.count("readlink", got);
  struct stat found = {};
  must(test, "lstat", lstat("s", &found));
  test.count("mode", found.st_mode);
  test.count("size", found.st_size);
  test.done("over a file", symlink("x", "f"));
  test.done("to nothing", symlink("", "empty"));
  test.done("readlink of a file", readlink("f", target, sizeof target));
  test.count("a small room", readlink("s", target, 1));
  const std::string odd = "any \xff bytes\n/../x";
  test.done("any bytes", symlink(odd.c_str(), "odd"));
  const ssize_t bytes = readlink("odd", target, sizeof target);
  test.text("read", std::string_view(target, bytes < 0 ? 0 : static_cast<size_t>(bytes)));
  test.done("rename", rename("s", "t"));
  test.text("through it", content_of("t"));
  test.done("link of a symlink", link("t", "u"));
  test.count("its links", links_of(test, "u"));
  test.done("unlink", unlink("t"));
  test.text("the file stays", content_of("f"));
}

void symbolic_to_directories(Case& test) {
  must(test, "mkdir", mkdir("d", 0755));
  must(test, "symlink", symlink("d", "s"));
  must_write(test, "s/f", "f");
  test.text("list", names_in("s"));
  test.text("content", content_of("d/f"));
  test.done("rmdir", rmdir("s"));
  test.done("mkdir over it", mkdir("s", 0755));
  test.done("up and down", open("s/../d/./f", O_RDONLY));
  test.done("unlink", unlink("s"));
  test.text("the directory stays", names_in("."));
}

void of_open_files(Case& test) {
  must_write(test, "f", "content");
  const int file = must_open(test, "f", O_RDONLY);
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  test.done("linkat by descriptor", linkat(AT_FDCWD, path.c_str(), AT_FDCWD, "g", AT_SYMLINK_FOLLOW));
  test.text("content", content_of("g"));
  must(test, "unlink", unlink("f"));
  must(test, "unlink", unlink("g"));
  test.done("when it has no name", linkat(AT_FDCWD, path.c_str(), AT_FDCWD, "h", AT_SYMLINK_FOLLOW));
}

}  // namespace

void add_links(Suite& suite) {
  suite.run("links", "hard", hard);
  suite.run("links", "symbolic", symbolic);
  suite.run("links", "symbolic_to_directories", symbolic_to_directories);
  suite.run("links", "of_open_files", of_open_files);
}

}  // namespace canopy::posix
