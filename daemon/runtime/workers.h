// WorkerPool: threads for work that would hold up a loop (password hashes, RocksDB). Bounded in threads and
// in waiting work. run() may be called on any loop; the loops must outlive the pool, and stay running until
// their work came back.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "daemon/runtime/loop.h"

namespace canopy {

namespace workers_detail {
template <class T>
struct ResultOf {
  using type = Result<T>;
};
template <class T>
struct ResultOf<Result<T>> {
  using type = Result<T>;
};
}  // namespace workers_detail

class WorkerPool {
 public:
  // `threads` 0: work runs on the calling loop, after what is ready there (for simulations, which have one
  // thread). `queue_max`: work that waits for a thread. `name` appears in errors and, cut to 15 bytes, as the
  // threads' name.
  WorkerPool(std::string name, uint32_t threads, uint32_t queue_max);
  ~WorkerPool();  // after the work that it has accepted
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Runs `work` (returning T or Result<T>; it must not throw) on a worker and comes back to `from`, on which
  // the caller runs. kTryAgain when queue_max wait already.
  template <class F>
  auto run(Loop& from, F work) -> Task<typename workers_detail::ResultOf<std::invoke_result_t<F&>>::type>;

  uint32_t queued() const;  // any thread

 private:
  template <class F>
  struct Await;
  bool enqueue(std::move_only_function<void()> job);
  std::unexpected<Error> full() const;
  void serve();

  const std::string name_;
  const uint32_t queue_max_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::move_only_function<void()>> jobs_;  // under mutex_
  bool ending_ = false;                               // under mutex_
  std::vector<std::thread> threads_;
};

template <class F>
struct WorkerPool::Await {
  WorkerPool& pool;
  Loop& from;
  F& work;
  std::optional<std::invoke_result_t<F&>> result = std::nullopt;  // stays empty when the pool refuses

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle) {
    return pool.enqueue([this, handle] {
      result.emplace(work());
      from.post([handle] { handle.resume(); });
    });
  }
  void await_resume() const noexcept {}
};

template <class F>
auto WorkerPool::run(Loop& from, F work)
    -> Task<typename workers_detail::ResultOf<std::invoke_result_t<F&>>::type> {
  if (threads_.empty()) {
    co_await from.yield();
    co_return work();
  }
  Await<F> await{*this, from, work};
  co_await await;
  if (!await.result) co_return full();
  co_return std::move(*await.result);
}

}  // namespace canopy
