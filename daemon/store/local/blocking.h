// How system calls run that may read or write the disk: by the ring, on worker threads where io_uring cannot
// do them and the store was given some, and on the loop itself where that is known to be short
// (docs/decisions/quick-calls.md).
#pragma once

#include <liburing.h>

#include <optional>

#include "daemon/runtime/uring_loop.h"
#include "daemon/runtime/workers.h"
#include "daemon/store/local/hold_ups.h"
#include "daemon/store/local/system.h"

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

  // Whether quickly() would call at once.
  bool may_run_here() const { return !shared_ && under_way_ == 0 && hold_ups_.may_run(loop_.now()); }

  // At the end of the turn, when answers are on their way already.
  void close_later(Fd fd) { io_uring_prep_close(loop_.entry_of_nobody(), fd.release()); }

  // The CQE's result of what `prepare` puts into the entry.
  template <class Prepare>
  auto by_ring(Prepare prepare) {
    return InRing<Prepare>(*this, std::move(prepare));
  }
  // Looking names up and changing them, which the ring would hand to a kernel thread: two switches, which
  // cost more than the call. While nothing else of the store is under way, `now` does it at once (its result,
  // or -1 and errno). After a call that took long the ring is used for a while, so that a slow disk holds
  // the loop up for a small part of the time at most.
  template <class Now, class Prepare>
  auto quickly(Now now, Prepare prepare) {
    return AtOnceOrInRing<Now, Prepare>(*this, std::move(now), std::move(prepare));
  }

 private:
  template <class Prepare>
  class InRing;
  template <class Now, class Prepare>
  class AtOnceOrInRing;

  UringLoop& loop_;
  WorkerPool* const workers_;
  const bool shared_;
  uint32_t under_way_ = 0;  // in the ring
  HoldUps hold_ups_;
};

template <class Prepare>
class Blocking::InRing : public SubmitAwaiter<Prepare> {
 public:
  InRing(Blocking& in, Prepare prepare) : SubmitAwaiter<Prepare>(in.loop_, std::move(prepare)), in_(in) {}
  void await_suspend(std::coroutine_handle<> handle) {
    ++in_.under_way_;
    SubmitAwaiter<Prepare>::await_suspend(handle);
  }
  int32_t await_resume() noexcept {
    --in_.under_way_;
    return SubmitAwaiter<Prepare>::await_resume();
  }

 protected:
  Blocking& in_;
};

template <class Now, class Prepare>
class Blocking::AtOnceOrInRing : public InRing<Prepare> {
 public:
  AtOnceOrInRing(Blocking& in, Now now, Prepare prepare)
      : InRing<Prepare>(in, std::move(prepare)), now_(std::move(now)) {}
  bool await_ready() noexcept {
    Blocking& in = this->in_;
    if (!in.may_run_here()) return false;
    rusage before, after;
    getrusage(RUSAGE_THREAD, &before);
    const Nanos begun = in.loop_.now();
    const int answer = now_();
    result_ = answer < 0 ? -errno : answer;
    const Nanos ended = in.loop_.now();
    if (!HoldUps::is_long(begun, ended)) return true;
    getrusage(RUSAGE_THREAD, &after);
    in.hold_ups_.ended(begun, ended, before, after);
    return true;
  }
  int32_t await_resume() noexcept { return result_ ? *result_ : InRing<Prepare>::await_resume(); }

 private:
  Now now_;
  std::optional<int32_t> result_;  // of what was done at once
};

}  // namespace canopy::local
