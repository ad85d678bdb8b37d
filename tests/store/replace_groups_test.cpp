// Files that are replaced at the same time: what is answered is there after any crash, whole, and one failed
// sync is told to all whom it concerns.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <fstream>

#include "daemon/runtime/sim_loop.h"
#include "daemon/runtime/sync.h"
#include "daemon/store/local/replace_round.h"
#include "tests/store/store_fixture.h"

namespace canopy {
namespace {

constexpr uint32_t kFiles = 12;

std::string name_of(uint32_t file) { return fmt::format("d{}/f{}", file % 3, file); }
// Whole or not is seen by its end.
std::string text_of(uint64_t version) {
  return fmt::format("{:08}{}{:08}", version, std::string(2000, 'x'), version);
}
// The version of a text; empty when it is not whole.
std::optional<uint64_t> version_of(std::string_view text) {
  if (text.size() != text_of(0).size()) return std::nullopt;
  const uint64_t version = std::strtoull(std::string(text.substr(0, 8)).c_str(), nullptr, 10);
  if (text != text_of(version)) return std::nullopt;
  return version;
}

// What of each file was asked for last, and answered.
struct Facts {
  std::array<uint64_t, kFiles> asked{}, answered{};
  uint64_t failed = 0;
};

Task<void> replace_for_ever(Store& store, Facts& facts, uint32_t file, uint32_t times) {
  for (uint64_t version = 1; version <= times; ++version) {
    facts.asked[file] = version;
    auto replaced =
        co_await store.replace({fmt::format("stage/{}.{}", file, version), name_of(file), text_of(version)});
    if (replaced)
      facts.answered[file] = version;
    else
      ++facts.failed;
  }
}

class ReplaceGroupsTest : public testing::Test {
 protected:
  ReplaceGroupsTest() {
    for (const char* name : {"stage", "d0", "d1", "d2"})
      EXPECT_TRUE(disk_.make_directory(name, 0700, Durable::kYes));
  }
  FaultyStore make(FaultPlan plan, uint64_t seed = 1) {
    plan.check_unclosed = false;
    return FaultyStore(memory_, process_, plan, seed, &server_);
  }
  std::string content(const std::string& path) {
    auto file = disk_.open(path, {});
    if (!file) return {};
    std::string bytes(1 << 16, '\0');
    bytes.resize(*disk_.read(*file, false, 0, std::span<char>(bytes.data(), bytes.size())));
    disk_.close(*file);
    return bytes;
  }
  // What is wrong with the files, if anything is.
  std::string complaint(const Facts& facts) {
    for (uint32_t file = 0; file < kFiles; ++file) {
      const bool there = disk_.attributes(name_of(file)).has_value();
      if (!there && facts.answered[file] == 0) continue;
      if (!there) return name_of(file) + " is missing";
      const auto version = version_of(content(name_of(file)));
      if (!version) return name_of(file) + " is not whole";
      if (*version < facts.answered[file] || *version > facts.asked[file])
        return fmt::format("{} has version {}, answered was {}", name_of(file), *version,
                           facts.answered[file]);
    }
    return {};
  }

