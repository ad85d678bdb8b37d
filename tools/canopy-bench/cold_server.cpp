#include "tools/canopy-bench/cold_server.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <utility>
#include <vector>

namespace canopy::bench {

Result<ColdServer> ColdServer::start(const std::string& program, const std::string& base) {
  ColdServer server;
  server.folder_ = (std::filesystem::temp_directory_path() / "canopy-bench-XXXXXX").string();
  if (mkdtemp(server.folder_.data()) == nullptr) return fail_errno(errno, server.folder_, "mkdtemp");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, program, "pipe2");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<std::string> words{program,
                                 "--dir",
                                 base,
                                 "--listen",
                                 server.address(),
                                 "--frontend-uid",
                                 fmt::format("{}", getuid()),
                                 "--log-level",
                                 "warning"};
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int spawned =
      posix_spawnp(&server.pid_, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (spawned != 0) {
    server.pid_ = 0;
    close(ends[0]);
    return fail_errno(spawned, program, "start");
  }
  char said = 0;  // it says one line when it is ready, and nothing when it ends before that
  ssize_t got = 0;
  do {
    got = read(ends[0], &said, 1);
  } while ((got < 0 && errno == EINTR) || (got == 1 && said != '\n'));
  close(ends[0]);
  if (got != 1) return fail(Code::kIo, program, "it ended before it was ready; its log says why");
  return server;
}

ColdServer::ColdServer(ColdServer&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), folder_(std::exchange(other.folder_, {})) {}

ColdServer::~ColdServer() {
  if (pid_ > 0) {
    kill(pid_, SIGTERM);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  std::error_code error;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, error);
}

}  // namespace canopy::bench
