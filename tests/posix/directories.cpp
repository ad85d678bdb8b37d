// Directories: making, removing, listing.
#include <dirent.h>

#include <cerrno>
#include <cstdio>
#include <set>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

void making_and_removing(Case& test) {
  test.done("mkdir", mkdir("d", 0750));
  test.done("again", mkdir("d", 0750));
  must_write(test, "f", "");
  test.done("over a file", mkdir("f", 0755));
  must(test, "symlink", symlink("no", "s"));
  test.done("over a dangling symlink", mkdir("s", 0755));
  struct stat found = {};
  must(test, "stat", stat("d", &found));
  test.count("mode", found.st_mode);
  test.count("links", static_cast<long>(found.st_nlink));
  must(test, "mkdir", mkdir("d/e", 0755));
  must(test, "stat", stat("d", &found));
  test.count("links with one below", static_cast<long>(found.st_nlink));
  test.done("rmdir of a full one", rmdir("d"));
  test.done("unlink of one", unlink("d/e"));
  test.done("rmdir", rmdir("d/e"));
  test.done("rmdir of the dot", rmdir("d/."));
  test.done("rmdir of the dots", rmdir("d/.."));
  test.done("rmdir of the outer", rmdir("d"));
  test.done("sticky and set-gid", mkdir("g", 03777));
  must(test, "stat", stat("g", &found));
  test.count("its mode", found.st_mode);
}

void listing(Case& test) {
  for (int i = 0; i < 3000; ++i) must_write(test, ("file" + std::to_string(i)).c_str(), "");
  DIR* directory = opendir(".");
  if (directory == nullptr) test.broken("opendir");
  std::set<std::string> seen;
  long entries = 0, types = 0, middle = 0;
  while (const dirent* entry = readdir(directory)) {
    ++entries;
    seen.insert(entry->d_name);
    if (entry->d_type == DT_REG) ++types;
    if (entries == 1500) middle = telldir(directory);
  }
  test.count("entries", entries);
  test.count("different names", static_cast<long>(seen.size()));
  test.count("known as files", types);
  test.yes("dots", seen.contains(".") && seen.contains(".."));
  seekdir(directory, middle);
  long rest = 0;
  while (readdir(directory) != nullptr) ++rest;
  test.count("from the middle", rest);
  rewinddir(directory);
  must_write(test, "late", "");
  bool found = false;
  rewinddir(directory);
  while (const dirent* entry = readdir(directory)) found = found || std::string(entry->d_name) == "late";
  test.yes("a rewound listing shows what is new", found);
  closedir(directory);
}

void removing_while_listing(Case& test) {
  for (int i = 0; i < 1000; ++i) must_write(test, ("file" + std::to_string(i)).c_str(), "");
  DIR* directory = opendir(".");
  if (directory == nullptr) test.broken("opendir");
  long removed = 0;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.' && unlink(entry->d_name) == 0) ++removed;
  }
  closedir(directory);
  test.count("removed", removed);
  test.text("left", names_in("."));
}

void inode_numbers(Case& test) {
  must_write(test, "f", "");
  must(test, "mkdir", mkdir("d", 0755));
  DIR* directory = opendir(".");
  if (directory == nullptr) test.broken("opendir");
  bool same = true;
  while (const dirent* entry = readdir(directory)) {
    struct stat found = {};
    if (entry->d_name[0] == '.') continue;
    must(test, "stat", stat(entry->d_name, &found));
    same = same && found.st_ino == entry->d_ino;
  }
  closedir(directory);
  test.yes("of the listing and stat agree", same);
  struct stat here = {}, up = {};
  must(test, "stat", stat(".", &here));
  must(test, "stat", stat("d/..", &up));
  test.yes("a dot-dot is the parent", here.st_ino == up.st_ino);
}

void removed_ones(Case& test) {
  must(test, "mkdir", mkdir("d", 0755));
  const int directory = must_open(test, "d", O_RDONLY | O_DIRECTORY);
  must(test, "chdir", chdir("d"));
  test.done("rmdir of where we are", rmdir("../d"));
  test.done("create there", open("f", O_WRONLY | O_CREAT, 0644));
  test.done("mkdir there", mkdir("e", 0755));
  test.done("create by descriptor", openat(directory, "f", O_WRONLY | O_CREAT, 0644));
  struct stat found = {};
  test.done("fstat", fstat(directory, &found));
  test.text("list", names_in("."));
}

}  // namespace

void add_directories(Suite& suite) {
  suite.run("directories", "making_and_removing", making_and_removing);
  suite.run("directories", "listing", listing);
  suite.run("directories", "removing_while_listing", removing_while_listing);
  suite.run("directories", "inode_numbers", inode_numbers);
  suite.run("directories", "removed_ones", removed_ones);
}

}  // namespace canopy::posix
