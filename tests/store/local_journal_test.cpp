// The journal of a real directory: by system calls, for several loops, with processes that are killed.
#include <linux/magic.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <latch>
#include <thread>

#include "daemon/store/local/local_journals.h"
#include "tests/store/store_fixture.h"

namespace canopy {
namespace {

constexpr uint32_t kMany = 100;

std::string name_of(uint32_t file) { return fmt::format("d{}/f{}.info", file % 3, file); }
// Whole or not is seen by its end.
std::string text_of(uint64_t version) {
  return fmt::format("{:08}{}{:08}", version, std::string(500, 'x'), version);
}
std::optional<uint64_t> version_of(std::string_view text) {
  if (text.size() != text_of(0).size()) return std::nullopt;
  const uint64_t version = std::strtoull(std::string(text.substr(0, 8)).c_str(), nullptr, 10);
  if (text != text_of(version)) return std::nullopt;
  return version;
}

Result<std::shared_ptr<void>> no_lock(const std::string&) { return std::shared_ptr<void>(); }

struct Process {  // as canopyd makes its stores
  explicit Process(const std::string& root) : loop(*UringLoop::create()), journals(*loop, no_lock) {
    auto opened = journals.open(*loop, root, {.workers = &workers});
    EXPECT_TRUE(opened);
    store = std::move(*opened);
  }
  // Replaced until the journal has files, which it makes beside the first ones.
  Task<void> warm_up() {
    for (int i = 0; i < 200; ++i) {
      auto done = co_await store->replace({fmt::format("stage/w{}", i), "d0/warm.info", "{}"});
      EXPECT_TRUE(done) << done.error().to_string();
      co_await loop->sleep(kMillisecond);
    }
  }

  std::unique_ptr<UringLoop> loop;
  WorkerPool workers{"files", 2, 100};
  LocalJournals journals;
  std::unique_ptr<JournaledStore> store;
};

// Another loop of that process, with a store of its own.
struct OtherLoop {
  OtherLoop(Process& process, const std::string& root)
      : loop(*UringLoop::create()), thread([this] { loop->run(); }) {
    auto opened = process.journals.open(*loop, root, {.workers = &process.workers});
    EXPECT_TRUE(opened);
    store = std::move(*opened);
  }
  void end() {
    loop->stop();
    thread.join();
  }

