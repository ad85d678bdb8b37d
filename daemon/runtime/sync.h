// Waiting for one another on one loop: Event, Mutex, Semaphore, Channel, WaitGroup, TaskGroup, join_all. All
// are for the loop's thread only and allocate nothing to wait. Whoever is woken runs later, through
// Loop::defer, never inside the call that woke it. Waiters are served in the order in which they came.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "daemon/runtime/loop.h"

namespace canopy {

namespace sync_detail {

// A link of a ring. Whoever goes first takes itself out, so frames and lists may be destroyed in any order.
struct Link {
  Link* before = this;
  Link* after = this;

  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() { unlink(); }

  bool linked() const { return after != this; }
  void unlink() {
    before->after = after;
    after->before = before;
    before = after = this;
  }
  void append(Link& last) {
    last.before = before;
    last.after = this;
    before->after = &last;
    before = &last;
  }
};

struct Waiter : Link {
  std::coroutine_handle<> handle;
};

class WaitList {
 public:
  bool empty() const { return !head_.linked(); }
  void append(Waiter& waiter) { head_.append(waiter); }
  Waiter& front() { return static_cast<Waiter&>(*head_.after); }
  Waiter& take() {
    Waiter& first = front();
    first.unlink();
    return first;
  }

 private:
  Link head_;
};

}  // namespace sync_detail

// Set or not set. Every waiter goes on once it is set, even if it is reset before the waiter runs.
class Event {
 public:
  explicit Event(Loop& loop) : loop_(loop) {}

  bool is_set() const { return set_; }
  void set() {
    set_ = true;
    wake_all();
  }
  void reset() { set_ = false; }
  // Wakes all who wait now and leaves the event as it is.
  void wake_all() {
    while (!waiting_.empty()) {
      auto& waiter = static_cast<Awaiter&>(waiting_.take());
      waiter.woken = true;
      loop_.disarm(waiter.timer);
      loop_.defer(waiter.handle);
    }
  }

  struct [[nodiscard]] Awaiter : sync_detail::Waiter {
    struct Timer : TimerNode {
      Awaiter* awaiter = nullptr;
    };
    Awaiter(Event& of, Nanos deadline) : event(of) {
      timer.when = deadline;
      timer.awaiter = this;
      timer.fire = [](TimerNode* node) {
        Awaiter& late = *static_cast<Timer*>(node)->awaiter;
        late.unlink();
        late.handle.resume();
      };
    }
    bool await_ready() noexcept { return woken = event.set_; }
    void await_suspend(std::coroutine_handle<> awaiting) {
      handle = awaiting;
      event.waiting_.append(*this);
      if (timer.when != kNever) event.loop_.arm(timer, timer.when);
    }
    bool await_resume() const noexcept { return woken; }

    Event& event;
    Timer timer;
    bool woken = false;
  };

  // co_await event.wait(); bool in_time = co_await event.wait_until(deadline).
  Awaiter wait() { return Awaiter(*this, kNever); }
  Awaiter wait_until(Nanos deadline) { return Awaiter(*this, deadline); }

 private:
  Loop& loop_;
  bool set_ = false;
  sync_detail::WaitList waiting_;
};

// Counts permits; a large request at the head of the queue is not overtaken by small ones.
class Semaphore {
 public:
  Semaphore(Loop& loop, uint64_t permits) : loop_(loop), total_(permits), free_(permits) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  // Gives its permits back when it goes; the semaphore must outlive it.
  class [[nodiscard]] Permit {
   public:
    Permit() = default;
    Permit(Permit&& other) noexcept
        : of_(std::exchange(other.of_, nullptr)), count_(std::exchange(other.count_, 0)) {}
    Permit& operator=(Permit&& other) noexcept {
      std::swap(of_, other.of_);
      std::swap(count_, other.count_);
      return *this;
    }
    ~Permit() { release(); }
    void release() {
      if (of_ != nullptr) std::exchange(of_, nullptr)->give_back(std::exchange(count_, 0));
    }
    explicit operator bool() const { return of_ != nullptr; }

