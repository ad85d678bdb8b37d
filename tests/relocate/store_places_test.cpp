// What the mount table puts elsewhere besides accounts that go to another store: to another place on the same
// one, and settings that no account has.
#include "daemon/store/store_path.h"
#include "store_moves_fixture.h"

namespace canopy {
namespace {

using StorePlaces = StoreMoves;

TEST_P(StorePlaces, AnotherPlaceOnTheSameStoreOutlivesAPowerCutOnceNoOlderRowIsKept) {
  std::vector<AccountAddress> all;
  for (int i = 0; i < 8; ++i) all.push_back({fmt::format("user{}", i), "company.com"});
  for (const AccountAddress& who : all) create(who);
  const std::initializer_list<std::string_view> rows = {"/ root", "SharedDomains/company.com/* one cut"};
  mount(rows);
  for (const AccountAddress& who : all) {
    auto moved = relocate(who);
    ASSERT_TRUE(moved) << moved.error().to_string();
    EXPECT_EQ(*moved, Accounts::Relocated::kMoved);
  }
  process->kill();
  dead.push_back(std::move(process));
  disks.at("one").crash(7);
  mounts = nullptr;
  mount(rows);
  start();
  for (const AccountAddress& who : all) expect_whole(who, {});
}

TEST_P(StorePlaces, SettingsThatNoAccountHasGoAlongOrAway) {
  dict::Dict settings;
  settings.set("FastIndex", int64_t{2});
  auto next = std::make_shared<DomainTable>(*table);
  domain = *make_domain(next->tree, "company.com", {{1, 1}, settings});
  next->domains["company.com"] = domain;
  table = next;
  mount({"/ root", "SharedDomains/company.com/* two", "SharedDomains/company.com/fast one"});
  succeed();
  create(kWho);
  const std::string path = domain->layout.settings_file(kWho);
  const std::string gone = domain->layout.account_directory(kWho);
  ASSERT_TRUE(process->run(remove_tree(*process->set, gone)));  // as a removal that was cut off
  mount({"/ root", "SharedDomains/company.com/* two"});
  auto moved = process->run(process->accounts->bring_along(kWho, path));
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_TRUE(*moved);
  EXPECT_FALSE(disks.at("one").attributes(path));
  EXPECT_TRUE(disks.at("two").attributes(path));
  moved = process->run(process->accounts->bring_along(kWho, path));
  ASSERT_TRUE(moved);
  EXPECT_FALSE(*moved);
  succeed();     // nobody remembers the one that was removed
  create(kWho);  // its own settings stay where it looks for them
  to("one");
  moved = process->run(process->accounts->bring_along(kWho, path));
  ASSERT_TRUE(moved);
  EXPECT_FALSE(*moved);
  EXPECT_TRUE(disks.at("two").attributes(path));
}

TEST_P(StorePlaces, SettingsUnderALayoutThatWasDroppedGoUnlessTheyAreNewer) {
  create(kWho);
  const std::string own = domain->layout.settings_file(kWho);
  const std::string left = "SharedDomains/fast/company.com/s.sub/jsmith.settings";
  auto text = process->run(read_file(*process->set, own, 65'536));
  ASSERT_TRUE(text);
  mount({"/ root", "SharedDomains/fast one"});
  succeed();
  ASSERT_TRUE(
      process->run(make_directories(*process->set, std::string(store_parent_of(left)), 0700, Durable::kYes)));
  auto leave = [&](std::string_view what) {
    auto file = process->run(process->set->open(left, {.write = true, .create = true, .truncate = true}));
    ASSERT_TRUE(file) << file.error().to_string();
    ASSERT_TRUE(process->run((*file)->write(0, std::span(&what, 1), Durable::kYes)));
  };
  leave(*text);
  mount({"/ root"});
  auto moved = process->run(process->accounts->bring_along(kWho, left));
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_TRUE(*moved);
  EXPECT_FALSE(disks.at("one").attributes(left));
  EXPECT_FALSE(disks.at("root").attributes(left));

  // The account's own, as a crash takes it back there.
  mount({"/ root", "SharedDomains/fast one"});
  leave(*text);
  ASSERT_TRUE(process->run(process->set->remove(own, Durable::kYes)));
  mount({"/ root"});
  moved = process->run(process->accounts->bring_along(kWho, left));
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_FALSE(disks.at("one").attributes(left));
  auto home = process->run(read_file(*process->set, own, 65'536));
  ASSERT_TRUE(home) << home.error().to_string();
  EXPECT_EQ(*home, *text);

  // What is newer than the account's own, or nothing that can be read, is somebody's who has to say.
  mount({"/ root", "SharedDomains/fast one"});
  ASSERT_TRUE(process->run(process->files->replace(0, left, {})));
  mount({"/ root"});
  moved = process->run(process->accounts->bring_along(kWho, left));
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code(), Code::kConflict) << moved.error().to_string();
  EXPECT_TRUE(disks.at("one").attributes(left));
  mount({"/ root", "SharedDomains/fast one"});
  leave("not a dictionary");
  mount({"/ root"});
  EXPECT_FALSE(process->run(process->accounts->bring_along(kWho, left)));
  EXPECT_TRUE(disks.at("one").attributes(left));
  expect_whole(kWho, {});
}

TEST_P(StorePlaces, AReplacementThatFailedInAFolderThatIsNotThereYetIsDoneTheNextTime) {
  const std::string path = std::string(kFolder) + "/fast/u.info";
  ASSERT_TRUE(process->run(make_directories(*process->set, std::string(store_parent_of(path)), 0700,
                                            Durable::kYes)));  // on the store that the table names now
  to("two");
  FaultPlan faults = Backend::quiet();
  faults.error = 1;
  faults.operations = FaultPlan::only(StoreOperation::kMakeDirectory);
  faults.object_contains = kFolder;
  process->plan(faults);
  EXPECT_FALSE(process->run(process->files->replace(0, path, {})));
  process->plan(Backend::quiet());
  auto replaced = process->run(process->files->replace(0, path, {}));
  EXPECT_TRUE(replaced) << replaced.error().to_string();
  EXPECT_TRUE(disks.at("two").attributes(path));
}

TEST_P(StorePlaces, ARemovalThatComesLateDoesNotTakeTheFileThatWasBroughtBack) {
  if (!GetParam()) return;  // nothing comes late there
  const std::string path = std::string(kFolder) + "/domain.settings";
  dict::VersionedDict file;
  file.dict.set("Colour", "green");
  ASSERT_TRUE(process->run(process->files->replace(0, path, file)));
  ASSERT_TRUE(disks.at("one").attributes(path));
  to("two");
  FaultPlan faults = Backend::quiet();
  faults.late = 1;
  faults.deadline = 50 * kMillisecond;
  faults.late_max = 20 * kSecond;
  faults.operations = FaultPlan::only(StoreOperation::kRemove) | FaultPlan::only(StoreOperation::kRename);
  faults.object_contains = kFolder;  // what is copied is renamed from a stage
  process->plan(faults);
  EXPECT_FALSE(process->run(process->files->move_to_newest_store(0, path)));
  process->plan(Backend::quiet());
  to("one");
  auto moved = process->run(process->files->move_to_newest_store(0, path));
  ASSERT_TRUE(moved) << moved.error().to_string();
  pass(30 * kSecond);
  auto read = process->run(process->files->read(path));
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(read->dict.string_or("Colour", ""), "green");
  EXPECT_TRUE(disks.at("one").attributes(path));
}

INSTANTIATE_TEST_SUITE_P(, StorePlaces, testing::Bool(),
                         [](const auto& of) { return of.param ? "Shared" : "Alone"; });

}  // namespace
}  // namespace canopy
