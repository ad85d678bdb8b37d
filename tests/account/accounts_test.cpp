// All accounts of a loop: settings and their defaults, creation and removal, idle ones and the byte budget,
// repair.
#include "account_fixture.h"

namespace canopy {
namespace {

using testing::HasSubstr;

class AccountsTest : public testing::Test {
 protected:
  void SetUp() override { start({}); }
  void TearDown() override { backend.run_void(accounts->close_all()); }
  void start(AccountsOptions options) {
    if (accounts) backend.run_void(accounts->close_all());
    accounts = std::make_unique<Accounts>(backend.environment(), files, options);
    accounts->set_domains(table);
  }
  bool sweep() {
    auto more = world.run_until_done(backend.loop, accounts->sweep());
    EXPECT_TRUE(more);
    return more.value_or(false);
  }
  // A domain as the table describes it, with its directory.
  void add_domain(const std::string& name, dict::Dict settings = {}) {
    auto next = std::make_shared<DomainTable>(*table);
    auto made = make_domain(next->tree, name, {{1, 1}, std::move(settings)});
    ASSERT_TRUE(made) << made.error().to_string();
    next->domains[name] = *made;
    ASSERT_TRUE(backend.run(make_directories(backend.store, (*made)->directory(), 0700, Durable::kYes)));
    table = next;
    accounts->set_domains(table);
  }
  Result<void> create(const std::string& name, dict::Dict settings = {}) {
    return backend.run(accounts->create(*parse_address(name), std::move(settings)));
  }
  auto settings(const std::string& name) { return backend.run(accounts->settings(*parse_address(name))); }
  auto open(const std::string& name) { return backend.run(accounts->open(*parse_address(name))); }
  Result<dict::Version> change(const std::string& name, std::string key, dict::Value value,
                               uint64_t expected = 0) {
    return backend.run(
        accounts->change_settings(*parse_address(name), expected, [&](dict::Dict& dict) -> Result<void> {
          dict.set(key, value);
          return {};
        }));
  }
  Result<RequestResult> append(Account& account, std::string_view text) {
    NewMessage message;
    message.content = text;
    return backend.run(account.append(std::move(message)));
  }
  bool exists(const std::string& path) { return disk.attributes(path).has_value(); }
  void write_file(const std::string& path, std::string_view text) {
    OpenOptions options;
    options.write = options.create = options.truncate = true;
    auto file = disk.open(path, options);
    ASSERT_TRUE(file);
    ASSERT_TRUE(disk.write(*file, false, 0, std::span(&text, 1), Durable::kYes));
    disk.close(*file);
  }

