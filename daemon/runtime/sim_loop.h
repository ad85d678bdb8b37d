// SimWorld: virtual time, seeded chance, and any number of SimLoops (one a simulated process) on one thread.
// The same programs run here and on UringLoop; the seed decides every order that the real world leaves open,
// and replays it. Everything here is for one thread.
#pragma once

#include <list>
#include <map>
#include <string>
#include <vector>

#include "daemon/runtime/loop.h"
#include "daemon/runtime/timer_heap.h"

namespace canopy {

// SplitMix64: small, and every seed gives a usable sequence.
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}
  uint64_t next();
  uint64_t below(uint64_t bound);                             // 0 … bound - 1; bound > 0
  Nanos between(Nanos low, Nanos high);                       // both ends included
  bool one_in(uint64_t n) { return n > 0 && below(n) == 0; }  // never when n is 0

 private:
  uint64_t state_;
};

struct SimOptions {
  Nanos delay_min =
      20 * kMicrosecond;  // of bytes on their way, each piece drawn anew; a connection keeps its order
  Nanos delay_max = 2 * kMillisecond;
  size_t window_bytes = 64 * 1024;  // what a connection holds in one direction before its writer waits
  uint64_t short_read_one_in = 4;   // reads that answer less than is there; 0: none
  Nanos step_cost_max =
      2 * kMicrosecond;       // what running a piece of code takes, so that waiting in a circle ends
  uint64_t break_one_in = 0;  // pieces on their way whose connection breaks instead; 0: none
  int64_t wall_clock_start_ns = 1'790'000'000'000'000'000;
};

class SimLoop;
class SimStream;
class SimListener;
struct SimConnection;

class SimWorld {
 public:
  explicit SimWorld(uint64_t seed, const SimOptions& options = {});
  ~SimWorld();  // kills every loop
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  // A new process. It lives as long as the world, also when killed. A process that starts again is a new
  // loop.
  SimLoop& add_loop(std::string name);

  // The process dies here: nothing of it runs again, its timers, ready and posted work are dropped, its
  // listeners go, its connections end for their peers as a kernel ends them, what it has sent stays on its
  // way. Its spawned tasks' frames are destroyed, the youngest first, so their destructors run, but without
  // effect on the world. A loop may be killed out of its own code: that code goes on to its next suspension.
  void kill(SimLoop& loop);
  // A paused process does not run, while time and the network go on; it finds itself late afterwards.
  void pause(SimLoop& loop);
  void resume(SimLoop& loop);

  // Between two processes: breaks every connection now.
  void cut(SimLoop& a, SimLoop& b);
  // Bytes and connects between them stand still until heal().
  void partition(SimLoop& a, SimLoop& b);
  void heal(SimLoop& a, SimLoop& b);

  // Runs until `condition` (looked at after every step) holds, and answers whether it does: false when time
  // reaches `time_max` or nothing is left to happen.
  bool run_until(const std::function<bool()>& condition, Nanos time_max);
  void run_for(Nanos duration);
  // Runs `task` on `loop`; empty when it did not end by `time_max` (the loop was killed, or it waits for
  // ever).
  template <class T>
  std::optional<T> run_until_done(SimLoop& loop, Task<T> task, Nanos time_max = kNever);
  bool run_until_done(SimLoop& loop, Task<void> task, Nanos time_max = kNever);

  Nanos now() const { return now_; }
  uint64_t steps() const { return steps_; }  // pieces of code run so far: equal for equal seeds
  SimRandom& random() { return random_; }
  const SimOptions& options() const { return options_; }

 private:
  friend class SimLoop;
  friend class SimStream;
  friend class SimListener;
  friend struct SimConnection;

  bool step();  // one piece of code, or one move of time; false: nothing is left
  bool run_one_ready();
  void bury();  // destroys the frames of loops killed in the last step
  void partition_changed();
  bool parted(const SimLoop* a, const SimLoop* b) const;
  SimListener* find_listener(const Address& address) const;

  const SimOptions options_;
  SimRandom random_;
  Nanos now_ = 0;
  Nanos time_limit_ = kNever;
  uint64_t steps_ = 0;
  uint16_t next_port_ = 40000;
  TimerHeap network_;  // what is on its way
  std::vector<std::unique_ptr<SimLoop>> loops_;
  SimLoop* running_ = nullptr;
  std::vector<SimLoop*> to_bury_;
  std::map<std::string, SimListener*> listeners_;  // by Address::to_string()
  std::list<std::weak_ptr<SimConnection>> connections_;
  std::vector<std::pair<const SimLoop*, const SimLoop*>> parted_;
};

class SimLoop final : public Loop {
 public:
  ~SimLoop() override;

  const std::string& name() const { return name_; }
  bool alive() const { return alive_; }
  SimWorld& world() { return world_; }

  Nanos now() const override { return world_.now_; }
  int64_t wall_clock_ns() const override;
  uint64_t random() override { return random_.next(); }
  void defer(std::coroutine_handle<> handle) override;
  void post(std::move_only_function<void()> work) override;
  void arm(TimerNode& timer, Nanos when) override;
  void disarm(TimerNode& timer) override;
  Result<std::unique_ptr<Listener>> listen(const Address& address, const ListenOptions& options) override;
  Task<Result<std::unique_ptr<Stream>>> connect(Address address, Nanos deadline) override;
  Result<std::unique_ptr<DescriptorWatch>> watch(int fd,
                                                 std::move_only_function<void(uint32_t)> ready) override;
  bool on_this_thread() const override { return world_.running_ == this; }

 private:
  friend class SimWorld;
  friend class SimStream;
  friend class SimListener;
  friend struct SimConnection;

  SimLoop(SimWorld& world, std::string name, uint64_t seed, uint32_t number);
  size_t runnable(Nanos now) const;
  void run_runnable(size_t index);

  SimWorld& world_;
  const std::string name_;
  const uint32_t number_;  // its pid, as Unix peers see it
  SimRandom random_;
  bool alive_ = true;
  bool paused_ = false;
  std::vector<std::coroutine_handle<>> ready_;
  std::deque<std::move_only_function<void()>> posted_;
  TimerHeap timers_;
  std::vector<SimStream*>
      streams_;  // in the order in which they were made: a seed replays what their end does
  std::vector<SimListener*> listeners_;
};

namespace sim_detail {
template <class T>
Task<void> run_into(Task<T> task, std::shared_ptr<std::optional<T>> result) {
  result->emplace(co_await std::move(task));
}
}  // namespace sim_detail

template <class T>
std::optional<T> SimWorld::run_until_done(SimLoop& loop, Task<T> task, Nanos time_max) {
  // Shared: when time runs out the task stays, and may end later.
  auto result = std::make_shared<std::optional<T>>();
  loop.spawn(sim_detail::run_into(std::move(task), result));
  run_until([&] { return result->has_value(); }, time_max);
  return std::move(*result);
}

}  // namespace canopy
