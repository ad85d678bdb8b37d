// A domain on its way from domain foldering to domain foldering: wherever it is interrupted, its accounts are
// found with all that they have.
#include "account_fixture.h"
#include "daemon/account/cached_dicts.h"
#include "daemon/account/domain_move.h"
#include "daemon/account/older_stages.h"

namespace canopy {
namespace {

constexpr const char* kDomainFolderings[] = {"flat", "1", "2-1", "hash-1-1-1"};

Task<void> sleep_on(Loop& loop, Nanos time) { co_await loop.sleep(time); }

class DomainMovesTest : public testing::TestWithParam<bool> {
 protected:
  explicit DomainMovesTest(bool on_shared = GetParam()) : shared(on_shared) { restart(1); }
  ~DomainMovesTest() override { stop(); }

  void stop_accounts() {
    if (accounts) backend->run_void(accounts->close_all());
    accounts.reset();
  }
  void stop() {
    stop_accounts();
    forsake();
  }
  void forsake() {  // the process has died
    accounts.reset();
    files.reset();
    backend.reset();
  }
  void restart(uint64_t process) {
    stop();
    backend = std::make_unique<Backend>(world, disk, kEpoch + process, shared, process);
    files = std::make_unique<SettingsFiles>(backend->store, kEpoch + process, 0);
    accounts = std::make_unique<Accounts>(backend->environment(), *files, AccountsOptions{});
    accounts->set_domains(table);
  }
  // Under the domain foldering `lies_under` of a tree whose domains go to `tree`.
  Result<void> put(const std::string& tree, const std::string& lies_under, dict::Dict settings) {
    auto next = std::make_shared<DomainTable>();
    next->tree.domain_foldering = *Foldering::parse(tree);
    if (tree != "flat") next->tree.older_domain_folderings = {Foldering()};
    CANOPY_ASSIGN(domain, make_domain(next->tree, "company.com", {{1, 1}, std::move(settings)},
                                      *Foldering::parse(lies_under)));
    next->domains["company.com"] = domain;
    table = next;
    if (!accounts) accounts = std::make_unique<Accounts>(backend->environment(), *files, AccountsOptions{});
    accounts->set_domains(table);
    return {};
  }
  static dict::Dict layout(const char* foldering, int64_t fast_index) {
    dict::Dict settings;
    settings.set(kAccountFolderingKey, foldering);
    settings.set(kFastIndexKey, fast_index);
    return settings;
  }
  void create(const AccountAddress& of) {
    ASSERT_TRUE(backend->run(make_directories(backend->store, domain->directory(), 0700, Durable::kYes)));
    ASSERT_TRUE(backend->run(files->replace(domain->slot, domain->settings_file(), domain->settings)));
    dict::Dict settings;
    settings.set("Colour", "green");
    ASSERT_TRUE(backend->run(accounts->create(of, std::move(settings))));
    auto account = backend->run(accounts->open(of));
    ASSERT_TRUE(account);
    NewMessage message;
    message.content = "first";
    ASSERT_TRUE(backend->run((*account)->append(std::move(message))));
    ASSERT_TRUE(backend->run(accounts->change_info(of, 0, [](dict::Dict& info) -> Result<void> {
      info.set("Count", 7);
      return {};
    })));
  }
  void expect_whole(const AccountAddress& of) {
    auto settings = backend->run(accounts->settings(of));
    ASSERT_TRUE(settings) << settings.error().to_string();
    EXPECT_EQ((*settings)->own.dict.string_or("Colour", ""), "green");
    auto info = backend->run(accounts->info(of));
    ASSERT_TRUE(info) << info.error().to_string();
    EXPECT_EQ(info->dict.number_or("Count", 0), 7);
    auto account = backend->run(accounts->open(of));
    ASSERT_TRUE(account) << account.error().to_string();
    EXPECT_EQ((*account)->state().mailbox("INBOX")->rows.size(), 1u);
  }
  bool exists(const std::string& path) { return disk.attributes(path).has_value(); }
  void move_all(const char* from, const char* to, const char* foldering, int64_t fast_index);
  // A domain that goes from flat to 1, with settings above it; answers the domain's.
  dict::Dict begin_at_flat(const AccountAddress& of, DomainMove& move);
  // As a process leaves it that ends on the way: in a passage.
  void take_into_passage(const DomainMove& move);
  // What the next process finds.
  void expect_found(const AccountAddress& of, const dict::Dict& settings);