  SimWorld world{1};
  MemoryDisk disk;
  Backend backend{world, disk};
  SettingsFiles files{backend.store, kEpoch, 0};
  std::shared_ptr<const DomainTable> table = std::make_shared<DomainTable>();
  std::unique_ptr<Accounts> accounts;
};

// A successor removes the stages of a process slot by slot. "Not found" then speaks of the stage: were it
// taken for the account, a deletion that is sent again would be answered as done.
TEST_F(AccountsTest, WhoseStageIsGoneIsFencedAndNotToldThatAnAccountIsNotThere) {
  add_domain("company.com");
  const AccountAddress address = *parse_address("jsmith@company.com");
  ASSERT_TRUE(create("jsmith@company.com"));
  const std::string stage = fmt::format("{}/{:016x}/0", kStageRoot, kEpoch);
  ASSERT_TRUE(disk.remove_directory(stage, Durable::kYes));
  EXPECT_EQ(code_of(backend.run(accounts->remove(address))), Code::kFenced);
  EXPECT_TRUE(exists(table->domains.at("company.com")->layout.account_directory(address)));
  EXPECT_EQ(code_of(change("jsmith@company.com", "Greeting", "hello")), Code::kFenced);
  ASSERT_TRUE(disk.make_directory(stage, 0700, Durable::kYes));
  ASSERT_TRUE(backend.run(accounts->remove(address)));
  EXPECT_EQ(code_of(backend.run(accounts->remove(address))), Code::kNotFound);
}

TEST_F(AccountsTest, SettingsOfAnAccountLieOverItsDomainsAndTheClusters) {
  auto with_defaults = std::make_shared<DomainTable>();
  with_defaults->tree.defaults.dict = {{"StorageLimit", 1000}, {"MessageLimit", 50}, {"Greeting", "cluster"}};
  table = with_defaults;
  add_domain("company.com",
             {{"AccountDefaults", dict::Dict{{"StorageLimit", 2000}, {"Greeting", "domain"}}}});
  ASSERT_TRUE(create("plain@company.com"));
  ASSERT_TRUE(create("own@company.com", {{"Greeting", "own"}, {"MessageLimit", 0}}));
  auto plain = settings("plain@company.com");
  ASSERT_TRUE(plain);
  EXPECT_EQ((*plain)->limits.bytes_max, 2000u);
  EXPECT_EQ((*plain)->limits.messages_max, 50u);
  EXPECT_EQ((*plain)->effective.string_or("Greeting", ""), "domain");
  EXPECT_FALSE((*plain)->own.dict.contains("Greeting"));
  auto own = settings("own@company.com");
  ASSERT_TRUE(own);
  EXPECT_EQ((*own)->effective.string_or("Greeting", ""), "own");
  EXPECT_EQ((*own)->limits.messages_max, 0u);  // #0: none

  // Defaults that change hold at once, for open accounts too.
  auto account = open("plain@company.com");
  ASSERT_TRUE(account);
  EXPECT_EQ((*account)->limits().bytes_max, 2000u);
  add_domain("company.com", {{"AccountDefaults", dict::Dict{{"StorageLimit", 10}}}});
  ASSERT_TRUE(open("plain@company.com"));
  EXPECT_EQ((*account)->limits().bytes_max, 10u);
  EXPECT_EQ(append(**account, "more than ten bytes").error().code(), Code::kQuotaExceeded);
  EXPECT_EQ(code_of(create("bad@company.com", {{"StorageLimit", "much"}})), Code::kInvalidArgument);
  EXPECT_FALSE(exists("SharedDomains/company.com/bad.macnt"));
}

TEST_F(AccountsTest, SettingsAreReplacedWholeUnderRisingVersionsFromAStage) {
  add_domain("company.com");
  ASSERT_TRUE(create("a@company.com"));
  auto first = change("a@company.com", "Color", "red");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->number, 2u);
  EXPECT_EQ(first->epoch, kEpoch);
  EXPECT_EQ(code_of(change("a@company.com", "Color", "blue", 1)), Code::kConflict);
  EXPECT_TRUE(change("a@company.com", "Color", "green", 2));
  EXPECT_EQ(code_of(change("a@company.com", ".epoch", "x")), Code::kInvalidArgument);
  EXPECT_EQ(code_of(change("a@company.com", "State", "asleep")), Code::kInvalidArgument);
  // The stage holds nothing that was renamed away, and is this epoch's.
  std::string stage = fmt::format(".canopy/stage/{:016x}/0", kEpoch);
  ASSERT_TRUE(exists(stage));
  EXPECT_TRUE(disk.list(stage, 0)->entries.empty());
  start({});
  EXPECT_EQ((*settings("a@company.com"))->own.dict.string_or("Color", ""), "green");

