// rename(2) and renameat2(2)'s flags.
#include <linux/fs.h>
#include <stdio.h>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

long renamed(const char* from, const char* to, unsigned flags) {
  return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

void files(Case& test) {
  must_write(test, "a", "a");
  must_write(test, "b", "b");
  test.done("to a new name", rename("a", "c"));
  test.done("over a file", rename("c", "b"));
  test.text("list", names_in("."));
  test.text("content", content_of("b"));
  test.done("onto itself", rename("b", "b"));
  must(test, "link", link("b", "same"));
  test.done("onto another name of it", rename("b", "same"));
  test.text("both stay", names_in("."));
  must(test, "mkdir", mkdir("d", 0755));
  test.done("over a directory", rename("b", "d"));
  test.done("into a directory", rename("b", "d/b"));
  test.text("there", content_of("d/b"));
  test.done("into nothing", rename("same", "no/b"));
  test.done("a dot", rename("same", "."));
}

void directories(Case& test) {
  must(test, "mkdir", mkdir("d", 0755));
  must(test, "mkdir", mkdir("d/sub", 0755));
  must_write(test, "d/sub/f", "f");
  must(test, "mkdir", mkdir("empty", 0755));
  must(test, "mkdir", mkdir("full", 0755));
  must_write(test, "full/f", "");
  must_write(test, "file", "");
  test.done("into itself", rename("d", "d/sub/d"));
  test.done("over a full one", rename("d", "full"));
  test.done("over a file", rename("d", "file"));
  test.done("over its parent", rename("d/sub", "d"));
  test.done("over an empty one", rename("d", "empty"));
  test.text("list", names_in("."));
  test.text("what is in it", content_of("empty/sub/f"));
  test.done("to another parent", rename("empty/sub", "sub"));
  struct stat found = {};
  must(test, "stat", stat("empty", &found));
  test.count("links of the old parent", static_cast<long>(found.st_nlink));
  test.done("..", rename("sub/..", "x"));
}

void not_replacing(Case& test) {
  must_write(test, "a", "a");
  must_write(test, "b", "b");
  test.done("over a file", renamed("a", "b", RENAME_NOREPLACE));
  test.done("to a new name", renamed("a", "c", RENAME_NOREPLACE));
  test.done("onto itself", renamed("c", "c", RENAME_NOREPLACE));
  test.done("of nothing", renamed("no", "d", RENAME_NOREPLACE));
  test.text("list", names_in("."));
}

void exchanging(Case& test) {
  must_write(test, "a", "a");
  must_write(test, "b", "b");
  must(test, "mkdir", mkdir("d", 0755));
  must_write(test, "d/f", "f");
  test.done("two files", renamed("a", "b", RENAME_EXCHANGE));
  test.text("a", content_of("a"));
  test.text("b", content_of("b"));
  test.done("a file and a directory", renamed("a", "d", RENAME_EXCHANGE));
  test.text("in the directory", content_of("a/f"));
  test.text("the file", content_of("d"));
  test.done("with nothing", renamed("b", "no", RENAME_EXCHANGE));
  test.done("with its own parent", renamed("a/f", "a", RENAME_EXCHANGE));
  test.text("list", names_in("."));
}

void flags(Case& test) {
  must_write(test, "a", "a");
  test.done("both at once", renamed("a", "b", RENAME_NOREPLACE | RENAME_EXCHANGE));
  test.done("whiteout", renamed("a", "b", RENAME_WHITEOUT));
  test.done("one that does not exist", renamed("a", "c", 1U << 20));
}

void while_open(Case& test) {
  must_write(test, "a", "a");
  must_write(test, "b", "b");
  must(test, "mkdir", mkdir("d", 0755));
  must_write(test, "d/f", "f");
  const int a = must_open(test, "a", O_RDWR);
  const int b = must_open(test, "b", O_RDWR);
  const int f = must_open(test, "d/f", O_RDWR);
  const int d = must_open(test, "d", O_RDONLY | O_DIRECTORY);
  test.done("over an open file", rename("a", "b"));
  test.count("write to what was moved", pwrite(a, "A", 1, 0));
  test.text("its content", content_of("b"));
  test.text("what was replaced", content_of(b));
  struct stat found = {};
  must(test, "fstat", fstat(b, &found));
  test.count("its links", static_cast<long>(found.st_nlink));
  test.done("an open directory", rename("d", "e"));
  test.count("write below it", pwrite(f, "F", 1, 0));
  test.text("content", content_of("e/f"));
  test.done("create in it by descriptor", openat(d, "new", O_WRONLY | O_CREAT, 0644));
  test.text("list", names_in("e"));
}

void elsewhere(Case& test) {
  must_write(test, "a", "a");
  must(test, "mkdir", mkdir("d", 0755));
  const std::string other = "/proc/self/task/here";  // on a file system that is neither of the two
  test.done("a file to another file system", rename("a", other.c_str()));
  test.done("a directory", rename("d", other.c_str()));
  test.done("from there", rename("/proc/self/status", "b"));
  test.done("exchanged", renamed("a", "/proc/self/status", RENAME_EXCHANGE));
  test.done("linked", link("/proc/self/status", "b"));
  test.text("all stays", names_in("."));
}

}  // namespace

void add_rename(Suite& suite) {
  suite.run("rename", "files", files);
  suite.run("rename", "directories", directories);
  suite.run("rename", "not_replacing", not_replacing);
  suite.run("rename", "exchanging", exchanging);
  suite.run("rename", "flags", flags);
  suite.run("rename", "while_open", while_open);
  suite.run("rename", "elsewhere", elsewhere);
}

}  // namespace canopy::posix