  SimWorld world_{7};
  SimLoop& process_ = world_.add_loop("process");
  SimLoop& server_ = world_.add_loop("server");
  MemoryDisk disk_;
  MemoryStore memory_{&server_, disk_, {.yields_max = 2}};
};

// Replaces all files many times; the power fails before operation `at`. Answers what is wrong then.
std::string power_cut(uint64_t seed, bool lying, uint64_t& answered) {
  class Disk : public ReplaceGroupsTest {
   public:
    std::string run(uint64_t with, bool lies, uint64_t& all_answered) {
      SeededRandom random(with);
      FaultPlan plan{.delay = 0.3, .delay_max = 3 * kMillisecond, .replace_groups_from = 1};
      plan.lying_sync = lies ? 1 : 0;
      FaultyStore store = make(plan, with);
      Facts facts;
      const uint64_t at = 20 + random.below(600);
      bool over = false;
      store.on_operation([&](uint64_t index, StoreOperation, std::string_view) {
        if (index < at || over) return;
        over = true;
        store.halt();
        world_.kill(process_);
      });
      for (uint32_t file = 0; file < kFiles; ++file)
        process_.spawn(replace_for_ever(store, facts, file, 1000));
      EXPECT_TRUE(world_.run_until([&] { return over; }, 600 * kSecond));
      world_.run_for(kSecond);
      disk_.crash(with);
      for (uint64_t version : facts.answered) all_answered += version;
      return complaint(facts);
    }
    void TestBody() override {}
  };
  return Disk().run(seed, lying, answered);
}

TEST(ReplaceGroups, AfterAPowerCutAtAnyMomentEachFileIsWholeAndNoOlderThanWasAnswered) {
  uint64_t answered = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) EXPECT_EQ(power_cut(seed, false, answered), "") << seed;
  EXPECT_GT(answered, 10'000u);
}

TEST(ReplaceGroups, TheSameFindsAStoreThatLeavesItsSyncsOut) {
  uint64_t answered = 0, found = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed)
    if (!power_cut(seed, true, answered).empty()) ++found;
  EXPECT_GT(found, 20u);
}

TEST_F(ReplaceGroupsTest, ASyncThatFailsIsToldToAllWhoseNamesOrContentItWasFor) {
  FaultyStore store = make({.replace_groups_from = 1});
  Facts facts;
  uint64_t syncs = 0;
  store.on_operation([&](uint64_t, StoreOperation operation, std::string_view) {
    // Of the third round: it has renamed one group and written another.
    if (operation == StoreOperation::kSyncAll && ++syncs == 2)
      store.set_plan({.error = 1,
                      .replace_groups_from = 1,
                      .operations = FaultPlan::only(StoreOperation::kSyncAll),
                      .check_unclosed = false});
    if (operation == StoreOperation::kOpen && syncs >= 3)
      store.set_plan({.replace_groups_from = 1, .check_unclosed = false});
  });
  auto late = [](Store& into, Facts& of, Loop& loop, uint32_t file) -> Task<void> {
    co_await loop.yield();
    co_await replace_for_ever(into, of, file, 1);
  };
  auto all = [&]() -> Task<void> {
    TaskGroup group(process_);
    for (uint32_t file = 0; file < kFiles; ++file)
      group.spawn(file % 2 == 0 ? replace_for_ever(store, facts, file, 1)
                                : late(store, facts, process_, file));
    co_await group.join();
  };
  ASSERT_TRUE(world_.run_until_done(process_, all(), 600 * kSecond));
  EXPECT_GT(facts.failed, 0u);
  EXPECT_EQ(complaint(facts), "");
  // Those after it go on.
  store.set_plan({.replace_groups_from = 1, .check_unclosed = false});
  ASSERT_TRUE(world_
                  .run_until_done(process_, store.replace({"stage/new", name_of(0), text_of(77)}),
                                  world_.now() + 600 * kSecond)
                  ->has_value());
  EXPECT_EQ(content(name_of(0)), text_of(77));
}

TEST_F(ReplaceGroupsTest, ManyShareAFewSyncsAndFewDoNot) {
  FaultyStore store = make({.replace_groups_from = 4});
  Facts facts;
  auto many = [&](uint32_t count) -> Task<void> {
    TaskGroup group(process_);
    for (uint32_t file = 0; file < count; ++file) group.spawn(replace_for_ever(store, facts, file, 1));
    co_await group.join();
  };
  ASSERT_TRUE(world_.run_until_done(process_, many(3), 600 * kSecond));
  EXPECT_EQ(store.count(StoreOperation::kSyncAll), 0u);
  facts = {};
  ASSERT_TRUE(disk_.remove(name_of(0), Durable::kYes));
  for (uint32_t file = 0; file < kFiles; ++file) facts.asked[file] = 0;
  auto rest = [&]() -> Task<void> {
    TaskGroup group(process_);
    for (uint32_t file = 3; file < kFiles; ++file) group.spawn(replace_for_ever(store, facts, file, 1));
    co_await group.join();
  };
  ASSERT_TRUE(world_.run_until_done(process_, rest(), world_.now() + 600 * kSecond));
  EXPECT_EQ(facts.failed, 0u);
  EXPECT_GT(store.count(StoreOperation::kSyncAll), 0u);
  EXPECT_LE(store.count(StoreOperation::kSyncAll), 4u);
}

TEST_F(ReplaceGroupsTest, AfterARoundThatTookLongFilesGoOneByOneForAWhile) {
  FaultyStore store = make({.sync_delay = 3 * kSecond, .replace_groups_from = 1});
  auto once = [&](uint64_t version) {
    auto replaced = world_.run_until_done(
        process_, store.replace({fmt::format("stage/{}", version), name_of(0), text_of(version)}),
        world_.now() + 600 * kSecond);
    return replaced && *replaced;
  };
  ASSERT_TRUE(once(1));
  const uint64_t before = store.count(StoreOperation::kSyncAll);
  EXPECT_GT(before, 0u);
  ASSERT_TRUE(once(2));
  EXPECT_EQ(store.count(StoreOperation::kSyncAll), before);
  world_.run_for(kReplaceAloneAfterLong * 7 * kSecond);
  ASSERT_TRUE(once(3));
  EXPECT_GT(store.count(StoreOperation::kSyncAll), before);
}

// ------------------------------------------------------------------------------------------- on a real disk

constexpr uint32_t kMany = kReplaceGroupsFrom + 36;

class LocalGroups : public testing::Test {
 protected:
  LocalGroups() {
    for (const char* name : {"stage", "d0", "d1", "d2"})
      std::filesystem::create_directory(directory_.path() + "/" + name);
  }
  std::unique_ptr<LocalStore> open(UringLoop& loop, WorkerPool& workers) {
    return *LocalStore::open_root(loop, directory_.path(),
                                  {.workers = &workers, .replace_groups_from = kReplaceGroupsFrom});
  }
  std::string content(const std::string& path) {
    std::ifstream file(directory_.path() + "/" + path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  TemporaryDirectory directory_;
};

TEST_F(LocalGroups, EachOfAGroupHasItsOwnOutcome) {
  auto loop = *UringLoop::create();
  WorkerPool workers("files", 2, 100);
  auto store = open(*loop, workers);
  std::filesystem::create_symlink("d0", directory_.path() + "/link");
  std::filesystem::create_directory(directory_.path() + "/d0/taken");
  std::ofstream(directory_.path() + "/stage/used") << "of somebody else";
  std::vector<Code> codes(kMany, Code::kInternal);
  auto one = [](Store& into, Code& code, Replacement what) -> Task<void> {
    auto replaced = co_await into.replace(std::move(what));
    code = replaced ? Code::kOk : replaced.error().code();
  };
  loop->run_until_done([&]() -> Task<void> {
    TaskGroup group(*loop);
    for (uint32_t i = 0; i < kMany; ++i) {
      Replacement what{fmt::format("stage/{}", i), fmt::format("d1/f{}", i), text_of(i)};
      if (i == 90) what.path = "none/f";
      if (i == 91) what.path = "link/f";
      if (i == 92) what.path = "d0/taken";
      if (i == 93) what.staged = "stage/used";
      if (i == 94) what.staged = "../out";
      group.spawn(one(*store, codes[i], std::move(what)));
    }
    co_await group.join();
  }());
  EXPECT_GT(store->replace_groups().rounds(), 0u);
  EXPECT_LT(store->replace_groups().rounds(), 10u);
  for (uint32_t i = 0; i < kMany; ++i) {
    if (i >= 90 && i <= 94) continue;
    EXPECT_EQ(codes[i], Code::kOk) << i;
    EXPECT_EQ(content(fmt::format("d1/f{}", i)), text_of(i)) << i;
    EXPECT_FALSE(std::filesystem::exists(directory_.path() + fmt::format("/stage/{}", i)));
  }
  EXPECT_EQ(codes[90], Code::kNotFound);
  EXPECT_EQ(codes[91], Code::kLoop);
  EXPECT_EQ(codes[92], Code::kIsDirectory);
  EXPECT_EQ(codes[93], Code::kAlreadyExists);
  EXPECT_EQ(codes[94], Code::kInvalidArgument);
  EXPECT_EQ(content("stage/used"), "of somebody else");
  EXPECT_FALSE(std::filesystem::exists(directory_.path() + "/d0/f"));
}

// Tells over the pipe which version of which file was answered, until it is killed.
[[noreturn]] void replace_until_killed(const std::string& root, int tell) {
  auto loop = *UringLoop::create();
  WorkerPool workers("files", 2, 100);
  auto store =
      *LocalStore::open_root(*loop, root, {.workers = &workers, .replace_groups_from = kReplaceGroupsFrom});
  auto one = [](Store& into, uint32_t file, int to) -> Task<void> {
    for (uint64_t version = 1;; ++version) {
      auto replaced = co_await into.replace(
          {fmt::format("stage/{}.{}.{}", getpid(), file, version), name_of(file), text_of(version)});
      const std::pair<uint32_t, uint64_t> answered{file, version};
      if (!replaced || write(to, &answered, sizeof answered) != sizeof answered) _exit(3);
    }
  };
  for (uint32_t file = 0; file < kMany; ++file) loop->spawn(one(*store, file, tell));
  loop->run();
  _exit(4);
}

TEST_F(LocalGroups, AProcessThatIsKilledLeavesEachFileWholeAndNoOlderThanItHasAnswered) {
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
    for (int i = 0; i < 100 + round * 57; ++i) ASSERT_TRUE(hear());
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    while (hear()) {
    }
    close(ends[0]);
    for (uint32_t file = 0; file < kMany; ++file) {
      const std::string text = content(name_of(file));
      if (text.empty() && last[file] == 0) continue;
      const auto version = version_of(text);
      ASSERT_TRUE(version) << name_of(file) << " is not whole";
      EXPECT_GE(*version, last[file]) << name_of(file);
    }
  }
  EXPECT_GT(answered, 500u);
}

}  // namespace
}  // namespace canopy
