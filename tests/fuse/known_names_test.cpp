#include "fuse/known_names.h"

#include <gtest/gtest.h>

#include "daemon/runtime/sim_loop.h"
#include "tests/fuse/fake_view.h"

namespace canopy::mount {
namespace {

constexpr Nanos kKept = 5 * kSecond;

// A directory with the names "0", "1" and so on.
struct KnownNamesTest : testing::Test {
  KnownNamesTest() {
    names.keep_for(kKept);
    names.follow(true);
    world.run_for(kMillisecond);  // at 0 nothing is known
  }
  Task<Result<Page>> page(NodeRef of, std::string from) {
    const bool waits = gate_shut;
    if (waits) co_await loop.sleep(kMillisecond);
    co_return co_await view.list(std::move(of), std::move(from), Listed::kNames, 0);
  }
  void miss(uint32_t times) {
    for (uint32_t i = 0; i < times; ++i) names.missed(directory);
  }
  void read_it() {
    miss(kMissesBeforeListing);
    world.run_for(100 * kMillisecond);
    ASSERT_TRUE(names.is_absent(*directory, "new"));
  }

  SimWorld world{1};
  SimLoop& loop = world.add_loop("mount");
  FakeView view{300, 100};
  bool gate_shut = false;
  KnownDirectories names{
      loop, [this](NodeRef of, std::string from) { return page(std::move(of), std::move(from)); }};
  NodeRef directory = std::make_shared<Node>();
};

TEST_F(KnownNamesTest, ASetHasWhatWasPutIntoIt) {
  NameSet set;
  EXPECT_FALSE(set.has(NameSet::hash_of("0")));
  for (int i = 0; i < 1000; ++i) set.add(NameSet::hash_of(std::to_string(i % 500)));
  EXPECT_EQ(set.size(), 500u);
  for (int i = 0; i < 500; ++i) EXPECT_TRUE(set.has(NameSet::hash_of(std::to_string(i))));
  EXPECT_FALSE(set.has(NameSet::hash_of("500")));
}

TEST_F(KnownNamesTest, AfterSomeNamesThatAreNotThereTheDirectoryIsReadAndTellsOfTheOthers) {
  miss(kMissesBeforeListing - 1);
  world.run_for(kMillisecond);
  EXPECT_EQ(view.pages, 0u);
  EXPECT_FALSE(names.is_absent(*directory, "new"));
  miss(1);
  world.run_for(kMillisecond);
  EXPECT_EQ(view.pages, 3u);
  EXPECT_TRUE(names.is_absent(*directory, "new"));
  EXPECT_FALSE(names.is_absent(*directory, "0"));
  EXPECT_FALSE(names.is_absent(*directory, "299"));
}

TEST_F(KnownNamesTest, WhatIsKnownEndsAfterAWhileAndIsReadAgainWhenThatIsWorthIt) {
  read_it();
  world.run_for(kKept);
  EXPECT_FALSE(names.is_absent(*directory, "new"));
  const size_t pages = view.pages;
  miss(kMissesBeforeListing - 1);
  world.run_for(kMillisecond);
  EXPECT_EQ(view.pages, pages);
  read_it();
}

TEST_F(KnownNamesTest, WhatOthersMakeIsNotAbsent) {
  read_it();
  names.came(*directory, "new");
  EXPECT_FALSE(names.is_absent(*directory, "new"));
  EXPECT_TRUE(names.is_absent(*directory, "another"));
}

TEST_F(KnownNamesTest, WhatIsBeingMadeIsNotAbsentAlsoWhenTheDirectoryIsReadMeanwhile) {
  {
    const auto coming = names.comes(*directory, "early");
    read_it();
    EXPECT_FALSE(names.is_absent(*directory, "early"));
  }
  {
    const auto coming = names.comes(*directory, "late");
    EXPECT_FALSE(names.is_absent(*directory, "late"));
  }
  EXPECT_FALSE(names.is_absent(*directory, "early"));
  EXPECT_FALSE(names.is_absent(*directory, "late"));
  EXPECT_TRUE(directory->known_names->coming.empty());
}

TEST_F(KnownNamesTest, WhatComesWhileTheDirectoryIsReadIsNotAbsent) {
  gate_shut = true;
  miss(kMissesBeforeListing);
  world.run_for(kMillisecond / 2);  // it waits for its first page
  EXPECT_FALSE(names.is_absent(*directory, "new"));
  names.came(*directory, "by another");
  {
    const auto coming = names.comes(*directory, "by this one");
  }
  world.run_for(10 * kMillisecond);
  EXPECT_TRUE(names.is_absent(*directory, "new"));
  EXPECT_FALSE(names.is_absent(*directory, "by another"));
  EXPECT_FALSE(names.is_absent(*directory, "by this one"));
}

TEST_F(KnownNamesTest, WhatIsForgottenMeanwhileDoesNotCountWhenItHasBeenRead) {
  gate_shut = true;
  miss(kMissesBeforeListing);
  world.run_for(kMillisecond / 2);
  names.forget_all();
  world.run_for(10 * kMillisecond);
  EXPECT_EQ(view.pages, 3u);
  EXPECT_FALSE(names.is_absent(*directory, "new"));
}

TEST_F(KnownNamesTest, NothingIsAbsentWhileChangesByOthersAreNotFollowed) {
  read_it();
  names.follow(false);
  EXPECT_FALSE(names.is_absent(*directory, "new"));
  miss(10 * kMissesBeforeListing);
  const size_t pages = view.pages;
  world.run_for(kMillisecond);
  EXPECT_EQ(view.pages, pages);
}

TEST_F(KnownNamesTest, ALargeDirectoryIsReadOnlyAfterManyQuestions) {
  FakeView large(20'000, 4'096);
  KnownDirectories of_large(loop, [&large](NodeRef of, std::string from) {
    return large.list(std::move(of), std::move(from), Listed::kNames, 0);
  });
  of_large.keep_for(kKept);
  of_large.follow(true);
  uint32_t asked = 0;
  while (!of_large.is_absent(*directory, "new") && asked < 10'000) {
    of_large.missed(directory);
    world.run_for(kMillisecond);
    ++asked;
  }
  EXPECT_GT(asked, 20'000 / kNamesListedPerMiss);
  EXPECT_LT(asked, 1'000u);
  EXPECT_FALSE(of_large.is_absent(*directory, "19999"));
  directory->known_names = nullptr;
}

TEST_F(KnownNamesTest, ANewDirectoryIsEmptyUnlessOthersMayHaveBeenInItAlready) {
  const auto begun = names.now();
  directory->known_names = names.made_since(begun);
  ASSERT_NE(directory->known_names, nullptr);
  EXPECT_TRUE(names.is_absent(*directory, "new"));
  names.stray();
  EXPECT_EQ(names.made_since(begun), nullptr);
  EXPECT_TRUE(names.is_absent(*directory, "new"));  // known by then, and told of since
  const auto later = names.now();
  names.forget_all();
  EXPECT_EQ(names.made_since(later), nullptr);
  EXPECT_FALSE(names.is_absent(*directory, "new"));
}

TEST_F(KnownNamesTest, ARenameThatOthersMayHaveOvertakenEndsWhatIsKnown) {
  read_it();
  const auto begun = names.now();
  names.renamed_since(begun);
  EXPECT_TRUE(names.is_absent(*directory, "new"));
  names.stray();
  names.renamed_since(begun);
  EXPECT_FALSE(names.is_absent(*directory, "new"));
}

TEST_F(KnownNamesTest, MoreNamesThanAreKeptAreNotKnown) {
  read_it();
  for (size_t i = 0; i < kKnownNamesPerDirectoryMax; ++i) names.came(*directory, "x" + std::to_string(i));
  EXPECT_FALSE(names.is_absent(*directory, "new"));
  EXPECT_EQ(directory->known_names->all, 0u);
}

}  // namespace
}  // namespace canopy::mount
