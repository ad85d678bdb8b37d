// UringLoop: a Loop over io_uring. One per thread; made on any thread, then used only on the thread that
// calls run(). Submissions of one turn go to the kernel in one system call.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "daemon/runtime/loop.h"

struct io_uring_sqe;

namespace canopy {

struct UringOptions {
  uint32_t entries = 4096;     // submission queue; the completion queue is 4 times that
  uint32_t file_workers = 64;  // kernel threads for file operations that cannot be done at once (fdatasync):
                               // its concurrency is what lets a journalling file system commit many at a time
  int park_from = 0;  // sockets whose descriptor is this or above are parked when idle (see park()); 0: three
                      // quarters of RLIMIT_NOFILE as it is when the loop is made
};

class UringLoop final : public Loop {
 public:
  // Fails with kUnsupported and a sentence on what to do where io_uring is missing or blocked.
  static Result<std::unique_ptr<UringLoop>> create(const UringOptions& options = {});
  ~UringLoop() override;

  void run();   // until stop(); every task that is still waiting then stays as it is and must not be resumed
  void stop();  // any thread
  // Runs until `task` is done and answers its result: for tests, tools and main().
  template <class T>
  T run_until_done(Task<T> task);

  Nanos now() const override;
  int64_t wall_clock_ns() const override;
  uint64_t random() override;
  void defer(std::coroutine_handle<> handle) override;
  void post(std::move_only_function<void()> work) override;
  void arm(TimerNode& timer, Nanos when) override;
  void disarm(TimerNode& timer) override;
  Result<std::unique_ptr<Listener>> listen(const Address& address, const ListenOptions& options) override;
  Task<Result<std::unique_ptr<Stream>>> connect(Address address, Nanos deadline) override;
  Result<std::unique_ptr<DescriptorWatch>> watch(int fd,
                                                 std::move_only_function<void(uint32_t)> ready) override;
  bool on_this_thread() const override;

  // A completion waits in here; it must stay in place until `done` is called with the CQE's result and flags.
  struct Completion {
    void (*done)(Completion*, int32_t result, uint32_t flags) = nullptr;
  };
  // A free entry, already bound to `completion`; the caller fills it with an io_uring_prep_* and nothing
  // else. It is submitted at the end of the turn. Never null: a full queue is submitted first.
  io_uring_sqe* entry(Completion& completion);
  io_uring_sqe* entry_of_nobody();  // its result interests nobody
  // `count` entries that the kernel will see in one submission, for chains with IOSQE_IO_LINK.
  void reserve(uint32_t count);
  void cancel(Completion& completion);  // asks; the completion still comes (usually -ECANCELED)
  // Holds `owner` (of `completion`) until its last completion was delivered or the loop has gone.
  void keep(Completion& completion, std::shared_ptr<void> owner);

  // A second listener, on this loop, on the socket of `other` (of any loop of this process): loops share the
  // connections of one Unix socket. `other` must not go away meanwhile; the socket closes with the last of
  // them.
  Result<std::unique_ptr<Listener>> share(const Listener& other);
  // Takes a connected stream socket, blocking, on success and on failure alike.
  std::unique_ptr<Stream> adopt(int socket_fd);

  // Parking: a process may hold more connections than descriptors, because a ring has a table of files of its
  // own, which RLIMIT_NOFILE limits apart. A descriptor that is scarce moves there: park() answers its slot
  // and closes the descriptor, or answers -1 and leaves it as it is (the table is full, or the kernel has
  // none). Operations name the slot in place of the descriptor, with IOSQE_FIXED_FILE. leave() closes the
  // slot's file after everything that was submitted before.
  bool parks(int fd) const { return fd >= park_from_; }
  int park(int fd);
  void leave(int slot);

  // co_await loop.submit([&](io_uring_sqe* sqe) { io_uring_prep_read(sqe, …); }): the CQE's result, -errno on
  // failure.
  template <class Prepare>
  auto submit(Prepare prepare);

 private:
  struct State;
  explicit UringLoop(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
  int park_from_;
};

template <class Prepare>
class SubmitAwaiter : private UringLoop::Completion {
 public:
  SubmitAwaiter(UringLoop& loop, Prepare prepare) : loop_(loop), prepare_(std::move(prepare)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiting_ = handle;
    done = [](UringLoop::Completion* self, int32_t result, uint32_t) {
      auto* awaiter = static_cast<SubmitAwaiter*>(self);
      awaiter->result_ = result;
      awaiter->waiting_.resume();
    };
    prepare_(loop_.entry(*this));
  }
  int32_t await_resume() const noexcept { return result_; }

 private:
  UringLoop& loop_;
  Prepare prepare_;
  std::coroutine_handle<> waiting_;
  int32_t result_ = 0;
};

template <class Prepare>
auto UringLoop::submit(Prepare prepare) {
  return SubmitAwaiter<Prepare>(*this, std::move(prepare));
}

template <class T>
T UringLoop::run_until_done(Task<T> task) {
  if constexpr (std::is_void_v<T>) {
    auto body = [](UringLoop& loop, Task<void> inner) -> Task<void> {
      co_await std::move(inner);
      loop.stop();
    };
    spawn(body(*this, std::move(task)));
    run();
  } else {
    std::optional<T> result;
    auto body = [](UringLoop& loop, Task<T> inner, std::optional<T>& out) -> Task<void> {
      out.emplace(co_await std::move(inner));
      loop.stop();
    };
    spawn(body(*this, std::move(task), result));
    run();
    return std::move(*result);
  }
}

}  // namespace canopy
