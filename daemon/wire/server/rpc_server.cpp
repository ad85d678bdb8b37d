#include "daemon/wire/server/rpc_server.h"

#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/runtime/accept_failures.h"

namespace canopy::wire {

struct RpcServer::Accepting {
  std::unique_ptr<Listener> listener;
  std::shared_ptr<const TlsContext> tls;
};

RpcServer::RpcServer(Loop& loop, const MethodTable& table, RpcServerOptions options)
    : loop_(loop), table_(table), options_(std::move(options)), listeners_(loop), calls_(loop), alive_(loop) {
  if (options_.own_uid == ~0u) options_.own_uid = geteuid();
}

RpcServer::~RpcServer() { CANOPY_CHECK(alive_.count() == 0); }

void RpcServer::serve(std::unique_ptr<Listener> listener, std::shared_ptr<const TlsContext> tls) {
  auto accepting = std::make_shared<Accepting>(std::move(listener), std::move(tls));
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

Task<void> RpcServer::serve_one(std::shared_ptr<ServerConnection> connection) {
  co_await connection->serve();
}

Task<void> RpcServer::accept(RpcServer& server, std::shared_ptr<Accepting> from) {
  constexpr Nanos kPauseAfterFailure = 100 * kMillisecond;
  AcceptFailures failures;
  while (!server.draining_) {
    auto stream = co_await from->listener->accept();
    if (!stream) {
      if (server.draining_ || stream.error().code() == Code::kCancelled) break;
      if (failures.begin(server.loop_.now()))
        log_event(LogLevel::kError, "accept-failed", from->listener->local().to_string(),
                  {{"error", stream.error().to_string()}});
      co_await server.loop_.sleep(kPauseAfterFailure);
      continue;
    }
    if (uint64_t ended = failures.end(server.loop_.now()); ended > 0)
      log_event(LogLevel::kWarning, "accept-works-again", from->listener->local().to_string(),
                {{"failures", ended}});
    if (server.stats_.connections + server.shaking_hands_.size() >= server.options_.connections_max) {
      log_event(LogLevel::kWarning, "connection-refused", from->listener->local().to_string(),
                {{"why", "too many connections"}, {"limit", server.options_.connections_max}});
      continue;
    }
    if (from->tls != nullptr) {
      server.alive_.add();
      server.loop_.spawn(shake_hands(server, from->tls, std::move(*stream)));
      continue;
    }
    PeerIdentity peer = server.identify(**stream);
    server.serve(std::move(*stream), std::move(peer));
  }
  from->listener.reset();
  server.listeners_.done();
}

Task<void> RpcServer::shake_hands(RpcServer& server, std::shared_ptr<const TlsContext> tls,
                                  std::unique_ptr<Stream> stream) {
  Stream* const open = stream.get();
  const std::string peer_name = stream->peer().to_string();
  server.shaking_hands_.insert(open);
  auto shaken = co_await TlsStream::accept(server.loop_, *tls, std::move(stream),
                                           server.loop_.now() + kHandshakeTimeout);
  server.shaking_hands_.erase(open);
  if (!shaken) {
    log_event(LogLevel::kWarning, "handshake-failed", peer_name, {{"error", shaken.error().to_string()}});
  } else if (!server.draining_) {
    PeerIdentity peer = server.identify(**shaken);
    server.serve(std::move(*shaken), std::move(peer));
  }
  server.alive_.done();
}

PeerIdentity RpcServer::identify(const TlsStream& stream) const {
  if (stream.peer_verified()) return identity_of_uris(stream.peer_uri_names(), options_.cluster);
  PeerIdentity peer;
  peer.name = stream.peer().to_string();
  peer.reason = "it showed no certificate of this cluster's authority";
  return peer;
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
  for (Stream* stream : shaking_hands_) stream->abort();
  co_await listeners_.wait();
  accepting_.clear();
  co_await calls_.wait_until(deadline);
  const std::vector<ServerConnection*> open(connections_.begin(), connections_.end());
  for (ServerConnection* connection : open) connection->finish();
  co_await alive_.wait();
}

}  // namespace canopy::wire
