// How system calls run that may read or write the disk: by the ring, on worker threads where io_uring cannot
// do them and the store was given some, and on the loop itself where that is known to be short
// (docs/decisions/quick-calls.md).
#pragma once

#include "daemon/runtime/uring_loop.h"
#include "daemon/runtime/workers.h"

namespace canopy::local {

// One of a store, for its loop's thread.
class Blocking {
 public:
  Blocking(UringLoop& loop, WorkerPool* workers, bool shared)
      : loop_(loop), workers_(workers), shared_(shared) {}
  Blocking(const Blocking&) = delete;
  Blocking& operator=(const Blocking&) = delete;

  UringLoop& loop() const { return loop_; }

  // `work` answers a Result. What it refers to must stay until then.
  template <class F>
  auto run(F work) const -> Task<std::invoke_result_t<F&>> {
    if (workers_ == nullptr) co_return work();
    co_return co_await workers_->run(loop_, std::move(work));
  }

  // The CQE's result of what `prepare` puts into the entry.
  template <class Prepare>
  auto by_ring(Prepare prepare) {
    return Call<NeverNow, Prepare>(*this, {}, std::move(prepare));
  }
  // Looking names up and changing them, which the ring would hand to a kernel thread: two switches, which
  // cost more than the call. While nothing else of the store is under way, `now` does it at once (its result,
  // or -1 and errno). After a call that took long the ring is used for a second, so that a slow disk holds
  // the loop up once a second at most.
  template <class Now, class Prepare>
  auto quickly(Now now, Prepare prepare) {
    return Call<Now, Prepare>(*this, std::move(now), std::move(prepare));
  }

 private:
  static constexpr Nanos kLong = kMillisecond;
  static constexpr Nanos kThenByRing = kSecond;

  struct NeverNow {
    int operator()() const { return 0; }
  };
  template <class Now, class Prepare>
  class Call;

  bool may_run_here() const { return !shared_ && under_way_ == 0 && loop_.now() >= here_from_; }

  UringLoop& loop_;
  WorkerPool* const workers_;
  const bool shared_;
  uint32_t under_way_ = 0;  // in the ring
  Nanos here_from_ = 0;
};

template <class Now, class Prepare>
class Blocking::Call : UringLoop::Completion {
 public:
  Call(Blocking& in, Now now, Prepare prepare)
      : in_(in), now_(std::move(now)), prepare_(std::move(prepare)) {}

  bool await_ready() noexcept {
    if constexpr (std::is_same_v<Now, NeverNow>) {
      return false;
    } else {
      if (!in_.may_run_here()) return false;
      const Nanos begun = in_.loop_.now();
      const int answer = now_();
      result_ = answer < 0 ? -errno : answer;
      const Nanos ended = in_.loop_.now();
      if (ended - begun > kLong) in_.here_from_ = ended + kThenByRing;
      return true;
    }
  }
  void await_suspend(std::coroutine_handle<> handle) {
    waiting_ = handle;
    ++in_.under_way_;
    done = [](UringLoop::Completion* self, int32_t result, uint32_t) {
      auto* call = static_cast<Call*>(self);
      --call->in_.under_way_;
      call->result_ = result;
      call->waiting_.resume();
    };
    prepare_(in_.loop_.entry(*this));
  }
  int32_t await_resume() const noexcept { return result_; }

 private:
  Blocking& in_;
  Now now_;
  Prepare prepare_;
  std::coroutine_handle<> waiting_;
  int32_t result_ = 0;
};

}  // namespace canopy::local
