// What only the local store has: descriptors, special files, shared directory syncs.
#include <fcntl.h>
#include <liburing.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "tests/store/store_fixture.h"

namespace canopy {
namespace {

class Local : public testing::Test {
 protected:
  template <class T>
  Code code(Task<Result<T>> task) {
    auto result = loop_->run_until_done(std::move(task));
    return result ? Code::kOk : result.error().code();
  }

  TemporaryDirectory directory_;
  std::unique_ptr<UringLoop> loop_ = *UringLoop::create();
  std::unique_ptr<LocalStore> store_ = *LocalStore::open_root(*loop_, directory_.path());
};

TEST_F(Local, ARootThatIsMissingOrAFileIsRefused) {
  auto missing = LocalStore::open_root(*loop_, directory_.path() + "/none");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  ASSERT_EQ(code(store_->open("f", {.write = true, .create = true})), Code::kOk);
  auto file = LocalStore::open_root(*loop_, directory_.path() + "/f");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code(), Code::kNotDirectory);
}

TEST_F(Local, RunningOutOfDescriptorsSaysSo) {
#if __has_feature(undefined_behavior_sanitizer)
  GTEST_SKIP() << "this sanitizer needs descriptors of its own for its checks";
#endif
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  int next = dup(0);
  close(next);
  rlimit tight{static_cast<rlim_t>(next), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  auto refused = loop_->run_until_done(store_->open("f", {.write = true, .create = true}));
  Code refused_directory = code(store_->make_directory("a/b", 0700, Durable::kYes));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kTryAgain);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("too many open files"));
  EXPECT_EQ(refused_directory, Code::kTryAgain);
  EXPECT_EQ(code(store_->attributes("f")), Code::kNotFound);
  EXPECT_EQ(code(store_->open("f", {.write = true, .create = true})), Code::kOk);
}

