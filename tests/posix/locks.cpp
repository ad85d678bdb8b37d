// Advisory locks, of one mount.
#include <sys/file.h>
#include <sys/wait.h>

#include <cstdio>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

struct flock range(short type, off_t start, off_t bytes) {
  struct flock out = {};
  out.l_type = type;
  out.l_whence = SEEK_SET;
  out.l_start = start;
  out.l_len = bytes;
  return out;
}

// Runs `body` in another process and waits for it.
void elsewhere(Case& test, void (*body)(Case&, int file)) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    body(test, must_open(test, "f", O_RDWR));
    std::fflush(stdout);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
}

void of_ranges(Case& test) {
  must_write(test, "f", "0123456789");
  const int file = must_open(test, "f", O_RDWR);
  struct flock lock = range(F_WRLCK, 0, 5);
  test.done("lock", fcntl(file, F_SETLK, &lock));
  elsewhere(test, [](Case& as, int other) {
    struct flock wanted = range(F_WRLCK, 3, 5);
    as.done("another's overlapping", fcntl(other, F_SETLK, &wanted));
    struct flock asked = range(F_WRLCK, 3, 5);
    as.done("ask", fcntl(other, F_GETLK, &asked));
    as.count("it begins at", asked.l_start);
    as.count("its length", asked.l_len);
    as.yes("its owner is known", asked.l_pid == getppid());
    wanted = range(F_WRLCK, 5, 5);
    as.done("another's beside it", fcntl(other, F_SETLK, &wanted));
    wanted = range(F_RDLCK, 0, 1);
    as.done("for reading", fcntl(other, F_SETLK, &wanted));
  });
  lock = range(F_UNLCK, 0, 3);
  test.done("unlock a part", fcntl(file, F_SETLK, &lock));
  elsewhere(test, [](Case& as, int other) {
    struct flock wanted = range(F_WRLCK, 0, 3);
    as.done("the part", fcntl(other, F_SETLK, &wanted));
    wanted = range(F_WRLCK, 3, 1);
    as.done("the rest", fcntl(other, F_SETLK, &wanted));
  });
  close(open("f", O_RDONLY));
  elsewhere(test, [](Case& as, int other) {
    struct flock wanted = range(F_WRLCK, 3, 1);
    as.done("after any close", fcntl(other, F_SETLK, &wanted));
  });
}

void of_open_files(Case& test) {
  must_write(test, "f", "0123456789");
  const int one = must_open(test, "f", O_RDWR);
  const int two = must_open(test, "f", O_RDWR);
  struct flock lock = range(F_WRLCK, 0, 5);
  test.done("lock", fcntl(one, F_OFD_SETLK, &lock));
  lock = range(F_WRLCK, 0, 5);
  test.done("by another descriptor", fcntl(two, F_OFD_SETLK, &lock));
  must(test, "close", close(one));
  lock = range(F_WRLCK, 0, 5);
  test.done("after close", fcntl(two, F_OFD_SETLK, &lock));
}

void whole_files(Case& test) {
  must_write(test, "f", "");
  const int one = must_open(test, "f", O_RDWR);
  const int two = must_open(test, "f", O_RDONLY);
  test.done("shared", flock(one, LOCK_SH | LOCK_NB));
  test.done("shared too", flock(two, LOCK_SH | LOCK_NB));
  test.done("exclusive", flock(one, LOCK_EX | LOCK_NB));
  test.done("unlock", flock(two, LOCK_UN));
  test.done("exclusive then", flock(one, LOCK_EX | LOCK_NB));
  elsewhere(test, [](Case& as, int other) { as.done("another's", flock(other, LOCK_SH | LOCK_NB)); });
  must(test, "close", close(one));
  test.done("after close", flock(two, LOCK_EX | LOCK_NB));
}

void waiting(Case& test) {
  must_write(test, "f", "");
  const int file = must_open(test, "f", O_RDWR);
  struct flock lock = range(F_WRLCK, 0, 0);
  must(test, "lock", fcntl(file, F_SETLK, &lock));
  int ready[2];
  must(test, "pipe", pipe(ready));
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const int other = must_open(test, "f", O_RDWR);
    must(test, "tell", write(ready[1], "x", 1));
    struct flock wanted = range(F_WRLCK, 0, 0);
    test.done("wait", fcntl(other, F_SETLKW, &wanted));
    test.text("what the first wrote", content_of(other));
    std::fflush(stdout);
    _exit(0);
  }
  char byte = 0;
  must(test, "be told", read(ready[0], &byte, 1));
  usleep(50'000);  // likely it waits by now; the outcome is the same if it does not
  must(test, "write", pwrite(file, "first", 5, 0));
  lock = range(F_UNLCK, 0, 0);
  must(test, "unlock", fcntl(file, F_SETLK, &lock));
  int status = 0;
  waitpid(child, &status, 0);
  test.count("status", status);
}

}  // namespace

void add_locks(Suite& suite) {
  suite.run("locks", "of_ranges", of_ranges);
  suite.run("locks", "of_open_files", of_open_files);
  suite.run("locks", "whole_files", whole_files);
  suite.run("locks", "waiting", waiting);
}

}  // namespace canopy::posix
