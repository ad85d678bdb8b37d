// Notifier: tells the kernel that what it knows is old. The kernel may make such a call wait for a request
// that this process has yet to answer, so it never comes from the mount's loop: a thread of its own makes it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

struct fuse_session;

namespace canopy::mount {

inline constexpr size_t kNotificationsMax = 1'000'000;  // beyond it they are left out: times to live remain

class Notifier {
 public:
  Notifier() = default;
  ~Notifier();
  void start(fuse_session* session);  // once
  void stop();                        // before the session goes

  // Any thread. What the name means is to be asked again.
  void expire_name(uint64_t parent, std::string name);
  // The kernel is to drop what the name means, and to forget it where nobody uses it.
  void drop_name(uint64_t parent, std::string name);
  // Attributes and access lists; with `content` what was read of it too.
  void expire_node(uint64_t number, bool content);
  size_t waiting() const;

 private:
  struct Notification {
    enum class Kind : uint8_t { kExpireName, kDropName, kAttributes, kContent } kind;
    uint64_t number;
    std::string name;
  };
  void add(Notification notification);
  void run();

  fuse_session* session_ = nullptr;
  mutable std::mutex gate_;
  std::condition_variable changed_;
  std::deque<Notification> queue_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace canopy::mount