  bool shared;
  SimWorld world{1};
  MemoryDisk disk;
  std::shared_ptr<const DomainTable> table = std::make_shared<DomainTable>();
  std::shared_ptr<const Domain> domain;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<SettingsFiles> files;
  std::unique_ptr<Accounts> accounts;
  uint64_t number = 1;
};
INSTANTIATE_TEST_SUITE_P(Stores, DomainMovesTest, testing::Bool(),
                         [](const auto& of) { return of.param ? "Shared" : "OfOneMachine"; });

class LateDomainMoves : public DomainMovesTest {
 protected:
  LateDomainMoves() : DomainMovesTest(true) {}
};

void DomainMovesTest::move_all(const char* from, const char* to, const char* foldering, int64_t fast_index) {
  SCOPED_TRACE(fmt::format("{} to {}, {} {}", from, to, foldering, fast_index));
  const AccountAddress of{fmt::format("jsmith{}", ++number), "company.com"};
  if (!put(from, from, layout(foldering, fast_index))) return;  // no such place
  create(of);
  restart(++number);
  ASSERT_TRUE(put(to, from, layout(foldering, fast_index)));
  expect_whole(of);
  const auto move = plan_domain_move(*domain, *Foldering::parse(to));
  if (!move) return;
  EXPECT_EQ(move->from, domain->directory());
  dict::Dict settings = layout(foldering, fast_index);
  if (!move->superseded.empty()) {
    put_superseded(move->superseded, std::nullopt, settings);
    ASSERT_TRUE(put(to, from, settings));
  }
  restart(++number);
  expect_whole(of);  // before, with what is written down beforehand
  restart(++number);
  auto moved = backend->run(move_domain_directory(*files, move->from, move->to));
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_TRUE(move->from == move->to || !exists(move->from));
  EXPECT_TRUE(exists(move->to));
  ASSERT_TRUE(put(to, to, std::move(settings)));
  EXPECT_EQ(domain->directory(), move->to);
  expect_whole(of);
  if (!domain->older.empty()) {
    auto relocated = backend->run(accounts->relocate(of, domain->layout.account_directory(of)));
    ASSERT_TRUE(relocated) << relocated.error().to_string();
    expect_whole(of);
  }
  EXPECT_TRUE(exists(domain->layout.settings_file(of)));
  EXPECT_TRUE(exists(domain->layout.info_file(of)));
  EXPECT_TRUE(exists(domain->layout.account_directory(of)));
  // The next pair begins with nothing.
  stop();
  restart(++number);
  ASSERT_TRUE(backend->run(remove_tree(backend->store, std::string(kTreeRoot))));
}

TEST_P(DomainMovesTest, BetweenAllDomainFolderingsUnderAllLayouts) {
  for (const char* from : kDomainFolderings)
    for (const char* to : kDomainFolderings)
      for (const char* foldering : {"flat", "1", "2-2"})
        for (int64_t fast_index = 0; fast_index <= 6; ++fast_index)
          if (from != to) move_all(from, to, foldering, fast_index);
}

// On and on without an account relocation between: what is written down leads to all of it.
TEST_P(DomainMovesTest, SeveralMovesBeforeAnyAccountHasFollowed) {
  const AccountAddress of{"jsmith", "company.com"};
  ASSERT_TRUE(put("flat", "flat", layout("1", 1)));
  create(of);
  dict::Dict settings = layout("1", 1);
  std::string lies = "flat";
  for (const char* to : {"1", "2-1", "hash-1-1-1", "flat", "1", "flat"}) {
    restart(++number);
    ASSERT_TRUE(put(to, lies, settings));
    const auto move = plan_domain_move(*domain, *Foldering::parse(to));
    ASSERT_TRUE(move) << move.error().to_string();
    put_superseded(move->superseded, std::nullopt, settings);
    ASSERT_TRUE(put(to, lies, settings));
    ASSERT_TRUE(backend->run(move_domain_directory(*files, move->from, move->to)));
    lies = to;
    ASSERT_TRUE(put(to, lies, settings));
    expect_whole(of);
  }
}

TEST_P(DomainMovesTest, ALayoutThatCountsBeyondTheAccountsIsRefused) {
  ASSERT_TRUE(put("1-1", "1-1", layout("1", 5)));
  const auto move = plan_domain_move(*domain, Foldering());
  ASSERT_FALSE(move);
  EXPECT_EQ(move.error().code(), Code::kInvalidArgument);
}

TEST_P(DomainMovesTest, NothingIsWrittenDownWithoutFastFolders) {
  ASSERT_TRUE(put("1-1", "flat", layout("2-1", 0)));
  const auto move = plan_domain_move(*domain, *Foldering::parse("1-1"));
  ASSERT_TRUE(move);
  EXPECT_TRUE(move->superseded.empty());
}

void DomainMovesTest::expect_found(const AccountAddress& of, const dict::Dict& settings) {
  ASSERT_TRUE(backend->run(retire_older_stages(backend->store, backend->epoch)));
  StoreSite site{"root", "", std::string(kTreeRoot)};
  auto settled = backend->run(settle_domains(*files, table->tree, site));
  ASSERT_TRUE(settled) << settled.error().to_string();
  auto found = backend->run(find_domain(backend->store, table->tree, "company.com"));
  ASSERT_TRUE(found) << found.error().to_string();
  ASSERT_TRUE(put("1", found->to_string(), settings));
  expect_whole(of);
  const std::string other =
      domain_directory(found->levels() == 0 ? *Foldering::parse("1") : Foldering(), "company.com");
  EXPECT_FALSE(exists(other)) << other;
}

void DomainMovesTest::take_into_passage(const DomainMove& move) {
  auto passage = backend->run(files->passage(move.from));
  ASSERT_TRUE(passage);
  stop_accounts();
  ASSERT_TRUE(backend->run(
      backend->store.rename(move.from, *passage + "/company.com", RenameMode::kNoReplace, Durable::kYes)));
}

dict::Dict DomainMovesTest::begin_at_flat(const AccountAddress& of, DomainMove& move) {
  dict::Dict settings = layout("1", 1);
  EXPECT_TRUE(put("flat", "flat", settings));
  create(of);
  EXPECT_TRUE(put("1", "flat", settings));
  auto planned = plan_domain_move(*domain, table->tree.domain_foldering);
  EXPECT_TRUE(planned);
  put_superseded(planned->superseded, std::nullopt, settings);
  EXPECT_TRUE(put("1", "flat", settings));
  move = *planned;
  return settings;
}

TEST_P(DomainMovesTest, AProcessThatEndsAtAnyStepLeavesItAtOnePlace) {
  bool ended = false;
  for (uint64_t step = 1; !ended; ++step) {
    SCOPED_TRACE(step);
    const AccountAddress of{"jsmith", "company.com"};
    restart(++number);
    DomainMove move;
    const dict::Dict settings = begin_at_flat(of, move);
    restart(++number);
    const uint64_t before = backend->store.operations();
    backend->store.on_operation([&](uint64_t index, StoreOperation, std::string_view) {
      if (index == before + step) backend->store.halt();
    });
    ended = backend->run(move_domain_directory(*files, move.from, move.to)).has_value();
    backend->store.on_operation({});
    if (!ended) forsake();
    restart(++number);
    expect_found(of, settings);
    restart(++number);
    ASSERT_TRUE(backend->run(remove_tree(backend->store, std::string(kTreeRoot))));
  }
}

// The same process goes on after answers that were lost, or that say nothing as the request is still on its
// way.
TEST_P(DomainMovesTest, WhateverIsNotAnsweredOrLateItStaysWhereItIsFound) {
  int failed = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    const AccountAddress of{"jsmith", "company.com"};
    restart(++number);
    DomainMove move;
    const dict::Dict settings = begin_at_flat(of, move);
    restart(++number);
    FaultPlan faults = Backend::quiet();
    faults.lost_answer = 0.15;
    if (GetParam()) faults.late = 0.2;  // not on a store of one machine
    backend->store.set_plan(faults);
    if (!backend->run(move_domain_directory(*files, move.from, move.to))) ++failed;
    backend->store.set_plan(Backend::quiet());
    expect_found(of, settings);
    const std::string lies = domain->directory();
    stop_accounts();
    backend->run_void(sleep_on(backend->loop, 2 * faults.late_max));
    EXPECT_TRUE(exists(lies + "/domain.settings"));
    expect_found(of, settings);
    EXPECT_EQ(domain->directory(), lies);
    restart(++number);
    ASSERT_TRUE(backend->run(remove_tree(backend->store, std::string(kTreeRoot))));
  }
  EXPECT_GT(failed, 20);
}

// What a process that has been succeeded still sends does nothing.
TEST_F(LateDomainMoves, FindNothing) {
  const AccountAddress of{"jsmith", "company.com"};
  DomainMove move;
  const dict::Dict settings = begin_at_flat(of, move);
  if (accounts) backend->run_void(accounts->close_all());
  // One that has yet to rename it into its passage, and one that has yet to rename it on.
  for (const bool taken : {false, true}) {
    SCOPED_TRACE(taken);
    restart(++number);
    auto dead = std::move(backend);
    auto dead_files = std::move(files);
    accounts.reset();
    auto passage = dead->run(dead_files->passage(move.from));
    ASSERT_TRUE(passage) << passage.error().to_string();
    if (taken)
      ASSERT_TRUE(dead->run(
          dead->store.rename(move.from, *passage + "/company.com", RenameMode::kNoReplace, Durable::kYes)));
    restart(++number);
    expect_found(of, settings);
    const std::string lies = domain->directory();
    EXPECT_EQ(lies, taken ? move.to : move.from);
    EXPECT_FALSE(dead->run(
        dead->store.rename(lies, *passage + "/company.com", RenameMode::kNoReplace, Durable::kYes)));
    EXPECT_FALSE(dead->run(
        dead->store.rename(*passage + "/company.com", "late", RenameMode::kNoReplace, Durable::kYes)));
    auto again = dead->run(dead_files->passage(move.from));
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code(), Code::kFenced);
    auto moved = dead->run(move_domain_directory(*dead_files, lies, "SharedDomains/z.sub/company.com"));
    EXPECT_FALSE(moved);
    expect_whole(of);
    stop_accounts();
  }
}

