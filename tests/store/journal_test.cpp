// What was answered is there after any crash, whole, and nothing older comes back, whatever else is done to
// the paths in the journal.
#include "tests/store/journal_model.h"

namespace canopy {
namespace {

// CANOPY_JOURNAL_SEEDS=3000: at length.
const uint64_t kSeeds = [] {
  const char* wanted = std::getenv("CANOPY_JOURNAL_SEEDS");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 200;
}();

struct Sum {
  uint64_t answered = 0, refused = 0, checkpoints = 0, records = 0;
};

// Processes that begin, serve, and die before some operation, by a kill or a power cut, a few times.
std::string lives_and_deaths(JournalPlan plan, Sum& sum) {
  const uint64_t seed = plan.seed;
  SeededRandom random(seed);
  const uint64_t plan_size = plan.large ? 4000 : 900;  // operations
  JournalModel model(std::move(plan));
  for (int life = 0; life < 4; ++life) {
    model.start();
    // Some die while they replay.
    model.die_before(random.chance(0.3) ? 1 + random.below(40) : 30 + random.below(plan_size));
    model.serve();
    EXPECT_TRUE(model.world().run_until([&] { return model.dead(); }, model.world().now() + 3600 * kSecond))
        << "seed " << seed << ", life " << life;
    model.world().run_for(kSecond);
    sum.checkpoints += model.process().journal->checkpoints();
    sum.records += model.process().journal->records();
    const bool power = random.chance(0.6);
    if (power) model.power_cut(random.next());
    if (!model.wrong().empty()) return model.wrong();
    if (random.chance(0.5)) continue;  // the next one finds it so
    model.start();
    if (!model.begin()) return "the journal could not be replayed";
    if (std::string wrong = model.complaint(); !wrong.empty()) return wrong;
  }
  model.start();
  if (!model.begin()) return "the journal could not be replayed";
  sum.answered += model.answered();
  sum.refused += model.refused();
  return model.complaint();
}

TEST(ReplaceJournal, AfterAPowerCutAtAnyMomentEachFileIsWholeAndNoOlderThanWasAnswered) {
  Sum sum;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    JournalPlan plan{.seed = seed, .accounts = 12};
    plan.faults.delay = 0.3;
    plan.faults.delay_max = 3 * kMillisecond;
    EXPECT_EQ(lives_and_deaths(plan, sum), "") << seed;
  }
  EXPECT_GT(sum.answered, 40 * kSeeds);
  EXPECT_GT(sum.checkpoints, kSeeds);
  EXPECT_GT(sum.records, sum.answered / 2);
}

TEST(ReplaceJournal, WhatIsRemovedMovedOrWrittenOtherwiseInBetweenDoesNotComeBack) {
  Sum sum;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    JournalPlan plan{.seed = seed, .moves = true};
    plan.faults.delay = 0.3;
    plan.faults.delay_max = 3 * kMillisecond;
    EXPECT_EQ(lives_and_deaths(plan, sum), "") << seed;
  }
  EXPECT_GT(sum.answered, 40 * kSeeds);
  EXPECT_GT(sum.checkpoints, kSeeds / 2);
}

TEST(ReplaceJournal, AStoreThatRefusesAtTimesLosesNothingThatWasAnswered) {
  Sum sum;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    JournalPlan plan{.seed = seed, .moves = seed % 2 == 0};
    plan.faults.error = seed % 3 == 0 ? 0.02 : 0.003;
    plan.faults.torn_write = 0.01;
    plan.faults.delay = 0.2;
    plan.faults.delay_max = 3 * kMillisecond;
    EXPECT_EQ(lives_and_deaths(plan, sum), "") << seed;
  }
  EXPECT_GT(sum.answered, 20 * kSeeds);
  EXPECT_GT(sum.refused, kSeeds / 5);
}

TEST(ReplaceJournal, ManyFilesAreReplayedAtOnce) {
  Sum sum;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    JournalPlan plan{.seed = seed, .accounts = 200, .large = true};
    plan.faults.delay = 0.3;
    plan.faults.delay_max = 30 * kMillisecond;
    EXPECT_EQ(lives_and_deaths(plan, sum), "") << seed;
  }
  EXPECT_GT(sum.answered, 1'000u);
}

TEST(ReplaceJournal, TheSameFindsAStoreThatLeavesItsSyncsOut) {
  Sum sum;
  uint64_t found = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    JournalPlan plan{.seed = seed, .accounts = 12};
    plan.faults.lying_sync = 1;
    found += lives_and_deaths(plan, sum).empty() ? 0 : 1;
  }
  EXPECT_GT(found, 20u);
}

}  // namespace
}  // namespace canopy
