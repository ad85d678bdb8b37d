// Reading and writing: append, direct I/O, positions, vectors, fsync, sizes of terabytes, limits of size.
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

std::string sample(size_t bytes, unsigned seed) {
  std::string out(bytes, '\0');
  unsigned state = seed;
  for (char& each : out) {
    state = state * 1664525 + 1013904223;
    each = static_cast<char>(state >> 24);
  }
  return out;
}

void appending(Case& test) {
  const int first = must_open(test, "f", O_WRONLY | O_CREAT | O_APPEND);
  const int second = must_open(test, "f", O_WRONLY | O_APPEND);
  const int plain = must_open(test, "f", O_RDWR);
  test.count("first", write(first, "one ", 4));
  test.count("second", write(second, "two ", 4));
  test.count("first again", write(first, "three ", 6));
  test.count("over the start", pwrite(plain, "O", 1, 0));
  test.count("pwrite of an appender", pwrite(first, "end", 3, 0));
  test.count("position", lseek(first, 0, SEEK_CUR));
  test.text("content", content_of("f"));
  must(test, "truncate", ftruncate(plain, 3));
  test.count("after a truncation", write(second, "more", 4));
  test.text("then", content_of("f"));
}

void appending_by_two_processes(Case& test) {
  must_write(test, "f", "");
  std::fflush(stdout);
  pid_t children[2];
  for (int i = 0; i < 2; ++i) {
    children[i] = fork();
    if (children[i] != 0) continue;
    const int file = must_open(test, "f", O_WRONLY | O_APPEND);
    for (int j = 0; j < 200; ++j) {
      if (write(file, i == 0 ? "aaaa" : "bbbb", 4) != 4) _exit(1);
    }
    _exit(0);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    test.count("status", status);
  }
  const std::string all = content_of("f");
  test.count("bytes", static_cast<long>(all.size()));
  bool whole = true;
  for (size_t i = 0; i + 4 <= all.size(); i += 4)
    whole = whole && (all.substr(i, 4) == "aaaa" || all.substr(i, 4) == "bbbb");
  test.yes("each write is whole", whole);
}

void direct(Case& test) {
  const int file = open("f", O_RDWR | O_CREAT | O_DIRECT, 0644);
  test.done("open", file);
  void* room = nullptr;
  if (posix_memalign(&room, 4096, 65536) != 0) test.broken("memory");
  std::memset(room, 'd', 65536);
  test.count("write", pwrite(file, room, 65536, 0));
  test.count("write further", pwrite(file, room, 4096, 1 << 20));
  std::memset(room, 0, 65536);
  test.count("read", pread(file, room, 65536, 0));
  test.yes("it is what was written", std::memcmp(room, std::string(65536, 'd').data(), 65536) == 0);
  test.count("read at the end", pread(file, room, 65536, 1 << 20));
  test.count("read beyond", pread(file, room, 4096, 2 << 20));
  struct stat found = {};
  must(test, "stat", fstat(file, &found));
  test.count("size", found.st_size);
  const int cached = must_open(test, "f", O_RDWR);
  test.count("cached write", pwrite(cached, "c", 1, 0));
  test.count("direct read", pread(file, room, 4096, 0));
  test.yes("sees it", static_cast<char*>(room)[0] == 'c');
  static_cast<char*>(room)[0] = 'D';
  test.count("direct write", pwrite(file, room, 4096, 0));
  char byte = 0;
  test.count("cached read", pread(cached, &byte, 1, 0));
  test.yes("sees that", byte == 'D');
  test.count("not aligned", pread(file, static_cast<char*>(room) + 1, 100, 7));
}

void positions(Case& test) {
  must_write(test, "f", "0123456789");
  const int file = must_open(test, "f", O_RDWR);
  char room[8] = {};
  test.count("read", read(file, room, 4));
  test.count("position", lseek(file, 0, SEEK_CUR));
  test.count("pread", pread(file, room, 2, 8));
  test.count("position after it", lseek(file, 0, SEEK_CUR));
  test.count("to the end", lseek(file, 0, SEEK_END));
  test.count("read there", read(file, room, 4));
  test.count("before the start", lseek(file, -1, SEEK_SET));
  test.count("far beyond", lseek(file, 1 << 20, SEEK_SET));
  test.count("write there", write(file, "x", 1));
  test.count("size", lseek(file, 0, SEEK_END));
  test.count("pread before the start", pread(file, room, 1, -1));
  test.count("no way of seeking", lseek(file, 0, 99));
}

void vectors(Case& test) {
  const int file = must_open(test, "f", O_RDWR | O_CREAT);
  char one[] = "one", two[] = "two", room[8] = {};
  const iovec out[] = {{one, 3}, {two, 3}};
  test.count("writev", writev(file, out, 2));
  test.count("pwritev", pwritev(file, out, 2, 100));
  const iovec in[] = {{room, 2}, {room + 2, 4}};
  test.count("preadv", preadv(file, in, 2, 0));
  test.text("read", std::string_view(room, 6));
  const int other = must_open(test, "g", O_RDWR | O_CREAT);
  off_t at = 0;
  test.count("sendfile", sendfile(other, file, &at, 6));
  test.text("sent", content_of("g"));
  loff_t from = 100;
  test.count("copy_file_range", copy_file_range(file, &from, other, nullptr, 6, 0));
  test.text("copied", content_of("g"));
}

