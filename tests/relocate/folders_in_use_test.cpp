// Folders that are empty are removed while accounts are put into them: none is lost, and nobody is refused.
#include "account_fixture.h"
#include "daemon/relocate/folders.h"
#include "daemon/relocate/relocation_pass.h"

namespace canopy {
namespace {

// One process whose requests overtake each other.
struct Busy {
  explicit Busy(uint64_t seed, int64_t fast_index) : world(seed), backend(world, disk, kEpoch, false, seed) {
    put("flat", fast_index, {});
    EXPECT_TRUE(backend.run(make_directories(backend.store, domain->directory(), 0700, Durable::kYes)));
    for (int i = 0; i < 12; ++i) EXPECT_TRUE(backend.run(accounts.create(old_one(i), colour())));
    put("2-1", fast_index, {domain->layout});
    FaultPlan plan = Backend::quiet();
    plan.delay = 0.7;
    plan.delay_max = 3 * kMillisecond;
    backend.store.set_plan(plan);
  }
  ~Busy() { backend.run_void(accounts.close_all()); }

  static dict::Dict colour() {
    dict::Dict settings;
    settings.set("Colour", "green");
    return settings;
  }
  // All within four folders of two letters.
  static AccountAddress named(std::string_view kind, int number) {
    return {fmt::format("{}{}{}", "ab"[number % 2], kind, number), "company.com"};
  }
  static AccountAddress old_one(int number) { return named("old", number); }

  void put(const std::string& foldering, int64_t fast_index, const std::vector<TreeLayout>& older) {
    dict::Dict settings;
    settings.set(kAccountFolderingKey, foldering);
    settings.set(kFastIndexKey, fast_index);
    if (!older.empty()) put_superseded(older, std::nullopt, settings);
    auto table = std::make_shared<DomainTable>();
    domain = *make_domain(table->tree, "company.com", {{1, 1}, std::move(settings)});
    table->domains["company.com"] = domain;
    accounts.set_domains(table);
  }

  template <class T>
  void note(const Result<T>& result) {
    if (!result) errors.push_back(result.error().to_string());
  }
  Task<void> create_rename_and_remove(int user) {
    for (int i = 0; i < 12; ++i) {
      const AccountAddress of = named(fmt::format("user{}-", user), i);
      note(co_await accounts.create(of, colour()));
      const AccountAddress after = named(fmt::format("renamed{}-", user), i + 1);
      if (i % 3 == 0) note(co_await accounts.rename(of, after));
      if (i % 3 == 1) note(co_await accounts.remove(of));
      if (i % 3 != 1) kept.push_back(i % 3 == 0 ? after : of);
    }
    --at_work;
  }
  Task<void> relocate_the_old_ones() {
    for (int i = 0; i < 12; ++i) {
      auto place = co_await accounts.place(old_one(i));
      note(place);
      if (place) note(co_await accounts.relocate(old_one(i), place->directory));
      kept.push_back(old_one(i));
    }
    --at_work;
  }
  Task<void> remove_folders() {
    for (; at_work > 0; ++removals) {
      std::atomic<uint64_t> counted = 0;
      RelocationPass pass(backend.store, domain, nullptr, {}, [] { return false; });
      pass.leave_alone(counted);
      if (removals % 2 != 0) note(co_await pass.run());
      note(co_await remove_empty_folders(backend.loop, backend.store, domain,
                                         removals % 2 != 0 ? &pass.folders() : nullptr));
    }
  }
  Task<void> all() {
    TaskGroup group(backend.loop);
    at_work = 4;
    for (int user = 0; user < 3; ++user) group.spawn(create_rename_and_remove(user));
    group.spawn(relocate_the_old_ones());
    group.spawn(remove_folders());
    co_await group.join();
  }

  SimWorld world;
  MemoryDisk disk;
  Backend backend;
  SettingsFiles files{backend.store, kEpoch, 0};
  Accounts accounts{backend.environment(), files, AccountsOptions{}};
  std::shared_ptr<const Domain> domain;
  int at_work = 0, removals = 0;
  std::vector<AccountAddress> kept;
  std::vector<std::string> errors;
};

TEST(FoldersInUse, AreNeverRemovedUnderAccountsThatAreMadeRenamedAndMovedIntoThem) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    Busy busy(seed, seed % 2 == 0 ? 0 : 2);
    busy.backend.run_void(busy.all());
    EXPECT_THAT(busy.errors, testing::ElementsAre());
    EXPECT_GT(busy.removals, 1);
    for (const AccountAddress& of : busy.kept) {
      auto settings = busy.backend.run(busy.accounts.settings(of));
      ASSERT_TRUE(settings) << settings.error().to_string();
      EXPECT_EQ((*settings)->own.dict.string_or("Colour", ""), "green") << of.to_string();
      EXPECT_TRUE(busy.disk.attributes(place_under(busy.domain->layout, of).directory)) << of.to_string();
    }
  }
}

}  // namespace
}  // namespace canopy
