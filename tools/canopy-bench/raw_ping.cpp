#include "tools/canopy-bench/raw_ping.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace canopy::bench {
namespace {

// A connected pair, both ends here; -1 on failure.
std::pair<int, int> tcp_pair() {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  auto* address = reinterpret_cast<sockaddr*>(&at);
  bool listening = bind(listener, address, sizeof at) == 0 && listen(listener, 1) == 0 &&
                   getsockname(listener, address, &length) == 0;
  int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int server = -1;
  if (listening && connect(client, address, sizeof at) == 0) server = accept(listener, nullptr, nullptr);
  close(listener);
  for (int fd : {client, server}) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  return {client, server};
}

std::pair<int, int> unix_pair() {
  std::array<int, 2> ends{-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return {-1, -1};
  return {ends[0], ends[1]};
}

bool send_bytes(int fd, const std::string& bytes, size_t count) {
  for (size_t sent = 0; sent < count;) {
    ssize_t some = send(fd, bytes.data(), std::min(bytes.size(), count - sent), MSG_NOSIGNAL);
    if (some <= 0) return false;
    sent += static_cast<size_t>(some);
  }
  return true;
}

void answer(int fd, PingSizes sizes) {
  std::string buffer(256 << 10, '\0'), zeros(256 << 10, '\0');
  size_t waiting = 0;
  for (;;) {
    ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
    if (got <= 0) return;
    waiting += static_cast<size_t>(got);
    size_t answers = waiting / sizes.request;
    waiting %= sizes.request;
    if (answers > 0 && !send_bytes(fd, zeros, answers * sizes.answer)) return;
  }
}

bool receive_bytes(int fd, std::string& buffer, size_t count) {
  while (count > 0) {
    ssize_t got = recv(fd, buffer.data(), std::min(buffer.size(), count), 0);
    if (got <= 0) return false;
    count -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace

Result<RawPing> raw_ping(bool tcp, PingSizes sizes, uint32_t depth, double seconds) {
  auto [client, server] = tcp ? tcp_pair() : unix_pair();
  if (client < 0 || server < 0) return fail_errno(errno, "raw ping", "connect");
  std::thread echo(answer, server, sizes);
  std::string zeros(256 << 10, '\0'), buffer(256 << 10, '\0');
  using Clock = std::chrono::steady_clock;
  auto begun = Clock::now(), now = begun;
  auto end = begun + std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9));
  RawPing result;
  bool alive = true;
  while (alive && now < end) {
    auto before = now;
    alive = send_bytes(client, zeros, size_t{depth} * sizes.request) &&
            receive_bytes(client, buffer, size_t{depth} * sizes.answer);
    now = Clock::now();
    result.round_trips.add((now - before) / std::chrono::nanoseconds(1));
  }
  result.requests_per_s = static_cast<double>(result.round_trips.count()) * depth /
                          std::chrono::duration<double>(now - begun).count();
  shutdown(client, SHUT_RDWR);
  echo.join();
  close(client);
  close(server);
  if (!alive) return fail(Code::kConnectionLost, "raw ping", "the connection broke");
  return result;
}

}  // namespace canopy::bench