   private:
    friend class Semaphore;
    Permit(Semaphore* of, uint64_t count) : of_(of), count_(count) {}
    Semaphore* of_ = nullptr;
    uint64_t count_ = 0;
  };

  struct [[nodiscard]] Awaiter : sync_detail::Waiter {
    Awaiter(Semaphore& from, uint64_t wanted) : semaphore(from), count(wanted) {}
    bool await_ready() noexcept { return semaphore.take(count); }
    void await_suspend(std::coroutine_handle<> awaiting) {
      handle = awaiting;
      semaphore.waiting_.append(*this);
      ++semaphore.waiting_count_;
    }
    Permit await_resume() noexcept { return Permit(&semaphore, count); }
    Semaphore& semaphore;
    uint64_t count;
  };

  // auto permit = co_await semaphore.acquire(); more than there are at all is a defect of the caller.
  Awaiter acquire(uint64_t count = 1) {
    CANOPY_CHECK(count <= total_);
    return Awaiter(*this, count);
  }
  // An empty permit when it would have to wait.
  Permit try_acquire(uint64_t count = 1) { return take(count) ? Permit(this, count) : Permit(); }

  uint64_t available() const { return free_; }
  uint64_t waiting() const { return waiting_count_; }  // for callers that shed load beyond a bound

 private:
  bool take(uint64_t count) {
    if (!waiting_.empty() || count > free_) return false;
    free_ -= count;
    return true;
  }
  void give_back(uint64_t count) {
    free_ += count;
    while (!waiting_.empty()) {
      auto& next = static_cast<Awaiter&>(waiting_.front());
      if (next.count > free_) return;
      free_ -= next.count;
      next.unlink();
      --waiting_count_;
      loop_.defer(next.handle);
    }
  }

  Loop& loop_;
  const uint64_t total_;
  uint64_t free_;
  uint64_t waiting_count_ = 0;
  sync_detail::WaitList waiting_;
};

// auto guard = co_await mutex.lock();
class Mutex {
 public:
  using Guard = Semaphore::Permit;
  explicit Mutex(Loop& loop) : one_(loop, 1) {}
  auto lock() { return one_.acquire(1); }
  Guard try_lock() { return one_.try_acquire(1); }
  bool locked() const { return one_.available() == 0; }

 private:
  Semaphore one_;
};

// A bounded queue. A capacity of 0 hands every value straight from pusher to popper.
template <class T>
class Channel {
 public:
  Channel(Loop& loop, size_t capacity) : loop_(loop), capacity_(capacity) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  struct [[nodiscard]] Push : sync_detail::Waiter {
    Push(Channel& to, T given) : channel(to), value(std::move(given)) {}
    bool await_ready() {
      if (channel.closed_) return true;
      return accepted = channel.try_put(value);
    }
    void await_suspend(std::coroutine_handle<> awaiting) {
      handle = awaiting;
      channel.pushers_.append(*this);
    }
    bool await_resume() const noexcept { return accepted; }
    Channel& channel;
    T value;
    bool accepted = false;
  };

  struct [[nodiscard]] Pop : sync_detail::Waiter {
    explicit Pop(Channel& from) : channel(from) {}
    bool await_ready() {
      value = channel.try_pop();
      return value.has_value() || channel.closed_;
    }
    void await_suspend(std::coroutine_handle<> awaiting) {
      handle = awaiting;
      channel.poppers_.append(*this);
    }
    std::optional<T> await_resume() { return std::move(value); }
    Channel& channel;
    std::optional<T> value;
  };

  // bool accepted = co_await channel.push(value): waits while it is full; false when it is closed.
  Push push(T value) { return Push(*this, std::move(value)); }
  // std::optional<T> value = co_await channel.pop(): waits while it is empty; empty once it is closed and
  // drained.
  Pop pop() { return Pop(*this); }

  // False (and `value` untouched) when full or closed.
  bool try_push(T& value) { return !closed_ && try_put(value); }

  std::optional<T> try_pop() {
    std::optional<T> value;
    if (!items_.empty()) {
      value.emplace(std::move(items_.front()));
      items_.pop_front();
      if (!pushers_.empty()) items_.push_back(accept_pusher());
    } else if (!pushers_.empty()) {
      value.emplace(accept_pusher());
    }
    return value;
  }

