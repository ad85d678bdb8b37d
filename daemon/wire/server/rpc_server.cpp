#include "daemon/wire/server/rpc_server.h"

#include <unistd.h>

#include "daemon/base/log.h"

namespace canopy::wire {

struct RpcServer::Accepting {
  std::unique_ptr<Listener> listener;
};

RpcServer::RpcServer(Loop& loop, const MethodTable& table, RpcServerOptions options)
    : loop_(loop), table_(table), options_(std::move(options)), listeners_(loop), calls_(loop), alive_(loop) {
  if (options_.own_uid == ~0u) options_.own_uid = geteuid();
}

RpcServer::~RpcServer() { CANOPY_CHECK(alive_.count() == 0); }

void RpcServer::serve(std::unique_ptr<Listener> listener) {
  auto accepting = std::make_shared<Accepting>(std::move(listener));
  accepting_.push_back(accepting);
  listeners_.add();
  loop_.spawn(accept(*this, std::move(accepting)));
}

void RpcServer::serve(std::unique_ptr<Stream> stream, PeerIdentity peer) {
  auto connection =
      std::make_shared<ServerConnection>(*this, std::move(stream), std::move(peer), next_connection_++);
  ++stats_.accepted;
  loop_.spawn(serve_one(std::move(connection)));
}

Task<void> RpcServer::serve_one(std::shared_ptr<ServerConnection> connection) { co_await connection->serve(); }

Task<void> RpcServer::accept(RpcServer& server, std::shared_ptr<Accepting> from) {
  constexpr Nanos kPauseAfterFailure = 100 * kMillisecond;
  while (!server.draining_) {
    auto stream = co_await from->listener->accept();
    if (!stream) {
      if (server.draining_ || stream.error().code() == Code::kCancelled) break;
      log_event(LogLevel::kWarning, "accept-failed", from->listener->local().to_string(),
                {{"error", stream.error().to_string()}});
      co_await server.loop_.sleep(kPauseAfterFailure);
      continue;
    }
    if (server.stats_.connections >= server.options_.connections_max) {
      log_event(LogLevel::kWarning, "connection-refused", from->listener->local().to_string(),
                {{"why", "too many connections"}, {"limit", server.options_.connections_max}});
      continue;
    }
    PeerIdentity peer = server.identify(**stream);
    server.serve(std::move(*stream), std::move(peer));
  }
  from->listener.reset();
  server.listeners_.done();
}

PeerIdentity RpcServer::identify(const Stream& stream) const {
  const PeerCredentials credentials = stream.peer_credentials();
  if (credentials.pid != 0) return identity_of_uid(credentials.uid, options_.own_uid, options_.frontend_uids);
  PeerIdentity peer;
  peer.role = options_.unknown_peer;
  peer.name = stream.peer().to_string();
  if (peer.role == Role::kNone) peer.reason = "it came neither with a certificate nor over a Unix socket";
  return peer;
}

Task<void> RpcServer::stop(Nanos deadline) {
  draining_ = true;
  for (auto& accepting : accepting_)
    if (accepting->listener) accepting->listener->abort();
  co_await listeners_.wait();
  accepting_.clear();
  co_await calls_.wait_until(deadline);
  const std::vector<ServerConnection*> open(connections_.begin(), connections_.end());
  for (ServerConnection* connection : open) connection->finish();
  co_await alive_.wait();
}

}  // namespace canopy::wire
