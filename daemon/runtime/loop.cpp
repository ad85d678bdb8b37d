#include "daemon/runtime/loop.h"

namespace canopy {
namespace {

// The frame around a spawned task; it frees itself at its end.
struct Detached {
  struct promise_type : loop_detail::Spawned {
    Detached get_return_object() noexcept {
      frame = std::coroutine_handle<promise_type>::from_promise(*this);
      return Detached{this};
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
  };
  loop_detail::Spawned* spawned;
};

Detached run_detached(Task<void> task) { co_await std::move(task); }

}  // namespace

void Loop::spawn(Task<void> task) {
  Detached detached = run_detached(std::move(task));
  loop_detail::Spawned& node = *detached.spawned;
  if (spawned_kept_) {
    node.before = spawned_.before;
    node.after = &spawned_;
    spawned_.before->after = &node;
    spawned_.before = &node;
  }
  defer(node.frame);
}

void Loop::destroy_spawned() {
  // A task refers to what older tasks hold (its parent's locals), so the youngest goes first.
  while (spawned_.before != &spawned_) spawned_.before->frame.destroy();
}

Task<Result<void>> Stream::write_all(std::string_view bytes, int64_t deadline) {
  const std::string_view piece[1] = {bytes};
  co_return co_await write(piece, deadline);
}

}  // namespace canopy