void large_and_synced(Case& test) {
  const std::string data = sample(5 << 20, 1);
  const int file = must_open(test, "f", O_RDWR | O_CREAT);
  test.count("write 5 MiB", write(file, data.data(), data.size()));
  test.done("fsync", fsync(file));
  test.done("fdatasync", fdatasync(file));
  test.done("sync_file_range", sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE));
  test.yes("content", content_of(file) == data);
  test.yes("by another open", content_of("f") == data);
  const int directory = must_open(test, ".", O_RDONLY | O_DIRECTORY);
  test.done("fsync of the directory", fsync(directory));
  test.done("syncfs", syncfs(directory));
  const int synced = must_open(test, "g", O_WRONLY | O_CREAT | O_SYNC);
  test.count("O_SYNC", write(synced, "x", 1));
  const int data_synced = must_open(test, "h", O_WRONLY | O_CREAT | O_DSYNC | O_APPEND);
  test.count("O_DSYNC", write(data_synced, "x", 1));
  test.done("fadvise", posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED));
  test.yes("content after that", content_of(file) == data);
}

void terabytes(Case& test) {
  const int file = must_open(test, "f", O_RDWR | O_CREAT);
  constexpr off_t kFar = (off_t{4} << 40) + 12345;
  test.count("write at 4 TiB", pwrite(file, "far", 3, kFar));
  test.count("size", lseek(file, 0, SEEK_END));
  char room[4] = {};
  test.count("read", pread(file, room, 4, kFar - 1));
  test.text("read there", std::string_view(room, 4));
  test.count("data begins at", lseek(file, 0, SEEK_DATA) / (off_t{1} << 30));
  test.done("truncate to 8 TiB", ftruncate(file, off_t{8} << 40));
  test.count("size then", lseek(file, 0, SEEK_END));
  test.count("beyond what can be", pwrite(file, "x", 1, INT64_MAX));
  test.done("truncate to 100", ftruncate(file, 100));
  test.count("size at last", lseek(file, 0, SEEK_END));
}

volatile sig_atomic_t g_over_limit = 0;

void limited(Case& test) {
  const int file = must_open(test, "f", O_RDWR | O_CREAT);
  const int appender = must_open(test, "f", O_WRONLY | O_APPEND);
  constexpr off_t kLimit = 1'000'000;  // what the case prints may go to a file, too
  const rlimit limit = {.rlim_cur = kLimit, .rlim_max = kLimit};
  must(test, "setrlimit", setrlimit(RLIMIT_FSIZE, &limit));
  std::signal(SIGXFSZ, [](int) { g_over_limit = g_over_limit + 1; });
  const std::string piece(600'000, 'p');
  test.count("below it", write(file, piece.data(), piece.size()));
  test.count("across it", write(file, piece.data(), piece.size()));
  test.count("told so far", g_over_limit);
  test.count("at it", write(file, piece.data(), piece.size()));
  test.count("far beyond", pwrite(file, "x", 1, 1 << 30));
  test.count("append", write(appender, "x", 1));
  test.done("a larger size", ftruncate(file, kLimit + 1));
  test.done("by its path", truncate("f", kLimit + 1));
  test.done("reserved", fallocate(file, 0, 0, kLimit + 1));
  test.count("told", g_over_limit);
  test.done("the same size", ftruncate(file, kLimit));
  test.count("over what is there", pwrite(file, "over", 4, kLimit - 4));
  test.done("a smaller size", ftruncate(file, 500));
  test.count("size", lseek(file, 0, SEEK_END));
  test.count("told at last", g_over_limit);
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const rlimit no_core = {};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    std::signal(SIGXFSZ, SIG_DFL);
    (void)!pwrite(file, "x", 1, kLimit);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  test.yes("it ends who does not listen", WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
}

void many_descriptors(Case& test) {
  must_write(test, "f", "");
  int files[100];
  for (int& file : files) file = must_open(test, "f", O_RDWR);
  for (int i = 0; i < 100; ++i) {
    const char byte = static_cast<char>('a' + i % 26);
    if (pwrite(files[i], &byte, 1, i) != 1) test.broken("pwrite");
  }
  test.text("content", content_of("f"));
  const int copy = dup(files[0]);
  must(test, "close", close(files[0]));
  test.text("a copy of a closed one", content_of(copy));
}

}  // namespace

void add_data(Suite& suite) {
  suite.run("data", "appending", appending);
  suite.run("data", "appending_by_two_processes", appending_by_two_processes);
  suite.run("data", "direct", direct);
  suite.run("data", "positions", positions);
  suite.run("data", "vectors", vectors);
  suite.run("data", "large_and_synced", large_and_synced);
  suite.run("data", "terabytes", terabytes);
  suite.run("data", "limited", limited);
  suite.run("data", "many_descriptors", many_descriptors);
}

}  // namespace canopy::posix
