// What only the real loop has: files, threads, socket files, many connections.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <malloc.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "daemon/runtime/signals.h"
#include "daemon/runtime/sync.h"
#include "daemon/runtime/uring_loop.h"

namespace canopy {
namespace {

std::unique_ptr<UringLoop> make_loop(const UringOptions& options = {}) {
  auto loop = UringLoop::create(options);
  if (!loop) std::fprintf(stderr, "%s\n", loop.error().to_string().c_str());
  CANOPY_CHECK(loop.has_value());
  return std::move(*loop);
}

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/canopy-runtime-XXXXXX";
    CANOPY_CHECK(mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~Folder() {
    std::string command = "rm -rf " + path_;
    CANOPY_CHECK(std::system(command.c_str()) == 0);
  }
  std::string operator/(std::string_view name) const { return fmt::format("{}/{}", path_, name); }

 private:
  std::string path_;
};

Task<std::string> write_and_read_back(UringLoop& loop, std::string path) {
  int fd = co_await loop.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_openat(sqe, AT_FDCWD, path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  });
  EXPECT_GE(fd, 0);
  std::string_view text = "every acknowledged byte";
  int wrote = co_await loop.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_write(sqe, fd, text.data(), static_cast<unsigned>(text.size()), 0);
  });
  EXPECT_EQ(wrote, static_cast<int>(text.size()));
  int synced =
      co_await loop.submit([&](io_uring_sqe* sqe) { io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC); });
  EXPECT_EQ(synced, 0);
  std::string back(100, '\0');
  int got =
      co_await loop.submit([&](io_uring_sqe* sqe) { io_uring_prep_read(sqe, fd, back.data(), 100, 6); });
  back.resize(static_cast<size_t>(std::max(got, 0)));
  EXPECT_EQ(co_await loop.submit([&](io_uring_sqe* sqe) { io_uring_prep_close(sqe, fd); }), 0);
  co_return back;
}

TEST(UringLoop, WritesSyncsAndReadsAFile) {
  Folder folder;
  auto loop = make_loop();
  EXPECT_EQ(loop->run_until_done(write_and_read_back(*loop, folder / "file")), "acknowledged byte");
}

Task<int> read_a_missing_file(UringLoop& loop, std::string path) {
  co_return co_await loop.submit(
      [&](io_uring_sqe* sqe) { io_uring_prep_openat(sqe, AT_FDCWD, path.c_str(), O_RDONLY, 0); });
}

TEST(UringLoop, AnswersTheErrnoOfAFailedOperation) {
  Folder folder;
  auto loop = make_loop();
  EXPECT_EQ(loop->run_until_done(read_a_missing_file(*loop, folder / "none")), -ENOENT);
}

Task<void> one_nop(UringLoop& loop, int& done) {
  EXPECT_EQ(co_await loop.submit([](io_uring_sqe* sqe) { io_uring_prep_nop(sqe); }), 0);
  ++done;
}

Task<int> many_nops(UringLoop& loop, int count) {
  int done = 0;
  for (int i = 0; i < count; ++i) loop.spawn(one_nop(loop, done));
  while (done < count) co_await loop.sleep(kMillisecond / 10);
  co_return done;
}

TEST(UringLoop, TakesMoreOperationsInOneTurnThanBothQueuesHold) {
  auto loop = make_loop({.entries = 8});
  EXPECT_EQ(loop->run_until_done(many_nops(*loop, 5000)), 5000);
}

TEST(UringLoop, WatchesADescriptorUntilTheWatchGoesAndThenLetsItClose) {
  auto loop = make_loop();
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  auto body = [](UringLoop& on, int* sockets) -> Task<void> {
    std::unique_ptr<DescriptorWatch> watch;
    std::vector<uint32_t> seen;
    watch = *on.watch(sockets[0], [&](uint32_t events) {
      seen.push_back(events);
      if (seen.size() == 2) watch.reset();  // a callback may
    });
    watch->arm(POLLIN);
    co_await on.sleep(20 * kMillisecond);
    EXPECT_TRUE(seen.empty());
    EXPECT_EQ(send(sockets[1], "x", 1, 0), 1);
    co_await on.sleep(20 * kMillisecond);
    EXPECT_EQ(seen, std::vector<uint32_t>{POLLIN});  // once, although it still holds
    watch->arm(POLLIN);
    co_await on.sleep(20 * kMillisecond);
    EXPECT_EQ(seen.size(), 2u);
    EXPECT_EQ(watch, nullptr);

    // An armed watch that goes does not keep the socket open: its peer sees the end.
    watch = *on.watch(sockets[0], [&](uint32_t) { seen.push_back(0); });
    watch->arm(POLLOUT | POLLIN);
    watch.reset();
    watch = *on.watch(sockets[0], [&](uint32_t) { seen.push_back(0); });
    char byte = 0;
    EXPECT_EQ(recv(sockets[0], &byte, 1, 0), 1);
    watch->arm(POLLIN);
    co_await on.yield();
    watch.reset();
    close(sockets[0]);
    co_await on.sleep(20 * kMillisecond);
    EXPECT_EQ(recv(sockets[1], &byte, 1, MSG_DONTWAIT), 0);
    EXPECT_EQ(seen.size(), 2u);
  };
  loop->run_until_done(body(*loop, ends));
  close(ends[1]);
}

