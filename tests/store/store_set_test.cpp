// Several stores as one tree: routes, merged directories, refusals, stores that are away, superseded rows.
#include "daemon/store/set/store_set.h"

#include "tests/store/store_set_fixture.h"

namespace canopy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(StoreSetTest, FilesLieWhereTheTableSaysAndParentsAreMadeThere) {
  mount_fresh(
      {"/ root", "SharedDomains/company.com/[a-d].sub one", "SharedDomains/company.com/[e-h].sub two deep"});
  for (const std::string& folder : {kA, kE, std::string(kDomain) + "/x.sub"}) {
    ok(make_directories(*set, folder + "/u.macnt", 0700, Durable::kYes));
    write(folder + "/u.macnt/1.slice", folder);
  }
  EXPECT_EQ(on("one", kA + "/u.macnt/1.slice"), kA);
  EXPECT_EQ(on("two", "deep/" + kE + "/u.macnt/1.slice"), kE);
  EXPECT_EQ(on("root", std::string(kDomain) + "/x.sub/u.macnt/1.slice"), std::string(kDomain) + "/x.sub");
  EXPECT_EQ(on("root", kA + "/u.macnt/1.slice"), "not-found");
  EXPECT_THAT(names(kDomain), ElementsAre("a.sub", "e.sub", "x.sub"));
  EXPECT_EQ(ok(set->site_of(kA + "/u.macnt")).name, "one");
  EXPECT_EQ(ok(set->site_of(kE + "/u.macnt")).root, ".stores/two");
  write("Settings", "root's");
  EXPECT_EQ(on("root", "Settings"), "root's");
}

TEST_F(StoreSetTest, WhatTheTableLeadsPastIsNotShown) {
  mount_fresh({"/ root"});
  ok(make_directories(*set, kA + "/stale.macnt", 0700, Durable::kYes));
  write(std::string(kDomain) + "/domain.settings", "{}");
  mount_fresh({"/ root", "SharedDomains/company.com/[a-d].sub one"});
  EXPECT_THAT(names(kDomain), ElementsAre("domain.settings"));
  EXPECT_EQ(refused(set->attributes(kA)).code(), Code::kNotFound);
}

TEST_F(StoreSetTest, ADirectoryOnSeveralStoresIsOneInPagesAndAttributes) {
  mount_fresh({"/ root", "SharedDomains/[m-z].sub one"});
  std::set<std::string> made;
  for (int i = 0; i < 9000; ++i) {
    const std::string name = fmt::format("d{}.example", i);
    ok(set->make_directory("SharedDomains/" + name, 0700, Durable::kNo));
    made.insert(name);
  }
  ok(set->make_directory("SharedDomains/m.sub", 0700, Durable::kNo));
  made.insert("m.sub");
  made.insert("company.com");
  std::multiset<std::string> seen;
  uint64_t cookie = 0, pages = 0;
  for (bool end = false; !end; ++pages) {
    auto page = ok(set->list("SharedDomains", cookie, Listing::kAttributes));
    ASSERT_EQ(page.entries.size(), page.attributes.size());
    for (size_t i = 0; i < page.entries.size(); ++i) {
      seen.insert(page.entries[i].name);
      ASSERT_EQ(page.entries[i].file_id, page.attributes[i].file_id);
    }
    end = page.end;
    cookie = page.next_cookie;
  }
  EXPECT_GT(pages, 2u);
  EXPECT_TRUE(std::ranges::equal(seen, made));
  const Attributes before = ok(set->attributes("SharedDomains"));
  ok(set->make_directory("SharedDomains/n.sub", 0700, Durable::kNo));  // on store one alone
  const Attributes after = ok(set->attributes("SharedDomains"));
  EXPECT_NE(after.changed, before.changed);
  EXPECT_EQ(after.file_id, before.file_id);
}

TEST_F(StoreSetTest, ADirectoryGoesOnlyWhenItIsEmptyOnAllStores) {
  mount_fresh({"/ root", "SharedDomains/company.com/[a-d].sub one"});
  ok(make_directories(*set, kA, 0700, Durable::kYes));
  const Error error = refused(set->remove_directory(kDomain, Durable::kYes));
  EXPECT_EQ(error.code(), Code::kNotEmpty);
  EXPECT_THAT(error.message(), HasSubstr("store one"));
  ok(set->remove_directory(kA, Durable::kYes));
  ok(set->remove_directory(kDomain, Durable::kYes));
  EXPECT_EQ(refused(set->attributes(kDomain)).code(), Code::kNotFound);
  EXPECT_EQ(on("one", kDomain), "not-found");
  ok(set->make_directory(kDomain, 0700, Durable::kYes));
  EXPECT_EQ(refused(set->make_directory(kDomain, 0700, Durable::kYes)).code(), Code::kAlreadyExists);
}