  std::unique_ptr<UringLoop> loop;
  std::thread thread;
  std::unique_ptr<JournaledStore> store;
};

class LocalJournal : public testing::Test {
 protected:
  LocalJournal() {
    for (const char* name : {".canopy", "stage", "d0", "d1", "d2"})
      std::filesystem::create_directory(directory_.path() + "/" + name);
  }
  std::string content(const std::string& path) {
    std::ifstream file(directory_.path() + "/" + path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  bool has(const std::string& path) { return std::filesystem::exists(directory_.path() + "/" + path); }
  TemporaryDirectory directory_;
};

Task<void> replace_one(Store& store, Code& code, Replacement what) {
  auto replaced = co_await store.replace(std::move(what));
  code = replaced ? Code::kOk : replaced.error().code();
}

TEST_F(LocalJournal, EachOfARoundHasItsOwnOutcome) {
  Process process(directory_.path());
  std::filesystem::create_symlink("d0", directory_.path() + "/link");
  std::filesystem::create_directory(directory_.path() + "/d0/taken.info");
  std::ofstream(directory_.path() + "/stage/used") << "of somebody else";
  std::vector<Code> codes(kMany, Code::kInternal);
  process.loop->run_until_done([&]() -> Task<void> {
    EXPECT_TRUE(co_await process.store->begin());
    co_await process.warm_up();
    TaskGroup group(*process.loop);
    for (uint32_t i = 0; i < kMany; ++i) {
      Replacement what{fmt::format("stage/{}", i), fmt::format("d1/f{}.info", i), text_of(i)};
      if (i == 90) what.path = "none/f.info";
      if (i == 91) what.path = "link/f.info";
      if (i == 92) what.path = "d0/taken.info";
      if (i == 93) what.staged = "stage/used";
      if (i == 94) what.staged = "../out";
      if (i == 95) what.text = std::string(journal::kContentBytesMax + 1, 'x');
      group.spawn(replace_one(*process.store, codes[i], std::move(what)));
    }
    co_await group.join();
    EXPECT_TRUE(co_await process.store->remove("d1/f7.info", Durable::kYes));
    EXPECT_TRUE(co_await process.store->rename("d2", "d3", RenameMode::kNoReplace, Durable::kYes));
    co_await process.journals.end();
  }());
  const bool trusted = LocalStore::open_root(*process.loop, directory_.path()).value()->may_have_journal();
  EXPECT_EQ(has(journal::file_path(0)), trusted);
  for (uint32_t i = 0; i < kMany; ++i) {
    if (i >= 90 && i <= 95) continue;
    EXPECT_EQ(codes[i], Code::kOk) << i;
    EXPECT_FALSE(has(fmt::format("stage/{}", i)));
    if (i != 7) EXPECT_EQ(content(fmt::format("d1/f{}.info", i)), text_of(i)) << i;
  }
  EXPECT_EQ(codes[90], Code::kNotFound);
  EXPECT_EQ(codes[91], Code::kLoop);
  EXPECT_EQ(codes[92], Code::kIsDirectory);
  EXPECT_EQ(codes[93], Code::kAlreadyExists);
  EXPECT_EQ(codes[94], Code::kInvalidArgument);
  EXPECT_EQ(codes[95], Code::kOk);
  EXPECT_EQ(content("stage/90"), text_of(90));  // durable: its directory may be made yet
  EXPECT_EQ(content("stage/used"), "of somebody else");
  EXPECT_FALSE(has("d1/f7.info"));
}

// What is overwritten keeps its file; what is replaced gets another.
TEST_F(LocalJournal, AFileOfOnePageIsOverwrittenByWhatIsAsLong) {
  struct statfs found;
  ASSERT_EQ(statfs(directory_.path().c_str(), &found), 0);
  if (found.f_type != EXT4_SUPER_MAGIC) GTEST_SKIP() << "not ext4";
  Process process(directory_.path());
  const std::string path = "d1/f.info", at = directory_.path() + "/" + path;
  int staged = 0;
  bool in_place = true;
  auto is_overwritten = [&](const std::string& text) -> Task<bool> {
    struct stat before{}, after{};
    (void)stat(at.c_str(), &before);
    auto done = co_await process.store->replace({fmt::format("stage/{}", staged++), path, text, in_place});
    EXPECT_TRUE(done) << done.error().to_string();
    EXPECT_EQ(content(path), text);
    EXPECT_EQ(stat(at.c_str(), &after), 0);
    co_return before.st_ino == after.st_ino;
  };
  process.loop->run_until_done([&]() -> Task<void> {
    EXPECT_TRUE(co_await process.store->begin());
    co_await process.warm_up();
    EXPECT_FALSE(co_await is_overwritten("the first"));
    EXPECT_TRUE(co_await is_overwritten("as long.."));
    EXPECT_FALSE(co_await is_overwritten("longer, in its block"));
    EXPECT_FALSE(co_await is_overwritten("shorter"));
    EXPECT_FALSE(co_await is_overwritten(std::string(4096, 'x')));
    EXPECT_TRUE(co_await is_overwritten(std::string(4096, 'y')));
    EXPECT_FALSE(co_await is_overwritten(std::string(4097, 'x')));
    EXPECT_FALSE(co_await is_overwritten(std::string(4097, 'y')));
    EXPECT_FALSE(co_await is_overwritten("of one name"));
    in_place = false;
    EXPECT_FALSE(co_await is_overwritten("of two  ..."));
    in_place = true;
    EXPECT_TRUE(co_await is_overwritten("of one name"));
    std::filesystem::create_hard_link(at, directory_.path() + "/d1/kept");
    EXPECT_FALSE(co_await is_overwritten("of two name"));
    EXPECT_EQ(content("d1/kept"), "of one name");
    co_await process.journals.end();
  }());
}

Task<void> replace_many(Store& store, uint32_t first, uint32_t times, uint64_t& failed) {
  for (uint32_t version = 1; version <= times; ++version) {
    auto done = co_await store.replace(
        {fmt::format("stage/{}.{}", first, version), name_of(first), text_of(version)});
    failed += done ? 0 : 1;
  }
}

TEST_F(LocalJournal, TheLoopsOfAProcessShareIt) {
  Process process(directory_.path());
  OtherLoop other(process, directory_.path());
  uint64_t failed = 0, failed_there = 0;
  process.loop->run_until_done([&]() -> Task<void> {
    EXPECT_TRUE(co_await process.store->begin());
    co_await process.warm_up();
    TaskGroup group(*process.loop);
    for (uint32_t file = 0; file < 10; ++file) group.spawn(replace_many(*process.store, file, 30, failed));
    co_await other.loop->switch_to();
    {
      TaskGroup there(*other.loop);
      for (uint32_t file = 10; file < 20; ++file)
        there.spawn(replace_many(*other.store, file, 30, failed_there));
      co_await there.join();
      EXPECT_TRUE(co_await other.store->rename("d0/f0.info", "d0/g", RenameMode::kReplace, Durable::kYes));
    }
    other.store.reset();
    co_await process.loop->switch_to();
    co_await group.join();
    co_await process.journals.end();
  }());
  other.end();
  EXPECT_EQ(failed + failed_there, 0u);
  for (uint32_t file = 1; file < 20; ++file) EXPECT_EQ(content(name_of(file)), text_of(30)) << file;
}

// Answers the newest version that is in the file by then.
Task<void> replace_where_it_is(Store& store, uint32_t file, const std::atomic<bool>& over, uint64_t& newest) {
  for (uint64_t version = 1; !over; ++version) {
    auto done = co_await store.replace(
        {fmt::format("stage/{}.{}", file, version), fmt::format("d0/{}.info", file), text_of(version)});
    if (done)
      newest = version;
    else
      EXPECT_EQ(done.error().code(), Code::kNotFound) << done.error().to_string();
  }
}

TEST_F(LocalJournal, ADirectoryThatAnotherLoopRenamesTakesAlongWhatWasAnswered) {
  constexpr int kTimes = 200;
  constexpr uint32_t kFiles = 8;
  Process process(directory_.path());
  OtherLoop other(process, directory_.path());
  std::array<uint64_t, kFiles> newest = {};
  std::atomic<bool> over{false};
  process.loop->run_until_done([&]() -> Task<void> {
    EXPECT_TRUE(co_await process.store->begin());
    co_await process.warm_up();
    TaskGroup group(*process.loop);
    for (uint32_t file = 0; file < kFiles; ++file)
      group.spawn(replace_where_it_is(*process.store, file, over, newest[file]));
    for (int i = 0; i < kTimes; ++i) {
      const Durable durable = i % 3 == 0 ? Durable::kYes : Durable::kNo;
      co_await other.loop->switch_to();
      auto there = co_await other.store->rename("d0", "e0", RenameMode::kNoReplace, durable);
      auto back = co_await other.store->rename("e0", "d0", RenameMode::kNoReplace, durable);
      co_await process.loop->switch_to();
      EXPECT_TRUE(there && back);
      for (uint32_t file = 0; file < kFiles; ++file) {
        const uint64_t least = newest[file];  // read afterwards: it may be newer
        EXPECT_GE(version_of(content(fmt::format("d0/{}.info", file))).value_or(0), least) << file;
      }
    }
    over = true;
    co_await group.join();
    co_await other.loop->switch_to();
    other.store.reset();
    co_await process.loop->switch_to();
    co_await process.journals.end();
  }());
  other.end();
  for (uint32_t file = 0; file < kFiles; ++file) {
    EXPECT_GT(newest[file], 0u) << file;
    EXPECT_EQ(content(fmt::format("d0/{}.info", file)), text_of(newest[file])) << file;
  }
}

TEST(JournalPaths, WhatIsClaimedOrHasARecordIsNotHeldAtOnceAndWhatIsHeldIsNotClaimed) {
  using Claim = JournalPaths::Claim;
  JournalPaths paths;
  ASSERT_EQ(paths.claim("a/b/c.info"), Claim::kClaimed);
  for (const char* held : {"a/b/c.info", "a/b", "a"}) EXPECT_FALSE(paths.hold_if_unused({held})) << held;
  EXPECT_TRUE(paths.any_claimed_below("a/b"));
  for (const char* beside : {"a/b/c.inf", "a/b/c", "b"}) {
    auto held = paths.hold_if_unused({beside});
    ASSERT_TRUE(held) << beside;
    EXPECT_FALSE(paths.release(*held));
  }
  paths.recorded(1, "a/b/c.info");
  paths.unclaim("a/b/c.info");
  EXPECT_FALSE(paths.hold_if_unused({"x", "a/b"}));
  EXPECT_EQ(paths.pending_below("a", 8), std::vector<std::string>{"a/b/c.info"});
  paths.settled("a/b/c.info");
  EXPECT_FALSE(paths.is_pending("a/b/c.info"));

  auto held = paths.hold_if_unused({"a/b"});
  ASSERT_TRUE(held);
  EXPECT_EQ(paths.claim("a/b/c.info"), Claim::kHeld);
  EXPECT_EQ(paths.claim("a/d.info"), Claim::kClaimed);
  EXPECT_TRUE(paths.release(*held)) << "one waits";
  paths.waited();

  paths.note_name("", "a/b");
  EXPECT_EQ(paths.claim("a/b/c.info"), Claim::kNameAbove);
  const auto names = paths.names_above("a/b/c.info");
  ASSERT_EQ(names.size(), 1u);
  paths.note_name("e", "a/b");
  paths.name_durable(names.front());  // the note before
  EXPECT_EQ(paths.claim("a/b/c.info"), Claim::kNameAbove);
  paths.names_durable(paths.names_noted());
  EXPECT_EQ(paths.claim("a/b/c.info"), Claim::kClaimed);
}

// Tells over the pipe which version of which file was answered, until it is killed.
[[noreturn]] void replace_until_killed(const std::string& root, int tell) {
  Process process(root);
  auto one = [](Store& into, uint32_t file, int to) -> Task<void> {
    for (uint64_t version = 1;; ++version) {
      auto replaced = co_await into.replace(
          {fmt::format("stage/{}.{}.{}", getpid(), file, version), name_of(file), text_of(version)});
      const std::pair<uint32_t, uint64_t> answered{file, version};
      if (!replaced || write(to, &answered, sizeof answered) != sizeof answered) _exit(3);
    }
  };
  process.loop->run_until_done([&]() -> Task<void> {
    if (!co_await process.store->begin()) _exit(5);
  }());
  for (uint32_t file = 0; file < kMany; ++file) process.loop->spawn(one(*process.store, file, tell));
  process.loop->run();
  _exit(4);
}

TEST_F(LocalJournal, AProcessThatIsKilledLeavesEachFileWholeAndNoOlderThanItHasAnswered) {
  uint64_t answered = 0;
  for (int round = 0; round < 8; ++round) {
    for (uint32_t file = 0; file < kMany; ++file)
      std::filesystem::remove(directory_.path() + "/" + name_of(file));
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) replace_until_killed(directory_.path(), ends[1]);
    close(ends[1]);
    std::map<uint32_t, uint64_t> last;
    auto hear = [&] {
      std::pair<uint32_t, uint64_t> heard;
      if (read(ends[0], &heard, sizeof heard) != sizeof heard) return false;
      last[heard.first] = heard.second;
      ++answered;
      return true;
    };
    for (int i = 0; i < 300 + round * 157; ++i) ASSERT_TRUE(hear());
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    while (hear()) {
    }
    close(ends[0]);
    // What a crash of the system would have lost of them is lost: the journal alone has it.
    for (uint32_t file = 0; file < kMany; file += 2)
      if (has(name_of(file)) && last[file] > 1) std::ofstream(directory_.path() + "/" + name_of(file)) << "";
    Process next(directory_.path());
    next.loop->run_until_done([&]() -> Task<void> {
      auto begun = co_await next.store->begin();
      EXPECT_TRUE(begun) << begun.error().to_string();
      co_await next.journals.end();
    }());
    for (uint32_t file = 0; file < kMany; ++file) {
      const std::string text = content(name_of(file));
      if (!has(name_of(file)) && last[file] == 0) continue;
      const auto version = version_of(text);
      if (text.empty() && last[file] <= kMany) continue;  // it may have been replaced without the journal
      ASSERT_TRUE(version) << name_of(file) << " is not whole";
      EXPECT_GE(*version, last[file]) << name_of(file);
    }
  }
  EXPECT_GT(answered, 2000u);
}

TEST_F(LocalJournal, WhatAnEarlierProcessHasLeftIsReplayedWhereNoneIsUsedAnyMore) {
  std::filesystem::create_directory(directory_.path() + "/.canopy/journal");
  journal::Header header{1, 42, false};
  std::string bytes(journal::kBatchesAt, '\0');
  bytes.replace(journal::header_offset(header), journal::kBlockBytes, journal::print_header(header));
  journal::append_record(bytes, 42, {1, 1, journal::Kind::kReplaced, "d0/a.info", "of the journal"});
  journal::append_record(bytes, 42, {2, 1, journal::Kind::kReplaced, "d0/b.info", "settled since"});
  journal::append_record(bytes, 42, {3, 1, journal::Kind::kReplaced, "gone/c.info", "c"});
  journal::append_record(bytes, 42, {4, 1, journal::Kind::kSettled, "d0/b.info", ""});
  std::ofstream(directory_.path() + "/" + journal::file_path(0)) << bytes;
  std::ofstream(directory_.path() + "/d0/a.info") << "old";
  std::ofstream(directory_.path() + "/d0/b.info") << "newer";
  Process process(directory_.path());
  auto shared = process.journals.open(*process.loop, directory_.path(), {.workers = &process.workers});
  ASSERT_TRUE(shared);
  process.store.reset();
  shared->reset();
  process.loop->run_until_done([&]() -> Task<void> { co_await process.loop->sleep(50 * kMillisecond); }());
  EXPECT_EQ(content("d0/a.info"), "old");  // nobody has begun
  auto again =
      process.journals.open(*process.loop, directory_.path(), {.shared = true, .workers = &process.workers});
  ASSERT_TRUE(again);
  process.store = std::move(*again);
  process.loop->run_until_done([&]() -> Task<void> { EXPECT_TRUE(co_await process.store->begin()); }());
  EXPECT_EQ(content("d0/a.info"), "of the journal");
  EXPECT_EQ(content("d0/b.info"), "newer");
  EXPECT_FALSE(has("gone"));
  EXPECT_FALSE(has(std::string(journal::kDirectory)));
}

}  // namespace
}  // namespace canopy
