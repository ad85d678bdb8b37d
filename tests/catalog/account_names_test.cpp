// Listing accounts from the catalog: the answer is the tree's, whatever happened to the rows.
#include "daemon/dict/dict.h"
#include "tests/catalog/catalog_fixture.h"

namespace canopy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class AccountNamesTest : public CatalogTest {
 protected:
  AccountNamesTest() : disk_({.wall_clock_ns = [this] { return loop.wall_clock_ns(); }}) {}
  ~AccountNamesTest() override { stop(); }

  void use_domain(std::string foldering, std::string name = "company.com") {
    dict::VersionedDict settings;
    settings.dict.set(kAccountFolderingKey, foldering);
    domain = *make_domain(TreeSettings{}, std::move(name), settings);
    CANOPY_CHECK(run(make_directories(store, domain->directory(), 0700, Durable::kYes)).has_value());
  }
  // A process begins: with what the catalog held before.
  void start() {
    stop();
    catalog = std::make_unique<Catalog>(options());
    run(catalog->start(loop));
    names = std::make_unique<AccountNames>(loop, store, catalog.get());
  }
  void stop() {
    if (names) run(names->stop());
    names.reset();
    catalog.reset();
  }
  // By hand: nobody tells.
  void make(const std::string& account) {
    auto made = run(make_directories(store, domain->layout.account_directory({account, domain->name}), 0700,
                                     Durable::kYes));
    CANOPY_CHECK(made.has_value());
  }
  void drop(const std::string& account) {
    auto gone =
        run(store.remove_directory(domain->layout.account_directory({account, domain->name}), Durable::kYes));
    CANOPY_CHECK(gone.has_value());
  }
  void create(const std::string& account) {
    make(account);
    names->changed({account, domain->name}, true);
  }
  void remove(const std::string& account) {
    drop(account);
    names->changed({account, domain->name}, false);
  }

  NamePage page(std::string after, std::string prefix, size_t limit) {
    auto page = run(names->list(domain, after, prefix, limit));
    if (!page) ADD_FAILURE() << page.error().to_string();
    return page ? *page : NamePage();
  }
  std::vector<std::string> all(size_t limit = 7, std::string prefix = "") {
    std::vector<std::string> out;
    for (bool end = false; !end;) {
      NamePage next = page(out.empty() ? "" : out.back(), prefix, limit);
      EXPECT_LE(next.names.size(), limit);
      out.insert(out.end(), next.names.begin(), next.names.end());
      end = next.end || next.names.empty();
    }
    return out;
  }
  std::vector<std::string> tree(std::string prefix = "") {
    return run(list_accounts(store, domain, "", prefix, 1'000'000))->names;
  }
  uint64_t walked() { return catalog->counters().domains_walked.load(); }
  uint64_t pages_walked() { return catalog->counters().pages_walked.load(); }
  void settle() { world.run_for(10 * kSecond); }

  MemoryDisk disk_;
  MemoryStore store{&loop, disk_, {}};
  std::shared_ptr<const Domain> domain;
  std::unique_ptr<Catalog> catalog;
  std::unique_ptr<AccountNames> names;
};

TEST_F(AccountNamesTest, PagesAreThoseOfTheTreeUnderEveryFoldering) {
  for (std::string foldering : {"flat", "2-1", "hash-1-1"}) {
    use_domain(foldering, foldering + ".example.com");
    for (int i = 0; i < 300; ++i) make(fmt::format("{}{}", i % 3 == 0 ? "anna" : "bob", i * 7919 % 1000));
    start();
    EXPECT_EQ(all(), tree()) << foldering;
    EXPECT_EQ(all(1000), tree()) << foldering;
    EXPECT_EQ(all(10, "anna1"), tree("anna1")) << foldering;
    EXPECT_THAT(page("anna9", "anna1", 5).names, IsEmpty());
    EXPECT_EQ(page("", "b", 2).names, page("anna999", "", 2).names) << foldering;
    EXPECT_EQ(walked(), 1u);
    EXPECT_EQ(pages_walked(), 0u);
  }
}

TEST_F(AccountNamesTest, AnExactlyFullPageIsTheLast) {
  use_domain("flat");
  for (std::string account : {"a", "b", "c"}) make(account);
  start();
  NamePage full = page("", "", 3);
  EXPECT_THAT(full.names, ElementsAre("a", "b", "c"));
  EXPECT_TRUE(full.end);
  NamePage two = page("", "", 2);
  EXPECT_FALSE(two.end);
}

// Whoever lists with newer settings of the domain gives the rows up that others are about to read.
TEST_F(AccountNamesTest, RowsThatAreGivenUpWhileAPageIsReadDoNotMakeItEmpty) {
  use_domain("flat");
  for (int i = 0; i < 50; ++i) make(fmt::format("user{}", i));
  start();
  ASSERT_EQ(all(100).size(), 50u);
  auto list = [](AccountNames& of, std::shared_ptr<const Domain> as) -> Task<Result<NamePage>> {
    co_return co_await of.list(std::move(as), "", "", 100);
  };
  for (int round = 0; round < 20; ++round) {
    const auto newer = std::make_shared<const Domain>(*domain);
    std::vector<Task<Result<NamePage>>> at_once;
    for (const auto& as : {domain, domain, newer, domain, newer}) at_once.push_back(list(*names, as));
    for (const Result<NamePage>& page : run(join_all(loop, std::move(at_once)))) {
      ASSERT_TRUE(page) << page.error().to_string();
      EXPECT_EQ(page->names.size(), 50u) << round;
    }
    domain = newer;
  }
}

