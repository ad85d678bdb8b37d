// What is neither file, directory nor symbolic link, and programs.
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

void nodes(Case& test) {
  test.done("a regular file", mknod("f", S_IFREG | 0640, 0));
  struct stat found = {};
  must(test, "stat", stat("f", &found));
  test.count("its mode", found.st_mode);
  test.done("again", mknod("f", S_IFREG | 0640, 0));
  test.done("a FIFO", mkfifo("p", 0644));
  test.done("a socket", mknod("s", S_IFSOCK | 0644, 0));
  if (geteuid() == 0) test.done("a device", mknod("n", S_IFCHR | 0644, makedev(1, 3)));
  const int end = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "bound");
  test.done("bind", bind(end, reinterpret_cast<sockaddr*>(&address), sizeof address));
}

// A program that runs cannot be written, and one that is being written cannot be run.
void busy_programs(Case& test) {
  const std::string program = content_of("/bin/sleep");
  must_write(test, "sleep", program);
  must(test, "chmod", chmod("sleep", 0755));
  const int writer = must_open(test, "sleep", O_WRONLY);
  test.done("run while written", execl("./sleep", "sleep", "0", nullptr));
  must(test, "close", close(writer));
  int ready[2];
  must(test, "pipe", pipe2(ready, O_CLOEXEC));
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    execl("./sleep", "sleep", "100", nullptr);
    _exit(1);
  }
  close(ready[1]);
  char byte = 0;
  test.count("it runs", read(ready[0], &byte, 1));  // its end closes when the program has begun
  test.done("write while it runs", open("sleep", O_WRONLY));
  test.done("truncate while it runs", truncate("sleep", 0));
  test.done("remove while it runs", unlink("sleep"));
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  test.yes("it ran", WIFSIGNALED(status));
}

}  // namespace

void add_special(Suite& suite) {
  suite.run("special", "nodes", nodes);
  suite.run("special", "busy_programs", busy_programs);
}

}  // namespace canopy::posix