  auto info = backend.run(
      accounts->change_info(*parse_address("a@company.com"), 0, [](dict::Dict& dict) -> Result<void> {
        dict.set("LastLogin", 5);
        return {};
      }));
  ASSERT_TRUE(info);
  start({});
  EXPECT_EQ(backend.run(accounts->info(*parse_address("a@company.com")))->dict.number_or("LastLogin", 0), 5);
  EXPECT_EQ(code_of(backend.run(accounts->change_info(*parse_address("none@company.com"), 0,
                                                      [](dict::Dict&) -> Result<void> { return {}; }))),
            Code::kNotFound);
}

TEST_F(AccountsTest, AReplacementThatNobodyAnsweredIsReadAgain) {
  add_domain("company.com");
  ASSERT_TRUE(create("a@company.com"));
  FaultPlan plan = Backend::quiet();
  plan.lost_answer = 1;
  plan.operations = FaultPlan::only(StoreOperation::kRename);
  backend.store.set_plan(plan);
  EXPECT_FALSE(change("a@company.com", "Color", "red"));
  backend.store.set_plan(Backend::quiet());
  EXPECT_EQ((*settings("a@company.com"))->own.dict.string_or("Color", ""), "red");
}

TEST_F(AccountsTest, CreatedOnceRemovedWhollyAndNeverBroughtBackByWhoStillHoldsIt) {
  add_domain("company.com");
  ASSERT_TRUE(create("a@company.com"));
  EXPECT_EQ(code_of(create("a@company.com")), Code::kAlreadyExists);
  start({});
  EXPECT_EQ(code_of(create("a@company.com")), Code::kAlreadyExists);
  EXPECT_EQ(code_of(create("a@elsewhere.com")), Code::kNotFound);
  auto held = open("a@company.com");
  ASSERT_TRUE(held);
  ASSERT_TRUE(backend.run(accounts->remove(*parse_address("a@company.com"))));
  EXPECT_EQ(append(**held, "late").error().code(), Code::kTryAgain);
  EXPECT_EQ(code_of(open("a@company.com")), Code::kNotFound);
  EXPECT_EQ(code_of(settings("a@company.com")), Code::kNotFound);
  EXPECT_EQ(code_of(backend.run(accounts->remove(*parse_address("a@company.com")))), Code::kNotFound);
  EXPECT_FALSE(exists("SharedDomains/company.com/a.macnt"));
  world.run_for(10 * kSecond);
  EXPECT_FALSE(exists("SharedDomains/company.com/a.macnt"));
  EXPECT_TRUE(create("a@company.com"));
}

TEST_F(AccountsTest, WhoeverOpensAnAccountWhileItIsRemovedBringsNothingBack) {
  add_domain("company.com");
  int found = 0, none = 0;
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE(round);
    const AccountAddress address = *parse_address("a@company.com");
    ASSERT_TRUE(create("a@company.com"));
    start({});
    FaultPlan slow = Backend::quiet();
    slow.delay = 1;
    slow.delay_max = 20 * kMillisecond;
    backend.store.set_plan(slow);
    Result<void> removed;
    TaskGroup group(backend.loop);
    auto remove = [&]() -> Task<void> { removed = co_await accounts->remove(address); };
    auto use = [&]() -> Task<void> {
      auto account = co_await accounts->open(address);
      ++(account ? found : none);
      if (!account) EXPECT_EQ(account.error().code(), Code::kNotFound);
      if (!account) co_return;
      NewMessage message;
      message.content = "x";
      (void)co_await (*account)->append(std::move(message));
    };
    if (round % 2 == 0) group.spawn(remove());
    if (round % 2 == 1) group.spawn(use());
    world.run_for(round * 2 * kMillisecond);
    if (round % 2 == 0) group.spawn(use());
    if (round % 2 == 1) group.spawn(remove());
    backend.run_void(group.join());
    EXPECT_TRUE(removed);
    backend.store.set_plan(Backend::quiet());
    world.run_for(10 * kSecond);
    EXPECT_FALSE(exists("SharedDomains/company.com/a.macnt"));
  }
  EXPECT_GT(found, 5);
  EXPECT_GT(none, 5);
}

TEST_F(AccountsTest, UnderAFastIndexSettingsCountOnlyWithTheirDirectoryAndARenameTakesThemAlong) {
  add_domain("company.com", {{"FastIndex", 2}});
  add_domain("plain.com");
  ASSERT_TRUE(create("a@company.com", {{"Color", "red"}}));
  EXPECT_TRUE(exists("SharedDomains/company.com/fast/a.settings"));
  ASSERT_TRUE(append(**open("a@company.com"), "mail"));
  for (auto [from, to] :
       {std::pair("a@company.com", "b@company.com"), std::pair("b@company.com", "c@plain.com"),
        std::pair("c@plain.com", "d@company.com")}) {
    SCOPED_TRACE(to);
    ASSERT_TRUE(backend.run(accounts->rename(*parse_address(from), *parse_address(to))));
    EXPECT_EQ(code_of(settings(from)), Code::kNotFound);
    ASSERT_TRUE(settings(to));
    EXPECT_EQ((*settings(to))->own.dict.string_or("Color", ""), "red");
    EXPECT_EQ((*open(to))->state().messages(), 1u);
  }
  EXPECT_FALSE(exists("SharedDomains/company.com/fast/a.settings"));
  EXPECT_FALSE(exists("SharedDomains/company.com/d.macnt/account.settings"));
  // What a crash in the middle of a removal would leave.
  backend.run_void(accounts->close_all());
  write_file("SharedDomains/company.com/fast/ghost.settings", "{}");
  EXPECT_EQ(code_of(settings("ghost@company.com")), Code::kNotFound);
  EXPECT_TRUE(create("ghost@company.com", {{"Color", "blue"}}));
  EXPECT_EQ((*settings("ghost@company.com"))->own.dict.string_or("Color", ""), "blue");
}