// From a folder that a walk reads late to one that it has read, at every moment of the walk.
TEST_F(AccountNamesTest, AnAccountThatMovesMeanwhileIsListedWithAndWithoutACatalog) {
  use_domain("flat");
  for (std::string account : {"a", "b"}) make(account);
  MemoryStore slow(&loop, disk_, {.yields_max = 3});
  const std::string there = domain->layout.account_directory({"zoe", domain->name});
  const std::string before = domain->directory() + "/z.sub/zoe.macnt";
  CANOPY_CHECK(run(make_directories(store, before, 0700, Durable::kYes)).has_value());
  for (bool with_catalog : {false, true}) {
    bool listed_last = false;
    for (int moved_at = 0; !listed_last; ++moved_at) {
      ASSERT_LT(moved_at, 1000);
      stop();
      catalog = std::make_unique<Catalog>(options());
      std::filesystem::remove_all(directory + "/catalog");
      run(catalog->start(loop));
      names = std::make_unique<AccountNames>(loop, slow, with_catalog ? catalog.get() : nullptr);
      std::optional<Result<NamePage>> page;
      loop.spawn(sync_detail::run_into(names->list(domain, "", "", 1000), page));
      int steps = 0;
      world.run_until([&] { return page.has_value() || ++steps > moved_at; }, kNever);
      listed_last = page.has_value();
      auto go_on = [&, left = 0]() mutable {
        left = 3;
        world.run_until([&] { return page.has_value() || --left < 0; }, kNever);
      };
      names->moves({"zoe", domain->name}, true);
      go_on();
      CANOPY_CHECK(run(store.rename(before, there, RenameMode::kNoReplace, Durable::kYes)).has_value());
      const std::string emptied = domain->directory() + "/z.sub";  // a walk may be about to read it
      CANOPY_CHECK(run(store.remove_directory(emptied, Durable::kYes)).has_value());
      go_on();
      names->moves({"zoe", domain->name}, false);
      world.run_until([&] { return page.has_value(); }, kNever);
      ASSERT_TRUE(page->has_value()) << page->error().to_string();
      EXPECT_THAT((*page)->names, ElementsAre("a", "b", "zoe")) << with_catalog << " " << moved_at;
      CANOPY_CHECK(run(make_directories(store, emptied, 0700, Durable::kYes)).has_value());
      CANOPY_CHECK(run(store.rename(there, before, RenameMode::kNoReplace, Durable::kYes)).has_value());
    }
  }
}

TEST_F(AccountNamesTest, OwnChangesShowInTheNextPageWithoutAWalk) {
  use_domain("1");
  make("anna");
  make("bob");
  settle();
  start();
  EXPECT_THAT(all(), ElementsAre("anna", "bob"));
  create("carl");
  remove("anna");
  EXPECT_THAT(all(), ElementsAre("bob", "carl"));
  create("anna");
  EXPECT_THAT(all(1), ElementsAre("anna", "bob", "carl"));
  EXPECT_EQ(walked(), 1u);
}

TEST_F(AccountNamesTest, WhatOthersDidShowsInTheNextListing) {
  use_domain("1");
  make("anna");
  settle();
  start();
  EXPECT_THAT(all(), ElementsAre("anna"));
  world.run_for(kSecond);
  make("bob");
  EXPECT_THAT(all(), ElementsAre("anna", "bob"));
  settle();
  EXPECT_THAT(all(), ElementsAre("anna", "bob"));
  world.run_for(kSecond);  // comparing stamps takes a small share of the time at most
  drop("anna");
  EXPECT_THAT(all(), ElementsAre("bob"));
}

TEST_F(AccountNamesTest, WhatOthersDidBesideOwnChangesShowsAfterThePause) {
  use_domain("flat");
  make("anna");
  settle();
  start();
  EXPECT_THAT(all(), ElementsAre("anna"));
  create("bob");
  make("carl");
  EXPECT_THAT(all(), ElementsAre("anna", "bob"));
  world.run_for(kNamesRewalkMin);
  EXPECT_THAT(all(), ElementsAre("anna", "bob", "carl"));
}

TEST_F(AccountNamesTest, AnotherProcessTrustsTheRowsOnlyWhereNothingMoved) {
  use_domain("1-1");
  for (int i = 0; i < 50; ++i) make(fmt::format("user{}", i));
  settle();
  start();
  all();
  settle();
  start();
  EXPECT_EQ(all(), tree());
  EXPECT_EQ(walked(), 0u);
  stop();
  make("zoe");  // while nobody serves
  start();
  EXPECT_EQ(all(), tree());
  EXPECT_EQ(walked(), 1u);
}

