// Files in memory.
#include <sys/mman.h>
#include <csignal>

#include <cstring>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

constexpr size_t kBytes = 16384;

char* map(Case& test, int file, int protection, int flags) {
  void* at = mmap(nullptr, kBytes, protection, flags, file, 0);
  if (at == MAP_FAILED) test.broken("mmap");
  return static_cast<char*>(at);
}

void reading_and_writing(Case& test) {
  must_write(test, "f", std::string(kBytes, 'a'));
  const int file = must_open(test, "f", O_RDWR);
  char* shared = map(test, file, PROT_READ | PROT_WRITE, MAP_SHARED);
  test.yes("it shows the content", std::string_view(shared, kBytes) == std::string(kBytes, 'a'));
  std::memcpy(shared + 5000, "mapped", 6);
  test.text("by read", content_of(file).substr(4998, 10));
  test.count("write", pwrite(file, "written", 7, 100));
  test.text("in memory", std::string_view(shared + 98, 11));
  test.done("msync", msync(shared, kBytes, MS_SYNC));
  test.text("by another open", content_of("f").substr(4998, 10));
  must(test, "close", close(file));
  std::memcpy(shared, "after close", 11);
  test.done("munmap", munmap(shared, kBytes));
  test.text("then", content_of("f").substr(0, 13));
}

void private_copies(Case& test) {
  must_write(test, "f", std::string(kBytes, 'a'));
  const int file = must_open(test, "f", O_RDONLY);
  char* own = map(test, file, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  own[0] = 'x';
  test.text("the file", content_of(file).substr(0, 2));
  test.text("the memory", std::string_view(own, 2));
  test.done("shared writing of a reader",
            mmap(nullptr, kBytes, PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED ? -1 : 0);
  const int writer = must_open(test, "f", O_WRONLY);
  test.done("reading of a writer",
            mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, writer, 0) == MAP_FAILED ? -1 : 0);
}

void truncated(Case& test) {
  must_write(test, "f", std::string(kBytes, 'a'));
  const int file = must_open(test, "f", O_RDWR);
  char* shared = map(test, file, PROT_READ | PROT_WRITE, MAP_SHARED);
  shared[0] = 'b';
  must(test, "ftruncate", ftruncate(file, 4096));
  test.text("what stays", std::string_view(shared, 2));
  must(test, "ftruncate", ftruncate(file, kBytes));
  test.yes("what comes back is empty", shared[5000] == '\0');
  shared[5000] = 'c';
  test.done("msync", msync(shared, kBytes, MS_SYNC));
  test.text("content", content_of("f").substr(4999, 3));
}

void beyond_the_end(Case& test) {
  must_write(test, "f", "short");
  const int file = must_open(test, "f", O_RDWR);
  char* shared = map(test, file, PROT_READ | PROT_WRITE, MAP_SHARED);
  test.yes("the rest of the page is empty", shared[100] == '\0');
  shared[100] = 'x';
  test.done("msync", msync(shared, kBytes, MS_SYNC));
  test.text("content", content_of("f"));
  std::fflush(stdout);
  std::signal(SIGBUS, SIG_DFL);  // a sanitizer's own handler would call it a fault of ours
  test.yes("the next page", shared[8192] == '\0');
}

void direct(Case& test) {
  must_write(test, "f", std::string(kBytes, 'a'));
  const int file = must_open(test, "f", O_RDWR | O_DIRECT);
  char* shared = map(test, file, PROT_READ | PROT_WRITE, MAP_SHARED);
  shared[1] = 'b';
  test.done("msync", msync(shared, kBytes, MS_SYNC));
  test.text("content", content_of("f").substr(0, 3));
}

}  // namespace

void add_mmap(Suite& suite) {
  suite.run("mmap", "reading_and_writing", reading_and_writing);
  suite.run("mmap", "private_copies", private_copies);
  suite.run("mmap", "truncated", truncated);
  suite.run("mmap", "beyond_the_end", beyond_the_end);
  suite.run("mmap", "direct", direct);
}

}  // namespace canopy::posix