  // Those who wait to push are refused; what is inside can still be popped.
  void close() {
    closed_ = true;
    while (!pushers_.empty()) loop_.defer(pushers_.take().handle);
    while (!poppers_.empty()) loop_.defer(poppers_.take().handle);
  }

  bool closed() const { return closed_; }
  size_t size() const { return items_.size(); }
  size_t capacity() const { return capacity_; }

 private:
  bool try_put(T& value) {
    if (!poppers_.empty()) {
      auto& popper = static_cast<Pop&>(poppers_.take());
      popper.value.emplace(std::move(value));
      loop_.defer(popper.handle);
      return true;
    }
    if (items_.size() >= capacity_) return false;
    items_.push_back(std::move(value));
    return true;
  }
  T accept_pusher() {
    auto& pusher = static_cast<Push&>(pushers_.take());
    pusher.accepted = true;
    loop_.defer(pusher.handle);
    return std::move(pusher.value);
  }

  Loop& loop_;
  const size_t capacity_;
  bool closed_ = false;
  std::deque<T> items_;
  sync_detail::WaitList pushers_, poppers_;
};

// Counts what is under way; wait() goes on when nothing is.
class WaitGroup {
 public:
  explicit WaitGroup(Loop& loop) : idle_(loop) { idle_.set(); }
  void add(size_t count = 1) {
    count_ += count;
    if (count_ > 0) idle_.reset();
  }
  void done() {
    CANOPY_CHECK(count_ > 0);
    if (--count_ == 0) idle_.set();
  }
  size_t count() const { return count_; }
  // Whoever adds again before the waiter runs is not waited for.
  Event::Awaiter wait() { return idle_.wait(); }
  Event::Awaiter wait_until(Nanos deadline) { return idle_.wait_until(deadline); }

 private:
  Event idle_;
  size_t count_ = 0;
};

// Tasks that somebody waits for together. It must be joined before it goes.
class TaskGroup {
 public:
  explicit TaskGroup(Loop& loop) : loop_(loop), running_(loop) {}
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup() { CANOPY_CHECK(running_.count() == 0); }

  void spawn(Task<void> task) {
    running_.add();
    loop_.spawn(run(Counted(running_), std::move(task)));
  }
  size_t count() const { return running_.count(); }
  // Waits until all have ended, those that are spawned meanwhile included.
  Task<void> join() {
    while (running_.count() > 0) co_await running_.wait();
  }
  // False when the deadline passed first.
  Task<bool> join_until(Nanos deadline) {
    while (running_.count() > 0)
      if (!co_await running_.wait_until(deadline)) co_return running_.count() == 0;
    co_return true;
  }

 private:
  // Counts down even when the frame is destroyed half-way (a killed SimLoop).
  class Counted {
   public:
    explicit Counted(WaitGroup& of) : of_(&of) {}
    Counted(Counted&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    Counted& operator=(Counted&&) = delete;
    ~Counted() {
      if (of_ != nullptr) of_->done();
    }

   private:
    WaitGroup* of_;
  };
  static Task<void> run(Counted counted, Task<void> task) {
    Counted until_the_task_has_gone = std::move(counted);
    Task<void> mine = std::move(task);
    co_await std::move(mine);
  }

  Loop& loop_;
  WaitGroup running_;
};

namespace sync_detail {
template <class T>
Task<void> run_into(Task<T> task, std::optional<T>& result) {
  result.emplace(co_await std::move(task));
}
}  // namespace sync_detail

// Runs all at the same time; the results in the order of the tasks.
template <class T>
Task<std::vector<T>> join_all(Loop& loop, std::vector<Task<T>> tasks) {
  std::vector<std::optional<T>> results(tasks.size());
  TaskGroup group(loop);
  for (size_t i = 0; i < tasks.size(); ++i)
    group.spawn(sync_detail::run_into(std::move(tasks[i]), results[i]));
  co_await group.join();
  std::vector<T> values;
  values.reserve(results.size());
  for (auto& result : results) values.push_back(std::move(*result));
  co_return values;
}

}  // namespace canopy
