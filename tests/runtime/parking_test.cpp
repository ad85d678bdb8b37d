// Idle connections whose descriptors are scarce go on in the ring's file table (UringLoop::park()).
#include <dirent.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/runtime/accept_failures.h"
#include "daemon/runtime/sync.h"
#include "daemon/runtime/tls_context.h"
#include "daemon/runtime/uring_loop.h"
#include "tests/runtime/test_pki.h"

namespace canopy {
namespace {

std::unique_ptr<UringLoop> parking_loop(int park_from = 3) {
  auto loop = UringLoop::create({.park_from = park_from});
  CANOPY_CHECK(loop.has_value());
  return std::move(*loop);
}

size_t open_descriptors() {
  DIR* folder = opendir("/proc/self/fd");
  CANOPY_CHECK(folder != nullptr);
  size_t count = 0;
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

// A stream on the loop and the blocking socket at its other end.
struct Pair {
  std::unique_ptr<Stream> stream;
  int peer = -1;

  explicit Pair(UringLoop& loop) {
    int ends[2];
    CANOPY_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    timeval patience{.tv_sec = 20, .tv_usec = 0};
    setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    stream = loop.adopt(ends[0]);
    peer = ends[1];
  }
  ~Pair() { close(peer); }
  void say(std::string_view words) const {
    EXPECT_EQ(send(peer, words.data(), words.size(), MSG_NOSIGNAL), static_cast<ssize_t>(words.size()));
  }
  std::string hear() const {  // "" at the end
    char bytes[256];
    ssize_t got = recv(peer, bytes, sizeof bytes, 0);
    EXPECT_GE(got, 0) << strerror(errno);
    return std::string(bytes, static_cast<size_t>(std::max<ssize_t>(got, 0)));
  }
};

// Parked is who waited without a descriptor of its own.
Task<void> park(UringLoop& loop, Stream& stream) {
  size_t before = open_descriptors();
  auto waited = co_await stream.readable(loop.now() + kMillisecond);
  CANOPY_CHECK(!waited.has_value());
  EXPECT_EQ(waited.error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(open_descriptors(), before - 1);
}

Task<std::string> read_some(Stream& stream, Nanos deadline) {
  auto ready = co_await stream.readable(deadline);
  EXPECT_TRUE(ready.has_value());
  std::string bytes(256, '\0');
  auto got = co_await stream.read(bytes, deadline);
  EXPECT_TRUE(got.has_value());
  bytes.resize(got.value_or(0));
  co_return bytes;
}

Task<void> talk(UringLoop& loop) {
  Pair pair(loop);
  co_await park(loop, *pair.stream);
  for (int round = 0; round < 3; ++round) {
    pair.say("who is there?");
    std::string heard = co_await read_some(*pair.stream, loop.now() + 20 * kSecond);
    EXPECT_EQ(heard, "who is there?");
    auto sent = co_await pair.stream->write_all("a parked one", kNever);
    EXPECT_TRUE(sent.has_value());
    EXPECT_EQ(pair.hear(), "a parked one");
  }
  EXPECT_EQ(pair.stream->peer_credentials().pid, static_cast<uint32_t>(getpid()));
  pair.stream->shutdown_write();
  co_await loop.sleep(kMillisecond);
  EXPECT_EQ(pair.hear(), "");
  pair.say("the other direction");
  std::string heard = co_await read_some(*pair.stream, loop.now() + 20 * kSecond);
  EXPECT_EQ(heard, "the other direction");
}

TEST(Parking, AParkedStreamReadsWritesAndEndsLikeAnyOther) {
  auto loop = parking_loop();
  loop->run_until_done(talk(*loop));
}

Task<void> keep_descriptor(UringLoop& loop) {
  Pair pair(loop);
  size_t before = open_descriptors();
  auto waited = co_await pair.stream->readable(loop.now() + kMillisecond);
  EXPECT_FALSE(waited.has_value());
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Parking, WhereDescriptorsAreNotScarceNothingParks) {
  auto loop = parking_loop(0);
  loop->run_until_done(keep_descriptor(*loop));
}

Task<void> names(UringLoop& loop) {
  auto listener = loop.listen(*Address::parse("tcp:127.0.0.1:0"), {});
  auto client = co_await loop.connect((*listener)->local(), kNever);
  auto server = co_await (*listener)->accept();
  CANOPY_CHECK(client.has_value() && server.has_value());
  co_await park(loop, **server);
  EXPECT_EQ((*server)->local(), (*listener)->local());
  EXPECT_EQ((*server)->peer(), (*client)->local());
}

TEST(Parking, AParkedStreamKnowsItsAddresses) {
  auto loop = parking_loop();
  loop->run_until_done(names(*loop));
}

Task<void> fail_cancelled(Stream& stream, bool& failed) {
  auto ready = co_await stream.readable(kNever);
  EXPECT_FALSE(ready.has_value());
  if (!ready) EXPECT_EQ(ready.error().code(), Code::kCancelled);
  failed = true;
}

Task<void> farewell(UringLoop& loop) {
  Pair pair(loop);
  bool failed = false;
  TaskGroup group(loop);
  co_await park(loop, *pair.stream);
  group.spawn(fail_cancelled(*pair.stream, failed));
  co_await loop.sleep(kMillisecond);
  EXPECT_EQ(pair.stream->write_at_once("farewell"), 8u);
  pair.stream->abort();
  co_await group.join();
  EXPECT_TRUE(failed);
  auto sent = co_await pair.stream->write_all("too late", kNever);
  EXPECT_FALSE(sent.has_value());
  EXPECT_EQ(pair.stream->write_at_once("too late"), 0u);
  pair.stream->shutdown_write();
  EXPECT_EQ(pair.hear(), "farewell");
  EXPECT_EQ(pair.hear(), "");
}

TEST(Parking, LastWordsOfAParkedStreamArriveBeforeItIsAborted) {
  auto loop = parking_loop();
  loop->run_until_done(farewell(*loop));
}

// What was submitted for a stream that has gone must not meet the next one in its slot.
Task<void> reuse_slots(UringLoop& loop) {
  for (int round = 0; round < 200; ++round) {
    Pair first(loop), second(loop);
    co_await park(loop, *first.stream);
    EXPECT_EQ(first.stream->write_at_once("first"), 5u);
    if (round % 2 == 0) first.stream->abort();
    first.stream.reset();
    co_await park(loop, *second.stream);
    second.say(fmt::format("round {}", round));
    std::string heard = co_await read_some(*second.stream, loop.now() + 20 * kSecond);
    EXPECT_EQ(heard, fmt::format("round {}", round));
    EXPECT_EQ(first.hear(), "first");
    EXPECT_EQ(first.hear(), "");
    auto sent = co_await second.stream->write_all("second", kNever);
    EXPECT_TRUE(sent.has_value());
    EXPECT_EQ(second.hear(), "second");
  }
}

TEST(Parking, SlotsAreUsedAgainAndNoBytesGoAstray) {
  rlimit before, few;
  getrlimit(RLIMIT_NOFILE, &before);
  few = before;
  few.rlim_cur = 64;  // a table of 64 slots: 400 streams must share them
  setrlimit(RLIMIT_NOFILE, &few);
  auto loop = parking_loop();
  loop->run_until_done(reuse_slots(*loop));
  setrlimit(RLIMIT_NOFILE, &before);
}

// ---- while bytes are under way

Task<void> write_much(Stream& stream, std::string_view bytes, bool& written) {
  auto sent = co_await stream.write_all(bytes, kNever);
  EXPECT_TRUE(sent.has_value());
  written = true;
}

Task<void> wait_while_writing(UringLoop& loop, bool parked_first) {
  Pair pair(loop);
  if (parked_first) co_await park(loop, *pair.stream);
  std::string much(4u << 20, '\0');  // more than a socket holds
  for (size_t i = 0; i < much.size(); ++i) much[i] = static_cast<char>(i * i >> 7);
  bool written = false;
  TaskGroup group(loop);
  group.spawn(write_much(*pair.stream, much, written));
  co_await loop.yield();
  EXPECT_FALSE(written);
  auto waited = co_await pair.stream->readable(loop.now() + kMillisecond);
  EXPECT_FALSE(waited.has_value());
  std::string heard;
  while (heard.size() < much.size()) {
    char bytes[65536];
    ssize_t got = recv(pair.peer, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got > 0) heard.append(bytes, static_cast<size_t>(got));
    co_await loop.sleep(kMillisecond / 10);
  }
  co_await group.join();
  EXPECT_TRUE(heard == much);
}

TEST(Parking, BytesThatAreUnderWayAreNotLostWhenAStreamWaitsToo) {
  auto loop = parking_loop();
  loop->run_until_done(wait_while_writing(*loop, false));
  loop->run_until_done(wait_while_writing(*loop, true));
}

// ---- TLS

Task<void> serve_tls(UringLoop& loop, TlsContext& context, std::unique_ptr<Stream> inner) {
  auto tls = co_await TlsStream::accept(loop, context, std::move(inner), loop.now() + 20 * kSecond);
  CANOPY_CHECK(tls.has_value());
  std::string heard = co_await read_some(**tls, loop.now() + 20 * kSecond);
  EXPECT_EQ(heard, "hello");
  EXPECT_EQ((*tls)->write_at_once("farewell"), 8u);
}

Task<void> talk_tls(UringLoop& loop, TlsContext& server, TlsContext& client) {
  int ends[2];
  CANOPY_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  auto here = loop.adopt(ends[0]);
  TaskGroup group(loop);
  group.spawn(serve_tls(loop, server, loop.adopt(ends[1])));
  size_t before = open_descriptors();
  auto tls = co_await TlsStream::connect(loop, client, std::move(here), "", loop.now() + 20 * kSecond);
  CANOPY_CHECK(tls.has_value());
  EXPECT_EQ(open_descriptors(), before - 2);  // both ends waited in the handshake
  auto sent = co_await (*tls)->write_all("hello", kNever);
  EXPECT_TRUE(sent.has_value());
  std::string heard = co_await read_some(**tls, loop.now() + 20 * kSecond);
  EXPECT_EQ(heard, "farewell");
  heard = co_await read_some(**tls, loop.now() + 20 * kSecond);
  EXPECT_EQ(heard, "");  // close_notify, not a broken connection
  co_await group.join();
}

TEST(Parking, TlsStreamsParkWithTheStreamUnderThem) {
  TestPki pki;
  pki.authority("ca");
  pki.certificate("server", "ca", "DNS:mail.example");
  TlsOptions serves;
  serves.certificates.push_back({pki.file("server.pem"), pki.file("server.key")});
  TlsOptions connects;
  connects.side = TlsOptions::Side::kClient;
  connects.ca_file = pki.file("ca.pem");
  auto server = TlsContext::create(serves), client = TlsContext::create(connects);
  ASSERT_TRUE(server.has_value() && client.has_value());
  auto loop = parking_loop();
  loop->run_until_done(talk_tls(*loop, **server, **client));
}

// ---- more connections than descriptors

constexpr int kConnections = 100;
constexpr rlim_t kDescriptors = 64;

// In a process of its own: opens all, then asks on each, and exits with the number of right answers.
[[noreturn]] void ask_on_all(uint16_t port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<int> sockets;
  for (int i = 0; i < kConnections; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char greeting = 0;
    if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 || recv(fd, &greeting, 1, 0) != 1)
      _exit(0);
    sockets.push_back(fd);
  }
  for (size_t i = 0; i < sockets.size(); ++i) {
    char byte = static_cast<char>(i);
    if (send(sockets[i], &byte, 1, 0) != 1) _exit(0);
  }
  int right = 0;
  for (size_t i = 0; i < sockets.size(); ++i) {
    char byte = 0;
    if (recv(sockets[i], &byte, 1, 0) == 1 && byte == static_cast<char>(i)) ++right;
  }
  _exit(right);
}

Task<void> greet_and_echo(std::unique_ptr<Stream> stream) {
  auto greeted = co_await stream->write_all("+", kNever);
  auto ready = co_await stream->readable(kNever);
  char byte;
  auto got = co_await stream->read({&byte, 1}, kNever);
  if (greeted && ready && got && *got == 1) (void)co_await stream->write_all({&byte, 1}, kNever);
}

Task<void> serve_all(UringLoop& loop, Listener& listener) {
  TaskGroup group(loop);
  for (int i = 0; i < kConnections; ++i) {
    auto stream = co_await listener.accept();
    EXPECT_TRUE(stream.has_value());
    if (!stream) break;
    group.spawn(greet_and_echo(std::move(*stream)));
  }
  co_await group.join();
}

TEST(Parking, MoreConnectionsThanDescriptorsAreHeldAndAnswered) {
  rlimit before, few;
  getrlimit(RLIMIT_NOFILE, &before);
  few = before;
  few.rlim_cur = kDescriptors;
  setrlimit(RLIMIT_NOFILE, &few);
  auto loop = parking_loop(0);  // three quarters of 64
  auto listener = loop->listen(*Address::parse("tcp:127.0.0.1:0"), {});
  ASSERT_TRUE(listener.has_value());
  pid_t child = fork();
  if (child == 0) {
    setrlimit(RLIMIT_NOFILE, &before);
    ask_on_all((*listener)->local().port);
  }
  loop->run_until_done(serve_all(*loop, **listener));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), kConnections);
  setrlimit(RLIMIT_NOFILE, &before);
}

// ---- when descriptors are at an end all the same

TEST(AcceptFailures, AreToldOnceWhenTheyBeginAndOnceWhenTheyHaveEnded) {
  AcceptFailures failures;
  EXPECT_EQ(failures.end(0), 0u);
  EXPECT_TRUE(failures.begin(1 * kSecond));
  EXPECT_FALSE(failures.begin(2 * kSecond));
  EXPECT_EQ(failures.end(3 * kSecond), 0u);  // one got in, which ends nothing
  EXPECT_FALSE(failures.begin(4 * kSecond));
  EXPECT_EQ(failures.end(14 * kSecond), 3u);
  EXPECT_EQ(failures.end(15 * kSecond), 0u);
  EXPECT_TRUE(failures.begin(16 * kSecond));
}

}  // namespace
}  // namespace canopy
