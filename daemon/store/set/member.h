// SetMember: one store of a StoreSet, as one loop sees it: the Store while it is open and its marker was
// found right, what is known of its health, and figures of what was asked of it. For the loop's thread only.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "daemon/runtime/sync.h"
#include "daemon/store/set/store_config.h"
#include "daemon/store/store.h"

namespace canopy {

enum class StoreState : uint8_t { kUp, kSlow, kFull, kDown, kWrong };
std::string_view store_state_name(StoreState state);

inline constexpr Nanos kStoreSlow = kSecond;  // a probe that takes so long

struct StoreFigures {
  static constexpr size_t kBuckets = 32;  // bucket i: below 2^i microseconds
  uint64_t operations = 0, errors = 0, in_flight = 0;
  Nanos spent = 0;  // by all operations
  std::array<uint64_t, kBuckets> latency{};

  void add(Nanos took);
  // Upper bound in nanoseconds of the bucket that holds this quantile (0 to 1); 0 when there is none.
  Nanos quantile(double of) const;
  StoreFigures& operator+=(const StoreFigures& other);
};

class SetMember {
 public:
  // `store`: of the root store, which is open and always usable. Others are opened by StoreSet's probes.
  SetMember(Loop& loop, StoreConfig config, std::shared_ptr<Store> store);

  const std::string& name() const { return config_.name; }
  const StoreConfig& config() const { return config_; }
  bool is_root() const { return salt_ == 0; }
  bool usable() const { return usable_; }
  bool elsewhere() const { return elsewhere_; }  // at another address: what this one answers counts no more
  // It has been asked something, and for kStoreSlow has answered nothing.
  bool silent() const { return figures_.in_flight > 0 && loop_.now() - heard_ > kStoreSlow; }
  StoreState state() const { return usable_ && space_ && full() ? StoreState::kFull : state_; }
  const std::optional<Error>& reason() const { return reason_; }     // why it is not usable
  const std::optional<StoreSpace>& space() const { return space_; }  // of the last probe
  uint64_t reserve_bytes() const;                                    // 0 before the first probe
  const StoreFigures& figures() const { return figures_; }
  // Null before it was opened. Whoever uses it holds it: it may be opened anew meanwhile.
  const std::shared_ptr<Store>& store() const { return store_; }
  bool shared() const { return store_ ? store_->shared() : !config_.is_local() || config_.shared; }

  uint64_t mix(uint64_t file_id) const { return file_id ^ salt_; }
  Attributes mixed(Attributes of) const {
    of.file_id = mix(of.file_id);
    return of;
  }

  // The error of whoever needs it now.
  Error unavailable() const;
  // The same failure, said of this store; what did not answer is looked after at once. A file that the store
  // no longer knows (a stale handle) may be gone; when the store knows its own root no more, its whole file
  // system is away, as when a server came back without a disk, and nothing on it is absent.
  Task<Error> named(Store& store, Error error);

  // Counts an operation from its construction to done().
  class Timing {
   public:
    explicit Timing(SetMember& of) : of_(of), begun_(of.loop_.now()) {
      if (of_.figures_.in_flight++ == 0) of_.heard_ = begun_;
    }
    Timing(const Timing&) = delete;
    ~Timing() {
      --of_.figures_.in_flight;
      of_.heard_ = of_.loop_.now();
      of_.figures_.add(of_.heard_ - begun_);
    }

   private:
    SetMember& of_;
    const Nanos begun_;
  };

  // Asks the store, when it is usable. `question` is called once, with the store, and answers a task.
  template <class T, class Question>
  static Task<Result<T>> ask(std::shared_ptr<SetMember> member, Question question) {
    if (!member->usable_) co_return fail(member->unavailable());
    const std::shared_ptr<Store> store = member->store_;
    Timing timing(*member);
    Result<T> answer = co_await question(*store);
    if (member->elsewhere_) co_return fail(member->unavailable());
    if (!answer) co_return fail(co_await member->named(*store, std::move(answer).error()));
    co_return answer;
  }

 private:
  friend class StoreSet;
  Error counted(Error error);
  // No member of the set any more. `elsewhere`: as the store has another address now, so that what is still
  // open on it fails from now on, and what is on its way there is not acknowledged.
  void retire(bool elsewhere);
  bool full() const { return space_->bytes_free < reserve_bytes(); }

  Loop& loop_;
  StoreConfig config_;
  const uint64_t salt_;
  std::shared_ptr<Store> store_;
  bool usable_ = false;
  StoreState state_ = StoreState::kDown;
  std::optional<Error> reason_;
  std::optional<StoreSpace> space_;
  StoreFigures figures_;
  Nanos heard_ = 0;         // the last answer, or when something was first asked since
  Event look_;              // a probe is wanted now
  Event looked_;            // was probed once
  bool open_anew_ = false;  // what answers is not, or no longer, the store: the way to it is looked up again
  bool retired_ = false;    // no member of the set any more
  bool elsewhere_ = false;
};
using MemberRef = std::shared_ptr<SetMember>;

}  // namespace canopy
