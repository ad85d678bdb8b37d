// What only the real loop has: files, threads, socket files, many connections.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <thread>

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
  int wrote = co_await loop.submit(
      [&](io_uring_sqe* sqe) { io_uring_prep_write(sqe, fd, text.data(), static_cast<unsigned>(text.size()), 0); });
  EXPECT_EQ(wrote, static_cast<int>(text.size()));
  int synced = co_await loop.submit([&](io_uring_sqe* sqe) { io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC); });
  EXPECT_EQ(synced, 0);
  std::string back(100, '\0');
  int got = co_await loop.submit([&](io_uring_sqe* sqe) { io_uring_prep_read(sqe, fd, back.data(), 100, 6); });
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
}

TEST(UringLoop, StopsWhenItIsStoppedBeforeItRuns) {
  auto loop = make_loop();
  loop->stop();
  loop->run();
  EXPECT_FALSE(loop->on_this_thread());
}

}  // namespace
}  // namespace canopy
