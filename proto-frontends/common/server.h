// One loop's share of canopy-frontend: its listeners, its sessions, its connection to the backend.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <vector>

#include "daemon/runtime/sync.h"
#include "proto-frontends/common/config.h"
#include "proto-frontends/common/session.h"

namespace canopy::frontend {

// What the loops share of one listener.
struct ListenerShared {
  explicit ListenerShared(const ListenerConfig& config)
      : config(config), limits(config.connections_max, config.connections_per_address_max) {}
  const ListenerConfig& config;  // outlives it
  ConnectionLimits limits;
  LoginDelays delays;
  std::shared_ptr<TlsContext> tls;  // null without certificates
};

// Runs one session on a connection, from the greeting to the end; answers a word for the log. main() says
// which function serves which protocol, so that this part knows none. `state`: the protocol's own, one a
// loop.
using Serve = Task<std::string> (*)(Connection& connection, const SessionContext& context, void* state);
struct ProtocolHandler {
  Serve serve = nullptr;
  void* state = nullptr;
  size_t read_bytes = 4096;
  std::string_view overloaded;  // said to whom a limit turns away, with its line end
};

// For its loop's thread only.
class Server {
 public:
  Server(Loop& loop, Backend& backend) : loop_(loop), backend_(backend), running_(loop) {}
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Accepts from it until stop(). `shared` outlives the server.
  void serve(std::unique_ptr<Listener> listener, ListenerShared& shared, ProtocolHandler handler);
  // Serves one connection that came in some other way.
  void serve(std::unique_ptr<Stream> stream, ListenerShared& shared, ProtocolHandler handler);

  // Accepts no more; idle clients are told so at once, busy ones after the command at hand. What still runs
  // at `deadline` is cut off. Answers when nothing runs any more.
  Task<void> stop(Nanos deadline);

  size_t sessions() const { return connections_.size(); }

 private:
  Task<void> accept(Listener& listener, ListenerShared& shared, ProtocolHandler handler);
  Task<void> session(std::unique_ptr<Stream> stream, ListenerShared& shared, ProtocolHandler handler);
  Task<std::string> converse(Connection& connection, ListenerShared& shared, ProtocolHandler handler);
  // Reads the PROXY header, if the peer is to send one. False: the connection is of no use.
  Task<bool> take_proxy_header(Connection& connection, const ListenerConfig& config);

  Loop& loop_;
  Backend& backend_;
  TaskGroup running_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::map<size_t, BufferPool> pools_;  // by the size of the buffers
  std::list<Connection*> connections_;
  bool draining_ = false;
};

}  // namespace canopy::frontend