TEST(UringLoop, RunsEveryWorkThatManyThreadsPostWhileItSleepsAndWakes) {
  constexpr int kThreads = 4, kPosts = 5000;
  auto loop = make_loop();
  int count = 0;  // only the loop's thread touches it
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < kPosts; ++i) {
        loop->post([&] {
          EXPECT_TRUE(loop->on_this_thread());
          if (++count == kThreads * kPosts) loop->stop();
        });
        if (i % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  loop->run();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads * kPosts);
}

Task<void> hop(UringLoop& here, UringLoop& there, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    EXPECT_TRUE(here.on_this_thread());
    co_await there.switch_to();
    EXPECT_TRUE(there.on_this_thread());
    EXPECT_FALSE(here.on_this_thread());
    co_await here.switch_to();
  }
}

TEST(UringLoop, MovesATaskBetweenTwoLoops) {
  auto here = make_loop(), there = make_loop();
  std::thread other([&] { there->run(); });
  here->run_until_done(hop(*here, *there, 1000));
  there->stop();
  other.join();
  EXPECT_EQ(here->arrivals(), 1000u);
  EXPECT_EQ(there->arrivals(), 1000u);
}

TEST(UringLoop, StopsWhenItIsStoppedBeforeItRuns) {
  auto loop = make_loop();
  loop->stop();
  loop->run();
  EXPECT_FALSE(loop->on_this_thread());
}

// ---- sockets

Task<void> wait_idle(std::unique_ptr<Stream> stream, int& answered) {
  auto ready = co_await stream->readable(kNever);
  EXPECT_TRUE(ready.has_value());
  char byte;
  auto got = co_await stream->read({&byte, 1}, kNever);
  if (got && *got == 1) {
    auto sent = co_await stream->write_all({&byte, 1}, kNever);
    EXPECT_TRUE(sent.has_value());
  }
  ++answered;
}

Task<void> accept_idle(UringLoop& loop, Listener& listener, int count, int& answered) {
  for (int i = 0; i < count; ++i) {
    auto stream = co_await listener.accept();
    EXPECT_TRUE(stream.has_value());
    if (stream) loop.spawn(wait_idle(std::move(*stream), answered));
  }
}

Task<void> hold_idle_connections(UringLoop& loop, int count) {
  auto listener = loop.listen(*Address::parse("tcp:127.0.0.1:0"), {});
  CANOPY_CHECK(listener.has_value());
  TaskGroup group(loop);
  int answered = 0;
  group.spawn(accept_idle(loop, **listener, count, answered));
  size_t heap_before = mallinfo2().uordblks;
  std::vector<std::unique_ptr<Stream>> clients;
  for (int i = 0; i < count; ++i) {
    auto stream = co_await loop.connect((*listener)->local(), kNever);
    EXPECT_TRUE(stream.has_value()) << stream.error().to_string();
    if (!stream) co_return;
    clients.push_back(std::move(*stream));
  }
  co_await group.join();
  EXPECT_EQ(answered, 0);
  size_t heap_each = (mallinfo2().uordblks - heap_before) / static_cast<size_t>(count);
  std::printf("an idle connection: %zu bytes of heap for its waiting end and its peer's stream\n", heap_each);
  EXPECT_LT(heap_each, 1024u);
  for (auto& client : clients) EXPECT_EQ(client->write_at_once("?"), 1u);  // all at once
  for (auto& client : clients) {
    char byte = 0;
    auto got = co_await client->read({&byte, 1}, loop.now() + 60 * kSecond);
    EXPECT_TRUE(got.has_value() && *got == 1 && byte == '?');
  }
  while (answered < count) co_await loop.sleep(kMillisecond);
}

