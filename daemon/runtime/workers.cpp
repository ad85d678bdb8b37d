#include "daemon/runtime/workers.h"

#include <pthread.h>
#include <signal.h>

namespace canopy {

WorkerPool::WorkerPool(std::string name, uint32_t threads, uint32_t queue_max)
    : name_(std::move(name)), queue_max_(queue_max) {
  // Signals are for the thread that waits for them (signals.h).
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (uint32_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { serve(); });
    pthread_setname_np(threads_.back().native_handle(), name_.substr(0, 15).c_str());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

uint32_t WorkerPool::queued() const {
  std::lock_guard lock(mutex_);
  return static_cast<uint32_t>(jobs_.size());
}

bool WorkerPool::enqueue(std::move_only_function<void()> job) {
  {
    std::lock_guard lock(mutex_);
    if (jobs_.size() >= queue_max_) return false;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
  return true;
}

std::unexpected<Error> WorkerPool::full() const {
  return fail(Code::kTryAgain, name_,
              fmt::format("{} pieces of work wait for {} threads already; try again later", queue_max_,
                          threads_.size()));
}

void WorkerPool::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    job = nullptr;
    lock.lock();
  }
}

}  // namespace canopy
