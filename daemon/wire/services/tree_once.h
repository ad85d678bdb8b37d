// What keeps changes of names in the raw tree apart, on all loops of a process: requests that were sent
// again, and requests for the same name. Any thread; a coroutine that waits goes on on its own loop. The
// locks inside are held for the look-up only, never across a wait (docs/decisions/tree-once.md).
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "daemon/runtime/sync.h"
#include "daemon/wire/services/file_identity.h"

namespace canopy::wire {

inline constexpr size_t kTreeRequestsRememberedMax = 32'768;

// A coroutine that somebody on another loop will wake.
struct LoopWaiter {
  explicit LoopWaiter(Loop& on) : loop(on), event(on) {}
  static void wake(std::shared_ptr<LoopWaiter> waiter) {
    Loop& loop = waiter->loop;
    loop.post([waiter = std::move(waiter)] { waiter->event.set(); });
  }
  Loop& loop;
  Event event;
};

// TreeOnce: how requests with an id ended, so that one that comes again is not carried out again.
class TreeOnce {
 public:
  struct Outcome {
    std::optional<Error> error = {};  // absent: it was done
    FileIdentity made = {};           // of a request that makes something
  };
  // Nullopt: the caller carries the request out and settles it. An id that is under way is waited for.
  Task<std::optional<Outcome>> claim(Loop& loop, std::string id);
  // Nullopt: nothing is decided; whoever comes again tries again.
  void settle(const std::string& id, std::optional<Outcome> outcome);

 private:
  struct Entry {
    bool settled = false;
    Outcome outcome;
    std::vector<std::shared_ptr<LoopWaiter>> waiting;
  };
  std::mutex gate_;
  std::unordered_map<std::string, Entry> entries_;
  std::deque<std::string> settled_;  // oldest first
};

// TreeNames: one change of a name at a time.
class TreeNames {
 public:
  class [[nodiscard]] Hold {
   public:
    Hold(TreeNames& of, std::vector<std::string> names) : of_(&of), names_(std::move(names)) {}
    Hold(Hold&& other) noexcept : of_(std::exchange(other.of_, nullptr)), names_(std::move(other.names_)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (of_ != nullptr) of_->release(names_);
    }

   private:
    TreeNames* of_;
    std::vector<std::string> names_;
  };
  // Waits for the names, always in the same order, so that nobody waits in a circle.
  Task<Hold> hold(Loop& loop, std::vector<std::string> names);

 private:
  void release(const std::vector<std::string>& names);

  std::mutex gate_;
  std::unordered_map<std::string, std::vector<std::shared_ptr<LoopWaiter>>> held_;
};

}  // namespace canopy::wire
