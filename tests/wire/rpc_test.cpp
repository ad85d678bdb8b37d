// Client and server together: every test in the simulator under twenty seeds, and over a real Unix socket.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <thread>

#include "daemon/wire/client/blocking_client.h"
#include "daemon/wire/framing_status.h"
#include "tests/wire/wire_env.h"

namespace canopy::wire {
namespace {

template <class World>
class Rpc : public testing::Test {};
using Worlds = testing::Types<InSimulator, OnUring>;
TYPED_TEST_SUITE(Rpc, Worlds);

Code code_of(const auto& result) { return result ? Code::kOk : result.error().code(); }

Task<void> hello_and_ping(Env& env) {
  Client client(env.client_loop, env.options());
  EXPECT_TRUE(co_await client.connect());
  EXPECT_EQ(client.hello().cluster(), "oak");
  EXPECT_EQ(client.hello().role(), "admin");
  EXPECT_EQ(client.hello().epoch(), 7u);
  EXPECT_EQ(client.hello().limits().message_bytes_max(), kWireMessageBytesMax);
  v1::PingRequest ping;
  ping.set_payload("are you there");
  auto pong = co_await SessionStub(client).ping(ping);
  EXPECT_TRUE(pong && pong->payload() == "are you there");
  ping.set_answer_bytes(65536);
  pong = co_await SessionStub(client).ping(ping);
  EXPECT_TRUE(pong && pong->payload() == std::string(65536, '\0'));
  co_await client.close();
}
TYPED_TEST(Rpc, SaysHelloWithItsLimitsAndAnswersPings) { TypeParam::run(hello_and_ping); }

Task<void> fetch_into(Client& client, uint32_t milliseconds, std::vector<uint64_t>& order, WaitGroup& group) {
  v1::FetchRequest request;
  request.set_uid(milliseconds);
  auto response = co_await MailboxesStub(client).fetch(request);
  EXPECT_TRUE(response && response->size() == milliseconds);
  order.push_back(milliseconds);
  group.done();
}

Task<void> out_of_order(Env& env) {
  Client client(env.client_loop, env.options());
  EXPECT_TRUE(co_await client.connect());
  std::vector<uint64_t> order;
  WaitGroup group(env.client_loop);
  for (uint32_t milliseconds : {90, 60, 30, 0}) {
    group.add();
    env.client_loop.spawn(fetch_into(client, milliseconds, order, group));
  }
  co_await group.wait();
  EXPECT_EQ(order, (std::vector<uint64_t>{0, 30, 60, 90}));
  EXPECT_EQ(env.server.server->stats().accepted, 1u);
  co_await client.close();
}
TYPED_TEST(Rpc, AnswersConcurrentCallsInTheOrderInWhichTheyEnd) { TypeParam::run(out_of_order); }

Task<void> deadline(Env& env) {
  Client client(env.client_loop, env.options());
  EXPECT_TRUE(co_await client.connect());
  v1::FetchRequest request;
  request.set_uid(60'000);
  const Nanos until = env.client_loop.now() + 50 * kMillisecond;
  auto response = co_await MailboxesStub(client).fetch(request, {.deadline = until});
  EXPECT_EQ(code_of(response), Code::kDeadlineExceeded);
  EXPECT_GE(env.client_loop.now(), until);
  // The server learned of the deadline, and was told when it had passed.
  EXPECT_LT(env.server.probe.last_deadline, until + kSecond);
  while (env.server.probe.cancelled == 0) co_await env.client_loop.sleep(kMillisecond);
  EXPECT_TRUE(co_await SessionStub(client).ping({}));
  co_await client.close();
}
TYPED_TEST(Rpc, GivesUpAtTheDeadlineAndTellsTheServer) { TypeParam::run(deadline); }

Task<void> cancel_soon(Loop& loop, Env& env, Cancellation& cancellation) {
  while (env.server.probe.waiting == 0) co_await loop.sleep(kMillisecond);
  cancellation.cancel();
}

Task<void> cancel(Env& env) {
  Client client(env.client_loop, env.options());
  Cancellation cancellation;
  env.client_loop.spawn(cancel_soon(env.client_loop, env, cancellation));
  auto response = co_await EventsStub(client).watch({}, {.cancellation = &cancellation});
  EXPECT_EQ(code_of(response), Code::kCancelled);
  while (env.server.probe.cancelled == 0) co_await env.client_loop.sleep(kMillisecond);
  EXPECT_EQ(env.server.probe.waiting, 0u);
  response = co_await EventsStub(client).watch({}, {.cancellation = &cancellation});
  EXPECT_EQ(code_of(response), Code::kCancelled);
  co_await client.close();
}
TYPED_TEST(Rpc, CancelsACallThatWaits) { TypeParam::run(cancel); }

v1::DeliverRequest delivery(Client& client, bool with_id) {
  v1::DeliverRequest request;
  auto* recipient = request.add_recipients();
  recipient->set_address("jsmith@company.com");
  if (with_id) recipient->set_request_id(client.new_request_id());
  request.set_content("Subject: x\r\n\r\n");
  return request;
}

Task<void> resend(Env& env) {
  Client client(env.client_loop, env.options());
  env.server.probe.lose_deliveries = 2;
  const v1::DeliverRequest request = delivery(client, true);
  auto response = co_await MailboxesStub(client).deliver(request);
  EXPECT_TRUE(response) << response.error().to_string();
  const std::string& id = request.recipients(0).request_id();
  EXPECT_EQ(id.size(), kRequestIdBytes);
  EXPECT_EQ(env.server.probe.delivered, (std::vector<std::string>{id, id, id}));
  EXPECT_EQ(env.server.server->stats().accepted, 3u);
  co_await client.close();
}
TYPED_TEST(Rpc, SendsTheSameRequestIdAgainAfterALostConnection) { TypeParam::run(resend); }

Task<void> no_resend(Env& env) {
  Client client(env.client_loop, env.options());
  env.server.probe.lose_deliveries = 1;
  v1::DeliverRequest request = delivery(client, false);
  EXPECT_EQ(code_of(co_await MailboxesStub(client).deliver(request)), Code::kConnectionLost);
  EXPECT_EQ(env.server.probe.delivered.size(), 1u);
  env.server.probe.lose_deliveries = 1;
  request = delivery(client, true);
  request.set_upload_id(5);
  EXPECT_EQ(code_of(co_await MailboxesStub(client).deliver(request)), Code::kConnectionLost);
  EXPECT_EQ(env.server.probe.delivered.size(), 2u);
  EXPECT_TRUE(co_await SessionStub(client).ping({}));  // on a new connection
  co_await client.close();
}
TYPED_TEST(Rpc, DoesNotRepeatWhatMightBeDoneTwice) { TypeParam::run(no_resend); }

Task<void> restart_server(Env& env, bool& restarted) {
  co_await env.server_loop.switch_to();
  co_await env.server_loop.sleep(300 * kMillisecond);
  env.server.start();
  restarted = true;
}

Task<void> reconnect(Env& env) {
  Client client(env.client_loop, env.options());
  EXPECT_TRUE(co_await client.connect());
  co_await env.server_loop.switch_to();
  co_await env.server.stop();
  co_await env.client_loop.switch_to();
  EXPECT_NE(code_of(co_await SessionStub(client).ping({}, {.retry = false})), Code::kOk);
  bool restarted = false;
  env.client_loop.spawn(restart_server(env, restarted));
  EXPECT_TRUE(co_await SessionStub(client).ping({}));
  EXPECT_TRUE(restarted);
  co_await client.close();
}
TYPED_TEST(Rpc, WaitsForAServerThatStartsAgain) { TypeParam::run(reconnect); }

Task<void> nobody_there(Env& env) {
  ClientOptions options = env.options();
  options.addresses = {{Address::Kind::kUnix, "/tmp/canopy-wire-nobody", 0}};
  Client client(env.client_loop, options);
  const Nanos until = env.client_loop.now() + 200 * kMillisecond;
  auto response = co_await SessionStub(client).ping({}, {.deadline = until});
  EXPECT_FALSE(response);
  EXPECT_GE(env.client_loop.now(), until);
  options.addresses.push_back(env.server.address);
  Client second(env.client_loop, options);
  EXPECT_TRUE(co_await SessionStub(second).ping({}, {.retry = false}));
  co_await client.close();
  co_await second.close();
}
TYPED_TEST(Rpc, TriesEveryAddressUntilTheDeadline) { TypeParam::run(nobody_there); }

Task<void> failures(Env& env) {
  Client client(env.client_loop, env.options());
  v1::DomainRequest domain;
  domain.set_name("nowhere.org");
  auto missing = co_await DirectoryStub(client).get_domain(domain);
  EXPECT_EQ(code_of(missing), Code::kNotFound);
  EXPECT_EQ(missing.error().object(), "nowhere.org");
  EXPECT_EQ(missing.error().message(), "there is no such domain");
  // Declared in canopy.proto, but not offered by this server.
  auto unknown = co_await DirectoryStub(client).list_domains({});
  EXPECT_EQ(code_of(unknown), Code::kUnsupported);
  EXPECT_EQ(unknown.error().message(), "the service has no such method");
  auto no_service = co_await StoresStub(client).list({});
  EXPECT_EQ(code_of(no_service), Code::kUnsupported);
  EXPECT_EQ(no_service.error().message(), "there is no such service");
  co_await client.close();
}
TYPED_TEST(Rpc, NamesCodeObjectAndReasonOfAFailure) { TypeParam::run(failures); }

Task<void> too_large(Env& env) {
  Client client(env.client_loop, env.options());
  v1::DeliverRequest request = delivery(client, true);
  request.set_content(std::string(kWireMessageBytesMax, 'x'));
  EXPECT_EQ(code_of(co_await MailboxesStub(client).deliver(request)), Code::kTooLarge);
  v1::FetchManyRequest many;
  many.set_max_bytes(kWireMessageBytesMax);
  EXPECT_EQ(code_of(co_await MailboxesStub(client).fetch_many(many)), Code::kTooLarge);
  many.set_max_bytes(kWireMessageBytesMax - 100);
  auto response = co_await MailboxesStub(client).fetch_many(many);
  EXPECT_TRUE(response && response->messages(0).content().size() == many.max_bytes());
  EXPECT_EQ(env.server.server->stats().accepted, 1u);
  co_await client.close();
}
TYPED_TEST(Rpc, RefusesMessagesOverTheLimitAndKeepsTheConnection) { TypeParam::run(too_large); }

Task<void> roles(Env& env) {
  ClientOptions options = env.options();
  options.role = "frontend";
  Client client(env.client_loop, options);
  EXPECT_TRUE(co_await client.connect());
  EXPECT_EQ(client.hello().role(), "frontend");
  EXPECT_TRUE(co_await MailboxesStub(client).deliver(delivery(client, true)));
  auto refused = co_await DirectoryStub(client).get_domain({});
  EXPECT_EQ(code_of(refused), Code::kPermissionDenied);
  EXPECT_EQ(refused.error().object(), "canopy.v1.Directory/GetDomain");
  EXPECT_NE(refused.error().message().find("only role mount or admin"), std::string::npos)
      << refused.error().message();
  EXPECT_NE(refused.error().message().find("has role frontend"), std::string::npos);
  co_await client.close();
  // Nobody rises.
  v1::HelloRequest hello;
  hello.set_version(1);
  hello.set_role("admin");
  auto stream = co_await env.client_loop.connect(env.server.address, kNever);
  auto connection = RpcConnection::start(env.client_loop, std::move(*stream));
  v1::HelloResponse response;
  hello.set_role("mount");
  EXPECT_TRUE(co_await connection->call("canopy.v1.Session", "Hello", hello, response, kNever));
  hello.set_role("admin");
  auto risen = co_await connection->call("canopy.v1.Session", "Hello", hello, response, kNever);
  EXPECT_EQ(code_of(risen), Code::kPermissionDenied);
  connection->close();
  co_await connection->wait_closed();
}
TYPED_TEST(Rpc, RefusesWhatTheRoleMayNotCallAndNamesTheRule) { TypeParam::run(roles); }

Task<void> connection_end(Env& env) {
  Client client(env.client_loop, env.options());
  v1::FetchRequest request;
  EXPECT_TRUE(co_await MailboxesStub(client).fetch(request));
  EXPECT_TRUE(co_await MailboxesStub(client).fetch(request));
  EXPECT_TRUE(env.server.probe.closed.empty());
  WaitGroup group(env.client_loop);
  std::vector<uint64_t> order;
  co_await client.close();
  while (env.server.probe.closed.size() < 2) co_await env.client_loop.sleep(kMillisecond);
  EXPECT_EQ(env.server.probe.closed[0], env.server.probe.closed[1]);
}
TYPED_TEST(Rpc, RunsTheHooksOfAConnectionThatEnds) { TypeParam::run(connection_end); }

Task<void> one_watch(Client& client, WaitGroup& group) {
  EXPECT_EQ(code_of(co_await EventsStub(client).watch({}, {.retry = false})), Code::kConnectionLost);
  group.done();
}

Task<void> lost_calls(Env& env) {
  Client client(env.client_loop, env.options());
  WaitGroup group(env.client_loop);
  group.add(3);
  for (int i = 0; i < 3; ++i) env.client_loop.spawn(one_watch(client, group));
  while (env.server.probe.waiting < 3) co_await env.client_loop.sleep(kMillisecond);
  co_await client.close();
  co_await group.wait();
  while (env.server.probe.waiting > 0) co_await env.client_loop.sleep(kMillisecond);
  EXPECT_EQ(env.server.probe.cancelled, 3);
}
TYPED_TEST(Rpc, CancelsTheCallsOfALostConnection) { TypeParam::run(lost_calls); }

Task<void> stop_server(Env& env, bool& stopped) {
  co_await env.server_loop.switch_to();
  co_await env.server.server->stop(env.server_loop.now() + 10 * kSecond);
  stopped = true;
}

Task<void> drain(Env& env) {
  Client client(env.client_loop, env.options());
  EXPECT_TRUE(co_await client.connect());
  std::vector<uint64_t> order;
  WaitGroup group(env.client_loop);
  group.add();
  env.client_loop.spawn(fetch_into(client, 200, order, group));
  while (env.server.server->stats().calls_under_way == 0) co_await env.client_loop.sleep(kMillisecond);
  bool stopped = false;
  env.client_loop.spawn(stop_server(env, stopped));
  while (!env.server.server->draining()) co_await env.client_loop.sleep(kMillisecond);
  auto refused = co_await DirectoryStub(client).get_domain({}, {.retry = false});
  EXPECT_EQ(code_of(refused), Code::kTryAgain);
  EXPECT_EQ(refused.error().object(), kDrainingObject);
  EXPECT_TRUE(order.empty());
  co_await group.wait();  // the call under way was answered (fetch_into looks)
  while (!stopped) co_await env.client_loop.sleep(kMillisecond);
  EXPECT_EQ(env.server.server->stats().connections, 0u);
  co_await client.close();
}
TYPED_TEST(Rpc, FinishesWhatRunsAndRefusesNewCallsWhenItDrains) { TypeParam::run(drain); }

Task<void> one_metrics(Client& client, WaitGroup& group, int& good) {
  good += (co_await ClusterStub(client).metrics({})).has_value() ? 1 : 0;
  group.done();
}

Task<void> many_calls(Env& env) {
  constexpr int kCalls = RpcConnection::kCallsMax + 2000;
  Client client(env.client_loop, env.options());
  EXPECT_TRUE(co_await client.connect());
  WaitGroup group(env.client_loop);
  int good = 0;
  group.add(kCalls);
  for (int i = 0; i < kCalls; ++i) env.client_loop.spawn(one_metrics(client, group, good));
  while (env.server.probe.waiting < RpcConnection::kCallsMax) co_await env.client_loop.sleep(kMillisecond);
  co_await env.client_loop.sleep(100 * kMillisecond);
  EXPECT_EQ(env.server.probe.waiting_max, RpcConnection::kCallsMax);
  co_await env.server_loop.switch_to();
  env.server.probe.released.set();
  co_await env.client_loop.switch_to();
  co_await group.wait();
  EXPECT_EQ(good, kCalls);
  co_await client.close();
}
TYPED_TEST(Rpc, HoldsCallsBackThatAreOverTheLimitOfAConnection) { TypeParam::run(many_calls); }

Task<void> follow_owner(Env& env) {
  co_await env.server_loop.switch_to();
  Address other_address = env.server.address;
  other_address.host += ".other";
  ServerParts other(env.server_loop, other_address);
  other.start();
  v1::Owner owner;
  owner.set_endpoint(other_address.to_string());
  v1::MailboxRequest request;
  request.mutable_account()->set_name("jsmith@company.com");
  owner.set_slot(static_cast<uint32_t>(
      XXH64(request.account().name().data(), request.account().name().size(), 0) % kSlots));
  env.server.probe.owner = owner;
  co_await env.client_loop.switch_to();
  Client client(env.client_loop, env.options());
  EXPECT_TRUE(co_await MailboxesStub(client).status(request));
  EXPECT_TRUE(co_await MailboxesStub(client).status(request));
  EXPECT_EQ(env.server.probe.statuses, 1);  // remembered
  EXPECT_EQ(other.probe.statuses, 2);
  request.mutable_account()->set_name("alias@company.com");  // in another slot than the account
  EXPECT_TRUE(co_await MailboxesStub(client).status(request));
  EXPECT_EQ(env.server.probe.statuses, 2);
  EXPECT_EQ(other.probe.statuses, 3);
  request.mutable_account()->set_name("jsmith@company.com");
  co_await env.server_loop.switch_to();
  co_await other.stop();
  env.server.probe.owner.reset();
  co_await env.client_loop.switch_to();
  EXPECT_TRUE(co_await MailboxesStub(client).status(request));  // the owner is gone: back to those configured
  EXPECT_EQ(env.server.probe.statuses, 3);
  co_await client.close();
}
TYPED_TEST(Rpc, FollowsAnAccountToItsOwnerAndBack) { TypeParam::run(follow_owner); }

// ------------------------------------------------------------------------------------- silence, in the
// simulator

Task<void> start(ServerParts& parts) {
  parts.start();
  co_return;
}

Task<Result<v1::FetchResponse>> fetch_slowly(Client& client, Nanos& took) {
  Loop& loop = client.loop();
  const Nanos begun = loop.now();
  v1::FetchRequest request;
  request.set_uid(120'000);
  auto answer =
      co_await MailboxesStub(client).fetch(request, {.deadline = begun + 600 * kSecond, .retry = false});
  took = loop.now() - begun;
  co_return answer;
}

Task<Result<v1::PingResponse>> ping(Client& client) { co_return co_await SessionStub(client).ping({}); }

TEST(Silence, EndsAConnectionWhosePathDropsEverythingButNotOneWhoseServerTakesItsTime) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SimWorld world(seed);
    SimLoop& client_loop = world.add_loop("client");
    const Address address{Address::Kind::kUnix, "/sim/canopyd", 0};
    ServerParts server(world.add_loop("server"), address);
    auto& server_loop = static_cast<SimLoop&>(server.loop);
    world.run_until_done(server_loop, start(server));
    Client client(client_loop, {.addresses = {address}});
    Nanos took = 0;
    const auto slow = world.run_until_done(client_loop, fetch_slowly(client, took), 1000 * kSecond);
    EXPECT_TRUE(slow && *slow);
    EXPECT_GE(took, 120 * kSecond);
    EXPECT_EQ(server.server->stats().accepted, 1u);
    world.partition(client_loop, server_loop);
    const auto silent = world.run_until_done(client_loop, fetch_slowly(client, took), 2000 * kSecond);
    EXPECT_EQ(silent ? code_of(*silent) : Code::kOk, Code::kConnectionLost);
    EXPECT_LE(took, (RpcConnection::kSilentStepsMax + 1) * RpcConnection::kSilenceStep);
    world.heal(client_loop, server_loop);
    const auto again = world.run_until_done(client_loop, ping(client), 3000 * kSecond);
    EXPECT_TRUE(again && *again);
    EXPECT_EQ(server.server->stats().accepted, 2u);
    world.run_until_done(client_loop, client.close());
    world.run_until_done(server_loop, server.stop());
    if (testing::Test::HasFailure()) return;
  }
}

// ------------------------------------------------------------------------------------- processes that die,
// in the simulator

Task<Result<v1::FetchResponse>> fetch_for(Client& client, uint32_t milliseconds, Nanos deadline) {
  v1::FetchRequest request;
  request.set_uid(milliseconds);
  co_return co_await MailboxesStub(client).fetch(request, {.deadline = deadline});
}

TEST(DyingProcesses, AClientSurvivesTheServerThatIsKilledUnderItsCall) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    SimWorld world(seed);
    SimLoop& client_loop = world.add_loop("client");
    const Address address{Address::Kind::kUnix, "/sim/canopyd", 0};
    ServerParts first(world.add_loop("first"), address), second(world.add_loop("second"), address);
    world.run_until_done(static_cast<SimLoop&>(first.loop), start(first));
    Client client(client_loop, {.addresses = {address}});
    auto answer = std::make_shared<std::optional<Result<v1::FetchResponse>>>();
    client_loop.spawn(sim_detail::run_into(fetch_for(client, 500, 100 * kSecond), answer));
    world.run_for(static_cast<Nanos>(seed) * 10 * kMillisecond);
    world.kill(static_cast<SimLoop&>(first.loop));
    world.run_for(200 * kMillisecond);
    world.run_until_done(static_cast<SimLoop&>(second.loop), start(second));
    EXPECT_TRUE(world.run_until([&] { return answer->has_value(); }, 90 * kSecond));
    EXPECT_TRUE(answer->has_value() && **answer);
    EXPECT_EQ(second.server->stats().accepted, 1u);
    world.run_until_done(client_loop, client.close());
    world.run_until_done(static_cast<SimLoop&>(second.loop), second.stop());
  }
}

