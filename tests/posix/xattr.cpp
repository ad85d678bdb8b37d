// Extended attributes.
#include <sys/xattr.h>

#include <algorithm>
#include <vector>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

// The names of the user's own attributes: a file system may have others of its own.
std::string listed(const char* path) {
  char room[8192];
  const ssize_t got = llistxattr(path, room, sizeof room);
  if (got < 0) return "refused";
  std::vector<std::string> names;
  for (size_t at = 0; at < static_cast<size_t>(got); at += names.back().size() + 1)
    names.emplace_back(room + at);
  std::ranges::sort(names);
  std::string all;
  for (const std::string& name : names) {
    if (name.starts_with("user.")) all += name + ";";
  }
  return all;
}

void setting(Case& test) {
  must_write(test, "f", "");
  char room[64] = {};
  test.done("set", setxattr("f", "user.a", "value", 5, 0));
  test.count("get", getxattr("f", "user.a", room, sizeof room));
  test.text("value", room);
  test.count("size", getxattr("f", "user.a", nullptr, 0));
  test.count("no room", getxattr("f", "user.a", room, 2));
  test.done("create what is there", setxattr("f", "user.a", "x", 1, XATTR_CREATE));
  test.done("replace what is not", setxattr("f", "user.b", "x", 1, XATTR_REPLACE));
  test.done("replace", setxattr("f", "user.a", "\0\xff", 2, XATTR_REPLACE));
  test.count("get then", getxattr("f", "user.a", room, sizeof room));
  test.done("an empty one", setxattr("f", "user.empty", "", 0, XATTR_CREATE));
  test.count("get it", getxattr("f", "user.empty", room, sizeof room));
  test.text("list", listed("f"));
  test.done("remove", removexattr("f", "user.a"));
  test.done("remove again", removexattr("f", "user.a"));
  test.done("get what is not", getxattr("f", "user.a", room, sizeof room));
  test.text("list then", listed("f"));
}

void wrong(Case& test) {
  must_write(test, "f", "");
  char room[64] = {};
  test.done("no such class", setxattr("f", "nonsense.a", "x", 1, 0));
  test.done("no class", setxattr("f", "a", "x", 1, 0));
  test.done("a name of 256 bytes", setxattr("f", ("user." + std::string(251, 'x')).c_str(), "x", 1, 0));
  test.done("a value too long", setxattr("f", "user.a", std::string(70'000, 'x').data(), 70'000, 0));
  test.done("of nothing", setxattr("no", "user.a", "x", 1, 0));
  must(test, "symlink", symlink("f", "s"));
  test.done("of a symlink", lsetxattr("s", "user.a", "x", 1, 0));
  test.done("through a symlink", setxattr("s", "user.a", "x", 1, 0));
  test.count("of the file", getxattr("f", "user.a", room, sizeof room));
}

void by_descriptor(Case& test) {
  must_write(test, "f", "");
  must(test, "mkdir", mkdir("d", 0755));
  const int file = must_open(test, "f", O_RDWR);
  const int directory = must_open(test, "d", O_RDONLY | O_DIRECTORY);
  char room[64] = {};
  test.done("set", fsetxattr(file, "user.a", "1", 1, 0));
  test.count("get", fgetxattr(file, "user.a", room, sizeof room));
  test.done("of a directory", fsetxattr(directory, "user.d", "2", 1, 0));
  test.text("its list", listed("d"));
  must(test, "rename", rename("f", "g"));
  test.text("after a rename", listed("g"));
  must(test, "unlink", unlink("g"));
  test.count("after unlink", fgetxattr(file, "user.a", room, sizeof room));
  test.done("set after unlink", fsetxattr(file, "user.b", "1", 1, 0));
  test.count("list after unlink", flistxattr(file, room, sizeof room));
  test.done("remove after unlink", fremovexattr(file, "user.a"));
  test.done("remove again", fremovexattr(file, "user.a"));
  test.count("get the other", fgetxattr(file, "user.b", room, sizeof room));
  // Another file under the name that it had is not meant.
  must_write(test, "g", "");
  test.done("set beside another", fsetxattr(file, "user.c", "1", 1, 0));
  test.text("the other's list", listed("g"));
}

void of_others(Case& test) {
  must_write(test, "f", "");
  as_stranger(test, [](Case& as) {
    as.done("set another's", setxattr("f", "user.a", "x", 1, 0));
    as.done("set the trusted", setxattr("f", "trusted.a", "x", 1, 0));
  });
}

}  // namespace

void add_xattr(Suite& suite) {
  suite.run("xattr", "setting", setting);
  suite.run("xattr", "wrong", wrong);
  suite.run("xattr", "by_descriptor", by_descriptor);
  suite.run("xattr", "of_others", of_others);
}

}  // namespace canopy::posix
