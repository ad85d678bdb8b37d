// Notifier: tells the kernel that what it knows is old. The kernel may make such a call wait for a request
// that this process has yet to answer, so it never comes from the mount's loop: threads of its own make it.
// What is told of one directory's names, or of one node, is told in its order; others do not wait for it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct fuse_session;

namespace canopy::mount {

inline constexpr size_t kNotificationsMax = 1'000'000;  // beyond it they are left out: times to live remain
// Of threads. One tells, another takes its place when that lasts: so many directories may be held up by
// operations that do not end before the others wait for them.
inline constexpr size_t kNotifiersMax = 64;
inline constexpr std::chrono::milliseconds kNotifierLasts{20};

struct Notification {
  enum class Kind : uint8_t { kExpireName, kDropName, kAttributes, kContent } kind = Kind::kAttributes;
  uint64_t number = 0;  // of the node; of names the directory's
  std::string name;
};

// What the kernel answers says only whether it knew the thing. It returns when the kernel has done it.
void tell_kernel(fuse_session* session, const Notification& what);

class Notifier {
 public:
  Notifier() = default;
  ~Notifier();
  // Once. Several threads call `tell`, for one node and its names one at a time.
  void start(std::function<void(const Notification&)> tell);
  void stop();  // before the session goes

  // Any thread. What the name means is to be asked again.
  void expire_name(uint64_t parent, std::string name);
  // The kernel is to drop what the name means, and to forget it where nobody uses it.
  void drop_name(uint64_t parent, std::string name);
  // Attributes and access lists; with `content` what was read of it too.
  void expire_node(uint64_t number, bool content);
  size_t waiting() const;

 private:
  using Key = uint64_t;  // the node's number twice, and one more for its names
  static Key key_of(const Notification& notification);
  void add(Notification notification);
  void run();
  // With gate_.
  bool take(Notification& next);
  void see_to_a_spare();

  std::function<void(const Notification&)> tell_;
  mutable std::mutex gate_;
  std::condition_variable changed_;
  std::deque<Notification> queue_;
  // Of what is being told now, with what has come for the same since.
  std::unordered_map<Key, std::deque<Notification>> being_told_;
  size_t waiting_ = 0;
  size_t idle_ = 0;  // threads
  uint64_t taken_ = 0,
           telling_ = 0;  // how many were taken; which of them is being told, unless that lasts: 0
  std::chrono::steady_clock::time_point begun_;  // when the last one was taken
  bool over_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace canopy::mount
