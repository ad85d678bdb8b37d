#include "proto-frontends/common/server.h"

#include "daemon/base/log.h"
#include "daemon/runtime/accept_failures.h"
#include "proto-frontends/common/proxy_protocol.h"

namespace canopy::frontend {
namespace {

constexpr Nanos kProxyHeaderTimeout = 5 * kSecond;
constexpr Nanos kAcceptPause = 100 * kMillisecond;

bool sends_proxy_header(const ListenerConfig& config, const Connection& connection) {
  if (connection.client().is_unspecified()) return config.proxy_unix;
  return std::ranges::any_of(config.proxy_networks,
                             [&](const Network& network) { return network.contains(connection.client()); });
}

}  // namespace

void Server::serve(std::unique_ptr<Listener> listener, ListenerShared& shared, ProtocolHandler handler) {
  listeners_.push_back(std::move(listener));
  running_.spawn(accept(*listeners_.back(), shared, handler));
}

void Server::serve(std::unique_ptr<Stream> stream, ListenerShared& shared, ProtocolHandler handler) {
  running_.spawn(session(std::move(stream), shared, handler));
}

Task<void> Server::accept(Listener& listener, ListenerShared& shared, ProtocolHandler handler) {
  AcceptFailures failures;
  while (!draining_) {
    auto stream = co_await listener.accept();
    if (stream) {
      if (uint64_t ended = failures.end(loop_.now()); ended > 0)
        log_event(LogLevel::kWarning, "accept-works-again", listener.local().to_string(),
                  {{"failures", ended}});
      serve(std::move(*stream), shared, handler);
      continue;
    }
    if (stream.error().code() == Code::kCancelled) co_return;
    if (failures.begin(loop_.now()))
      log_event(LogLevel::kError, "accept-failed", listener.local().to_string(),
                {{"error", stream.error().to_string()}});
    co_await loop_.sleep(kAcceptPause);
  }
}

Task<void> Server::session(std::unique_ptr<Stream> stream, ListenerShared& shared, ProtocolHandler handler) {
  auto pool = pools_.try_emplace(handler.read_bytes, static_cast<uint32_t>(handler.read_bytes)).first;
  Connection connection(loop_, std::move(stream), draining_, pool->second);
  connections_.push_front(&connection);
  auto place_in_list = connections_.begin();
  Nanos began = loop_.now();
  std::string outcome = co_await converse(connection, shared, handler);
  log_event(LogLevel::kInfo, "session", connection.client().to_string(),
            {{"protocol", protocol_name(shared.config.protocol)},
             {"reason", connection.end_reason},
             {"commands", connection.commands},
             {"in", connection.bytes_in()},
             {"out", connection.bytes_out()},
             {"tls", connection.tls() ? "yes" : "no"},
             {"ms", (loop_.now() - began) / kMillisecond},
             {"outcome", outcome}});
  co_await connection.finish();
  connections_.erase(place_in_list);
}

Task<std::string> Server::converse(Connection& connection, ListenerShared& shared, ProtocolHandler handler) {
  bool implicit_tls = shared.config.protocol == Protocol::kPop3s;
  if (sends_proxy_header(shared.config, connection)) {
    bool taken = co_await take_proxy_header(connection, shared.config);
    if (!taken) co_return std::string();
  }
  // The client's own address counts, which is known only now.
  ConnectionLimits::Place place = shared.limits.enter(connection.client());
  if (!place) {
    connection.end_reason = "limit";
    if (!implicit_tls) {
      connection.out().append(handler.overloaded);
      co_await connection.flush();
    }
    co_return std::string();
  }
  if (implicit_tls && !connection.tls()) {
    auto secured = co_await connection.start_tls(shared.tls);
    if (!secured) {
      connection.end_reason = "tls-failed";
      co_return secured.error().message();
    }
  }
  SessionContext context{shared.config.session, backend_, shared.delays, implicit_tls ? nullptr : shared.tls};
  co_return co_await handler.serve(connection, context, handler.state);
}

Task<bool> Server::take_proxy_header(Connection& connection, const ListenerConfig& config) {
  Nanos deadline = loop_.now() + kProxyHeaderTimeout;
  for (;;) {
    ProxyParse parsed = parse_proxy_header(connection.unread());
    connection.limit_reads(parsed.status == ProxyStatus::kNeedMore ? parsed.wanted : 0);
    if (parsed.status == ProxyStatus::kDone) {
      connection.consume(parsed.consumed);
      if (parsed.header.local) co_return true;
      if (!parsed.header.source.is_unspecified()) connection.set_client(parsed.header.source);
      // Under implicit TLS the balancer's word replaces our own handshake only where it says that it made
      // one.
      if (parsed.header.tls) connection.set_tls_outside();
      co_return true;
    }
    if (parsed.status == ProxyStatus::kInvalid) {
      connection.end_reason = "proxy-header";
      log_event(LogLevel::kWarning, "proxy-header-refused", connection.client().to_string(),
                {{"listener", config.address.to_string()}, {"rule", parsed.why}});
      co_return false;
    }
    auto filled = co_await connection.fill(std::max<Nanos>(0, deadline - loop_.now()), false, {});
    if (filled == Connection::Filled::kBytes) continue;
    connection.end_reason = filled == Connection::Filled::kIdle ? "proxy-header" : "closed";
    co_return false;
  }
}

Task<void> Server::stop(Nanos deadline) {
  draining_ = true;
  for (auto& listener : listeners_) listener->abort();
  for (Connection* connection : connections_) connection->drain();
  bool ended = co_await running_.join_until(deadline);
  if (!ended) {
    for (Connection* connection : connections_) connection->abort();
    co_await running_.join();
  }
  listeners_.clear();
}

}  // namespace canopy::frontend
