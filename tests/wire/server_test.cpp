// The server alone: what a client of another make, or no client at all, can send it. Raw frames over streams.
#include "daemon/wire/framing_status.h"
#include "daemon/wire/ttrpc.pb.h"
#include "tests/wire/wire_env.h"

namespace canopy::wire {
namespace {

template <class World>
class RawServer : public testing::Test {};
using Worlds = testing::Types<InSimulator, OnUring>;
TYPED_TEST_SUITE(RawServer, Worlds);

constexpr std::string_view kSession = "canopy.v1.Session";

std::string ping_frame(uint32_t stream, std::string_view text, uint32_t answer_bytes = 0) {
  v1::PingRequest ping;
  ping.set_payload(std::string(text));
  ping.set_answer_bytes(answer_bytes);
  std::string bytes;
  EXPECT_TRUE(append_request(bytes, stream, kSession, "Ping", 0, ping));
  return bytes;
}

// A client's end without a client: frames in, frames out.
class RawClient {
 public:
  explicit RawClient(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}

  Task<bool> send(std::string bytes) { co_return (co_await stream_->write_all(bytes, kNever)).has_value(); }

  // The next response: "stream: payload" of a Ping, "stream: error-name: message", or "end".
  Task<std::string> next() {
    Frame frame;
    for (;;) {
      const auto state = reader_.next(frame);
      CANOPY_CHECK(state != FrameReader::State::kBroken);
      if (state == FrameReader::State::kFrame) break;
      auto got = co_await stream_->read(reader_.room(), kNever);
      if (!got || *got == 0) co_return "end";
      reader_.filled(*got);
    }
    ResponseView view;
    CANOPY_CHECK(frame.type == FrameType::kResponse && parse_response(frame.payload, view));
    if (auto error = decode_status(view.status))
      co_return fmt::format("{}: {}: {}", frame.stream_id, code_name(error->code()), error->message());
    v1::PingResponse response;
    CANOPY_CHECK(response.ParseFromArray(view.payload.data(), static_cast<int>(view.payload.size())));
    co_return fmt::format("{}: {}", frame.stream_id, response.payload());
  }
  Stream& stream() { return *stream_; }

