#include "daemon/store/nfs/rpc_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "daemon/store/nfs/libnfs.h"
#include "daemon/store/nfs/nfs_limits.h"

namespace canopy::nfs {

RpcConnection::RpcConnection(Loop& loop, RpcEndpoint endpoint, Owner& owner)
    : loop_(loop), endpoint_(std::move(endpoint)), owner_(owner) {
  flush_timer_.connection = tick_timer_.connection = this;
  flush_timer_.fire = [](TimerNode* timer) { static_cast<Timer*>(timer)->connection->flush(); };
  tick_timer_.fire = [](TimerNode* timer) { static_cast<Timer*>(timer)->connection->tick(); };
}

RpcConnection::~RpcConnection() {
  loop_.disarm(flush_timer_);
  loop_.disarm(tick_timer_);
  destroy_context();
  CANOPY_CHECK(in_flight_ == 0);
}

void RpcConnection::start() {
  started_at_ = heard_at_ = loop_.now();
  loop_.arm(tick_timer_, started_at_ + kTick);
  context_ = rpc_init_context();
  CANOPY_CHECK(context_ != nullptr);
  rpc_set_autoreconnect(context_, 0);
  rpc_set_timeout(context_, 0);
  rpc_set_uid(context_, static_cast<int>(endpoint_.uid));
  rpc_set_gid(context_, static_cast<int>(endpoint_.gid));
  // A server that remembers answers by number must not take a call for one of an earlier connection.
  rpc_set_next_xid(context_, static_cast<uint32_t>(loop_.random()));
  if (rpc_connect_async(context_, endpoint_.address.c_str(), endpoint_.port, &RpcConnection::on_connected,
                        this) != 0) {
    problem_ = rpc_get_error(context_);
    breaking_ = true;  // said by the next tick, as start() calls nobody back
    loop_.arm(tick_timer_, started_at_);
    return;
  }
  const int fd = rpc_get_fd(context_);
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  auto on_events = [this](uint32_t events) {
    if (service(static_cast<int>(events))) wait_for_events();
  };
  auto readable = loop_.watch(fd, on_events);
  auto writable = loop_.watch(fd, on_events);
  if (!readable || !writable) {
    problem_ = (readable ? writable : readable).error().to_string();
    breaking_ = true;
    loop_.arm(tick_timer_, started_at_);
    return;
  }
  readable_ = std::move(*readable);
  writable_ = std::move(*writable);
  writable_->arm(POLLOUT);
}

void RpcConnection::on_connected(rpc_context* context, int status, void*, void* private_data) {
  auto* self = static_cast<RpcConnection*>(private_data);
  if (status != RPC_STATUS_SUCCESS) {
    if (rpc_get_error(context) != nullptr) self->problem_ = rpc_get_error(context);
    self->breaking_ = true;
    return;
  }
  if (rpc_null_async(context, self->endpoint_.program, self->endpoint_.version, &RpcConnection::on_greeted,
                     self) != 0)
    self->breaking_ = true;
}

void RpcConnection::on_greeted(rpc_context*, int status, void* data, void* private_data) {
  auto* self = static_cast<RpcConnection*>(private_data);
  if (status == RPC_STATUS_SUCCESS) {
    self->connected_ = self->just_connected_ = true;
    return;
  }
  if (status == RPC_STATUS_ERROR && data != nullptr) self->problem_ = static_cast<const char*>(data);
  self->breaking_ = true;
}

void RpcConnection::on_answer(rpc_context*, int status, void* data, void* private_data) {
  auto& call = *static_cast<Pending*>(private_data);
  call.connection->finish(call, status, data);
}

void RpcConnection::add(Pending& call) {
  call.sent_at = loop_.now();
  call.before = calls_.before;
  call.after = &calls_;
  calls_.before->after = &call;
  calls_.before = &call;
  if (in_flight_++ == 0) {
    heard_at_ = call.sent_at;
    loop_.disarm(tick_timer_);
    loop_.arm(tick_timer_, call.sent_at + kTick);
    // A first call has nobody to wait for. What it breaks, the next tick takes apart: its caller is not
    // suspended yet.
    if (serve(POLLOUT) != 0) {
      breaking_ = true;
      loop_.disarm(tick_timer_);
      loop_.arm(tick_timer_, call.sent_at);
    } else {
      wait_for_events();
    }
    return;
  }
  if (flush_timer_.heap_index == SIZE_MAX) loop_.arm(flush_timer_, call.sent_at);
}

// Inside the library: nobody is resumed here, and nothing of the context is destroyed.
void RpcConnection::finish(Pending& call, int status, void* data) {
  call.before->after = call.after;
  call.after->before = call.before;
  --in_flight_;
  if (status == RPC_STATUS_SUCCESS) {
    heard_at_ = loop_.now();
    call.take(call, data);
    call.outcome = Outcome::kAnswered;
    owner_.answered(heard_at_ - call.sent_at);
  } else if (status == RPC_STATUS_ERROR) {
    if (data != nullptr) problem_ = static_cast<const char*>(data);
    if (!breaking_) refused_.push_back(&call);
  }
  loop_.defer(call.waiting);
}

Nanos RpcConnection::oldest_sent_at() const { return in_flight_ == 0 ? kNever : calls_.after->sent_at; }

// A call that ends with an error while the connection goes on was answered.
int RpcConnection::serve(int events) {
  const int answer = rpc_service(context_, events);
  const bool goes_on = answer == 0 && !breaking_ && rpc_get_fd(context_) >= 0;
  if (!refused_.empty()) heard_at_ = loop_.now();
  for (Pending* call : std::exchange(refused_, {}))
    if (goes_on) call->outcome = Outcome::kRefused;
  return answer;
}

bool RpcConnection::service(int events) {
  // With both, the library forgets the system's reason and says "POLLHUP".
  if ((events & POLLERR) != 0) events &= ~POLLHUP;
  const int answer = serve(events);
  if (answer != 0 || breaking_) {
    const char* words = rpc_get_error(context_);
    if (problem_.empty() && words != nullptr) problem_ = words;
    break_up(problem_.empty() ? "the server closed the connection" : problem_);
    return false;
  }
  if (std::exchange(just_connected_, false)) {
    wait_for_events();
    owner_.connected(*this);
    return false;
  }
  return true;
}

void RpcConnection::wait_for_events() {
  const int wanted = rpc_which_events(context_);
  if ((wanted & POLLIN) != 0) readable_->arm(POLLIN);
  if ((wanted & POLLOUT) != 0) writable_->arm(POLLOUT);
}

void RpcConnection::flush() {
  if (!can_send()) return;
  if (service(POLLOUT)) wait_for_events();
}

void RpcConnection::tick() {
  const Nanos now = loop_.now();
  if (breaking_) return break_up(problem_.empty() ? "the connection broke" : std::exchange(problem_, {}));
  if (!connected_) {
    if (now - started_at_ >= endpoint_.connect_limit)
      return break_up(fmt::format("no connection within {} ms", endpoint_.connect_limit / kMillisecond));
  } else if (in_flight_ == 0) {
    return;
  } else {
    const Nanos oldest = oldest_sent_at();
    if (!due_.empty() && now >= *due_.begin())
      return break_up(fmt::format("no answer for {} ms, and the operation's time is over",
                                  (now - oldest) / kMillisecond));
    if (now - std::max(oldest, heard_at_) >= endpoint_.soft_limit || now - oldest >= endpoint_.hard_limit)
      return break_up(fmt::format("no answer for {} ms", (now - oldest) / kMillisecond));
  }
  loop_.arm(tick_timer_, now + kTick);
}

void RpcConnection::break_up(std::string why) {
  breaking_ = true;
  loop_.disarm(flush_timer_);
  loop_.disarm(tick_timer_);
  destroy_context();
  owner_.broken(*this, std::move(why));
}

void RpcConnection::destroy_context() {
  // First the watches: the descriptor is closed with the context.
  readable_.reset();
  writable_.reset();
  breaking_ = true;
  if (context_ != nullptr) rpc_destroy_context(std::exchange(context_, nullptr));
  connected_ = false;
}

}  // namespace canopy::nfs