TEST_F(AccountsTest, ASuspendedAccountIsOpenedForItsRecordOnly) {
  add_domain("company.com");
  ASSERT_TRUE(create("a@company.com"));
  ASSERT_TRUE(append(**open("a@company.com"), "before"));
  ASSERT_TRUE(change("a@company.com", std::string(kStateKey), "suspended"));
  backend.run_void(accounts->close(*parse_address("a@company.com")));
  EXPECT_EQ(code_of(open("a@company.com")), Code::kSuspended);
  auto record = backend.run(accounts->open(*parse_address("a@company.com"), Accounts::For::kRecord));
  ASSERT_TRUE(record);
  EXPECT_EQ((*record)->state().messages(), 1u);
  EXPECT_EQ(code_of(open("a@company.com")), Code::kSuspended);  // although it is open now
  ASSERT_TRUE(change("a@company.com", std::string(kStateKey), "disabled"));
  EXPECT_TRUE(open("a@company.com"));  // mail is still taken
}

TEST_F(AccountsTest, IdleAccountsAreClosedAndForgotten) {
  add_domain("company.com");
  AccountsOptions options;
  options.idle_close = 60 * kSecond;
  start(options);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(create(fmt::format("u{}@company.com", i)));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(append(**open(fmt::format("u{}@company.com", i)), "x"));
  EXPECT_EQ(accounts->open_count(), 20u);
  auto kept = open("u7@company.com");  // somebody uses it
  ASSERT_TRUE(backend.run(accounts->info(*parse_address("u3@company.com"))));
  world.run_for(50 * kSecond);
  ASSERT_TRUE(open("u5@company.com"));
  world.run_for(20 * kSecond);
  sweep();
  EXPECT_EQ(accounts->open_count(), 2u);
  EXPECT_EQ(accounts->entries(), 2u);
  EXPECT_EQ((*kept)->state().messages(), 1u);
  kept = fail(Code::kInternal, "test", "let go");
  world.run_for(120 * kSecond);
  sweep();
  EXPECT_EQ(accounts->open_count(), 0u);
  EXPECT_EQ(accounts->memory_bytes(), 0u);
  EXPECT_EQ((*open("u7@company.com"))->state().messages(), 1u);
}

TEST_F(AccountsTest, OverTheByteBudgetTheLeastRecentlyUsedGoFirst) {
  add_domain("company.com");
  AccountsOptions options;
  options.memory_bytes_max = 100'000;
  start(options);
  for (int i = 0; i < 100; ++i) {
    std::string name = fmt::format("u{}@company.com", i);
    ASSERT_TRUE(create(name));
    ASSERT_TRUE(append(**open(name), "x"));
    if (i % 10 == 9) sweep();
  }
  sweep();
  EXPECT_LE(accounts->memory_bytes(), options.memory_bytes_max);
  EXPECT_GT(accounts->open_count(), 5u);
  EXPECT_LT(accounts->open_count(), 40u);
  uint64_t opens = backend.store.count(StoreOperation::kList);
  ASSERT_TRUE(open("u99@company.com"));  // is still open
  EXPECT_EQ(backend.store.count(StoreOperation::kList), opens);
  ASSERT_TRUE(open("u0@company.com"));
  EXPECT_GT(backend.store.count(StoreOperation::kList), opens);
}

