// A real NFS server for tests: tools/ganesha.py, which says what it is.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <semaphore>
#include <thread>

#include "daemon/base/check.h"
#include "daemon/store/nfs/nfs_options.h"

namespace canopy {

class NfsServer {
 public:
  NfsServer() {
    std::string pattern = std::filesystem::temp_directory_path() / "canopy_nfs_XXXXXX";
    directory_ = mkdtemp(pattern.data());
    start();
  }
  ~NfsServer() {
    kill();
    std::filesystem::remove_all(directory_);
  }
  NfsServer(const NfsServer&) = delete;
  NfsServer& operator=(const NfsServer&) = delete;

  // Empty where servers can be started.
  static const std::string& why_unavailable() {
    static const std::string why = [] {
      if (geteuid() != 0) return "nfs-ganesha needs root";
      return is_installed() ? "" : "nfs-ganesha is not installed (tools/dev setup)";
    }();
    return why;
  }

  void start() {
    // It ends where another server registers with rpcbind at the same moment.
    for (int attempt = 1; !started(); ++attempt) {
      if (attempt == 20) std::fprintf(stderr, "nfs-ganesha ended; see %s/ganesha.log\n", directory_.c_str());
      CANOPY_CHECK(attempt < 20);
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    started_at_ = std::chrono::steady_clock::now();
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void restart() {
    kill();
    // Ganesha's write verifier is the second in which it was started: another life needs another second.
    std::this_thread::sleep_until(started_at_ + std::chrono::milliseconds(1100));
    start();
  }
  void stop() {
    ::kill(pid_, SIGSTOP);
    waitpid(pid_, nullptr, WUNTRACED);  // until all of its threads stand still
  }
  void go_on() { ::kill(pid_, SIGCONT); }

  std::filesystem::path export_path() const { return directory_ + "/export"; }
  uint16_t nfs_port() const { return static_cast<uint16_t>(nfs_port_); }
  // A store on a directory of its own, which begins empty.
  NfsOptions options(uint32_t version, const std::string& directory) const {
    std::filesystem::create_directories(export_path() / directory);
    auto options =
        parse_nfs_address(fmt::format("nfs://127.0.0.1/export/{}?version={}&nfsport={}&mountport={}",
                                      directory, version, nfs_port_, mount_port_));
    CANOPY_CHECK(options.has_value());
    return *options;
  }
  std::string new_directory() { return fmt::format("d{}", ++directories_); }

 private:
  // A server dies with the thread that started it, so one that lives as long as the process starts all.
  class Starter {
   public:
    Starter() {
      std::thread([this] {
        while (true) {
          wanted_.acquire();
          pid_ = fork();
          if (pid_ == 0) {
            execlp("python3", "python3", CANOPY_SOURCE_DIR "/tools/ganesha.py", "exec", directory_.c_str(),
                   nullptr);
            _exit(127);
          }
          started_.release();
        }
      }).detach();
    }
    pid_t spawn(const std::string& directory) {
      std::lock_guard lock(mutex_);
      directory_ = directory;
      wanted_.release();
      started_.acquire();
      return pid_;
    }

   private:
    std::mutex mutex_;
    std::binary_semaphore wanted_{0}, started_{0};
    std::string directory_;
    pid_t pid_ = -1;
  };
  static Starter& starter() {
    static auto* one = new Starter;  // its thread uses it to the end
    return *one;
  }
  static bool is_installed() {
    std::istringstream path(getenv("PATH"));
    for (std::string directory; std::getline(path, directory, ':');)
      if (access((directory + "/ganesha.nfsd").c_str(), X_OK) == 0) return true;
    return false;
  }
  bool accepts() const {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(nfs_port());
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool accepted = connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    close(fd);
    return accepted;
  }
  bool started() {
    pid_ = starter().spawn(directory_);
    CANOPY_CHECK(pid_ >= 0);
    do {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (waitpid(pid_, nullptr, WNOHANG) != 0) return false;
      if (nfs_port_ == 0) std::ifstream(directory_ + "/ports") >> nfs_port_ >> mount_port_;
    } while (nfs_port_ == 0 || !accepts());
    return true;
  }

  std::string directory_;
  unsigned nfs_port_ = 0, mount_port_ = 0;
  pid_t pid_ = -1;
  unsigned directories_ = 0;
  std::chrono::steady_clock::time_point started_at_;
};

}  // namespace canopy
