// One account on its way from store to store: cut off at every step, with requests that fail, are lost or
// arrive late, and processes that succeed each other, it is whole at exactly one place that counts.
#include "store_moves_fixture.h"

namespace canopy {
namespace {

TEST_P(StoreMoves, AnAccountGoesToTheStoreThatTheTableNamesAndBack) {
  create(kWho);
  ASSERT_TRUE(append(kWho, "first"));
  std::vector<std::string> wanted{"first"};
  for (const char* store : {"two", "root", "one"}) {
    SCOPED_TRACE(store);
    to(store);
    expect_whole(kWho, wanted);
    wanted.push_back(fmt::format("before {}", store));
    ASSERT_TRUE(append(kWho, wanted.back()));
    Accounts::MoveFigures figures;
    auto moved = relocate(kWho, &figures);
    ASSERT_TRUE(moved) << moved.error().to_string();
    EXPECT_EQ(*moved, Accounts::Relocated::kMoved);
    EXPECT_GT(figures.bytes_copied, 0u);
    expect_only_on(store, kWho);
    expect_whole(kWho, wanted);
    wanted.push_back(fmt::format("on {}", store));
    ASSERT_TRUE(append(kWho, wanted.back()));
    moved = relocate(kWho);
    ASSERT_TRUE(moved);
    EXPECT_EQ(*moved, Accounts::Relocated::kNothing);
    succeed();
    expect_whole(kWho, wanted);
  }
}

TEST_P(StoreMoves, AnAccountThatWasNeverUsedAndFilesOfOthersGoAlong) {
  create(kWho);
  const std::string directory = domain->layout.account_directory(kWho);
  ASSERT_TRUE(
      process->run(make_directories(*process->set, directory + "/damaged/deep", 0700, Durable::kYes)));
  auto file =
      process->run(process->set->open(directory + "/damaged/deep/notes", {.write = true, .create = true}));
  ASSERT_TRUE(file);
  const std::string_view text = "kept";
  ASSERT_TRUE(process->run((*file)->write(0, std::span(&text, 1), Durable::kYes)));
  file->reset();
  ASSERT_TRUE(
      process->run(process->set->make_symlink("notes", directory + "/damaged/deep/link", Durable::kYes)));
  to("two");
  auto moved = relocate(kWho);
  ASSERT_TRUE(moved) << moved.error().to_string();
  expect_only_on("two", kWho);
  expect_whole(kWho, {});
  auto kept = process->run(read_file(*process->set, directory + "/damaged/deep/notes", 100));
  ASSERT_TRUE(kept);
  EXPECT_EQ(*kept, "kept");
  auto link = process->run(process->set->read_symlink(directory + "/damaged/deep/link"));
  ASSERT_TRUE(link);
  EXPECT_EQ(*link, "notes");
  ASSERT_TRUE(append(kWho, "first"));
  expect_whole(kWho, {"first"});
}

TEST_P(StoreMoves, OneThatIsUsedAllTheTimeStaysAndIsWhole) {
  create(kWho);
  ASSERT_TRUE(append(kWho, "first"));
  auto used = process->run(process->accounts->open(kWho));
  ASSERT_TRUE(used);
  to("two");
  auto moved = relocate(kWho);
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_EQ(*moved, Accounts::Relocated::kInUse);
  expect_only_on("one", kWho);
  used->reset();
  moved = relocate(kWho);
  ASSERT_TRUE(moved);
  EXPECT_EQ(*moved, Accounts::Relocated::kMoved);
  expect_whole(kWho, {"first"});
}

// Users go on meanwhile; what they are told is there afterwards, once.
TEST_P(StoreMoves, WhatIsDeliveredMeanwhileComesAlong) {
  create(kWho);
  std::vector<std::string> wanted;
  for (int i = 0; i < 40; ++i) wanted.push_back(message_text(static_cast<uint32_t>(i), 20'000));
  for (const std::string& text : wanted) ASSERT_TRUE(append(kWho, text));
  FaultPlan slow = Backend::quiet();
  slow.delay = 1;
  slow.delay_max = 2 * kMillisecond;
  process->plan(slow);
  to("two");
  std::atomic<bool> over{false};
  TaskGroup beside(process->loop);
  auto deliver = [](Process& in, const std::atomic<bool>& end, std::vector<std::string>& told) -> Task<void> {
    for (uint32_t i = 1000; !end; ++i) {
      auto account = co_await in.accounts->open(kWho);
      if (!account) {
        ADD_FAILURE() << account.error().to_string();
        co_return;
      }
      const std::string text = message_text(i, 3000);
      NewMessage message;
      message.content = text;
      auto done = co_await (*account)->append(std::move(message));
      if (!done) ADD_FAILURE() << done.error().to_string();
      if (done) told.push_back(text);
      account->reset();
      co_await in.loop.sleep(kMillisecond);
    }
  };
  process->loop.post([&] { beside.spawn(deliver(*process, over, wanted)); });
  auto moved = relocate(kWho);
  over = true;
  pass(kSecond);
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_EQ(*moved, Accounts::Relocated::kMoved);
  EXPECT_GT(wanted.size(), 45u);
  process->plan(Backend::quiet());
  expect_only_on("two", kWho);
  expect_whole(kWho, wanted);
}

// One file of the domain that cannot be moved holds up no account behind it.
TEST_P(StoreMoves, AFileThatCannotMoveHoldsUpNoAccount) {
  create(kWho);
  const AccountAddress other{"zoe", "company.com"};
  create(other);
  OpenOptions options;
  options.write = options.create = true;
  auto settings = process->run(process->set->open(std::string(kFolder) + "/domain.settings", options));
  ASSERT_TRUE(settings);
  settings->reset();
  to("two");
  std::set<std::string> met;
  std::vector<std::string> files;
  MountWalk walk(
      *process->set, mounts,
      [&](std::vector<SeenAccount> page) -> Task<bool> {
        for (const SeenAccount& seen : page) met.insert(seen.address.account);
        co_return true;
      },
      [&](std::string path, std::string) -> Task<Result<void>> {
        files.push_back(path);
        co_return fail(Code::kDamaged, path, "cannot be read");
      });
  for (int twice = 0; twice < 2; ++twice) {
    met.clear();
    auto whole = process->run(walk.run());
    ASSERT_FALSE(whole);
    EXPECT_EQ(whole.error().code(), Code::kDamaged);
    EXPECT_EQ(met, (std::set<std::string>{"jsmith", "zoe"}));
  }
  EXPECT_EQ(files.size(), 2u);
}

// What a compaction has written anew since is told before the account is held for it.
TEST_P(StoreMoves, ACopySaysWhatItLacks) {
  create(kWho);
  ASSERT_TRUE(append(kWho, message_text(1, 20'000)));
  auto account = process->run(process->accounts->open(kWho));
  ASSERT_TRUE(account);
  std::vector<SliceInfo> slices = (*account)->slices();
  AccountCopy copy(*process->set, process->loop, domain->layout.account_directory(kWho),
                   ".stores/two/.canopy/copy");
  ASSERT_TRUE(process->run(make_directories(*process->set, ".stores/two/.canopy", 0700, Durable::kYes)));
  ASSERT_TRUE(process->run(copy.begin()));
  EXPECT_GT(copy.missing(slices), 20'000u);
  ASSERT_TRUE(process->run(copy.follow(slices)));
  EXPECT_EQ(copy.missing(slices), 0u);
  SliceInfo written_anew = slices.front();
  written_anew.file = "other";
  written_anew.entry.length = 10u << 20;
  slices.push_back(written_anew);
  slices.front().entry.length += 100;
  EXPECT_EQ(copy.missing(slices), (10u << 20) + 100);
}

// The process ends right before each operation of the move in turn. The next one finds everything, moves it
// on, or back.
TEST_P(StoreMoves, CutOffAtEveryStep) {
  for (const bool back : {false, true}) {
    for (uint64_t steps = 1;; ++steps) {
      SCOPED_TRACE(fmt::format("cut off at step {}, back {}", steps, back));
      const AccountAddress who{fmt::format("jsmith{}-{}", steps, back), "company.com"};
      to("one");
      create(who);
      ASSERT_TRUE(append(who, "first"));
      to("two");
      process->cut_at = process->operations + steps;
      auto moved = world.run_until_done(
          process->loop, process->accounts->relocate(who, domain->layout.account_directory(who)),
          world.now() + 20 * kSecond);
      const bool ended = moved.has_value() && moved->has_value() && **moved == Accounts::Relocated::kMoved;
      succeed();
      expect_whole(who, {"first"});
      EXPECT_TRUE(is_on("one", who) || is_on("two", who));
      if (back) to("one");
      ASSERT_TRUE(append(who, "second"));
      auto again = relocate(who);
      ASSERT_TRUE(again) << again.error().to_string();
      expect_only_on(back ? "one" : "two", who);
      expect_whole(who, {"first", "second"});
      ASSERT_TRUE(append(who, "third"));
      succeed();
      expect_whole(who, {"first", "second", "third"});
      if (ended) break;
    }
  }
}

// Of two stores the one that is away says nothing of the other's accounts, but for one that may have gone
// there.
TEST_P(StoreMoves, AStoreThatIsAwayHoldsUpOnlyWhatMayHaveGoneThere) {
  create(kWho);
  ASSERT_TRUE(append(kWho, "first"));
  const AccountAddress other{"zoe", "company.com"};
  create(other);
  ASSERT_TRUE(append(other, "hers"));
  to("two");
  // Cut off where the copy has just been renamed: both directories are there.
  process->cut_when = [this] { return is_on("two", kWho); };
  (void)world.run_until_done(process->loop,
                             process->accounts->relocate(kWho, domain->layout.account_directory(kWho)),
                             world.now() + 20 * kSecond);
  ASSERT_TRUE(is_on("one", kWho) && is_on("two", kWho));
  process->kill();
  dead.push_back(std::move(process));
  process = std::make_unique<Process>(world, disks, configs, mounts, kEpoch + ++epochs, GetParam());
  process->away.insert("two");
  process->accounts->set_domains(table);
  process->start();
  EXPECT_EQ(code_of(append(kWho, "nowhere")), Code::kStoreUnavailable);
  EXPECT_EQ(code_of(process->run(process->accounts->remove(kWho))), Code::kStoreUnavailable);
  ASSERT_TRUE(append(other, "more"));
  process->away.clear();
  pass(2 * kSecond);
  ASSERT_TRUE(append(kWho, "second"));
  expect_whole(kWho, {"first", "second"});
  // What is left behind does not become an account again when the account goes.
  ASSERT_TRUE(process->run(process->accounts->remove(kWho)));
  EXPECT_EQ(code_of(process->run(process->accounts->settings(kWho))), Code::kNotFound);
  EXPECT_FALSE(is_on("one", kWho) || is_on("two", kWho));
}

// Requests fail, are carried out without an answer, or arrive a minute later, also after another process has
// taken over: what was acknowledged is there once, at one place.
TEST_P(StoreMoves, WhateverBecomesOfSingleRequestsNothingIsLostOrDoubled) {
  const char* stores[] = {"one", "two", "root"};
  uint64_t moves = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    SeededRandom random(seed);
    const AccountAddress who{fmt::format("user{}", seed), "company.com"};
    to("one");
    create(who);
    FaultPlan faults = Backend::quiet();
    const double often = static_cast<double>(seed % 4);
    faults.error = 0.001 + 0.002 * often;
    faults.error_code = Code::kStoreUnavailable;
    faults.lost_answer = 0.002 + 0.004 * often;
    faults.late = GetParam() ? 0.001 + 0.004 * often : 0;
    faults.delay = 0.2;
    process->plan(faults);
    std::set<std::string> told, perhaps;
    uint8_t number = 0;
    for (int step = 0; step < 12; ++step) {
      if (random.below(4) == 0) to(stores[random.below(3)]);
      if (random.below(6) == 0) {
        succeed();
        process->plan(faults);
      }
      const std::string text = message_text(++number, random.below(30'000));
      perhaps.insert(text);
      if (append(who, text, request(number))) told.insert(text);
      auto moved = relocate(who);
      if (moved && *moved == Accounts::Relocated::kMoved) ++moves;
    }
    pass(70 * kSecond);
    succeed();
    auto found = contents(who);
    ASSERT_TRUE(found) << found.error().to_string();
    const std::set<std::string> there(found->begin(), found->end());
    EXPECT_EQ(there.size(), found->size());
    EXPECT_TRUE(std::ranges::includes(there, told));
    EXPECT_TRUE(std::ranges::includes(perhaps, there));
    auto moved = relocate(who);
    ASSERT_TRUE(moved) << moved.error().to_string();
    moved = relocate(who);  // what the one before has left behind
    ASSERT_TRUE(moved) << moved.error().to_string();
    int places = 0;
    for (const auto& [name, disk] : disks.by_name) places += is_on(name, who) ? 1 : 0;
    EXPECT_EQ(places, 1);
    expect_whole(who, *found);
  }
  EXPECT_GT(moves, 20u);
}

INSTANTIATE_TEST_SUITE_P(, StoreMoves, testing::Bool(),
                         [](const auto& of) { return of.param ? "Shared" : "Alone"; });

}  // namespace
}  // namespace canopy