TEST_F(StoreSetTest, RenamesAndLinksFromStoreToStoreAreRefusedByName) {
  mount_fresh(
      {"/ root", "SharedDomains/company.com/[a-d].sub one", "SharedDomains/company.com/[e-h].sub two"});
  ok(make_directories(*set, kA + "/u.macnt", 0700, Durable::kYes));
  write(kA + "/file", "x");
  for (const Error& error :
       {refused(set->rename(kA + "/u.macnt", kE + "/u.macnt", RenameMode::kNoReplace, Durable::kYes)),
        refused(set->link(kA + "/file", kE + "/file", Durable::kYes))}) {
    EXPECT_EQ(error.code(), Code::kCrossStore);
    EXPECT_THAT(error.message(), HasSubstr("store one"));
    EXPECT_THAT(error.message(), HasSubstr("store two"));
  }
  ok(set->rename(kA + "/u.macnt", std::string(kDomain) + "/b.sub", RenameMode::kNoReplace, Durable::kYes));
  EXPECT_EQ(on("one", std::string(kDomain) + "/b.sub"), "is-directory");
  // A directory on two stores, and one whose new name would lead elsewhere below.
  EXPECT_EQ(
      refused(set->rename(kDomain, "SharedDomains/new.com", RenameMode::kNoReplace, Durable::kYes)).code(),
      Code::kUnsupported);
  ok(make_directories(*set, "SharedDomains/plain.com/a.sub", 0700, Durable::kYes));
  ok(set->rename("SharedDomains/plain.com", "SharedDomains/plainer.com", RenameMode::kNoReplace,
                 Durable::kYes));
}

TEST_F(StoreSetTest, ADirectoryOnSeveralStoresIsRenamedWhereAllStay) {
  mount_fresh({"/ root", "SharedDomains/*/fast one"});
  ok(make_directories(*set, std::string(kDomain) + "/fast", 0700, Durable::kYes));
  write(std::string(kDomain) + "/fast/u.settings", "s");
  write(std::string(kDomain) + "/domain.settings", "d");
  ok(set->rename(kDomain, "SharedDomains/new.com", RenameMode::kNoReplace, Durable::kYes));
  EXPECT_EQ(on("one", "SharedDomains/new.com/fast/u.settings"), "s");
  EXPECT_EQ(on("root", "SharedDomains/new.com/domain.settings"), "d");
  EXPECT_THAT(names("SharedDomains"), ElementsAre("new.com"));
}

TEST_F(StoreSetTest, FileIdsAreUniqueAndTheSameAfterARestart) {
  mount_fresh(
      {"/ root", "SharedDomains/company.com/[a-d].sub one", "SharedDomains/company.com/[e-h].sub two"});
  std::map<std::string, uint64_t> ids;
  for (const std::string& folder : {kA, kE, std::string(kDomain) + "/x.sub"}) {
    ok(make_directories(*set, folder, 0700, Durable::kYes));
    for (int i = 0; i < 20; ++i) {
      const std::string path = fmt::format("{}/{}", folder, i);
      write(path, "x");
      ids[path] = ok(set->attributes(path)).file_id;
      EXPECT_EQ(ok(ok(set->open(path, {}))->attributes()).file_id, ids[path]);
    }
  }
  std::set<uint64_t> unique;
  for (const auto& [path, id] : ids) {
    unique.insert(id);
    EXPECT_EQ(id >> 63, 0u);
  }
  EXPECT_EQ(unique.size(), ids.size());
  mount_fresh({"/ root"});
  mount_fresh(
      {"/ root", "SharedDomains/company.com/[a-d].sub one", "SharedDomains/company.com/[e-h].sub two"});
  for (const auto& [path, id] : ids) EXPECT_EQ(ok(set->attributes(path)).file_id, id);
}