TEST_F(AccountNamesTest, ChangesThatNeverReachedTheRowsAreFoundAfterARestart) {
  use_domain("flat");
  make("anna");
  make("bob");
  settle();
  start();
  all();
  settle();
  all();
  create("carl");
  remove("bob");  // and the process dies: the changes were in memory only
  start();
  EXPECT_THAT(all(), ElementsAre("anna", "carl"));
}

TEST_F(AccountNamesTest, ARowIsYoungerThanItsStampCanTell) {
  use_domain("flat");
  make("anna");
  start();  // the directory changed within the granularity of its time
  EXPECT_THAT(all(), ElementsAre("anna"));
  start();
  EXPECT_THAT(all(), ElementsAre("anna"));
  EXPECT_EQ(walked(), 1u);  // again
}

TEST_F(AccountNamesTest, AChangeOfUnknownOutcomeIsLookedFor) {
  use_domain("flat");
  make("anna");
  settle();
  start();
  all();
  make("bob");
  names->changed({"bob", domain->name}, std::nullopt);
  EXPECT_THAT(all(), ElementsAre("anna", "bob"));
}

TEST_F(AccountNamesTest, WithoutACatalogEveryPageIsAWalk) {
  use_domain("1");
  make("anna");
  make("bob");
  AccountNames plain(loop, store, nullptr);
  auto page = run(plain.list(domain, "", "", 10));
  ASSERT_TRUE(page);
  EXPECT_THAT(page->names, ElementsAre("anna", "bob"));
  run(plain.stop());
}

TEST_F(AccountNamesTest, ADeletedCatalogIsMadeAnewWhileServing) {
  use_domain("flat");
  for (int i = 0; i < 2000; ++i) make(fmt::format("user{:04}", i));
  settle();
  start();
  EXPECT_EQ(all(500), tree());
  std::filesystem::remove_all(options().directory);
  for (int i = 2000; i < 4000; ++i) create(fmt::format("user{:04}", i));
  EXPECT_EQ(all(500), tree());
  stop();
  std::filesystem::remove_all(options().directory);
  start();
  EXPECT_EQ(all(500), tree());
  EXPECT_EQ(walked(), 1u);
}

TEST_F(AccountNamesTest, ADomainOfTheSameNameIsAnotherDomain) {
  use_domain("flat");
  make("anna");
  settle();
  start();
  EXPECT_THAT(all(), ElementsAre("anna"));
  drop("anna");
  CANOPY_CHECK(run(store.remove_directory(domain->directory(), Durable::kYes)).has_value());
  names->keep_only(DomainTable());
  use_domain("flat");
  EXPECT_THAT(all(), IsEmpty());
  settle();
  make("bob");
  EXPECT_THAT(all(), ElementsAre("bob"));
}

TEST_F(AccountNamesTest, CheckFindsAndDropsRowsThatAreNotTheTrees) {
  use_domain("flat");
  for (std::string account : {"anna", "bob", "carl"}) make(account);
  settle();
  start();
  all();
  EXPECT_THAT(*run(names->check(domain)), IsEmpty());
  // A defect of the catalog's: it forgets one name and invents another.
  names->changed({"bob", domain->name}, false);
  names->changed({"mallory", domain->name}, true);
  EXPECT_THAT(all(), ElementsAre("anna", "carl", "mallory"));
  EXPECT_THAT(*run(names->check(domain)), ElementsAre("bob", "mallory"));
  EXPECT_THAT(all(), ElementsAre("anna", "bob", "carl"));
}

// Creations and removals while walks are under way, at every interleaving that the seeds find: never a wrong
// page.
TEST_F(AccountNamesTest, ChangesDuringAWalkAreNeverLost) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    MemoryStore slow{&loop, disk_, {.yields_max = 3, .seed = seed}};
    use_domain(seed % 2 == 0 ? "1-1" : "flat", fmt::format("domain{}.com", seed));
    std::set<std::string> present;
    for (int i = 0; i < 30; ++i) {
      make(fmt::format("user{}", i));
      present.insert(fmt::format("user{}", i));
    }
    settle();
    start();
    run(names->stop());
    names = std::make_unique<AccountNames>(loop, slow, catalog.get());
    SimRandom random(seed);
    std::optional<Result<NamePage>> first;
    loop.spawn(sync_detail::run_into(names->list(domain, "", "", 1000), first));
    for (int step = 0; step < 40; ++step) {
      std::string account = fmt::format("user{}", random.below(40));
      if (present.contains(account)) {
        remove(account);
        present.erase(account);
      } else {
        create(account);
        present.insert(account);
      }
      if (step % 10 == 9) {
        ASSERT_EQ(all(16), std::vector<std::string>(present.begin(), present.end())) << seed << " " << step;
      }
    }
    world.run_for(10 * kSecond);
    ASSERT_TRUE(first && *first) << seed;
    ASSERT_EQ(all(16), tree()) << seed;
  }
}

}  // namespace
}  // namespace canopy