TEST_F(LateDomainMoves, ADomainInAStageIsNoTrashWhereTheStoreIsSharedNoLonger) {
  const AccountAddress of{"jsmith", "company.com"};
  DomainMove move;
  const dict::Dict settings = begin_at_flat(of, move);
  ASSERT_NO_FATAL_FAILURE(take_into_passage(move));
  shared = false;
  restart(++number);
  expect_found(of, settings);
  EXPECT_EQ(domain->directory(), move.to);
}

// The newest place may not be had, as by a row of the mount table: then it stays where it was.
TEST_F(LateDomainMoves, ADomainInAStageGoesWhereThereIsRoomForIt) {
  const AccountAddress of{"jsmith", "company.com"};
  DomainMove move;
  const dict::Dict settings = begin_at_flat(of, move);
  ASSERT_NO_FATAL_FAILURE(take_into_passage(move));
  // Empty folders are what late creations leave, and make room; one with something in it does not.
  ASSERT_TRUE(backend->run(make_directories(backend->store, move.to + "/x.sub", 0700, Durable::kYes)));
  OpenOptions options;
  options.write = options.create = true;
  auto file = disk.open(move.to + "/x.sub/mine", options);
  ASSERT_TRUE(file);
  disk.close(*file);
  StoreSite site{"root", "", std::string(kTreeRoot)};
  ASSERT_TRUE(backend->run(settle_domains(*files, table->tree, site)));
  auto found = backend->run(find_domain(backend->store, table->tree, "company.com"));
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(found->to_string(), "flat");
  ASSERT_TRUE(backend->run(backend->store.remove(move.to + "/x.sub/mine", Durable::kYes)));
  ASSERT_TRUE(backend->run(move_domain_directory(*files, move.from, move.to)));
  restart(++number);
  ASSERT_TRUE(put("1", "1", settings));
  expect_whole(of);
}

