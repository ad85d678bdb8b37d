// Measures the wire protocol against a raw ping-pong of the same bytes in the same run: client and server
// each on a thread and loop of their own. Not a test: nothing here fails on a slow machine.
//   wire_speed [--seconds N]
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>
#include <thread>

#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"
#include "daemon/wire/server/rpc_server.h"
#include "daemon/wire/server/session_methods.h"

namespace canopy::wire {
namespace {

constexpr size_t kPayloadBytes = 32;

struct Percentiles {
  double p50_us = 0, p99_us = 0, per_second = 0;
};

Percentiles percentiles(std::vector<Nanos> samples, Nanos elapsed) {
  std::ranges::sort(samples);
  auto at = [&](double part) {
    return static_cast<double>(samples[static_cast<size_t>(part * (samples.size() - 1))]) / 1e3;
  };
  return {at(0.5), at(0.99), static_cast<double>(samples.size()) * 1e9 / static_cast<double>(elapsed)};
}

Nanos clock_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void read_exactly(int fd, char* at, size_t bytes) {
  while (bytes > 0) {
    ssize_t got = recv(fd, at, bytes, 0);
    if (got <= 0) return;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
}

// What the system itself needs: blocking sockets, two threads, frames as large as Ping's.
Percentiles raw_ping_pong(bool tcp, double seconds) {
  constexpr size_t kBytes = 90;
  int ends[2];
  if (tcp) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    CANOPY_CHECK(bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 &&
                 listen(listener, 1) == 0);
    getsockname(listener, reinterpret_cast<sockaddr*>(&at), &length);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    CANOPY_CHECK(connect(ends[0], reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    ends[1] = accept(listener, nullptr, nullptr);
    close(listener);
    int on = 1;
    for (int end : ends) setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  } else {
    CANOPY_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  }
  std::thread echo([&] {
    char bytes[kBytes];
    for (;;) {
      ssize_t got = recv(ends[1], bytes, sizeof bytes, 0);
      if (got <= 0 || send(ends[1], bytes, static_cast<size_t>(got), MSG_NOSIGNAL) <= 0) return;
    }
  });
  std::vector<Nanos> samples;
  char bytes[kBytes] = {};
  const Nanos begin = clock_now(), end = begin + static_cast<Nanos>(seconds * 1e9);
  for (Nanos before = begin; before < end;) {
    if (send(ends[0], bytes, sizeof bytes, MSG_NOSIGNAL) <= 0) break;
    read_exactly(ends[0], bytes, sizeof bytes);
    const Nanos after = clock_now();
    samples.push_back(after - before);
    before = after;
  }
  const Nanos elapsed = clock_now() - begin;
  shutdown(ends[0], SHUT_RDWR);
  echo.join();
  close(ends[0]);
  close(ends[1]);
  return percentiles(std::move(samples), elapsed);
}

struct Run {
  Nanos end = 0;
  size_t running = 0;
  std::vector<Nanos> samples;
};

// One of `depth` callers that ask again as soon as they are answered.
Task<void> caller(Client& client, MethodInfo method, Run& run, Event& finished) {
  v1::PingRequest request;
  request.set_payload(std::string(kPayloadBytes, 'x'));
  for (Nanos before = clock_now(); before < run.end;) {
    auto response = co_await client.call<v1::PingRequest, v1::PingResponse>(method, request);
    CANOPY_CHECK(response && response->payload().size() == kPayloadBytes);
    const Nanos after = clock_now();
    run.samples.push_back(after - before);
    before = after;
  }
  if (--run.running == 0) finished.set();
}

Task<Percentiles> measure(UringLoop& loop, Address address, MethodInfo method, size_t depth, double seconds) {
  Client client(loop, {.addresses = {address}});
  auto connected = co_await client.connect();
  CANOPY_CHECK(connected);
  Run run;
  run.samples.reserve(4'000'000);
  Event finished(loop);
  const Nanos begin = clock_now();
  run.end = begin + static_cast<Nanos>(seconds * 1e9);
  run.running = depth;
  for (size_t i = 0; i < depth; ++i) loop.spawn(caller(client, method, run, finished));
  co_await finished.wait();
  const Nanos elapsed = clock_now() - begin;
  co_await client.close();
  co_return percentiles(std::move(run.samples), elapsed);
}

// What a method costs that is a coroutine.
class WaitingMethods {
 public:
  Task<Result<v1::PingResponse>> ping(CallContext&, const v1::PingRequest& request) {
    v1::PingResponse response;
    response.set_payload(request.payload());
    co_return response;
  }
};

struct Server {
  explicit Server(const Address& address) : session({.cluster = "speed"}) {
    session.add_to(table);
    table.add("canopy.v1.Events", "Watch", &waiting, &WaitingMethods::ping);
    loop = *UringLoop::create();
    std::unique_ptr<Listener> listener = *loop->listen(address, {});
    local = listener->local();
    thread = std::thread([this, taken = std::move(listener)]() mutable {
      server.emplace(*loop, table, RpcServerOptions{.unknown_peer = Role::kAdmin});
      server->serve(std::move(taken));
      loop->run();
    });
  }
  ~Server() {
    loop->post([this] { loop->spawn(stop(*this)); });
    thread.join();
  }
  static Task<void> stop(Server& self) {
    co_await self.server->stop(self.loop->now() + kSecond);
    self.loop->stop();
  }

  SessionMethods session;
  WaitingMethods waiting;
  MethodTable table;
  std::unique_ptr<UringLoop> loop;
  std::optional<RpcServer> server;
  Address local;
  std::thread thread;
};

void print(std::string_view name, const Percentiles& row, const Percentiles* against) {
  std::printf("%-28.*s %10.1f %10.1f %12.0f", static_cast<int>(name.size()), name.data(), row.p50_us,
              row.p99_us, row.per_second);
  if (against != nullptr) std::printf("   %.2f x the raw p50", row.p50_us / against->p50_us);
  std::printf("\n");
}

void measure_all(double seconds) {
  const std::string path = fmt::format("/tmp/canopy-speed-{}.sock", getpid());
  std::printf("%-28s %10s %10s %12s\n", "", "p50 us", "p99 us", "per second");
  for (bool tcp : {true, false}) {
    const std::string_view kind = tcp ? "TCP" : "Unix";
    const Percentiles raw = raw_ping_pong(tcp, seconds);
    print(fmt::format("raw ping-pong, {}", kind), raw, nullptr);
    Server server(tcp ? Address{Address::Kind::kTcp, "127.0.0.1", 0}
                      : Address{Address::Kind::kUnix, path, 0});
    auto loop = *UringLoop::create();
    for (size_t depth : {1, 16, 256, 1024}) {
      const MethodInfo ping{"canopy.v1.Session", "Ping", Repeat::kAlways};
      const Percentiles row = loop->run_until_done(measure(*loop, server.local, ping, depth, seconds));
      print(fmt::format("Ping, {}, depth {}", kind, depth), row, depth == 1 ? &raw : nullptr);
    }
    for (size_t depth : {1, 256}) {
      const MethodInfo method{"canopy.v1.Events", "Watch", Repeat::kAlways};
      const Percentiles row = loop->run_until_done(measure(*loop, server.local, method, depth, seconds));
      print(fmt::format("coroutine, {}, depth {}", kind, depth), row, depth == 1 ? &raw : nullptr);
    }
  }
}

}  // namespace
}  // namespace canopy::wire

int main(int argc, char** argv) {
  double seconds = 2;
  for (int i = 1; i + 1 < argc; ++i)
    if (std::string_view(argv[i]) == "--seconds") seconds = std::atof(argv[i + 1]);
  canopy::wire::measure_all(seconds);
}