TEST_F(StoreSetTest, AStoreThatIsAwayFailsWhatLiesOnItAlone) {
  away.insert("one");
  mount_fresh(
      {"/ root", "SharedDomains/company.com/[a-d].sub one", "SharedDomains/company.com/[e-h].sub two"});
  ok(make_directories(*set, kE + "/u.macnt", 0700, Durable::kYes));
  for (const Error& error : {refused(set->attributes(kA + "/u.macnt")), refused(set->list(kDomain, 0)),
                             refused(set->make_directory(kA, 0700, Durable::kYes)),
                             refused(set->remove_directory(kDomain, Durable::kYes))}) {
    EXPECT_EQ(error.code(), Code::kStoreUnavailable);
    EXPECT_THAT(error.message(), HasSubstr("store one unavailable"));
  }
  EXPECT_EQ(ok(set->attributes(kDomain)).type, FileType::kDirectory);
  EXPECT_EQ(set->member("one")->state(), StoreState::kDown);
  away.clear();
  for (int i = 0; i < 500 && !set->member("one")->usable(); ++i)
    run([](Loop& on) -> Task<void> { co_await on.sleep(10 * kMillisecond); }(*loop));
  ok(make_directories(*set, kA + "/u.macnt", 0700, Durable::kYes));
  EXPECT_THAT(names(kDomain), ElementsAre("a.sub", "e.sub"));
}

class StoreSetRarelyProbed : public StoreSetTest {
 protected:
  StoreSetRarelyProbed() { probe_every = 3600 * kSecond; }
  void await(const std::string& store, StoreState state) {
    auto until = [](Loop& on, StoreSet& of, std::string name, StoreState wanted) -> Task<void> {
      while (of.member(name)->state() != wanted) co_await on.sleep(10 * kMillisecond);
    };
    run(until(*loop, *set, store, state));
  }
};