TEST(DyingProcesses, AServerSurvivesTheClientThatIsKilledDuringItsCall) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    SimWorld world(seed);
    SimLoop& client_loop = world.add_loop("client");
    SimLoop& server_loop = world.add_loop("server");
    ServerParts parts(server_loop, {Address::Kind::kUnix, "/sim/canopyd", 0});
    world.run_until_done(server_loop, start(parts));
    Client client(client_loop, {.addresses = {parts.address}});
    auto answer = std::make_shared<std::optional<Result<v1::FetchResponse>>>();
    client_loop.spawn(sim_detail::run_into(fetch_for(client, 500, kNever), answer));
    world.run_until([&] { return parts.server->stats().calls_under_way == 1; }, 100 * kSecond);
    world.run_for(static_cast<Nanos>(seed) * 5 * kMillisecond);
    world.kill(client_loop);
    EXPECT_TRUE(world.run_until([&] { return parts.server->stats().connections == 0; }, 100 * kSecond));
    EXPECT_EQ(parts.server->stats().calls_under_way, 0u);
    EXPECT_EQ(parts.probe.closed.size(), 1u);
    EXPECT_FALSE(answer->has_value());
    world.run_until_done(server_loop, parts.stop());
  }
}

// ------------------------------------------------------------------------------------- threads