TEST_F(Local, AFifoInTheTreeIsRefusedWithoutWaitingForItsOtherEnd) {
  ASSERT_EQ(mkfifo((directory_.path() + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(code(store_->open("fifo", {})), Code::kUnsupported);
  EXPECT_EQ(code(store_->open("fifo", {.write = true})), Code::kUnsupported);
  auto found = loop_->run_until_done(store_->attributes("fifo"));
  EXPECT_EQ(found->type, FileType::kOther);
  EXPECT_EQ(code(store_->set_attributes("fifo", {.mode = 0644}, Durable::kYes)), Code::kOk);
  EXPECT_EQ(code(store_->remove("fifo", Durable::kYes)), Code::kOk);
}

TEST_F(Local, AFileThatIsReadAsAWholeKeepsItsAccessTime) {
  const std::string path = directory_.path() + "/f";
  for (const bool whole : {true, false}) {
    const local::Fd file(open(path.c_str(), O_WRONLY | O_CREAT, 0600));
    ASSERT_EQ(write(file.get(), "text", 4), 4);
    const timespec long_ago[2] = {{1'000'000, 0}, {1'000'001, 0}};  // relatime: it has changed since
    ASSERT_EQ(futimens(file.get(), long_ago), 0);
    if (whole)
      EXPECT_EQ(*loop_->run_until_done(read_file(*store_, "f", 100)), "text");
    else
      ASSERT_EQ(system(("cat " + path + " > /dev/null").c_str()), 0);
    struct stat found;
    ASSERT_EQ(fstat(file.get(), &found), 0);
    if (whole) EXPECT_EQ(found.st_atim.tv_sec, 1'000'000);
    if (!whole && found.st_atim.tv_sec == 1'000'000)
      GTEST_SKIP() << "this file system keeps it whoever reads";
  }
}

TEST_F(Local, AStoreStaysInItsRootWhenTheRootIsMoved) {
  ASSERT_EQ(code(store_->make_directory("here", 0700, Durable::kNo)), Code::kOk);
  std::string moved = directory_.path() + "_moved";
  std::filesystem::rename(directory_.path(), moved);
  EXPECT_EQ(code(store_->attributes("here")), Code::kOk);
  std::filesystem::rename(moved, directory_.path());
}

TEST_F(Local, NamesAreChangedAtOnceUnlessTheDiskIsBusyOrSlow) {
  local::Blocking calls(*loop_, nullptr, false);
  int at_once = 0;
  auto change = [&](std::chrono::microseconds takes) -> Task<int32_t> {
    co_return co_await calls.quickly(
        [&] {
          ++at_once;
          std::this_thread::sleep_for(takes);
          errno = EEXIST;
          return -1;
        },
        [](io_uring_sqe* sqe) { io_uring_prep_mkdirat(sqe, AT_FDCWD, "/", 0700); });
  };
  loop_->run_until_done([&]() -> Task<void> {
    EXPECT_EQ(co_await change(std::chrono::microseconds(0)), -EEXIST);
    EXPECT_EQ(at_once, 1);
    int pipe_ends[2];
    EXPECT_EQ(pipe(pipe_ends), 0);
    bool begun = false, over = false;
    loop_->spawn([](local::Blocking& in, int from, bool& started, bool& done) -> Task<void> {
      char byte;
      started = true;
      (void)co_await in.by_ring([&](io_uring_sqe* sqe) { io_uring_prep_read(sqe, from, &byte, 1, 0); });
      done = true;
    }(calls, pipe_ends[0], begun, over));
    while (!begun) co_await loop_->sleep(kMillisecond);
    EXPECT_EQ(co_await change(std::chrono::microseconds(0)), -EEXIST);
    EXPECT_EQ(at_once, 1);  // something else is under way
    EXPECT_EQ(write(pipe_ends[1], "x", 1), 1);
    while (!over) co_await loop_->sleep(kMillisecond);
    EXPECT_EQ(co_await change(std::chrono::microseconds(3'000)), -EEXIST);
    EXPECT_EQ(at_once, 2);
    const Nanos ended = loop_->now();
    EXPECT_EQ(co_await change(std::chrono::microseconds(0)), -EEXIST);
    if (loop_->now() - ended < 20 * 3 * kMillisecond) EXPECT_EQ(at_once, 2);  // it took long
    at_once = 2;
  }());
  local::Blocking of_others(*loop_, nullptr, true);
  loop_->run_until_done([&]() -> Task<void> {
    (void)co_await of_others.quickly(
        [&] { return ++at_once; },
        [](io_uring_sqe* sqe) { io_uring_prep_mkdirat(sqe, AT_FDCWD, "/", 0700); });
  }());
  EXPECT_EQ(at_once, 2);
}

TEST_F(Local, WhatIsRemovedIsClosedAtTheEndOfTheTurn) {
  auto open_descriptors = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  constexpr int kFiles = 300;
  for (int i = 0; i < kFiles; ++i)
    ASSERT_EQ(code(store_->open(fmt::format("f{}", i), {.write = true, .create = true})), Code::kOk);
  const auto before = open_descriptors();
  loop_->run_until_done([&]() -> Task<void> {
    for (int i = 0; i < kFiles; ++i)
      EXPECT_TRUE((co_await store_->remove(fmt::format("f{}", i), Durable::kNo)).has_value());
    co_await loop_->sleep(kMillisecond);
  }());
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(Local, OfAFewEntriesOnlyTheirAttributesAreFetched) {
  for (int i = 0; i < 100; ++i)
    ASSERT_EQ(code(store_->make_directory(fmt::format("d{}", i), 0700, Durable::kNo)), Code::kOk);
  EXPECT_EQ(loop_->run_until_done(store_->list_few("", 0, 7))->attributes.size(), 7u);
}

TEST(LocalHoldUps, ACallThatWaitedLongKeepsTheNextOffTheLoopForTwentyTimesAsLong) {
  local::HoldUps calls;
  rusage before{}, waited{}, preempted{};
  waited.ru_nvcsw = 1;
  preempted.ru_nivcsw = 3;
  EXPECT_FALSE(local::HoldUps::is_long(5 * kSecond, 5 * kSecond + kMillisecond));
  EXPECT_TRUE(local::HoldUps::is_long(5 * kSecond, 5 * kSecond + kMillisecond + 1));
  calls.ended(kSecond, 3 * kSecond, before, preempted);
  EXPECT_TRUE(calls.may_run(3 * kSecond));  // others had the processor: that says nothing of the disk
  calls.ended(3 * kSecond, 4 * kSecond, before, before);
  EXPECT_FALSE(calls.may_run(24 * kSecond - 1));  // busy all the time
  EXPECT_TRUE(calls.may_run(24 * kSecond));
  waited.ru_nivcsw = 1;
  calls.ended(30 * kSecond, 31 * kSecond, before, waited);
  EXPECT_FALSE(calls.may_run(51 * kSecond - 1));
  EXPECT_TRUE(calls.may_run(51 * kSecond));
}

TEST_F(Local, DirectorySyncsThatOverlapShareTheNextOne) {
  local::Blocking calls(*loop_, nullptr, false);
  local::DirectorySync sync(calls);
  local::Fd fd(open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY));
  int ends = 0;
  auto ask = [](UringLoop& loop, local::DirectorySync& group, int directory, int& end) -> Task<void> {
    EXPECT_TRUE((co_await group.sync(directory, "d")).has_value());
    if (++end == 40) loop.stop();
  };
  for (int i = 0; i < 40; ++i) loop_->spawn(ask(*loop_, sync, fd.get(), ends));
  loop_->run();
  EXPECT_EQ(sync.asked(), 40u);
  EXPECT_EQ(sync.issued(), 2u);  // the first, and one for all who came while it was under way
}

TEST_F(Local, ASyncOfOneDirectoryDoesNotWaitForAnother) {
  std::filesystem::create_directory(directory_.path() + "/d");
  local::Blocking calls(*loop_, nullptr, false);
  local::DirectorySync sync(calls);
  local::Fd one(open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY));
  local::Fd two(open((directory_.path() + "/d").c_str(), O_RDONLY | O_DIRECTORY));
  int ends = 0;
  auto ask = [](UringLoop& loop, local::DirectorySync& group, int directory, int& end) -> Task<void> {
    EXPECT_TRUE((co_await group.sync(directory, "d")).has_value());
    if (++end == 20) loop.stop();
  };
  for (int i = 0; i < 20; ++i) loop_->spawn(ask(*loop_, sync, i % 2 == 0 ? one.get() : two.get(), ends));
  loop_->run();
  EXPECT_EQ(sync.issued(), 4u);
}

TEST_F(Local, AFailedSyncIsToldToAllWhoSharedIt) {
  local::Blocking calls(*loop_, nullptr, false);
  local::DirectorySync sync(calls);
  local::Fd fifo;
  ASSERT_EQ(mkfifo((directory_.path() + "/fifo").c_str(), 0600), 0);
  fifo = local::Fd(open((directory_.path() + "/fifo").c_str(), O_RDWR));  // fsync of a FIFO answers EINVAL
  int ends = 0, failures = 0;
  auto ask = [](UringLoop& loop, local::DirectorySync& group, int fd, int& end, int& failed) -> Task<void> {
    if (!(co_await group.sync(fd, "d"))) ++failed;
    if (++end == 10) loop.stop();
  };
  for (int i = 0; i < 10; ++i) loop_->spawn(ask(*loop_, sync, fifo.get(), ends, failures));
  loop_->run();
  EXPECT_EQ(failures, 10);
}

}  // namespace
}  // namespace canopy