// It was on its way to one place, and the newest is another one by then: its settings get what its accounts
// may lie under there.
TEST_F(LateDomainMoves, ADomainThatGetsAnotherPlaceThanItWasOnItsWayToIsWhole) {
  const AccountAddress of{"jsmith", "company.com"};
  ASSERT_TRUE(put("flat", "flat", layout("hash-1", 0)));
  create(of);
  dict::Dict settings = layout("1", 0);
  const auto next = TreeLayout::make({}, *Foldering::parse("1"), 0);
  ASSERT_TRUE(supersede(*domain, *next, settings));
  ASSERT_TRUE(put("1", "flat", settings));
  const auto move = plan_domain_move(*domain, table->tree.domain_foldering);
  ASSERT_TRUE(move);
  dict::VersionedDict file = domain->settings;
  put_superseded(move->superseded, std::nullopt, file.dict);
  ASSERT_TRUE(backend->run(files->replace(domain->slot, domain->settings_file(), std::move(file))));
  ASSERT_NO_FATAL_FAILURE(take_into_passage(*move));
  TreeSettings tree;
  tree.domain_foldering = *Foldering::parse("2-1");
  tree.older_domain_folderings = {*Foldering::parse("1"), Foldering()};
  auto settled = backend->run(settle_domains(*files, tree, {"root", "", std::string(kTreeRoot)}));
  ASSERT_TRUE(settled) << settled.error().to_string();
  EXPECT_TRUE(settled->empty());
  const std::string path = domain_settings_file(tree.domain_foldering, "company.com");
  auto now = backend->run(files->read(path));
  ASSERT_TRUE(now) << now.error().to_string();
  ASSERT_TRUE(put("2-1", "2-1", now->dict));
  expect_whole(of);
}