TEST(UringLoop, HoldsFiveThousandIdleConnectionsAndAnswersAllOfThem) {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 11'000);
  setrlimit(RLIMIT_NOFILE, &limit);
  ASSERT_GE(limit.rlim_cur, 10'100u) << "raise ulimit -n";
  auto loop = make_loop({.entries = 256});  // far fewer than what becomes ready at once
  loop->run_until_done(hold_idle_connections(*loop, 5000));
}

TEST(UringLoop, ReplacesASocketFileThatNobodyAnswersButNoOther) {
  Folder folder;
  auto loop = make_loop();
  Address address{.kind = Address::Kind::kUnix, .host = folder / "socket", .port = 0};
  int stale = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  std::memcpy(at.sun_path, address.host.c_str(), address.host.size());
  ASSERT_EQ(bind(stale, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  close(stale);
  {
    auto listener = loop->listen(address, {.unix_mode = 0666});
    ASSERT_TRUE(listener.has_value()) << listener.error().to_string();
    struct stat file;
    ASSERT_EQ(stat(address.host.c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 0777, 0666u);
    EXPECT_EQ(loop->listen(address, {}).error().code(), Code::kBusy);
  }
  EXPECT_NE(access(address.host.c_str(), F_OK), 0);  // it takes its file with it
  std::fclose(std::fopen(address.host.c_str(), "w"));
  EXPECT_EQ(loop->listen(address, {}).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(access(address.host.c_str(), F_OK), 0);
}

Task<void> peer_of_unix_socket(UringLoop& loop, Address address) {
  auto listener = loop.listen(address, {});
  CANOPY_CHECK(listener.has_value());
  auto client = co_await loop.connect(address, kNever);
  auto server = co_await (*listener)->accept();
  EXPECT_EQ((*server)->peer_credentials().pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ((*server)->peer_credentials().uid, getuid());
}

TEST(UringLoop, KnowsWhoIsAtTheOtherEndOfAUnixSocket) {
  Folder folder;
  auto loop = make_loop();
  loop->run_until_done(peer_of_unix_socket(
      *loop, Address{.kind = Address::Kind::kUnix, .host = folder / "socket", .port = 0}));
}

Task<void> count_accepted(UringLoop& loop, Listener& listener, std::atomic<int>& accepted) {
  for (;;) {
    auto stream = co_await listener.accept();
    if (!stream) co_return;
    EXPECT_TRUE(loop.on_this_thread());
    ++accepted;
  }
}

Task<void> connect_many(UringLoop& loop, Address address, int count, std::atomic<int>& accepted) {
  std::vector<std::unique_ptr<Stream>> clients;
  for (int i = 0; i < count; ++i) {
    auto stream = co_await loop.connect(address, kNever);
    EXPECT_TRUE(stream.has_value());
    clients.push_back(std::move(*stream));
  }
  while (accepted < count) co_await loop.sleep(kMillisecond);
}

Task<void> abort_listener(UringLoop& loop, Listener& listener) {
  co_await loop.switch_to();
  listener.abort();
  co_await loop.yield();
  co_await loop.yield();
}

TEST(UringLoop, TwoLoopsShareTheConnectionsOfOneUnixSocket) {
  Folder folder;
  auto first = make_loop(), second = make_loop();
  Address address{.kind = Address::Kind::kUnix, .host = folder / "socket", .port = 0};
  auto listener = first->listen(address, {});
  ASSERT_TRUE(listener.has_value());
  auto shared = second->share(**listener);
  ASSERT_TRUE(shared.has_value());
  std::atomic<int> accepted{0};
  first->spawn(count_accepted(*first, **listener, accepted));
  second->spawn(count_accepted(*second, **shared, accepted));
  std::thread other([&] { second->run(); });
  first->run_until_done(connect_many(*first, address, 200, accepted));
  auto end = [](UringLoop& loop, Listener& of) -> Task<void> {
    co_await abort_listener(loop, of);
    loop.stop();
  };
  second->post([&] { second->spawn(end(*second, **shared)); });
  other.join();
  EXPECT_EQ(accepted.load(), 200);
  first->run_until_done(abort_listener(*first, **listener));
}

Task<int> signal_number(UringLoop& loop) { co_return co_await wait_signal(loop, {SIGHUP, SIGUSR1}); }

TEST(Signals, WaitsForTheNextSignalAndLosesNoneThatCameBefore) {
  block_signals({SIGHUP, SIGUSR1});
  auto loop = make_loop();
  kill(getpid(), SIGHUP);
  EXPECT_EQ(loop->run_until_done(signal_number(*loop)), SIGHUP);
  std::thread later([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    kill(getpid(), SIGUSR1);
  });
  EXPECT_EQ(loop->run_until_done(signal_number(*loop)), SIGUSR1);
  later.join();
}

// The kernel takes the ring of a killed process apart after the process has gone: its sockets answer a while
// longer.
TEST(UringLoop, TheSocketOfAKilledProcessIsTakenOverEvenWhileItAnswers) {
  Folder folder;
  auto loop = make_loop();
  std::string path = folder / "socket";
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path.copy(at.sun_path, sizeof at.sun_path - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  pid_t child = fork();
  if (child == 0) _exit(listen(fd, 10) == 0 ? 0 : 1);
  int status = 1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  auto address = *Address::parse("unix:" + path);
  EXPECT_TRUE(loop->listen(address, {}).has_value());
  close(fd);
}

}  // namespace
}  // namespace canopy
