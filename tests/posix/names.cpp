// Names and paths: any bytes, their longest, and what is wrong with them.
#include <vector>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

void any_bytes(Case& test) {
  // Every byte but '/' and 0, in names of 254 bytes at most and one of 255.
  std::string name;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte != '/') name += static_cast<char>(byte);
  }
  test.done("create 254", open(name.c_str(), O_WRONLY | O_CREAT, 0644));
  test.text("listed", names_in("."));
  test.done("unlink", unlink(name.c_str()));
  const std::string longest(255, '\xff');
  test.done("create 255", open(longest.c_str(), O_WRONLY | O_CREAT, 0644));
  test.yes("listed 255", names_in(".") == longest);
  test.done("rename to 255", rename(longest.c_str(), std::string(255, '\n').c_str()));
  struct stat found = {};
  test.done("stat", stat(std::string(255, '\n').c_str(), &found));
}

void too_long(Case& test) {
  const std::string name(256, 'x');
  struct stat found = {};
  test.done("open", open(name.c_str(), O_RDONLY));
  test.done("create", open(name.c_str(), O_WRONLY | O_CREAT, 0644));
  test.done("stat", stat(name.c_str(), &found));
  test.done("mkdir", mkdir(name.c_str(), 0755));
  test.done("unlink", unlink(name.c_str()));
  test.done("rmdir", rmdir(name.c_str()));
  test.done("symlink", symlink("x", name.c_str()));
  must_write(test, "a", "");
  test.done("rename", rename("a", name.c_str()));
  test.done("link", link("a", name.c_str()));
  std::string path;
  while (path.size() < 4100) path += "./";
  test.done("path of 4100 bytes", open((path + "a").c_str(), O_RDONLY));
  test.done("symlink of 4095 bytes", symlink(std::string(4095, 'x').c_str(), "s"));
  test.done("symlink of 4096 bytes", symlink(std::string(4096, 'x').c_str(), "t"));
}

void missing(Case& test) {
  struct stat found = {};
  char target[8];
  test.done("open", open("no", O_RDONLY));
  test.done("open for writing", open("no", O_WRONLY));
  test.done("create within", open("no/file", O_WRONLY | O_CREAT, 0644));
  test.done("stat", stat("no", &found));
  test.done("lstat", lstat("no", &found));
  test.done("unlink", unlink("no"));
  test.done("rmdir", rmdir("no"));
  test.done("mkdir within", mkdir("no/directory", 0755));
  test.done("rename", rename("no", "other"));
  test.done("link", link("no", "other"));
  test.done("symlink within", symlink("x", "no/link"));
  test.done("readlink", readlink("no", target, sizeof target));
  test.done("chmod", chmod("no", 0644));
  test.done("chown", chown("no", getuid(), getgid()));
  test.done("truncate", truncate("no", 0));
  test.done("access", access("no", F_OK));
  test.done("utimens", utimensat(AT_FDCWD, "no", nullptr, 0));
  test.text("list", names_in("no"));
  test.done("empty path", open("", O_RDONLY));
}

void through_a_file(Case& test) {
  must_write(test, "f", "");
  struct stat found = {};
  test.done("open", open("f/x", O_RDONLY));
  test.done("create", open("f/x", O_WRONLY | O_CREAT, 0644));
  test.done("stat", stat("f/x", &found));
  test.done("stat with a slash", stat("f/", &found));
  test.done("unlink", unlink("f/x"));
  test.done("unlink with a slash", unlink("f/"));
  test.done("rmdir", rmdir("f"));
  test.done("mkdir", mkdir("f/x", 0755));
  test.done("rename onto", rename("f", "f/x"));
  test.done("symlink", symlink("x", "f/x"));
  test.done("open as a directory", open("f", O_RDONLY | O_DIRECTORY));
  test.text("list", names_in("f"));
}

void deep(Case& test) {
  // 30 directories of 100 bytes: a path of 3,030 bytes below this one, reached a step at a time.
  const std::string name(100, 'd');
  int at = must_open(test, ".", O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 30; ++i) {
    if (mkdirat(at, name.c_str(), 0755) != 0) test.broken("mkdirat");
    const int next = openat(at, name.c_str(), O_RDONLY | O_DIRECTORY);
    if (next < 0) test.broken("openat");
    close(at);
    at = next;
  }
  const int file = openat(at, "f", O_RDWR | O_CREAT | O_EXCL, 0644);
  test.done("create", file);
  test.count("write", write(file, "deep", 4));
  test.text("read", content_of(file));
  test.done("rename", renameat(at, "f", at, "g"));
  test.done("move to the top", renameat(at, "g", AT_FDCWD, "g"));
  test.text("content", content_of("g"));
}

void deeper_than_a_path(Case& test) {
  // Up to 45 directories of 100 bytes: further down than any path can name from here.
  const std::string name(100, 'd');
  std::vector<int> opened{must_open(test, ".", O_RDONLY | O_DIRECTORY)};
  int made = 0;
  while (opened.size() < 46 && (made = mkdirat(opened.back(), name.c_str(), 0755)) == 0) {
    opened.push_back(openat(opened.back(), name.c_str(), O_RDONLY | O_DIRECTORY));
    if (opened.back() < 0) test.broken("openat");
  }
  test.done("mkdir", made);
  test.yes("3,500 bytes at least", opened.size() > 35);
  while (opened.size() > 1) {
    close(opened.back());
    opened.pop_back();
    must(test, "rmdir", unlinkat(opened.back(), name.c_str(), AT_REMOVEDIR));
  }
  close(opened.back());
}

void upper_and_lower(Case& test) {
  must_write(test, "name", "lower");
  must_write(test, "NAME", "upper");
  must_write(test, "na\xcc\x88me", "composed otherwise");
  must_write(test, "n\xc3\xa4me", "composed");
  test.text("list", names_in("."));
  test.text("lower", content_of("name"));
  test.text("upper", content_of("NAME"));
  must_write(test, ".hidden", "");
  must_write(test, "...", "dots");
  must_write(test, "%41", "percent");
  must_write(test, " ", "space");
  test.text("list of odd names", names_in("."));
  test.text("dots", content_of("..."));
}

}  // namespace

void add_names(Suite& suite) {
  suite.run("names", "any_bytes", any_bytes);
  suite.run("names", "too_long", too_long);
  suite.run("names", "missing", missing);
  suite.run("names", "through_a_file", through_a_file);
  suite.run("names", "deep", deep);
  suite.run("names", "deeper_than_a_path", deeper_than_a_path);
  suite.run("names", "upper_and_lower", upper_and_lower);
}

}  // namespace canopy::posix
