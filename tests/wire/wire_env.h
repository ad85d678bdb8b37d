// A server and its clients for tests, in the simulator (two processes, virtual time) or on a real loop.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "daemon/runtime/sim_loop.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"
#include "daemon/wire/server/rpc_server.h"
#include "daemon/wire/server/session_methods.h"

namespace canopy::wire {

// Methods whose behaviour the tests steer. They stand under names of real services, so that roles apply.
class Probe {
 public:
  explicit Probe(Loop& loop) : released(loop) {}

  void add_to(MethodTable& table) {
    table.add("canopy.v1.Mailboxes", "Deliver", this, &Probe::deliver);
    table.add("canopy.v1.Mailboxes", "Fetch", this, &Probe::fetch);
    table.add("canopy.v1.Mailboxes", "Status", this, &Probe::status);
    table.add("canopy.v1.Mailboxes", "FetchMany", this, &Probe::fetch_many);
    table.add("canopy.v1.Events", "Watch", this, &Probe::watch);
    table.add("canopy.v1.Directory", "GetDomain", this, &Probe::get_domain);
    table.add("canopy.v1.Cluster", "Metrics", this, &Probe::metrics);
  }

  std::vector<std::string> delivered;  // request ids, as they came
  int lose_deliveries = 0;             // so many first ones lose their connection before they are answered
  int cancelled = 0;
  size_t waiting = 0, waiting_max = 0;
  std::vector<uint64_t> closed;  // connections whose hook ran
  Nanos last_deadline = 0;
  std::optional<v1::Owner> owner;  // Status says that this one owns it
  int statuses = 0;
  Event released;  // Metrics answers

 private:
  Task<Result<v1::DeliverResponse>> deliver(CallContext& call, const v1::DeliverRequest& request) {
    for (const auto& recipient : request.recipients()) delivered.push_back(recipient.request_id());
    if (lose_deliveries > 0) {
      --lose_deliveries;
      dynamic_cast<ServerConnection&>(call.connection()).finish();
      while (!call.cancelled()) co_await call.loop().sleep(kMillisecond);
    }
    v1::DeliverResponse response;
    for (const auto& recipient : request.recipients()) {
      auto* result = response.add_results();
      result->set_account(recipient.address());
      result->set_uid(static_cast<uint32_t>(delivered.size()));
    }
    co_return response;
  }

  // Takes `uid` milliseconds.
  Task<Result<v1::FetchResponse>> fetch(CallContext& call, const v1::FetchRequest& request) {
    last_deadline = call.deadline();
    call.connection().attachment<int>() += 1;
    call.connection().on_close([this, id = call.connection().id()] { closed.push_back(id); });
    const Nanos until = call.loop().now() + request.uid() * kMillisecond;
    while (call.loop().now() < until && !call.cancelled())
      co_await call.loop().sleep_until(std::min(until, call.loop().now() + 2 * kMillisecond));
    if (call.cancelled()) ++cancelled;
    v1::FetchResponse response;
    response.set_size(request.uid());
    co_return response;
  }

  Task<Result<v1::Mailbox>> status(CallContext& call, const v1::MailboxRequest& request) {
    ++statuses;
    if (owner) {
      call.set_owner(*owner);
      co_return fail(Code::kWrongBackend, request.account().name(), "its slot is served elsewhere");
    }
    v1::Mailbox mailbox;
    mailbox.set_name(request.mailbox());
    co_return mailbox;
  }

  Result<v1::FetchManyResponse> fetch_many(CallContext&, const v1::FetchManyRequest& request) {
    v1::FetchManyResponse response;
    response.add_messages()->set_content(std::string(request.max_bytes(), 'm'));
    return response;
  }

  // Until it is cancelled.
  Task<Result<v1::WatchResponse>> watch(CallContext& call, const v1::WatchRequest&) {
    Event over(call.loop());
    call.on_cancel([&] { over.set(); });
    ++waiting;
    co_await over.wait();
    --waiting;
    ++cancelled;
    co_return fail(Code::kCancelled, "watch", "the client gave it up");
  }

  Result<v1::Domain> get_domain(CallContext&, const v1::DomainRequest& request) {
    return fail(Code::kNotFound, request.name(), "there is no such domain");
  }

  Task<Result<v1::MetricsResponse>> metrics(CallContext&, const v1::Empty&) {
    ++waiting;
    waiting_max = std::max(waiting_max, waiting);
    co_await released.wait();
    --waiting;
    co_return v1::MetricsResponse();
  }
};

struct ServerParts {
  ServerParts(Loop& on, Address at) : loop(on), address(std::move(at)), probe(on), session(options()) {
    session.add_to(table);
    probe.add_to(table);
  }
  static SessionMethods::Options options() {
    SessionMethods::Options given;
    given.cluster = "oak";
    given.epoch = [] { return uint64_t{7}; };
    return given;
  }
  // Both on the server's loop.
  void start(RpcServerOptions given = {}, std::shared_ptr<const TlsContext> tls = nullptr) {
    server.emplace(loop, table, std::move(given));
    auto listener = loop.listen(address, {});
    CANOPY_CHECK(listener.has_value());
    address = (*listener)->local();
    server->serve(std::move(*listener), std::move(tls));
  }
  Task<void> stop(Nanos patience = kSecond) {
    if (server) co_await server->stop(loop.now() + patience);
    server.reset();
  }

  Loop& loop;
  Address address;
  Probe probe;
  SessionMethods session;
  MethodTable table;
  std::optional<RpcServer> server;
};

struct Env {
  Loop& server_loop;
  Loop& client_loop;
  ServerParts& server;
  bool simulated;

  ClientOptions options() const { return {.addresses = {server.address}}; }
};

using Scenario = Task<void> (*)(Env&);

inline Task<void> run_scenario(Env& env, Scenario scenario, bool& ended) {
  co_await env.server_loop.switch_to();
  env.server.start();
  co_await env.client_loop.switch_to();
  co_await scenario(env);
  co_await env.server_loop.switch_to();
  co_await env.server.stop();
  ended = true;
}

struct InSimulator {
  static void run(Scenario scenario) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      SCOPED_TRACE(seed);
      SimWorld world(seed);
      SimLoop& server_loop = world.add_loop("server");
      SimLoop& client_loop = world.add_loop("client");
      ServerParts server(server_loop, Address{Address::Kind::kUnix, "/sim/canopyd", 0});
      Env env{server_loop, client_loop, server, true};
      bool ended = false;
      server_loop.spawn(run_scenario(env, scenario, ended));
      EXPECT_TRUE(world.run_until([&] { return ended; }, 1000 * kSecond));
      if (testing::Test::HasFailure()) return;
    }
  }
};

struct OnUring {
  static void run(Scenario scenario) {
    auto loop = UringLoop::create();
    CANOPY_CHECK(loop.has_value());
    static int number = 0;
    ServerParts server(**loop, Address{Address::Kind::kUnix,
                                       fmt::format("/tmp/canopy-wire-{}-{}.sock", getpid(), ++number), 0});
    Env env{**loop, **loop, server, false};
    bool ended = false;
    (*loop)->run_until_done(run_scenario(env, scenario, ended));
    EXPECT_TRUE(ended);
  }
};

}  // namespace canopy::wire
