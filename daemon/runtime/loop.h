// Loop: the one seam between the program and time, threads and sockets. UringLoop is the real one, SimLoop
// runs the same programs on virtual time from a seed. A loop belongs to one thread: every member but post()
// and now() is for that thread only, and every coroutine stays on the loop on which it started unless it
// awaits switch_to().
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "daemon/base/error.h"
#include "daemon/runtime/net.h"
#include "daemon/runtime/task.h"

namespace canopy {

// Nanoseconds of CLOCK_BOOTTIME (real) or of virtual time since the simulation's start.
using Nanos = int64_t;
inline constexpr Nanos kMicrosecond = 1'000;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;
inline constexpr Nanos kNever = INT64_MAX;  // a deadline that never comes

// A timer lives inside the object that waits (no allocation); it must not be destroyed while armed.
struct TimerNode {
  Nanos when = 0;
  uint64_t order = 0;
  size_t heap_index = SIZE_MAX;  // SIZE_MAX: not armed
  void (*fire)(TimerNode*) = nullptr;
};

namespace loop_detail {
// A spawned task in its loop's list, when the loop keeps one.
struct Spawned {
  Spawned* before = this;
  Spawned* after = this;
  std::coroutine_handle<> frame;
  Spawned() = default;
  Spawned(const Spawned&) = delete;
  Spawned& operator=(const Spawned&) = delete;
  ~Spawned() {
    before->after = after;
    after->before = before;
  }
};
}  // namespace loop_detail

// Readiness of a descriptor that somebody else owns, such as a library's socket. When this goes, its callback
// does not come any more; only then may the descriptor be closed.
class DescriptorWatch {
 public:
  virtual ~DescriptorWatch() = default;
  // Calls back once, when one of `events` holds (poll(2); POLLERR and POLLHUP always count), with what holds.
  // No effect while armed.
  virtual void arm(uint32_t events) = 0;
};

class Loop {
 public:
  virtual ~Loop() = default;

  virtual Nanos now() const = 0;              // any thread
  virtual int64_t wall_clock_ns() const = 0;  // CLOCK_REALTIME, or virtual; any thread
  virtual uint64_t random() = 0;  // unpredictable on a real loop, from the seed on a simulated one

  // Resumes later on this loop's thread: after what is ready now. Never recursive.
  virtual void defer(std::coroutine_handle<> handle) = 0;
  // From any thread: runs `work` on the loop's thread.
  virtual void post(std::move_only_function<void()> work) = 0;

  virtual void arm(TimerNode& timer, Nanos when) = 0;
  virtual void disarm(TimerNode& timer) = 0;  // no effect when not armed

  virtual Result<std::unique_ptr<Listener>> listen(const Address& address, const ListenOptions& options) = 0;
  virtual Task<Result<std::unique_ptr<Stream>>> connect(Address address, Nanos deadline) = 0;
  // `ready` may destroy the watch. kUnsupported on a simulated loop, which has no descriptors.
  virtual Result<std::unique_ptr<DescriptorWatch>> watch(int fd,
                                                         std::move_only_function<void(uint32_t)> ready) = 0;

  // Runs `task` to its end on this loop without anybody waiting for it; it starts as defer() would start it.
  // The loop's owner must see to it that everything the task refers to outlives it.
  void spawn(Task<void> task);

  // co_await loop.sleep_until(t); co_await loop.sleep(d); co_await loop.yield(); co_await loop.switch_to()
  // (moves the awaiting coroutine to this loop's thread; the awaiting coroutine may be on any loop; from
  // itself it costs nothing).
  auto sleep_until(Nanos when);
  auto sleep(Nanos duration);
  auto yield();
  auto switch_to();

  virtual bool on_this_thread() const = 0;

  // How often something came that the loop had not asked for: bytes on a stream, somebody from another loop.
  // One whose work can wait sees by it whether others use the loop. Any thread.
  uint64_t arrivals() const { return arrivals_.load(std::memory_order_relaxed); }
  // For what brings it, on the loop's thread.
  void arrived() { arrivals_.store(arrivals() + 1, std::memory_order_relaxed); }

 protected:
  // A loop that can be killed (SimLoop) keeps its spawned tasks in a list, so that it can destroy their
  // frames.
  void keep_spawned() { spawned_kept_ = true; }
  void destroy_spawned();  // the youngest first; nothing may resume any of them afterwards

 private:
  std::atomic<uint64_t> arrivals_{0};
  bool spawned_kept_ = false;
  loop_detail::Spawned spawned_;
};

class SleepAwaiter {
 public:
  SleepAwaiter(Loop& loop, Nanos when) : loop_(loop) {
    node_.base.when = when;
    node_.base.fire = [](TimerNode* timer) { reinterpret_cast<Node*>(timer)->waiting.resume(); };
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    node_.waiting = handle;
    loop_.arm(node_.base, node_.base.when);
  }
  void await_resume() const noexcept {}

 private:
  struct Node {
    TimerNode base;
    std::coroutine_handle<> waiting;
  };
  Loop& loop_;
  Node node_;
};

class YieldAwaiter {
 public:
  explicit YieldAwaiter(Loop& loop) : loop_(loop) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) { loop_.defer(handle); }
  void await_resume() const noexcept {}

 private:
  Loop& loop_;
};

class SwitchAwaiter {
 public:
  explicit SwitchAwaiter(Loop& loop) : loop_(loop) {}
  bool await_ready() const noexcept { return loop_.on_this_thread(); }
  void await_suspend(std::coroutine_handle<> handle) {
    loop_.post([&to = loop_, handle] {
      to.arrived();
      handle.resume();
    });
  }
  void await_resume() const noexcept {}

 private:
  Loop& loop_;
};

inline auto Loop::sleep(Nanos duration) { return SleepAwaiter(*this, now() + duration); }
inline auto Loop::sleep_until(Nanos when) { return SleepAwaiter(*this, when); }
inline auto Loop::yield() { return YieldAwaiter(*this); }
inline auto Loop::switch_to() { return SwitchAwaiter(*this); }

}  // namespace canopy
