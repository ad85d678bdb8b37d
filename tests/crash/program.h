// A child process that is started, found ready, and killed. It dies with this process. For the loop's thread
// only.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "daemon/runtime/uring_loop.h"

namespace canopy::crash {

class Program {
 public:
  // Its standard error is appended to `log`.
  Program(UringLoop& loop, std::string name, std::vector<std::string> command, std::string log)
      : loop_(loop), name_(std::move(name)), command_(std::move(command)), log_(std::move(log)) {}
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();

  Result<void> launch();
  // Until it prints a line, which is how it says that it is ready.
  Task<Result<void>> ready(Nanos deadline);
  // Sends the signal and waits until the process is gone; answers its status as of waitpid().
  Task<Result<int>> end(int signal);
  bool running() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }

 private:
  UringLoop& loop_;
  const std::string name_;
  const std::vector<std::string> command_;
  const std::string log_;
  pid_t pid_ = 0;
  std::unique_ptr<Stream> output_;
};

}  // namespace canopy::crash
