// Server: the connections to one NFS server, kept up: a broken one is made anew after a growing pause, a call
// goes to the one with the fewest under way, and when the server answers nothing for the hard limit,
// operations fail at once until it does.
//
// For the thread of its loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "daemon/runtime/sync.h"
#include "daemon/store/nfs/nfs_limits.h"
#include "daemon/store/nfs/nfs_options.h"
#include "daemon/store/nfs/reply.h"
#include "daemon/store/nfs/rpc_connection.h"
#include "daemon/store/nfs/server_health.h"

namespace canopy::nfs {

class Server {
 public:
  Server(Loop& loop, const NfsOptions& options, RpcEndpoint endpoint);
  ~Server();

  // `answers` asks the server something real on a connection: whether it says anything. A connection that is
  // made in times of trouble is used once it does: a server may greet, and answer nothing else.
  using Answers = std::function<Task<bool>(RpcConnection&)>;
  void start(Answers answers);

  // Sends a call until something is answered that is neither a lost connection nor "later": for calls that
  // may be repeated. `call(RpcConnection&)` answers a Task<Reply<T>>.
  template <class T, class Call>
  Task<Reply<T>> insist(Nanos deadline, Call call);
  // The same, but a lost answer is answered as kLost: for calls that may not be repeated unseen.
  template <class T, class Call>
  Task<Reply<T>> once(Nanos deadline, Call call);

  Nanos deadline() const { return loop_.now() + options_.hard_limit; }
  bool down() const { return health_.state() == ServerState::kDown; }
  std::string last_problem() const { return health_.last_problem(); }
  ServerFigures figures() const;
  void count_given_up() { ++given_up_; }

 private:
  // One connection's place.
  struct Place : RpcConnection::Owner {
    struct Timer : TimerNode {
      Place* place = nullptr;
    };
    Server* server = nullptr;
    std::unique_ptr<RpcConnection> connection;
    bool ready = false;
    Nanos pause = kReconnectFirst;
    Timer reconnect;

    void be_ready();
    void connected(RpcConnection& made) override;
    void broken(RpcConnection& lost, std::string why) override;
    void answered(Nanos latency) override;
  };

  // The connection for one call; null when the deadline passes first or the server is down.
  Task<RpcConnection*> acquire(Nanos deadline);
  void connect(Place& place);
  RpcConnection* least_busy();
  static Task<void> try_out(Server& server, std::weak_ptr<void> life, Place& place, RpcConnection& made,
                            std::weak_ptr<void> life_of_made);
  void give_up(Place& place, std::string why);
  // After a call that was refused as such: how long to wait before it is sent again.
  Nanos note_refused(const std::string& why);
  void watch_health();
  void look_after_health();
  Nanos oldest_sent_at() const;
  size_t in_flight() const;

  struct Timer : TimerNode {
    Server* server = nullptr;
  };

  Loop& loop_;
  const NfsOptions& options_;
  const RpcEndpoint endpoint_;
  ServerHealth health_;
  std::vector<std::unique_ptr<Place>> places_;
  Event changed_;  // a connection is ready, or the state changed
  Semaphore calls_;
  Timer health_timer_;
  Answers answers_something_;
  std::shared_ptr<void> life_ = std::make_shared<char>();
  unsigned refused_in_a_row_ = 0;
  uint64_t waiting_ = 0, answers_ = 0, lost_ = 0, delays_ = 0, broken_ = 0, not_made_ = 0, given_up_ = 0;
};

template <class T, class Call>
Task<Reply<T>> Server::once(Nanos deadline, Call call) {
  Nanos pause = kDelayFirst;
  while (true) {
    auto allowed = co_await calls_.acquire();
    if (loop_.now() >= deadline) co_return fault(kGaveUp);
    RpcConnection* connection = co_await acquire(deadline);
    if (connection == nullptr) co_return fault(kGaveUp);
    const std::weak_ptr<void> life = connection->life();
    Reply<T> reply = fault(kLost);
    {
      const RpcConnection::Due due(*connection, deadline);
      reply = co_await call(*connection);
    }
    allowed.release();
    if (!reply && reply.error().status == kRefused) {
      ++lost_;  // whether it was carried out all the same, who sent it finds out
      const Nanos until = loop_.now() + note_refused(life.expired() ? std::string() : connection->problem());
      co_await loop_.sleep_until(std::min(until, deadline));
      co_return fault(kLost);
    }
    refused_in_a_row_ = 0;
    if (reply || reply.error().status != kDelayed) {
      if (!reply && reply.error().status == kLost) ++lost_;
      co_return reply;
    }
    ++delays_;
    if (loop_.now() + pause >= deadline) co_return fault(kGaveUp);
    co_await loop_.sleep(pause);
    pause = std::min(pause * 2, kDelayMax);
  }
}

template <class T, class Call>
Task<Reply<T>> Server::insist(Nanos deadline, Call call) {
  while (true) {
    Reply<T> reply = co_await once<T>(deadline, call);
    if (reply || reply.error().status != kLost) co_return reply;
    if (loop_.now() >= deadline) co_return fault(kGaveUp);
  }
}

}  // namespace canopy::nfs
