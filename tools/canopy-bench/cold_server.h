// A canopyd of one's own, started anew for each measurement: on a directory that is there, with a Unix socket
// in a temporary folder. Blocking; for programs that have nothing else to do meanwhile.
#pragma once

#include <sys/types.h>

#include <string>

#include "daemon/base/error.h"

namespace canopy::bench {

class ColdServer {
 public:
  // Answers when it is ready. kIo with canopyd's exit when it is not.
  static Result<ColdServer> start(const std::string& program, const std::string& base);
  ColdServer(ColdServer&& other) noexcept;
  ColdServer& operator=(ColdServer&&) = delete;
  ~ColdServer();  // ends it as SIGTERM does, and waits

  std::string address() const { return "unix:" + folder_ + "/canopyd.sock"; }
  pid_t pid() const { return pid_; }

 private:
  ColdServer() = default;
  pid_t pid_ = 0;
  std::string folder_;
};

}  // namespace canopy::bench
