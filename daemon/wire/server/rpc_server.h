// RpcServer: the wire protocol's server on one loop. A daemon has one for each loop, all with one
// MethodTable; the kernel spreads the connections (SO_REUSEPORT, or UringLoop::share for Unix sockets). For
// the loop's thread only.
#pragma once

#include <memory>
#include <unordered_set>
#include <vector>

#include "daemon/runtime/sync.h"
#include "daemon/runtime/tls.h"
#include "daemon/wire/server/method_table.h"

namespace canopy::wire {

struct RpcServerOptions {
  std::string cluster = {};                  // of which certificates count; empty: any
  std::vector<uint32_t> frontend_uids = {};  // Unix peers with role frontend
  uint32_t own_uid = ~0u;                    // Unix peer with role admin, besides root; ~0: this process's
  // Role of a peer without credentials (plain TCP, a simulated stream). For tests and measurements.
  Role unknown_peer = Role::kNone;
  uint32_t connections_max = kWireConnectionsPerLoopMax;
  uint64_t slow_request_bytes_max = kWireSlowRequestBytesMax;
  // Asked when a call completes: what a backend answers without its lease may be out of date, or not the last
  // word. Empty: always held. Session, Stores and Cluster answer all the same.
  std::function<bool()> lease_held = {};
};

// Counters since the start; read on the loop's thread.
struct RpcServerStats {
  uint64_t connections = 0;  // open now
  uint64_t accepted = 0;
  uint64_t requests = 0;
  uint64_t refused = 0;  // answered with a failure
  uint64_t calls_under_way = 0;
};

class RpcServer {
 public:
  // `table` must outlive the server.
  RpcServer(Loop& loop, const MethodTable& table, RpcServerOptions options = {});
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;
  ~RpcServer();  // after stop()

  static constexpr Nanos kHandshakeTimeout = 10 * kSecond;

  // Accepts from it until stop(). Any number of listeners. With `tls` (that asks for certificates) every
  // connection begins with a handshake, and the certificate's URI name gives the role.
  void serve(std::unique_ptr<Listener> listener, std::shared_ptr<const TlsContext> tls = nullptr);
  // Serves one connected stream.
  void serve(std::unique_ptr<Stream> stream, PeerIdentity peer);

  // Ends the server: accepts no more, refuses new calls with kTryAgain (object kDrainingObject), waits until
  // `deadline` for calls under way, sends their answers and closes. Calls that still run then are cancelled
  // and waited for.
  Task<void> stop(Nanos deadline);

  const RpcServerStats& stats() const { return stats_; }
  bool draining() const { return draining_; }
  Loop& loop() const { return loop_; }

 private:
  friend class ServerConnection;
  struct Accepting;
  static Task<void> accept(RpcServer& server, std::shared_ptr<Accepting> from);
  static Task<void> serve_one(std::shared_ptr<ServerConnection> connection);
  static Task<void> shake_hands(RpcServer& server, std::shared_ptr<const TlsContext> tls,
                                std::unique_ptr<Stream> stream);
  PeerIdentity identify(const Stream& stream) const;
  PeerIdentity identify(const TlsStream& stream) const;

  Loop& loop_;
  const MethodTable& table_;
  RpcServerOptions options_;
  RpcServerStats stats_;
  bool draining_ = false;
  uint64_t slow_request_bytes_ = 0;
  uint64_t next_connection_ = 1;
  std::vector<std::shared_ptr<Accepting>> accepting_;
  std::unordered_set<ServerConnection*> connections_;
  std::unordered_set<Stream*> shaking_hands_;
  WaitGroup listeners_;  // accept tasks
  WaitGroup calls_;      // under way
  WaitGroup alive_;      // connection objects and handshakes
};

}  // namespace canopy::wire