class Elsewhere {
 public:
  explicit Elsewhere(Loop& loop) : loop_(loop) {}
  Task<Result<v1::Mailbox>> status(CallContext& call, const v1::MailboxRequest& request) {
    co_await loop_.switch_to();
    EXPECT_FALSE(call.loop().on_this_thread());
    if (request.mailbox().empty()) co_return fail(Code::kInvalidArgument, "mailbox", "no name");
    v1::Mailbox mailbox;
    mailbox.set_name(request.mailbox());
    mailbox.set_id(call.cancelled() ? 1 : 2);
    co_return mailbox;
  }

 private:
  Loop& loop_;
};

Task<void> stop(RpcServer& server, UringLoop& loop) {
  co_await server.stop(loop.now() + kSecond);
  loop.stop();
}

TEST(BlockingClient, CallsMethodsThatEndOnAnotherLoopThanTheirConnection) {
  auto connections_loop = *UringLoop::create(), accounts_loop = *UringLoop::create();
  Elsewhere elsewhere(*accounts_loop);
  SessionMethods session({.server = "canopyd/test"});
  MethodTable table;
  session.add_to(table);
  table.add("canopy.v1.Mailboxes", "Status", &elsewhere, &Elsewhere::status);
  RpcServer server(*connections_loop, table);
  const Address address{Address::Kind::kUnix, fmt::format("/tmp/canopy-wire-blocking-{}.sock", getpid()), 0};
  auto listener = *connections_loop->listen(address, {});
  std::thread accounts([&] { accounts_loop->run(); });
  std::thread connections([&] {
    server.serve(std::move(listener));
    connections_loop->run();
  });
  {
    auto client = *BlockingClient::create({.addresses = {address}});
    EXPECT_TRUE(client->run(client->client().connect()));
    EXPECT_EQ(client->client().hello().server(), "canopyd/test");
    MailboxesStub mailboxes(client->client());
    v1::MailboxRequest request;
    EXPECT_EQ(code_of(client->run(mailboxes.status(request))), Code::kInvalidArgument);
    for (int i = 0; i < 1000; ++i) {
      request.set_mailbox(std::to_string(i));
      auto mailbox = client->run(mailboxes.status(request));
      EXPECT_TRUE(mailbox && mailbox->name() == request.mailbox() && mailbox->id() == 2);
    }
  }
  connections_loop->post([&] { connections_loop->spawn(stop(server, *connections_loop)); });
  connections.join();
  accounts_loop->stop();
  accounts.join();
}

}  // namespace
}  // namespace canopy::wire