TEST_F(AccountsTest, ASweepAsksForMoreWhileTheBudgetIsExceeded) {
  add_domain("company.com");
  AccountsOptions options;
  options.memory_bytes_max = 100'000;
  start(options);
  const size_t count = 3 * kSweptAtOnceMax;
  for (size_t i = 0; i < count; ++i) ASSERT_TRUE(create(fmt::format("u{}@company.com", i)));
  EXPECT_EQ(accounts->entries(), count);
  EXPECT_TRUE(sweep());
  EXPECT_GT(accounts->memory_bytes(), options.memory_bytes_max);
  while (sweep()) {
  }
  EXPECT_LE(accounts->memory_bytes(), options.memory_bytes_max);
}

TEST_F(AccountsTest, AWaiterIsWokenByAChangeHoldsNothingOpenAndIsNoUse) {
  add_domain("company.com");
  AccountsOptions options;
  options.idle_close = 10 * kSecond;
  start(options);
  ASSERT_TRUE(create("a@company.com"));
  std::optional<bool> woken;
  auto wait = [&]() -> Task<void> {
    woken = co_await accounts->wait_for_change(*parse_address("a@company.com"),
                                               backend.loop.now() + 3600 * kSecond);
  };
  ASSERT_TRUE(open("a@company.com"));
  TaskGroup group(backend.loop);
  group.spawn(wait());
  world.run_for(60 * kSecond);
  sweep();
  EXPECT_EQ(accounts->open_count(), 0u);
  EXPECT_EQ(accounts->entries(), 1u);  // the waiter's
  EXPECT_FALSE(woken);
  ASSERT_TRUE(append(**open("a@company.com"), "news"));
  backend.run_void(group.join());
  EXPECT_EQ(woken, true);
}

TEST_F(AccountsTest, AMaildropIsHeldByOneUntilItsTime) {
  add_domain("company.com");
  AccountAddress a = *parse_address("a@company.com");
  auto first = accounts->lock_maildrop(a, world.now() + 60 * kSecond);
  ASSERT_TRUE(first);
  EXPECT_EQ(code_of(accounts->lock_maildrop(a, world.now() + 60 * kSecond)), Code::kBusy);
  accounts->unlock_maildrop(a, *first + 1);  // another's
  EXPECT_EQ(code_of(accounts->lock_maildrop(a, world.now() + 60 * kSecond)), Code::kBusy);
  accounts->unlock_maildrop(a, *first);
  auto second = accounts->lock_maildrop(a, world.now() + 60 * kSecond);
  ASSERT_TRUE(second);
  world.run_for(61 * kSecond);
  EXPECT_TRUE(accounts->lock_maildrop(a, world.now() + 60 * kSecond));
}

TEST_F(AccountsTest, DamagedSettingsAndInfoAreKeptApartAndBegunAnew) {
  add_domain("company.com");
  ASSERT_TRUE(create("a@company.com", {{"Color", "red"}}));
  ASSERT_TRUE(append(**open("a@company.com"), "mail"));
  AccountAddress address = *parse_address("a@company.com");
  EXPECT_EQ(code_of(backend.run(accounts->replace_damaged_settings(address))), Code::kInvalidArgument);
  start({});
  const std::string directory = "SharedDomains/company.com/a.macnt/";
  write_file(directory + "account.settings", "{Color=red");
  write_file(directory + "account.info", "\x01\x02");
  auto known = settings("a@company.com");
  ASSERT_FALSE(known);
  EXPECT_EQ(known.error().code(), Code::kDamaged);
  EXPECT_THAT(known.error().object(), HasSubstr("account.settings"));
  EXPECT_EQ(code_of(backend.run(accounts->info(address))), Code::kDamaged);
  ASSERT_TRUE(backend.run(accounts->replace_damaged_settings(address)));
  ASSERT_TRUE(backend.run(accounts->replace_damaged_info(address)));
  known = settings("a@company.com");
  ASSERT_TRUE(known);
  EXPECT_EQ((*known)->use, AccountUse::kDisabled);
  EXPECT_GT((*known)->session_generation, 1'000'000'000u);
  EXPECT_TRUE(backend.run(accounts->info(address))->dict.empty());
  EXPECT_EQ((*open("a@company.com"))->state().messages(), 1u);
  auto kept = disk.list(directory + "damaged", 0);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->entries.size(), 2u);
}

}  // namespace
}  // namespace canopy