TEST_F(StoreSetRarelyProbed, AFullStoreIsSaidToBeFullAtOnceAndUpAgainWhenItHasRoom) {
  MemoryDiskOptions small;
  small.bytes_total = 1u << 20;
  add_store("small", small);
  mount_fresh({"/ root", "SharedDomains/company.com/[a-d].sub small"});
  ok(make_directories(*set, kA, 0700, Durable::kYes));
  EXPECT_EQ(set->member("small")->state(), StoreState::kUp);
  write(kA + "/most", std::string(1'000'000, 'x'));
  auto file = ok(set->open(kA + "/more", {.write = true, .create = true}));
  const std::string text(500'000, 'x');
  std::string_view pieces[] = {text};
  EXPECT_EQ(refused(file->write(0, pieces, Durable::kYes)).code(), Code::kStoreFull);
  await("small", StoreState::kFull);
  ok(set->remove(kA + "/most", Durable::kYes));
  await("small", StoreState::kUp);
}

TEST_F(StoreSetRarelyProbed, AStoreThatIsProbedSlowlyIsSlowAndServesAndIsUpAgainWhenAProbeIsQuick) {
  MemoryDiskOptions small;
  small.bytes_total = 1u << 20;
  add_store("small", small);
  sluggish = "small";
  mount_fresh({"/ root", "SharedDomains/company.com/[a-d].sub small"});
  EXPECT_EQ(set->member("small")->state(), StoreState::kSlow);
  EXPECT_TRUE(set->member("small")->usable());
  ok(make_directories(*set, kA, 0700, Durable::kYes));
  auto file = ok(set->open(kA + "/file", {.write = true, .create = true}));
  const std::string text(2'000'000, 'x');
  std::string_view pieces[] = {text};
  EXPECT_EQ(refused(file->write(0, pieces, Durable::kYes)).code(), Code::kStoreFull);  // is looked after
  await("small", StoreState::kUp);
}

TEST_F(StoreSetTest, NothingIsMadeOnAStoreThatIsTheWrongOne) {
  disks["one"] = std::make_unique<MemoryDisk>();  // what is found when a mount is missing
  MemoryStore other(loop.get(), *disks["two"], {.name = "two"});
  mount_fresh({"/ root", "SharedDomains/company.com/[a-d].sub one"});
  EXPECT_EQ(refused(make_directories(*set, kA, 0700, Durable::kYes)).code(), Code::kStoreUnavailable);
  EXPECT_EQ(set->member("one")->state(), StoreState::kDown);
  MemoryStore empty(loop.get(), *disks["one"], {.name = "one"});
  EXPECT_TRUE(ok(list_all(empty, "", 10)).empty());
  ASSERT_TRUE(run(create_marker(empty, *loop, "another", "", StoreContent::kMustBeEmpty)));
  for (int i = 0; i < 500 && set->member("one")->state() != StoreState::kWrong; ++i)
    run([](Loop& on) -> Task<void> { co_await on.sleep(10 * kMillisecond); }(*loop));
  EXPECT_EQ(set->member("one")->state(), StoreState::kWrong);
}

TEST_F(StoreSetTest, WhatWasMadeUnderAnOlderTableIsFoundAndNewThingsGoToTheNewest) {
  mount_fresh({"/ root"});
  ok(make_directories(*set, kA + "/old.macnt", 0700, Durable::kYes));
  write(kA + "/old.macnt/1.slice", "first");
  mount({"/ root", "SharedDomains/company.com/[a-d].sub one"});
  EXPECT_EQ(ok(read_file(*set, kA + "/old.macnt/1.slice", 100)), "first");
  write(kA + "/old.macnt/2.slice", "second");
  EXPECT_EQ(on("root", kA + "/old.macnt/2.slice"), "second");
  EXPECT_EQ(refused(set->make_directory(kA + "/old.macnt", 0700, Durable::kYes)).code(),
            Code::kAlreadyExists);
  ok(make_directories(*set, kA + "/new.macnt", 0700, Durable::kYes));
  write(kA + "/new.macnt/1.slice", "new");
  EXPECT_EQ(on("one", kA + "/new.macnt/1.slice"), "new");
  EXPECT_THAT(names(kA), ElementsAre("new.macnt", "old.macnt"));
  EXPECT_EQ(ok(set->site_of(kA + "/old.macnt")).name, "root");
  // What was staged on the store of the older table still finds its place there.
  const StoreSite site = ok(set->site_of(kA + "/old.macnt"));
  ok(make_directories(*set, site.at(".canopy/stage"), 0700, Durable::kYes));
  write(site.at(".canopy/stage/x"), "third");
  ok(set->rename(site.at(".canopy/stage/x"), kA + "/old.macnt/account.info", RenameMode::kReplace,
                 Durable::kYes));
  EXPECT_EQ(on("root", kA + "/old.macnt/account.info"), "third");
  away.insert("one");
  mount({"/ root", "SharedDomains/company.com/[a-d].sub one", "SharedDomains/company.com/[e-h].sub two"});
  EXPECT_EQ(ok(read_file(*set, kA + "/old.macnt/1.slice", 100)), "first");
}

TEST_F(StoreSetTest, AFixedPlaceOnTheRootStoreStaysOneWhateverTheTableSays) {
  const std::string path = kA + "/u.settings";
  ok(make_directories(*set, kA, 0700, Durable::kYes));
  write(path, "old");
  mount({"/ one"});
  const std::string fixed = ok(set->site_of(path)).path;
  ok(make_directories(*set, ".stores/one/" + kA, 0700, Durable::kYes));
  write(".stores/one/" + path, "new");
  EXPECT_EQ(fixed, ".stores/root/" + path);
  EXPECT_EQ(ok(set->site_of(fixed)).path, fixed);
  ASSERT_EQ(set->parts_of(fixed).size(), 1u);
  ok(set->remove(set->parts_of(fixed).front().path, Durable::kYes));
  EXPECT_EQ(on("root", path), "not-found");
  EXPECT_EQ(on("one", path), "new");
}

// A move that was planned before the last superseded row was dropped goes on afterwards.
TEST_F(StoreSetTest, AFixedPlaceStaysOneOnceEverythingLiesOnTheRootStore) {
  mount({"/ one"});
  ok(make_directories(*set, ".stores/root/" + kA + "/u.macnt", 0700, Durable::kYes));
  mount_fresh({"/ root"});
  const std::string to = ".stores/root/" + kE + "/u.macnt";
  EXPECT_EQ(refused(set->rename(".stores/root/" + kA + "/u.macnt", to, RenameMode::kNoReplace, Durable::kYes))
                .code(),
            Code::kNotFound);
  ok(make_directories(*set, ".stores/root/" + kE, 0700, Durable::kYes));
  ok(set->rename(".stores/root/" + kA + "/u.macnt", to, RenameMode::kNoReplace, Durable::kYes));
  EXPECT_THAT(names(kE), ElementsAre("u.macnt"));
  EXPECT_EQ(ok(set->site_of(to)).path, to);
  EXPECT_EQ(set->parts_of(to).front().path, to);
  EXPECT_EQ(root_disk.attributes(".stores").error().code(), Code::kNotFound);
  ok(make_directories(*set, ".stores/one/" + kA, 0700, Durable::kYes));
  write(".stores/one/" + kA + "/u.settings", "left");
  EXPECT_EQ(on("one", kA + "/u.settings"), "left");
}

TEST_F(StoreSetTest, AbsenceIsSaidOnlyWhenEveryStoreThatCouldHoldItHasAnswered) {
  away.insert("one");
  mount({"/ root", "SharedDomains/company.com/[a-d].sub one"});
  mount({"/ root", "SharedDomains/company.com/[a-d].sub two"});
  EXPECT_EQ(refused(set->attributes(kA + "/nobody.macnt")).code(), Code::kStoreUnavailable);
  EXPECT_EQ(refused(set->open(kA + "/nobody.macnt/1.slice", {})).code(), Code::kStoreUnavailable);
  away.clear();
  for (int i = 0; i < 500 && !set->member("one")->usable(); ++i)
    run([](Loop& on) -> Task<void> { co_await on.sleep(10 * kMillisecond); }(*loop));
  EXPECT_EQ(refused(set->attributes(kA + "/nobody.macnt")).code(), Code::kNotFound);
}

TEST_F(StoreSetTest, WhatIsOpenOnAStoreThatGetsAnotherAddressFailsAndIsOpenedThere) {
  const std::initializer_list<std::string_view> rows = {"/ root", "SharedDomains/company.com/[a-d].sub one"};
  const std::string path = kA + "/old.macnt/1.slice";
  mount(rows);
  ok(make_directories(*set, kA + "/old.macnt", 0700, Durable::kYes));
  write(path, "there");
  auto file = ok(set->open(path, {.write = true}));
  disks["one before"] = std::exchange(disks["one"], std::make_unique<MemoryDisk>(MemoryDiskOptions{}));
  MemoryStore from(loop.get(), *disks["one before"], {.name = "one"}),
      to(loop.get(), *disks["one"], {.name = "one"});
  ok(make_directories(to, ".canopy", 0700, Durable::kYes));
  ok(make_directories(to, kA + "/old.macnt", 0700, Durable::kYes));
  for (const std::string& each : {std::string(kStoreMarkerPath), path}) {
    const std::string text = ok(read_file(from, each, 1000));
    auto copy = ok(to.open(each, {.write = true, .create = true}));
    std::string_view piece = text;
    ok(copy->write(0, std::span(&piece, 1), Durable::kYes));
  }
  configs["one"].address = "dir:/elsewhere";
  mount(rows);
  std::string_view text = "lost?";
  const Error error = refused(file->write(0, std::span(&text, 1), Durable::kYes));
  EXPECT_EQ(error.code(), Code::kStoreUnavailable);
  EXPECT_THAT(error.message(), HasSubstr("its address was changed"));
  char room[8];
  EXPECT_EQ(refused(file->read(0, room)).code(), Code::kStoreUnavailable);
  write(path, "moved");
  EXPECT_EQ(on("one", path), "moved");
  EXPECT_EQ(ok(read_file(from, path, 100)), "there");
}

class SilentStoreTest : public StoreSetTest {
 protected:
  SilentStoreTest() {
    silent = "one";
    probe_every = 60 * kSecond;  // which it answers
  }
};

TEST_F(SilentStoreTest, ADirectoryIsShownWithoutItsPart) {
  mount_fresh({"/ root", "SharedDomains/company.com/[a-d].sub one"});
  auto waits = [&] { return set->member("one")->figures().in_flight; };
  const Attributes first = ok(set->attributes(kDomain));
  EXPECT_EQ(waits(), 1u) << "it has not answered yet";
  const Attributes second = ok(set->attributes(kDomain));
  EXPECT_EQ(waits(), 1u) << "it is not asked again meanwhile";
  EXPECT_EQ(second.file_id, first.file_id);
  EXPECT_EQ(second.type, FileType::kDirectory);
  EXPECT_EQ(ok(set->site_of(kDomain)).name, "root");
  EXPECT_EQ(waits(), 1u);
  // What lies nowhere else, or might, is not said to be absent.
  const uint64_t errors = set->member("one")->figures().errors;
  EXPECT_EQ(refused(set->attributes(kA)).code(), Code::kStoreUnavailable);
  EXPECT_GT(set->member("one")->figures().errors, errors);
}

TEST_F(StoreSetTest, AnAccountThatMovesWhileAFileOfItIsMadeLeavesNoDirectoryWhereItWas) {
  watched = "one";
  mount({"/ root", "SharedDomains/company.com/a.sub one"});
  const std::string account = std::string(kDomain) + "/a.sub/abby.macnt";
  ok(make_directories(*set, account, 0700, Durable::kYes));
  mount({"/ root", "SharedDomains/company.com/a.sub two"});
  bool moved = false;
  before = [&](StoreOperation operation, std::string_view object) {  // another process moves it
    if (moved || operation != StoreOperation::kOpen || !object.ends_with("/1.slice")) return;
    MemoryDisk& two = *disks["two"];
    for (const std::string& made : {std::string("SharedDomains"), std::string(kDomain), kA, account})
      (void)two.make_directory(made, 0700, Durable::kYes);
    moved = two.attributes(account) && disks["one"]->remove_directory(account, Durable::kYes);
  };
  EXPECT_EQ(refused(set->open(account + "/1.slice", {.write = true, .create = true})).code(),
            Code::kNotFound);
  EXPECT_TRUE(moved);
  EXPECT_FALSE(disks["one"]->attributes(account));
  write(account + "/1.slice", "new");
  EXPECT_EQ(on("two", account + "/1.slice"), "new");
  EXPECT_FALSE(disks["one"]->attributes(account));
}

// Under load: every operation succeeds, whatever the table is at the moment.
Task<void> use(StoreSet& set, int user, const std::atomic<bool>& over, int& done,
               std::vector<std::string>& errors) {
  for (int i = 0; !over; ++i) {
    const std::string path = fmt::format("{}/{}.sub/u{}-{}.macnt", kDomain, "abcdefgh"[i % 8], user, i);
    auto made = co_await make_directories(set, path, 0700, Durable::kYes);
    if (!made) errors.push_back(made.error().to_string());
    auto file = co_await set.open(path + "/1.slice", {.write = true, .create = true});
    if (!file) {
      errors.push_back(file.error().to_string());
      continue;
    }
    std::string_view text = "x";
    auto written = co_await (*file)->write(0, std::span(&text, 1), Durable::kYes);
    if (!written) errors.push_back(written.error().to_string());
    auto read = co_await read_file(set, path + "/1.slice", 10);
    if (!read) errors.push_back(read.error().to_string());
    ++done;
  }
}

Task<void> change(StoreSet& set, std::map<std::string, StoreConfig> stores, int changes, Loop& loop,
                  std::atomic<bool>& over) {
  for (int i = 0; i < changes; ++i) {
    const std::string_view a[] = {"root", "one", "two"};
    auto config = std::make_shared<StoresConfig>();
    config->stores = stores;
    auto next =
        set.config()->mounts->changed({{"/", "root", ""},
                                       {"SharedDomains/company.com/[a-d].sub", std::string(a[i % 3]), ""},
                                       {"SharedDomains/company.com/[e-h].sub", std::string(a[i % 2]), ""}});
    CANOPY_CHECK(next.has_value());
    config->mounts = std::make_shared<const Mounts>(std::move(*next));
    set.apply(std::move(config));
    for (int turn = 0; turn < 20; ++turn) co_await loop.yield();
  }
  over = true;
}

TEST_F(StoreSetTest, TheTableChangesManyTimesUnderLoadWithoutAnError) {
  const char* wanted = std::getenv("CANOPY_TABLE_CHANGES");
  const int changes = wanted == nullptr ? 100 : std::atoi(wanted);
  mount({"/ root", "SharedDomains/company.com/[a-d].sub one"});
  std::atomic<bool> over = false;
  int done = 0;
  std::vector<std::string> errors;
  TaskGroup users(*loop);
  for (int user = 0; user < 4; ++user) users.spawn(use(*set, user, over, done, errors));
  users.spawn(change(*set, configs, changes, *loop, over));
  run(users.join());
  EXPECT_THAT(errors, ElementsAre());
  EXPECT_GT(done, 4);
}

}  // namespace
}  // namespace canopy
