#include "daemon/wire/client/client.h"

#include "daemon/wire/certificate_name.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "daemon/wire/framing_status.h"

namespace canopy::wire {
namespace {

constexpr int kRedirectsMax = 8;      // a call that is sent on more often goes in circles
constexpr size_t kServersMax = 1024;  // backends remembered besides the configured ones

uint32_t slot_of(std::string_view account) {
  return static_cast<uint32_t>(XXH64(account.data(), account.size(), 0) % kSlots);
}

}  // namespace

// One backend, or the configured list of which any will do.
struct Client::Server {
  Server(Loop& loop, std::vector<Address> list) : addresses(std::move(list)), changed(loop) {}

  std::vector<Address> addresses;
  size_t current = 0;
  std::shared_ptr<RpcConnection> connection;
  bool connecting = false;
  uint32_t failures = 0;       // in a row
  Nanos not_before = 0;        // of the next attempt
  std::optional<Error> error;  // of the last attempt
  Event changed;               // after each attempt

  bool usable() const { return connection && connection->usable(); }
};

struct Client::Core : std::enable_shared_from_this<Client::Core> {
  Core(Loop& on, ClientOptions given)
      : loop(on), options(std::move(given)), any(on, options.addresses), running(on) {}

  Loop& loop;
  const ClientOptions options;
  v1::HelloResponse hello;
  bool closed = false;
  Server any;
  std::map<std::string, std::unique_ptr<Server>, std::less<>> owners;  // by endpoint
  std::unordered_map<uint32_t, Server*> owner_of_slot;
  std::vector<std::weak_ptr<RpcConnection>> open;
  WaitGroup running;  // attempts to connect

