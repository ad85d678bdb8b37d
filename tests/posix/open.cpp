// open(2)'s flags and what each refuses.
#include <cstring>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

void creating(Case& test) {
  test.done("new", open("f", O_RDWR | O_CREAT | O_EXCL, 0640));
  test.done("again", open("f", O_RDWR | O_CREAT | O_EXCL, 0640));
  test.done("not exclusive", open("f", O_RDWR | O_CREAT, 0600));
  struct stat found = {};
  must(test, "stat", stat("f", &found));
  test.count("mode", found.st_mode);
  test.done("read only with mode 0", open("g", O_RDONLY | O_CREAT, 0));
  must(test, "stat", stat("g", &found));
  test.count("its mode", found.st_mode);
  const int file = open("h", O_WRONLY | O_CREAT, 0);
  test.count("writing what mode 0 created", write(file, "x", 1));
  test.done("a directory's name", open("d/", O_WRONLY | O_CREAT, 0644));
  must(test, "mkdir", mkdir("d", 0755));
  test.done("over a directory", open("d", O_WRONLY | O_CREAT, 0644));
  test.done("exclusively over a directory", open("d", O_WRONLY | O_CREAT | O_EXCL, 0644));
  must(test, "symlink", symlink("target", "s"));
  test.done("exclusively over a symlink", open("s", O_WRONLY | O_CREAT | O_EXCL, 0644));
  test.done("through a symlink", open("s", O_WRONLY | O_CREAT, 0644));
  test.text("list", names_in("."));
}

void modes_and_umask(Case& test) {
  struct stat found = {};
  umask(0);
  must_open(test, "all", O_WRONLY | O_CREAT, 07777);
  must(test, "stat", stat("all", &found));
  test.count("without umask", found.st_mode);
  umask(077);
  must_open(test, "mine", O_WRONLY | O_CREAT, 0666);
  must(test, "stat", stat("mine", &found));
  test.count("with umask", found.st_mode);
  must(test, "mkdir", mkdir("d", 0777));
  must(test, "stat", stat("d", &found));
  test.count("directory with umask", found.st_mode);
}

void truncating(Case& test) {
  must_write(test, "f", "content");
  test.done("O_TRUNC", open("f", O_WRONLY | O_TRUNC));
  test.text("content", content_of("f"));
  must_write(test, "f", "content");
  const int held = must_open(test, "f", O_RDONLY);
  test.done("while it is open", open("f", O_WRONLY | O_CREAT | O_TRUNC, 0644));
  test.text("by the other descriptor", content_of(held));
  must(test, "mkdir", mkdir("d", 0755));
  test.done("a directory", open("d", O_RDONLY | O_TRUNC));
}

void directories(Case& test) {
  must(test, "mkdir", mkdir("d", 0755));
  test.done("for writing", open("d", O_WRONLY));
  test.done("for both", open("d", O_RDWR));
  const int directory = open("d", O_RDONLY);
  test.done("for reading", directory);
  char byte = 0;
  test.count("read", read(directory, &byte, 1));
  test.count("write", write(directory, &byte, 1));
  test.done("ftruncate", ftruncate(directory, 0));
  test.done("O_DIRECTORY with O_CREAT of a file", open("d", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
}

void symbolic_links(Case& test) {
  must_write(test, "f", "content");
  must(test, "symlink", symlink("f", "s"));
  must(test, "symlink", symlink("loop", "loop"));
  must(test, "symlink", symlink("no", "dangling"));
  test.text("through it", content_of("s"));
  test.done("O_NOFOLLOW", open("s", O_RDONLY | O_NOFOLLOW));
  test.done("O_PATH and O_NOFOLLOW", open("s", O_PATH | O_NOFOLLOW));
  test.done("a loop", open("loop", O_RDONLY));
  test.done("a dangling one", open("dangling", O_RDONLY));
  std::string before = "f";
  for (int i = 0; i < 41; ++i) {
    const std::string name = "chain" + std::to_string(i);
    must(test, "symlink", symlink(before.c_str(), name.c_str()));
    before = name;
  }
  test.text("forty of them", content_of("chain39"));
  test.text("too many of them", content_of("chain40"));
}

void wrong_direction(Case& test) {
  must_write(test, "f", "content");
  char byte = 'x';
  const int reads = must_open(test, "f", O_RDONLY);
  test.count("write to a reader", write(reads, &byte, 1));
  test.done("ftruncate of a reader", ftruncate(reads, 0));
  test.done("fallocate of a reader", fallocate(reads, 0, 0, 10));
  const int writes = must_open(test, "f", O_WRONLY);
  test.count("read from a writer", read(writes, &byte, 1));
  test.count("write to a writer", write(writes, &byte, 1));
  const int path = must_open(test, "f", O_PATH);
  test.count("read from O_PATH", read(path, &byte, 1));
  test.done("fchmod of O_PATH", fchmod(path, 0600));
}

void running_programs(Case& test) {
  must_write(test, "script", "#!/bin/sh\nexit 3\n");
  must(test, "chmod", chmod("script", 0755));
  test.count("status of a script", (system("./script") >> 8) & 0xff);
  must(test, "chmod", chmod("script", 0644));
  test.done("without x", execl("./script", "script", nullptr));
}

}  // namespace

void add_open(Suite& suite) {
  suite.run("open", "creating", creating);
  suite.run("open", "modes_and_umask", modes_and_umask);
  suite.run("open", "truncating", truncating);
  suite.run("open", "directories", directories);
  suite.run("open", "symbolic_links", symbolic_links);
  suite.run("open", "wrong_direction", wrong_direction);
  suite.run("open", "running_programs", running_programs);
}

}  // namespace canopy::posix
