// RpcConnection: one TCP connection to one RPC program, through a context of libnfs. Calls that are made in
// one turn of the loop are sent together. It counts as connected when the program has answered a first call:
// a stopped server's kernel still accepts. libnfs' own reconnecting and time-outs are off, because they send
// everything again in any order: a connection that breaks is broken for good, every call on it is answered
// with kLost, and what that means is for the caller to decide.
//
// For the thread of its loop: libnfs' contexts know no other.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "daemon/runtime/loop.h"
#include "daemon/store/nfs/libnfs.h"

namespace canopy::nfs {

enum class Outcome : uint8_t {
  kAnswered,
  kLost,     // no answer will come; the call may have been carried out, or may be later
  kRefused,  // answered without a result: denied, no such program, garbage, system error (RFC 5531)
  kNotSent,  // libnfs has no room for it in a call's buffer
};

struct RpcEndpoint {
  std::string address;  // numeric: libnfs' own look-up would hold up the loop
  uint16_t port = 0;
  int program = 0, version = 0;
  uint32_t uid = 0, gid = 0;
  Nanos connect_limit = 0, soft_limit = 0, hard_limit = 0;  // NfsOptions
};

class RpcConnection {
 public:
  // Whoever holds a connection. Either may destroy it.
  struct Owner {
    virtual ~Owner() = default;
    virtual void connected(RpcConnection& connection) = 0;
    virtual void broken(RpcConnection& connection, std::string why) = 0;
    virtual void answered(Nanos latency) = 0;
  };

  RpcConnection(Loop& loop, RpcEndpoint endpoint, Owner& owner);
  ~RpcConnection();  // calls under way are answered with kLost
  RpcConnection(const RpcConnection&) = delete;
  RpcConnection& operator=(const RpcConnection&) = delete;

  // Begins; connected() or broken() follow later, never from inside.
  void start();

  // Whether a call can be made. False, too, between the moment when it breaks and broken().
  bool can_send() const { return context_ != nullptr && connected_ && !breaking_; }
  size_t in_flight() const { return in_flight_; }
  Nanos oldest_sent_at() const;  // kNever when nothing is under way
  const std::string& problem() const { return problem_; }
  // While it lives, the connection is given up when the operation's time is over.
  class Due {
   public:
    Due(RpcConnection& on, Nanos deadline) : on_(on), life_(on.life()), at_(on.due_.insert(deadline)) {}
    Due(const Due&) = delete;
    ~Due() {
      if (!life_.expired()) on_.due_.erase(at_);
    }

   private:
    RpcConnection& on_;
    const std::weak_ptr<void> life_;
    const std::multiset<Nanos>::iterator at_;
  };
  // Expires with the connection: for who makes several calls on it, one after the other.
  std::weak_ptr<void> life() const { return life_; }

  // Outcome outcome = co_await connection.call<Answer>(queue, take): `queue(context, callback, private_data)`
  // calls one of libnfs' rpc_…_async; `take(const Answer&)` runs when the answer is there and copies what is
  // wanted: the answer is gone when it returns. For programs without an answer, Answer is void.
  template <class Answer, class Queue, class Take>
  auto call(Queue queue, Take take);

 private:
  template <class Answer, class Queue, class Take>
  class Call;

  // A call under way, in the frame of whoever awaits it; the oldest is the first of the ring.
  struct Pending {
    Pending* before = this;
    Pending* after = this;
    RpcConnection* connection = nullptr;
    std::coroutine_handle<> waiting;
    Nanos sent_at = 0;
    Outcome outcome = Outcome::kLost;
    void (*take)(Pending&, void* answer) = nullptr;
  };

  static void on_answer(rpc_context* context, int status, void* data, void* private_data);
  static void on_connected(rpc_context* context, int status, void* data, void* private_data);
  static void on_greeted(rpc_context* context, int status, void* data, void* private_data);
  void add(Pending& call);
  void finish(Pending& call, int status, void* data);
  int serve(int events);     // rpc_service(), and what became of the calls that it ended
  bool service(int events);  // false: this may be gone
  void wait_for_events();
  void flush();
  void tick();
  void break_up(std::string why);  // last: this may be gone afterwards
  void destroy_context();

  struct Timer : TimerNode {
    RpcConnection* connection = nullptr;
  };

  Loop& loop_;
  const RpcEndpoint endpoint_;
  Owner& owner_;
  rpc_context* context_ = nullptr;
  std::unique_ptr<DescriptorWatch> readable_, writable_;
  bool connected_ = false;
  bool just_connected_ = false;
  bool breaking_ = false;
  Nanos started_at_ = 0;
  Nanos heard_at_ = 0;
  size_t in_flight_ = 0;
  Pending calls_;
  std::vector<Pending*> refused_;  // while rpc_service() runs
  std::multiset<Nanos> due_;
  Timer flush_timer_, tick_timer_;
  std::shared_ptr<void> life_ = std::make_shared<char>();
  std::string problem_;  // libnfs' words for the last call without an answer
};

template <class Answer, class Queue, class Take>
class [[nodiscard]] RpcConnection::Call : private Pending {
 public:
  Call(RpcConnection& on, Queue queue, Take take_answer)
      : queue_(std::move(queue)), take_(std::move(take_answer)) {
    connection = &on;
    take = [](Pending& pending, void* answer) {
      auto& self = static_cast<Call&>(pending);
      if constexpr (std::is_void_v<Answer>)
        self.take_();
      else
        self.take_(*static_cast<const Answer*>(answer));
    };
  }
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle) {
    waiting = handle;
    if (!connection->can_send()) return false;
    if (queue_(connection->context_, &RpcConnection::on_answer, static_cast<Pending*>(this)) != 0) {
      outcome = Outcome::kNotSent;
      return false;
    }
    connection->add(*this);
    return true;
  }
  Outcome await_resume() const noexcept { return outcome; }

 private:
  friend class RpcConnection;
  Queue queue_;
  Take take_;
};

template <class Answer, class Queue, class Take>
auto RpcConnection::call(Queue queue, Take take) {
  return Call<Answer, Queue, Take>(*this, std::move(queue), std::move(take));
}

}  // namespace canopy::nfs
