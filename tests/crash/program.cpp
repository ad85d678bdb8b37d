#include "tests/crash/program.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace canopy::crash {

Program::~Program() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

Result<void> Program::launch() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return fail_errno(errno, name_, "socketpair");
  int log = open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) return fail_errno(errno, log_, "open");
  std::vector<char*> arguments;
  for (const std::string& word : command_) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(126);
    dup2(pair[1], STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  int error = errno;
  close(pair[1]);
  close(log);
  output_ = loop_.adopt(pair[0]);
  if (child < 0) return fail_errno(error, name_, "fork");
  pid_ = child;
  return {};
}

Task<Result<void>> Program::ready(Nanos deadline) {
  char bytes[4096];
  for (;;) {
    auto size = co_await output_->read(std::span(bytes), deadline);
    if (!size)
      co_return fail(size.error().code(), name_,
                     "it did not say that it is ready: " + size.error().message());
    if (*size == 0) co_return fail(Code::kConnectionLost, name_, "it ended at its start; see " + log_);
    if (std::string_view(bytes, *size).contains('\n')) co_return Result<void>();
  }
}

Task<Result<int>> Program::end(int signal) {
  CANOPY_CHECK(pid_ > 0);
  kill(pid_, signal);
  const Nanos give_up = loop_.now() + 60 * kSecond;
  for (;;) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = 0;
      output_.reset();
      co_return status;
    }
    if (loop_.now() > give_up)
      co_return fail(Code::kDeadlineExceeded, name_, fmt::format("signal {} did not end it", signal));
    co_await loop_.sleep(kMillisecond);
  }
}

}  // namespace canopy::crash
