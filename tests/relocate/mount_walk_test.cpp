// The walk over what lies where only superseded rows of the mount table lead.
#include "daemon/relocate/mount_walk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/runtime/sim_loop.h"
#include "daemon/store/marker.h"
#include "daemon/store/memory/memory_store.h"
#include "daemon/store/set/store_set.h"

namespace canopy {
namespace {

// Two stores; everything goes from the root store to the other one.
class MountWalkTest : public testing::Test {
 protected:
  MountWalkTest() {
    MemoryStore other(&loop, other_disk, {.name = "one"});
    auto marker = run(create_marker(other, loop, "one", "accounts", StoreContent::kMustBeEmpty));
    auto next = std::make_shared<StoresConfig>(StoresConfig::root_only());
    next->stores["one"] = {.name = "one", .address = "dir:/one", .id = marker->id};
    next->mounts = std::make_shared<const Mounts>(*next->mounts->changed({{"/", "one", ""}}));
    config = next;
    StoreSetOptions options;
    options.open = [this](StoreConfig of) { return open(std::move(of)); };
    auto root = std::make_unique<MemoryStore>(&loop, root_disk, MemoryStoreOptions{.name = "root"});
    set = std::make_unique<StoreSet>(loop, std::move(root), std::move(options));
    set->apply(config);
    world.run_until_done(loop, set->settle(world.now() + 5 * kSecond));
  }
  ~MountWalkTest() override { world.run_until_done(loop, set->stop()); }

  Task<Result<std::unique_ptr<Store>>> open(StoreConfig of) {
    co_return std::make_unique<MemoryStore>(&loop, other_disk, MemoryStoreOptions{.name = of.name});
  }
  template <class T>
  Result<T> run(Task<Result<T>> task) {
    return std::move(*world.run_until_done(loop, std::move(task)));
  }
  void write_on_root(const std::string& path) {
    const std::string fixed = ".stores/root/" + path;
    ASSERT_TRUE(run(make_directories(*set, fixed.substr(0, fixed.rfind('/')), 0700, Durable::kYes)));
    ASSERT_TRUE(run(set->open(fixed, {.write = true, .create = true})));
  }

  SimWorld world{1};
  SimLoop& loop = world.add_loop("walk");
  MemoryDisk root_disk, other_disk;
  std::shared_ptr<const StoresConfig> config;
  std::unique_ptr<StoreSet> set;
};

TEST_F(MountWalkTest, TheClustersRegisterIsNoStrayFile) {
  write_on_root("SharedDomains/heartbeat.data");
  write_on_root("SharedDomains/heartbeat.data.7");
  write_on_root("SharedDomains/c.sub/heartbeat.data");
  write_on_root("SharedDomains/note.txt");
  MountWalk walk(
      *set, config->mounts, [](std::vector<SeenAccount>) -> Task<bool> { co_return true; },
      [](std::string, std::string) -> Task<Result<void>> { co_return Result<void>(); });
  auto whole = run(walk.run());
  ASSERT_TRUE(whole) << whole.error().to_string();
  EXPECT_TRUE(*whole);
  EXPECT_EQ(walk.others(), 2u);
  EXPECT_EQ(walk.other(), "root:SharedDomains/note.txt");
  ASSERT_TRUE(run(walk.remove_empty_folders()));
  EXPECT_TRUE(root_disk.attributes("SharedDomains/heartbeat.data"));
}

TEST_F(MountWalkTest, OnlyWhatLiesWhereALayoutCouldHaveItIsAnAccountsFile) {
  write_on_root("SharedDomains/fast/company.com/a.sub/abby.settings");
  write_on_root("SharedDomains/company.com/fast/abby.info");
  write_on_root("SharedDomains/fast/company.com/archive/abby.settings");
  write_on_root("SharedDomains/fast/company.com/notes/fast/abby.info");
  std::vector<std::string> seen;
  auto see = [&](std::vector<SeenAccount> page) -> Task<bool> {
    for (const SeenAccount& each : page) seen.push_back(each.address.to_string() + " " + each.directory);
    co_return true;
  };
  MountWalk walk(*set, config->mounts, see,
                 [](std::string, std::string) -> Task<Result<void>> { co_return Result<void>(); });
  auto whole = run(walk.run());
  ASSERT_TRUE(whole) << whole.error().to_string();
  std::ranges::sort(seen);
  EXPECT_EQ(seen, (std::vector<std::string>{
                      "abby@company.com SharedDomains/company.com/fast/abby.info",
                      "abby@company.com SharedDomains/fast/company.com/a.sub/abby.settings"}));
  EXPECT_EQ(walk.others(), 2u);
}

}  // namespace
}  // namespace canopy