TEST_F(LateDomainMoves, ADomainInAStageIsCarriedAlongHoweverManyProcessesEndOnTheWay) {
  const AccountAddress of{"jsmith", "company.com"};
  DomainMove move;
  const dict::Dict settings = begin_at_flat(of, move);
  ASSERT_NO_FATAL_FAILURE(take_into_passage(move));
  for (int i = 0; i < 30; ++i) {
    restart(++number);
    auto retired = backend->run(retire_older_stages(backend->store, backend->epoch));
    ASSERT_TRUE(retired) << retired.error().to_string();
  }
  expect_found(of, settings);
}

// Where none of its places is free, the others are served all the same, and it is when there is room again.
TEST_F(LateDomainMoves, ADomainInAStageWithoutAPlaceIsNamed) {
  const AccountAddress of{"jsmith", "company.com"};
  DomainMove move;
  const dict::Dict settings = begin_at_flat(of, move);
  ASSERT_NO_FATAL_FAILURE(take_into_passage(move));
  for (const std::string& place : {move.from, move.to}) {
    ASSERT_TRUE(backend->run(make_directories(backend->store, place + "/x.sub", 0700, Durable::kYes)));
    OpenOptions options;
    options.write = options.create = true;
    auto file = disk.open(place + "/x.sub/mine", options);
    ASSERT_TRUE(file);
    disk.close(*file);
  }
  ASSERT_TRUE(backend->run(make_directories(backend->store, "SharedDomains/other.org", 0700, Durable::kYes)));
  dict::VersionedDict other;
  ASSERT_TRUE(backend->run(files->replace(0, "SharedDomains/other.org/domain.settings", std::move(other))));
  stop_accounts();
  restart(++number);
  ASSERT_TRUE(backend->run(retire_older_stages(backend->store, backend->epoch)));
  auto loaded = backend->run(load_domains(*files));
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  DomainTable now = **loaded;
  EXPECT_TRUE(now.domains.contains("other.org"));
  EXPECT_FALSE(now.domains.contains("company.com"));
  ASSERT_TRUE(now.broken.contains("company.com"));
  const Error& error = now.broken.at("company.com").error;
  EXPECT_EQ(error.code(), Code::kStoreUnavailable);
  EXPECT_EQ(code_of(now.get("company.com")), Code::kStoreUnavailable);
  for (int i = 0; i < 2; ++i) {
    const std::string words = error.to_string();
    const size_t begins = words.find(".canopy/"), ends = words.find(',', begins);
    ASSERT_NE(begins, std::string::npos) << words;
    EXPECT_TRUE(exists(words.substr(begins, ends - begins) + "/domain.settings")) << words;
    ASSERT_TRUE(backend->run(read_broken_again(*files, now)));
    ASSERT_TRUE(now.broken.contains("company.com"));
  }
  ASSERT_TRUE(backend->run(backend->store.remove(move.from + "/x.sub/mine", Durable::kYes)));
  ASSERT_TRUE(backend->run(read_broken_again(*files, now)));
  EXPECT_FALSE(now.broken.contains("company.com"));
  ASSERT_TRUE(now.domains.contains("company.com"));
  EXPECT_EQ(now.domains.at("company.com")->directory(), move.from);
}