  Server& route(std::string_view account) {
    if (account.empty() || owner_of_slot.empty()) return any;
    auto found = owner_of_slot.find(slot_of(account));
    return found == owner_of_slot.end() ? any : *found->second;
  }
  Server* learn(const v1::Owner& owner);  // null: the endpoint is no address
  void forget(const Server& server) {
    std::erase_if(owner_of_slot, [&](const auto& row) { return row.second == &server; });
  }
  Task<Result<void>> ensure(Server& server, Nanos deadline);
  static Task<void> attempt(std::shared_ptr<Core> core, Server& server);
  Task<Result<void>> attempt_one(Server& server, Address address);
  Error closed_error() const { return Error(Code::kConnectionLost, options.name, "the client was closed"); }
};

Client::Server* Client::Core::learn(const v1::Owner& owner) {
  auto found = owners.find(owner.endpoint());
  if (found == owners.end()) {
    auto address = Address::parse(owner.endpoint());
    if (!address || owners.size() >= kServersMax) return nullptr;
    found = owners.emplace(owner.endpoint(), std::make_unique<Server>(loop, std::vector<Address>{*address}))
                .first;
  }
  owner_of_slot[owner.slot()] = found->second.get();
  return found->second.get();
}

// Waits for a usable connection: one attempt of this or another call, after its back-off.
Task<Result<void>> Client::Core::ensure(Server& server, Nanos deadline) {
  auto keep = shared_from_this();
  if (closed) co_return fail(closed_error());
  if (server.addresses.empty())
    co_return fail(Code::kInvalidArgument, "addresses", "no server address is configured");
  if (!server.connecting) {
    server.connecting = true;
    running.add();
    loop.spawn(attempt(keep, server));
  }
  server.changed.reset();
  if (!co_await server.changed.wait_until(deadline)) {
    std::string why = server.error ? fmt::format("; last: {}", server.error->to_string()) : "";
    co_return fail(Code::kDeadlineExceeded, server.addresses.front().to_string(),
                   "no connection in time" + why);
  }
  if (closed) co_return fail(closed_error());
  if (server.usable()) co_return Result<void>{};
  if (server.error) co_return fail(*server.error);
  co_return fail(Code::kConnectionLost, server.addresses.front().to_string(),
                 "the connection was lost at once");
}

Task<void> Client::Core::attempt(std::shared_ptr<Core> core, Server& server) {
  while (!core->closed && core->loop.now() < server.not_before) {
    // In short steps: close() does not wait for a back-off.
    co_await core->loop.sleep_until(std::min(server.not_before, core->loop.now() + 50 * kMillisecond));
  }
  server.error.reset();
  for (size_t i = 0; i < server.addresses.size() && !core->closed; ++i) {
    Result<void> done = co_await core->attempt_one(server, server.addresses[server.current]);
    if (done) {
      server.error.reset();
      break;
    }
    server.error = done.error();
    server.current = (server.current + 1) % server.addresses.size();
  }
  if (server.error) {
    const uint32_t doublings = std::min(server.failures++, 16u);
    const Nanos full = std::min(core->options.backoff_min << doublings, core->options.backoff_max);
    // From half to all of it, so that a thousand frontends do not come back in step.
    const auto chance = static_cast<Nanos>(core->loop.random() % static_cast<uint64_t>(full / 2 + 1));
    server.not_before = core->loop.now() + full / 2 + chance;
  } else {
    server.failures = 0;
  }
  server.connecting = false;
  server.changed.set();
  core->running.done();
}

namespace {

// Every certificate of the cluster has its authority's signature; a frontend's or a mount's makes no backend.
Result<void> check_is_backend(const TlsStream& server) {
  const std::vector<std::string> names = server.peer_uri_names();
  for (const std::string& uri : names) {
    const auto name = parse_certificate_name(uri);
    if (name && name->role == "backend" && !name->name.empty()) return {};
  }
  return fail(Code::kUnauthenticated, names.empty() ? server.peer().to_string() : names.front(),
              "the server's certificate has no URI name canopy://CLUSTER/role/backend/NAME; issue one with "
              "canopyctl pki issue --role backend");
}

}  // namespace

Task<Result<void>> Client::Core::attempt_one(Server& server, Address address) {
  const Nanos deadline = loop.now() + options.connect_timeout;
  CANOPY_CO_ASSIGN(std::unique_ptr<Stream> stream, co_await loop.connect(address, deadline));
  if (options.tls != nullptr && address.kind == Address::Kind::kTcp) {
    CANOPY_CO_ASSIGN(auto secured, co_await TlsStream::connect(loop, *options.tls, std::move(stream),
                                                               options.server_name, deadline));
    CANOPY_CO_TRY(check_is_backend(*secured));
    stream = std::move(secured);
  }
  auto connection = RpcConnection::start(loop, std::move(stream));
  std::erase_if(open, [](const auto& held) { return held.expired(); });
  open.push_back(connection);
  v1::HelloRequest request;
  request.set_client(options.name);
  request.set_version(1);
  request.set_role(options.role);
  v1::HelloResponse response;
  Result<void> done = co_await connection->call("canopy.v1.Session", "Hello", request, response, deadline);
  if (!done || closed) {
    connection->close();
    co_return done ? fail(closed_error()) : fail(done.error());
  }
  hello = std::move(response);
  server.connection = std::move(connection);
  co_return Result<void>{};
}

Client::Client(Loop& loop, ClientOptions options) : core_(std::make_shared<Core>(loop, std::move(options))) {}

Client::~Client() {
  core_->closed = true;
  for (auto& connection : core_->open)
    if (auto held = connection.lock()) held->close();
}

Task<void> Client::close() {
  auto core = core_;
  core->closed = true;
  std::vector<std::shared_ptr<RpcConnection>> connections;
  for (auto& connection : core->open)
    if (auto held = connection.lock()) connections.push_back(std::move(held));
  for (auto& connection : connections) connection->close();
  for (auto& connection : connections) co_await connection->wait_closed();
  co_await core->running.wait();
}

const v1::HelloResponse& Client::hello() const { return core_->hello; }
Loop& Client::loop() const { return core_->loop; }
std::string Client::new_request_id() const { return wire::new_request_id(core_->loop); }

std::string new_request_id(Loop& loop) {
  std::string id(kRequestIdBytes, '\0');
  const uint64_t words[2] = {loop.random(), loop.random()};
  static_assert(sizeof words == kRequestIdBytes);
  std::memcpy(id.data(), words, sizeof words);
  return id;
}

Task<Result<void>> Client::connect(Nanos deadline) {
  auto core = core_;
  if (deadline == 0) deadline = core->loop.now() + core->options.connect_timeout;
  if (!core->any.usable()) CANOPY_CO_TRY(co_await core->ensure(core->any, deadline));
  co_return Result<void>{};
}

Task<Result<void>> Client::call_untyped(std::shared_ptr<Core> core, Call call, CallOptions options) {
  const Nanos deadline =
      options.deadline != 0 ? options.deadline : core->loop.now() + core->options.call_timeout;
  int redirects = 0;
  Server* owner_server = nullptr;  // an alias lies in another slot than its account: this call knows better
  for (;;) {
    if (core->closed) co_return fail(core->closed_error());
    if (options.cancellation != nullptr && options.cancellation->cancelled())
      co_return fail(Code::kCancelled, std::string(call.method.name), "the caller cancelled");
    Server& server = owner_server != nullptr ? *owner_server : core->route(call.account);
    if (!server.usable()) {
      Result<void> ready = co_await core->ensure(server, deadline);
      if (ready) continue;
      // Nothing was sent: any method may try again. An owner that is gone may have a successor: ask the
      // others.
      if (!ready.error().retryable() || ready.error().code() == Code::kDeadlineExceeded) {
        if (core->loop.now() >= deadline || !ready.error().retryable()) co_return ready;
      }
      if (!options.retry || core->closed) co_return ready;
      core->forget(server);
      owner_server = nullptr;
      continue;
    }
    auto connection = server.connection;
    if (connection->calls_under_way() >= RpcConnection::kCallsMax && !co_await connection->room(deadline))
      co_return fail(Code::kDeadlineExceeded, std::string(call.method.name), "too many calls are under way");
    v1::Owner owner;
    Result<void> done = co_await connection->call(call.method.service, call.method.name, call.request,
                                                  call.response, deadline, options.cancellation, &owner);
    if (done) co_return done;
    const Error& error = done.error();
    if (error.code() == Code::kTryAgain && error.object() == kDrainingObject) {
      if (!options.retry) co_return done;
      if (server.connection == connection) {  // later calls go elsewhere, those under way end there
        server.connection.reset();
        server.current = (server.current + 1) % server.addresses.size();
        server.not_before = core->loop.now() + core->options.backoff_min;
      }
      core->forget(server);
      owner_server = nullptr;
    } else if (error.code() == Code::kWrongBackend) {
      if (owner.endpoint().empty() || ++redirects > kRedirectsMax) co_return done;
      owner_server = core->learn(owner);
      if (owner_server == nullptr) co_return done;
    } else if (error.code() == Code::kConnectionLost) {
      if (!call.may_repeat || !options.retry) co_return done;
    } else {
      co_return done;
    }
  }
}

}  // namespace canopy::wire
