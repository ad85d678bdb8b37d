// Sockets on a UringLoop. Inner header of runtime/.
#pragma once

#include <liburing.h>

#include "daemon/runtime/uring_loop.h"

namespace canopy {

// One ring operation that a deadline or abort() can cut short. It lives in the frame of the coroutine that
// waits, so that an idle connection pays for it only while it waits.
class SocketOp : public UringLoop::Completion {
 public:
  // `slot`, where not null, points to this operation while it is under way.
  SocketOp(UringLoop& loop, SocketOp** slot, Nanos deadline) : loop_(loop), slot_(slot) {
    done = finished;
    timer_.when = deadline;
    timer_.op = this;
    timer_.fire = [](TimerNode* node) {
      SocketOp& op = *static_cast<Timer*>(node)->op;
      op.timed_out_ = true;
      op.loop_.cancel(op);
    };
  }
  SocketOp(const SocketOp&) = delete;
  SocketOp& operator=(const SocketOp&) = delete;

  void start(std::coroutine_handle<> handle) {
    waiting_ = handle;
    if (slot_ != nullptr) {
      CANOPY_CHECK(*slot_ == nullptr);  // one read and one write at a time
      *slot_ = this;
    }
    if (timer_.when != kNever) loop_.arm(timer_, timer_.when);
  }
  void cancel() { loop_.cancel(*this); }

  UringLoop& loop() { return loop_; }
  int32_t result() const { return result_; }
  uint32_t flags() const { return flags_; }
  bool timed_out() const { return timed_out_; }

 private:
  struct Timer : TimerNode {
    SocketOp* op;
  };
  static void finished(UringLoop::Completion* self, int32_t result, uint32_t flags) {
    auto& op = *static_cast<SocketOp*>(self);
    op.result_ = result;
    op.flags_ = flags;
    if (op.slot_ != nullptr) *op.slot_ = nullptr;
    op.loop_.disarm(op.timer_);
    op.waiting_.resume();
  }

  UringLoop& loop_;
  SocketOp** slot_;
  std::coroutine_handle<> waiting_;
  int32_t result_ = 0;
  uint32_t flags_ = 0;
  bool timed_out_ = false;
  Timer timer_;
};

// co_await SocketWait(op, [&](io_uring_sqe* sqe) { … }).
template <class Prepare>
class SocketWait {
 public:
  SocketWait(SocketOp& op, Prepare prepare) : op_(op), prepare_(std::move(prepare)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    op_.start(handle);
    prepare_(op_.loop().entry(op_));
  }
  void await_resume() const noexcept {}

 private:
  SocketOp& op_;
  Prepare prepare_;
};

class UringStream final : public Stream {
 public:
  UringStream(UringLoop& loop, int fd) : loop_(loop), fd_(fd) {}
  ~UringStream() override;

  Task<Result<void>> readable(int64_t deadline) override;
  Task<Result<size_t>> read(std::span<char> into, int64_t deadline) override;
  Task<Result<void>> write(std::span<const std::string_view> pieces, int64_t deadline) override;
  size_t write_at_once(std::string_view bytes) override;
  void shutdown_write() override;
  void abort() override;
  const Address& peer() const override;
  const Address& local() const override;
  PeerCredentials peer_credentials() const override;

 private:
  // Operations in a row that were done at once, without a turn of the loop; beyond it the others have their
  // turn.
  static constexpr uint8_t kAtOnceMax = 16;

  // An idle stream whose descriptor is scarce goes on in the ring's file table (UringLoop::park()): there
  // every operation goes through the ring.
  void park();
  void name_file(io_uring_sqe* sqe) const {
    if (parked_) sqe->flags |= IOSQE_FIXED_FILE;
  }

  std::unexpected<Error> failed(int error_number, std::string_view operation) const;
  std::unexpected<Error> cut_short(const SocketOp& op, std::string_view operation) const;
  bool may_read_at_once();

  UringLoop& loop_;
  int fd_;  // the slot, when parked; -1 when it has left that
  bool aborted_ = false;
  bool parked_ = false;
  bool likely_readable_ = true;  // a client speaks first, and often already has when it is accepted
  uint8_t reads_at_once_ = 0;
  uint8_t writes_at_once_ = 0;
  SocketOp* reading_ = nullptr;
  SocketOp* writing_ = nullptr;
  struct Ends {
    Address local, peer;
    PeerCredentials credentials;  // when parked
  };
  const Ends& ends() const;
  mutable std::unique_ptr<Ends> ends_;  // asked for on first use
};

}  // namespace canopy
