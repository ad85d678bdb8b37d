// Connections of a SimWorld. Inner header of runtime/.
#pragma once

#include "daemon/runtime/sim_loop.h"

namespace canopy {

// One wait for the network, cut short by a deadline. Whatever woke it, the waiter looks again at what it
// waits for.
class SimWait {
 public:
  SimWait(SimLoop& loop, SimWait*& slot, Nanos deadline) : loop_(loop), slot_(&slot) {
    timer_.when = deadline;
    timer_.wait = this;
    timer_.fire = [](TimerNode* node) {
      SimWait& late = *static_cast<Timer*>(node)->wait;
      late.leave_slot();
      late.timed_out_ = true;
      late.handle_.resume();
    };
  }
  SimWait(const SimWait&) = delete;
  SimWait& operator=(const SimWait&) = delete;
  ~SimWait() {
    leave_slot();
    loop_.disarm(timer_);
  }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    CANOPY_CHECK(*slot_ == nullptr);
    *slot_ = this;
    handle_ = handle;
    if (timer_.when != kNever) loop_.arm(timer_, timer_.when);
  }
  bool await_resume() const noexcept { return !timed_out_; }

  void wake() {
    leave_slot();
    loop_.disarm(timer_);
    loop_.defer(handle_);
  }
  // The owner of the slot goes first (in a killed loop).
  void orphan() { slot_ = nullptr; }

 private:
  struct Timer : TimerNode {
    SimWait* wait;
  };
  void leave_slot() {
    if (slot_ != nullptr && *slot_ == this) *slot_ = nullptr;
  }

  SimLoop& loop_;
  SimWait** slot_;
  std::coroutine_handle<> handle_;
  bool timed_out_ = false;
  Timer timer_;
};

struct SimConnection : std::enable_shared_from_this<SimConnection> {
  enum class Kind { kConnect, kAccepted, kRefused, kBytes, kEnd, kReset };
  struct Piece {
    Nanos at;
    Kind kind;
    std::string bytes;
  };
  // What goes from end i to the other end.
  struct Pipe {
    std::deque<Piece> flying;
    size_t flying_bytes = 0;
    Nanos last_at = 0;
    std::string arrived;
    bool ended = false;
  };

  SimConnection(SimWorld& of, SimLoop& client, SimLoop* server, Address target);
  SimConnection(const SimConnection&) = delete;
  SimConnection& operator=(const SimConnection&) = delete;
  ~SimConnection();

  void send(int from, Kind kind, std::string bytes = {});
  size_t room(int from) const;  // bytes that `from` may send now
  void close_end(int end);
  void break_now();
  void schedule();  // the timer stands for the first piece that may arrive
  bool joins(const SimLoop* a, const SimLoop* b) const;

  SimWorld& world;
  const Address address;  // that the client asked for
  Address client_address;
  SimLoop* loops[2];
  SimStream* ends[2] = {nullptr, nullptr};  // the client's is 0; null: closed, or not there yet
  Pipe pipes[2];
  bool lost[2] = {false, false};  // what this end still finds is what has arrived, and then an error
  bool accepted = false, refused = false;

 private:
  void arrive();
  void deliver(int from, const Piece& piece);
  struct Timer : TimerNode {
    SimConnection* connection;
  } timer_;
};

class SimStream final : public Stream {
 public:
  SimStream(SimLoop& loop, std::shared_ptr<SimConnection> connection, int end);
  ~SimStream() override;

  Task<Result<void>> readable(int64_t deadline) override;
  Task<Result<size_t>> read(std::span<char> into, int64_t deadline) override;
  Task<Result<void>> write(std::span<const std::string_view> pieces, int64_t deadline) override;
  size_t write_at_once(std::string_view bytes) override;
  void shutdown_write() override;
  void abort() override;
  const Address& peer() const override { return peer_; }
  const Address& local() const override { return local_; }
  PeerCredentials peer_credentials() const override;

  void process_died();
  void wake_reader();
  void wake_writer();
  Task<Result<void>> established(Nanos deadline);

 private:
  SimConnection::Pipe& in() { return connection_->pipes[1 - end_]; }
  std::unexpected<Error> error(Code code, std::string_view sentence) const;
  bool anything_to_read();
  size_t send_some(std::string_view bytes);

  SimLoop& loop_;
  std::shared_ptr<SimConnection> connection_;
  const int end_;
  Address local_, peer_;
  bool aborted_ = false;
  bool shut_ = false;
  bool dead_ = false;
  SimWait* reading_ = nullptr;
  SimWait* writing_ = nullptr;
};

class SimListener final : public Listener {
 public:
  SimListener(SimLoop& loop, Address local) : loop_(loop), local_(std::move(local)) {}
  ~SimListener() override;

  Task<Result<std::unique_ptr<Stream>>> accept() override;
  void abort() override;
  const Address& local() const override { return local_; }

  SimLoop& loop() { return loop_; }
  bool take(std::unique_ptr<SimStream> stream);  // false: the backlog is full
  void process_died();

 private:
  static constexpr size_t kBacklogMax = 1024;
  void leave();

  SimLoop& loop_;
  const Address local_;
  std::deque<std::unique_ptr<SimStream>> backlog_;
  bool aborted_ = false;
  bool dead_ = false;
  SimWait* accepting_ = nullptr;
};

}  // namespace canopy