 private:
  std::unique_ptr<Stream> stream_;
  FrameReader reader_;
};

Task<std::unique_ptr<RawClient>> dial(Env& env) {
  auto stream = co_await env.client_loop.connect(env.server.address, kNever);
  CANOPY_CHECK(stream.has_value());
  co_return std::make_unique<RawClient>(std::move(*stream));
}

Task<void> one_byte_at_a_time(Env& env) {
  auto client = co_await dial(env);
  for (char byte : ping_frame(1, "first") + ping_frame(3, "second")) {
    EXPECT_TRUE(co_await client->send(std::string(1, byte)));
    co_await env.client_loop.yield();
  }
  EXPECT_EQ(co_await client->next(), "1: first");
  EXPECT_EQ(co_await client->next(), "3: second");
}
TYPED_TEST(RawServer, TakesRequestsOneByteAtATime) { TypeParam::run(one_byte_at_a_time); }

Task<void> batch(Env& env) {
  auto client = co_await dial(env);
  std::string bytes;
  for (uint32_t i = 0; i < 2000; ++i) bytes += ping_frame(2 * i + 1, std::to_string(i));
  EXPECT_TRUE(co_await client->send(bytes));
  for (uint32_t i = 0; i < 2000; ++i) EXPECT_EQ(co_await client->next(), fmt::format("{}: {}", 2 * i + 1, i));
}
TYPED_TEST(RawServer, AnswersABatchOfRequestsInOrder) { TypeParam::run(batch); }

Task<void> broken(Env& env) {
  auto client = co_await dial(env);
  EXPECT_TRUE(co_await client->send("GET / HTTP/1.1\r\nHost: canopy\r\n\r\n"));
  EXPECT_EQ(co_await client->next(), "end");
  auto second = co_await dial(env);
  EXPECT_TRUE(co_await second->send(ping_frame(1, "others live")));
  EXPECT_EQ(co_await second->next(), "1: others live");
}
TYPED_TEST(RawServer, ClosesAConnectionThatSpeaksAnotherProtocol) { TypeParam::run(broken); }

std::string raw_frame(uint32_t stream, FrameType type, uint8_t flags, const std::string& payload) {
  std::string bytes(kFrameHeaderBytes, '\0');
  put_frame_header(bytes.data(), static_cast<uint32_t>(payload.size()), stream, type, flags);
  return bytes + payload;
}

Task<void> bad_frames(Env& env) {
  auto client = co_await dial(env);
  const std::string ping = ping_frame(5, "x").substr(kFrameHeaderBytes);
  std::string bytes = raw_frame(1, FrameType::kRequest, 0, "\xff\xff no message") +       //
                      raw_frame(2, FrameType::kRequest, 0, ping) +                        //
                      raw_frame(5, FrameType::kRequest, kFlagRemoteOpen, ping) +          //
                      raw_frame(5, FrameType::kData, kFlagRemoteClosed, "of stream 5") +  //
                      raw_frame(5, FrameType::kRequest, 0, ping) +                        //
                      raw_frame(3, FrameType::kRequest, 0, ping) +                        //
                      raw_frame(9, FrameType::kData, 0, "of no stream") +                 //
                      raw_frame(7, FrameType::kResponse, 0, ping) +                       //
                      raw_frame(7, FrameType::kRequest, kFlagRemoteClosed, ping) +        //
                      raw_frame(9, FrameType::kRequest, 0, std::string(kWireMessageBytesMax + 1, 'x')) +
                      ping_frame(11, "still here");
  bool sent = co_await client->send(std::move(bytes));
  EXPECT_TRUE(sent);
  EXPECT_EQ(co_await client->next(), "1: invalid-argument: the frame holds no valid ttrpc Request");
  EXPECT_EQ(co_await client->next(), "2: invalid-argument: a client's stream ids are odd and rise");
  EXPECT_EQ(co_await client->next(), "5: unsupported: the method is unary: call it without a stream");
  EXPECT_EQ(co_await client->next(), "5: invalid-argument: a client's stream ids are odd and rise");
  EXPECT_EQ(co_await client->next(), "3: invalid-argument: a client's stream ids are odd and rise");
  EXPECT_EQ(co_await client->next(), "9: invalid-argument: data for a stream that was never opened");
  EXPECT_EQ(co_await client->next(), "7: invalid-argument: a client sends requests, not responses");
  EXPECT_EQ(co_await client->next(), "7: x");
  EXPECT_EQ(co_await client->next(), "9: too-large: the message has 4194305 bytes, over 4194304");
  EXPECT_EQ(co_await client->next(), "11: still here");
}
TYPED_TEST(RawServer, AnswersBadFramesEachByItsRuleAndGoesOn) { TypeParam::run(bad_frames); }

Task<void> bad_payload(Env& env) {
  auto client = co_await dial(env);
  ttrpc::Request request;
  request.set_service(std::string(kSession));
  request.set_method("Ping");
  request.set_payload("\x0a\x50 cut");
  EXPECT_TRUE(co_await client->send(raw_frame(1, FrameType::kRequest, 0, request.SerializeAsString())));
  EXPECT_EQ(co_await client->next(),
            "1: invalid-argument: the payload is no valid message of the request's type");
  request.set_service("canopy.v1.Mailboxes");
  request.set_method("Fetch");
  EXPECT_TRUE(co_await client->send(raw_frame(3, FrameType::kRequest, 0, request.SerializeAsString())));
  EXPECT_EQ(co_await client->next(),
            "3: invalid-argument: the payload is no valid message of the request's type");
  EXPECT_TRUE(co_await client->send(ping_frame(5, "", 65537)));
  EXPECT_EQ(co_await client->next(), "5: too-large: at most 65536");
}
TYPED_TEST(RawServer, RefusesAPayloadOfAnotherType) { TypeParam::run(bad_payload); }

Task<void> slow_reader(Env& env) {
  constexpr uint32_t kPings = 600, kAnswer = 65536;
  auto client = co_await dial(env);
  std::string bytes;
  for (uint32_t i = 0; i < kPings; ++i) bytes += ping_frame(2 * i + 1, "", kAnswer);
  EXPECT_TRUE(co_await client->send(bytes));
  co_await env.client_loop.sleep(300 * kMillisecond);
  // It has stopped long before the 37 MiB that we do not read.
  const uint64_t requests = env.server.server->stats().requests;
  EXPECT_LT(requests, (kWireAnswerBytesQueuedMax + (4u << 20)) / kAnswer + 2);
  EXPECT_GT(requests, kWireAnswerBytesQueuedMax / kAnswer / 2);
  for (uint32_t i = 0; i < kPings; ++i)
    EXPECT_EQ((co_await client->next()).size(), fmt::format("{}: ", 2 * i + 1).size() + kAnswer);
  EXPECT_EQ(env.server.server->stats().requests, kPings);
}
TYPED_TEST(RawServer, StopsReadingAClientThatDoesNotTakeItsAnswers) { TypeParam::run(slow_reader); }

Task<void> too_many_calls(Env& env) {
  constexpr uint32_t kCalls = kWireStreamsPerConnectionMax + 500;
  auto client = co_await dial(env);
  std::string bytes;
  for (uint32_t i = 0; i < kCalls; ++i)
    EXPECT_TRUE(append_request(bytes, 2 * i + 1, "canopy.v1.Cluster", "Metrics", 0, v1::Empty()));
  EXPECT_TRUE(co_await client->send(bytes));
  co_await env.client_loop.sleep(200 * kMillisecond);
  EXPECT_EQ(env.server.probe.waiting, kWireStreamsPerConnectionMax);
  EXPECT_EQ(env.server.server->stats().requests, kWireStreamsPerConnectionMax);
  co_await env.server_loop.switch_to();
  env.server.probe.released.set();
  co_await env.client_loop.switch_to();
  for (uint32_t i = 0; i < kCalls; ++i) EXPECT_NE(co_await client->next(), "end");
}
TYPED_TEST(RawServer, StopsReadingAClientWithTooManyCallsUnderWay) { TypeParam::run(too_many_calls); }

// Requests of a MiB that wait until they are released, and a Ping behind them.
std::string large_waiting_calls(uint32_t count) {
  v1::PingRequest large;  // fields that the method does not know
  large.set_payload(std::string(1u << 20, 'x'));
  std::string bytes;
  for (uint32_t i = 0; i < count; ++i)
    EXPECT_TRUE(append_request(bytes, 2 * i + 1, "canopy.v1.Cluster", "Metrics", 0, large));
  return bytes + ping_frame(2 * count + 1, "behind");
}

Task<void> calls_that_wait_for_long(Env& env) {
  constexpr uint32_t kCalls = (kWireRequestBytesInFlightMax >> 20) + 10;
  auto client = co_await dial(env);
  EXPECT_TRUE(co_await client->send(large_waiting_calls(kCalls)));
  EXPECT_EQ(co_await client->next(), fmt::format("{}: behind", 2 * kCalls + 1));
  EXPECT_EQ(env.server.probe.waiting, kCalls);
  co_await env.server_loop.switch_to();
  env.server.probe.released.set();
  co_await env.client_loop.switch_to();
  for (uint32_t i = 0; i < kCalls; ++i) EXPECT_NE(co_await client->next(), "end");
}
TYPED_TEST(RawServer, CallsThatWaitForLongDoNotHoldUpThoseBehindThem) {
  TypeParam::run(calls_that_wait_for_long);
}

Task<void> too_many_bytes_that_wait(Env& env) {
  constexpr uint32_t kSlow = 8, kInFlight = kWireRequestBytesInFlightMax >> 20;
  co_await env.server_loop.switch_to();
  ServerParts small(env.server_loop, Address{Address::Kind::kTcp, "127.0.0.1", 0});
  RpcServerOptions options;
  options.slow_request_bytes_max = kSlow << 20;
  options.unknown_peer = Role::kAdmin;
  small.start(options);
  co_await env.client_loop.switch_to();
  auto stream = co_await env.client_loop.connect(small.address, kNever);
  RawClient client(std::move(*stream));
  auto sending = [](RawClient& to) -> Task<void> {
    EXPECT_TRUE(co_await to.send(large_waiting_calls(2 * kInFlight)));
  };
  TaskGroup sender(env.client_loop);
  sender.spawn(sending(client));
  co_await env.client_loop.sleep(3 * kSecond);
  EXPECT_LE(small.probe.waiting, kSlow + kInFlight + 1);
  EXPECT_GE(small.probe.waiting, kInFlight);
  co_await env.server_loop.switch_to();
  small.probe.released.set();
  co_await env.client_loop.switch_to();
  for (uint32_t i = 0; i < 2 * kInFlight + 1; ++i) EXPECT_NE(co_await client.next(), "end");
  co_await sender.join();
  co_await env.server_loop.switch_to();
  co_await small.stop();
  co_await env.client_loop.switch_to();
}
TYPED_TEST(RawServer, HoldsNoMoreOfCallsThatWaitThanItMay) { TypeParam::run(too_many_bytes_that_wait); }

Task<void> unknown_peer(Env& env) {
  // A second server on TCP without certificates: nobody there has a role.
  co_await env.server_loop.switch_to();
  ServerParts plain(env.server_loop, Address{Address::Kind::kTcp, "127.0.0.1", 0});
  plain.start();
  co_await env.client_loop.switch_to();
  auto stream = co_await env.client_loop.connect(plain.address, kNever);
  RawClient client(std::move(*stream));
  EXPECT_TRUE(co_await client.send(ping_frame(1, "x")));
  const std::string answer = co_await client.next();
  EXPECT_TRUE(answer.starts_with("1: permission-denied: only role")) << answer;
  EXPECT_TRUE(answer.ends_with("because it came neither with a certificate nor over a Unix socket"))
      << answer;
  co_await env.server_loop.switch_to();
  co_await plain.stop();
  co_await env.client_loop.switch_to();
}
TYPED_TEST(RawServer, RefusesEverythingToAPeerWithoutARole) { TypeParam::run(unknown_peer); }

Task<void> ping_often(Client& client, WaitGroup& group, int& good) {
  SessionStub session(client);
  for (int i = 0; i < 3; ++i) good += (co_await session.ping({})).has_value() ? 1 : 0;
  group.done();
}

Task<void> thousand(Env& env) {
  constexpr int kConnections = 1000;
  std::vector<std::unique_ptr<Client>> clients;
  WaitGroup group(env.client_loop);
  int good = 0;
  for (int i = 0; i < kConnections; ++i) {
    clients.push_back(std::make_unique<Client>(env.client_loop, env.options()));
    group.add();
    env.client_loop.spawn(ping_often(*clients.back(), group, good));
  }
  co_await group.wait();
  EXPECT_EQ(good, 3 * kConnections);
  EXPECT_EQ(env.server.server->stats().connections, static_cast<uint64_t>(kConnections));
  for (auto& client : clients) co_await client->close();
  while (env.server.server->stats().connections > 0) co_await env.client_loop.sleep(kMillisecond);
}
TEST(ManyConnections, AreServedAtTheSameTime) { OnUring::run(thousand); }

TEST(Roles, ComeFromTheUserOfAUnixPeer) {
  EXPECT_EQ(identity_of_uid(0, 500, {}).role, Role::kAdmin);
  EXPECT_EQ(identity_of_uid(500, 500, {}).role, Role::kAdmin);
  EXPECT_EQ(identity_of_uid(33, 500, {33, 34}).role, Role::kFrontend);
  const PeerIdentity nobody = identity_of_uid(65534, 500, {33});
  EXPECT_EQ(nobody.role, Role::kNone);
  EXPECT_NE(nobody.reason.find("uid 65534"), std::string::npos);
}

TEST(Roles, ComeFromTheUriNameOfACertificate) {
  const PeerIdentity mx = identity_of_uris({"https://x.example/", "canopy://oak/role/frontend/mx1"}, "oak");
  EXPECT_EQ(mx.role, Role::kFrontend);
  EXPECT_EQ(mx.name, "canopy://oak/role/frontend/mx1");
  EXPECT_EQ(identity_of_uris({"canopy://oak/role/backend/b7"}, "").role, Role::kBackend);
  for (std::string_view bad :
       {"canopy://elm/role/admin/x", "canopy://oak/role/emperor/x", "canopy://oak/role/admin/",
        "canopy://oak/role/admin", "canopy:///role/admin/x", "canopy://oak/admin/x"}) {
    const PeerIdentity peer = identity_of_uris({std::string(bad)}, "oak");
    EXPECT_EQ(peer.role, Role::kNone) << bad;
    EXPECT_FALSE(peer.reason.empty()) << bad;
  }
}

TEST(Roles, LetNobodyButAnAdminCallAMethodWithoutARow) {
  EXPECT_EQ(roles_for("canopy.v1.Directory", "CreateDomain"), static_cast<RoleSet>(Role::kAdmin));
  EXPECT_EQ(roles_for("canopy.v1.Unheard", "Of"), static_cast<RoleSet>(Role::kAdmin));
  EXPECT_EQ(roles_text(roles_for("canopy.v1.Mailboxes", "Deliver")), "frontend or admin");
}

}  // namespace
}  // namespace canopy::wire
