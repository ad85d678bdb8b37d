// The inside of FaultyStore: what carries operations out, and outlives whoever asked for them.
#pragma once

#include "daemon/base/check.h"
#include "daemon/store/faulty/faulty_store.h"

namespace canopy {

// How an operation is to be carried out.
struct FaultyExecution {
  Durable durable = Durable::kNo;
  double part = 1;  // of a write's bytes
  bool skip_sync = false;
};

template <class T>
struct FaultyCall {
  StoreOperation operation;
  std::string object;
  Durable durable = Durable::kNo;
  uint64_t bytes = 0;  // room that it needs
  std::move_only_function<Task<Result<T>>(FaultyExecution)> execute = {};
};

// Where a caller waits. When the caller's frame is destroyed it is simply not resumed.
template <class T>
struct FaultyAnswer {
  std::optional<Result<T>> result;
  std::coroutine_handle<> waiting;
};

template <class T>
class FaultyAwaiter {
 public:
  explicit FaultyAwaiter(std::shared_ptr<FaultyAnswer<T>> answer) : answer_(std::move(answer)) {}
  ~FaultyAwaiter() { answer_->waiting = {}; }
  FaultyAwaiter(const FaultyAwaiter&) = delete;
  FaultyAwaiter& operator=(const FaultyAwaiter&) = delete;
  bool await_ready() const noexcept { return answer_->result.has_value(); }
  void await_suspend(std::coroutine_handle<> handle) noexcept { answer_->waiting = handle; }
  Result<T> await_resume() { return std::move(*answer_->result); }

 private:
  std::shared_ptr<FaultyAnswer<T>> answer_;
};

class FaultyWorld : public std::enable_shared_from_this<FaultyWorld> {
 public:
  FaultyWorld(Store& inner_store, Loop& caller_loop, Loop& world_loop, FaultPlan fault_plan, uint64_t seed)
      : inner(inner_store),
        callers(caller_loop),
        world(world_loop),
        plan(std::move(fault_plan)),
        random(seed) {}

  template <class T>
  static Task<Result<T>> perform(std::shared_ptr<FaultyWorld> self, FaultyCall<T> call) {
    auto answer = std::make_shared<FaultyAnswer<T>>();
    Loop& world = self->world;
    world.spawn(carry_out(std::move(self), std::move(call), answer));
    co_return co_await FaultyAwaiter<T>(answer);
  }

  Store& inner;
  Loop& callers;
  Loop& world;
  FaultPlan plan;
  SeededRandom random;
  FaultyStore::OnOperation hook;
  bool halted = false;
  uint64_t asked = 0, injected = 0;
  size_t pending = 0, open_files = 0;
  std::array<uint64_t, static_cast<size_t>(StoreOperation::kCount)> counts{};

 private:
  enum class Fate { kPlain, kError, kLostAnswer, kLate, kTorn };

  template <class T>
  void answer_with(FaultyAnswer<T>& answer, Result<T> result) {
    if (answer.result || halted) return;
    answer.result = std::move(result);
    if (answer.waiting) callers.defer(std::exchange(answer.waiting, {}));
  }

  bool applies_to(StoreOperation operation, std::string_view object) const {
    return (plan.operations >> static_cast<uint32_t>(operation) & 1) != 0 &&
           (plan.object_contains.empty() || object.find(plan.object_contains) != std::string_view::npos);
  }

  Fate draw(StoreOperation operation) {
    Fate fate = Fate::kPlain;
    if (random.chance(plan.error)) {
      fate = Fate::kError;
    } else if (random.chance(plan.lost_answer)) {
      fate = Fate::kLostAnswer;
    } else if (random.chance(plan.late)) {
      fate = Fate::kLate;
    } else if (operation == StoreOperation::kWrite && random.chance(plan.torn_write)) {
      fate = Fate::kTorn;
    }
    if (fate != Fate::kPlain) ++injected;
    return fate;
  }

  Nanos up_to(Nanos most) {
    return most <= 0 ? 0 : static_cast<Nanos>(random.below(static_cast<uint64_t>(most)));
  }

  template <class T>
  static Task<void> carry_out(std::shared_ptr<FaultyWorld> self, FaultyCall<T> call,
                              std::shared_ptr<FaultyAnswer<T>> answer) {
    FaultyWorld& w = *self;
    uint64_t index = ++w.asked;
    ++w.counts[static_cast<size_t>(call.operation)];
    bool applies = w.applies_to(call.operation, call.object);
    Fate fate = applies ? w.draw(call.operation) : Fate::kPlain;
    FaultyExecution how;
    how.durable = call.durable;
    if (fate == Fate::kTorn) how.part = static_cast<double>(w.random.below(1000)) / 1000;
    if (applies && w.random.chance(w.plan.lying_sync)) {
      how.durable = Durable::kNo;
      how.skip_sync = true;
      if (call.durable == Durable::kYes) ++w.injected;
    }
    if (fate == Fate::kError) {
      w.answer_with(*answer, Result<T>(fail(w.plan.error_code, call.object, "an injected error")));
      co_return;
    }
    ++w.pending;
    Nanos wait = applies && w.random.chance(w.plan.delay) ? w.up_to(w.plan.delay_max) : 0;
    if (call.durable == Durable::kYes) wait += w.plan.sync_delay;
    if (fate == Fate::kLate) {
      wait = w.up_to(w.plan.late_max);
      w.world.spawn(answer_late(self, call.object, answer, w.random.chance(0.5)));
    }
    if (wait > 0) co_await w.world.sleep(wait);
    if (w.hook) w.hook(index, call.operation, call.object);
    if (w.halted && fate != Fate::kLate) {
      --w.pending;
      co_return;
    }
    if (call.bytes > 0 && w.plan.used_bytes_max != UINT64_MAX) {
      auto space = co_await w.inner.space();
      if (space && space->bytes_total - space->bytes_free + call.bytes > w.plan.used_bytes_max) {
        --w.pending;
        w.answer_with(*answer, Result<T>(fail(Code::kStoreFull, call.object, "over store capacity")));
        co_return;
      }
    }
    Result<T> result = co_await call.execute(how);
    --w.pending;
    switch (fate) {
      case Fate::kPlain: w.answer_with(*answer, std::move(result)); break;
      case Fate::kTorn:
        w.answer_with(*answer, Result<T>(fail(Code::kIo, call.object, "an injected torn write")));
        break;
      case Fate::kLostAnswer:
        w.answer_with(*answer,
                      Result<T>(fail(Code::kStoreUnavailable, call.object, "an injected lost answer")));
        break;
      case Fate::kLate: break;
      case Fate::kError: CANOPY_CHECK(false);
    }
  }

  template <class T>
  static Task<void> answer_late(std::shared_ptr<FaultyWorld> self, std::string object,
                                std::shared_ptr<FaultyAnswer<T>> answer, bool deadline) {
    co_await self->world.sleep(self->plan.deadline);
    Code code = deadline ? Code::kDeadlineExceeded : Code::kStoreUnavailable;
    self->answer_with(*answer, Result<T>(fail(code, std::move(object), "no answer in time (injected)")));
  }
};

}  // namespace canopy