// Opens the account as often as told, and says how often it could.
Task<void> open_once(Accounts& accounts, AccountAddress of, int& opened) {
  auto account = co_await accounts.open(of);
  if (account) ++opened;
}

Task<Result<void>> hold_and_look(Accounts& accounts, AccountAddress of, AccountAddress other) {
  TaskGroup clients(accounts.loop());
  auto used = co_await accounts.open(of);
  if (!used) co_return fail(std::move(used).error());
  EXPECT_FALSE(co_await accounts.hold_domain("company.com", 20 * kMillisecond));  // somebody goes on using it
  EXPECT_FALSE(accounts.is_held("company.com"));
  EXPECT_TRUE(co_await accounts.open(other));
  used->reset();
  EXPECT_TRUE(co_await accounts.hold_domain("company.com", 20 * kMillisecond));
  EXPECT_TRUE(accounts.is_held("company.com"));
  EXPECT_EQ(accounts.open_count(), 0u);
  int opened = 0;
  // One that is known, one that nobody has asked for yet, and one that is not there.
  for (const AccountAddress& each :
       {of, other, AccountAddress{"third", "company.com"}, AccountAddress{"no", "company.com"}})
    clients.spawn(open_once(accounts, each, opened));
  co_await accounts.loop().sleep(kSecond);
  EXPECT_EQ(opened, 0);
  accounts.release_domain();
  co_await clients.join();
  EXPECT_EQ(opened, 3);
  co_return Result<void>();
}

TEST_P(DomainMovesTest, WhoComesWhileADomainIsHeldWaits) {
  ASSERT_TRUE(put("flat", "flat", layout("1", 0)));
  const AccountAddress of{"anna", "company.com"}, other{"bert", "company.com"}, third{"third", "company.com"};
  for (const AccountAddress& each : {of, other, third}) create(each);
  restart(2);
  ASSERT_TRUE(backend->run(hold_and_look(*accounts, of, other)));
}

Task<Result<void>> aliases_while_closed(CachedDicts& dicts, Loop& loop, Store& store) {
  auto before = co_await dicts.hold("A/aliases/00.data");
  if (!before) co_return fail(std::move(before).error());
  dict::Dict changed;
  changed.set("x", "y");
  CANOPY_CO_TRY(co_await dicts.replace(*before, 0, std::move(changed)));
  before = fail(Code::kNotFound, "", "");
  co_await dicts.close_below("A");
  bool done = false;
  loop.spawn([](CachedDicts& of, bool& over) -> Task<void> {
    auto late = co_await of.hold("A/aliases/00.data");  // by its former place
    EXPECT_TRUE(late);
    EXPECT_EQ(late->file().dict.string_or("x", ""), "y");
    over = true;
  }(dicts, done));
  co_await loop.sleep(kSecond);
  EXPECT_FALSE(done);
  CANOPY_CO_TRY(co_await store.rename("A", "B", RenameMode::kNoReplace, Durable::kYes));
  dicts.open_below("A", "B");
  co_await loop.sleep(kSecond);
  EXPECT_TRUE(done);
  co_await dicts.close_below("B");
  CANOPY_CO_TRY(co_await store.rename("B", "A", RenameMode::kNoReplace, Durable::kYes));
  dicts.open_below("B", "A");
  auto back = co_await dicts.hold("A/aliases/00.data");
  EXPECT_TRUE(back);
  EXPECT_EQ(back->file().dict.string_or("x", ""), "y");
  co_return Result<void>();
}

TEST_P(DomainMovesTest, DictionariesOfADomainAreFoundByItsFormerPlace) {
  CachedDicts dicts(backend->loop, *files);
  ASSERT_TRUE(backend->run(aliases_while_closed(dicts, backend->loop, backend->store)));
}

}  // namespace
}  // namespace canopy
