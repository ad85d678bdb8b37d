// What earlier processes staged is out of reach before a new one serves, and goes from the disk in time.
#include "daemon/account/older_stages.h"
#include "account_fixture.h"

namespace canopy {
namespace {

class OlderStagesTest : public testing::TestWithParam<bool> {
 protected:
  // A process with this epoch stages a replacement and dies before the rename. Answers the staged path.
  std::string stage(uint64_t epoch, uint32_t slot) {
    Backend process(world, disk, epoch, GetParam());
    SettingsFiles files(process.store, epoch, slot);  // each is a process of its own
    auto path = process.run(files.stage_file(slot, "", "{Old=1;}"));
    EXPECT_TRUE(path) << path.error().to_string();
    return *path;
  }
  bool is_there(Backend& process, const std::string& path) {
    return process.run(process.store.attributes(path)).has_value();
  }

  SimWorld world{1};
  MemoryDisk disk;
};

TEST_P(OlderStagesTest, ALateRenameFindsNothingAndTheTrashIsEmptied) {
  std::vector<std::string> staged = {stage(kEpoch, 7), stage(kEpoch, 4000), stage(kEpoch + 1, 7)};
  Backend process(world, disk, kEpoch + 2, GetParam());
  auto trash = process.run(retire_older_stages(process.store, process.epoch));
  ASSERT_TRUE(trash) << trash.error().to_string();
  for (const std::string& path : staged) {
    auto late = process.run(process.store.rename(path, "late", RenameMode::kReplace, Durable::kYes));
    EXPECT_EQ(late.error().code(), Code::kNotFound) << path;
  }
  SettingsFiles files(process.store, process.epoch, 0);
  auto own = process.run(files.stage_file(7, "", "{New=1;}"));
  ASSERT_TRUE(own) << own.error().to_string();
  process.run_void(empty_trash(process.store, *trash));
  EXPECT_TRUE(is_there(process, *own));
  auto left = process.run(list_all(process.store, std::string(kTrashRoot), 100));
  EXPECT_TRUE(!left || left->empty());
}

// At whatever step of its successor the rename of a staged account arrives: it finds all of it or nothing.
TEST_P(OlderStagesTest, AStagedDirectoryIsNeverPutInPlaceInPart) {
  for (uint64_t arrives_at = 1;; ++arrives_at) {
    MemoryDisk each;
    Backend dead(world, each, kEpoch, GetParam());
    SettingsFiles files(dead.store, kEpoch, 0);
    auto staged = dead.run(files.stage_path(7, ""));
    ASSERT_TRUE(staged) << staged.error().to_string();
    ASSERT_TRUE(each.make_directory(*staged, 0700, Durable::kYes));
    OpenOptions options;
    options.write = options.create = true;
    auto file = each.open(*staged + "/account.settings", options);
    ASSERT_TRUE(file);
    each.close(*file);

    Backend process(world, each, kEpoch + 1, GetParam());
    bool arrived = false;
    process.store.on_operation([&](uint64_t index, StoreOperation, std::string_view) {
      if (index != arrives_at) return;
      arrived = true;
      (void)each.rename(*staged, "late", RenameMode::kNoReplace, Durable::kYes);
    });
    auto trash = process.run(retire_older_stages(process.store, process.epoch));
    ASSERT_TRUE(trash) << trash.error().to_string();
    process.store.on_operation({});
    if (each.attributes("late")) EXPECT_TRUE(each.attributes("late/account.settings")) << arrives_at;
    EXPECT_FALSE(each.attributes(*staged)) << arrives_at;
    if (!arrived) break;
  }
}

// The store loses what was not synced, while a request of the dead process is still on its way.
TEST_P(OlderStagesTest, ACrashOfTheStoreBringsNothingBackThatALateRenameFinds) {
  if (!GetParam()) GTEST_SKIP() << "on a store of one machine no request outlives its process";
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    MemoryDisk each;
    std::string file, directory;
    {
      Backend dead(world, each, kEpoch, true);
      SettingsFiles files(dead.store, kEpoch, 0);
      file = *dead.run(files.stage_file(7, "", "{Old=1;}"));
      directory = *dead.run(files.stage_path(7, ""));
      ASSERT_TRUE(each.make_directory(directory, 0700, Durable::kYes));
    }
    Backend process(world, each, kEpoch + 1, true);
    auto trash = process.run(retire_older_stages(process.store, process.epoch));
    ASSERT_TRUE(trash) << trash.error().to_string();
    process.run_void(empty_trash(process.store, *trash));
    each.crash(seed);
    for (const std::string& path : {file, directory}) {
      auto late = each.rename(path, "late", RenameMode::kNoReplace, Durable::kYes);
      EXPECT_EQ(late.error().code(), Code::kNotFound) << path << " seed " << seed;
    }
  }
}

// Whatever its last request finds, the process that was superseded learns that; a client would take "not
// found" for the account's.
TEST_P(OlderStagesTest, WhoseStageIsRemovedUnderAReplacementIsFenced) {
  if (!GetParam()) GTEST_SKIP() << "on a store of one machine its process is dead by then";
  for (uint64_t removed_at = 1;; ++removed_at) {
    MemoryDisk each;
    Backend old(world, each, kEpoch, true);
    SettingsFiles files(old.store, kEpoch, 0);
    const std::string target = "some.settings";
    auto before = old.run(files.replace(7, target, {{}, dict::Dict{{"A", 1}}}));
    ASSERT_TRUE(before) << before.error().to_string();
    const uint64_t first = old.store.operations();
    bool removed = false;
    old.store.on_operation([&](uint64_t index, StoreOperation, std::string_view) {
      if (index != first + removed_at) return;
      removed = true;
      const std::string stages(kStageRoot), own = fmt::format("{}/{}", stages, hex64(kEpoch)),
                                            slot = own + "/7";
      ASSERT_TRUE(each.make_directory(fmt::format("{}/{}", stages, hex64(kEpoch + 1)), 0700, Durable::kYes));
      auto staged = each.list(slot, 0);
      ASSERT_TRUE(staged);
      for (const DirectoryEntry& entry : staged->entries)
        ASSERT_TRUE(each.remove(slot + "/" + entry.name, Durable::kYes));
      ASSERT_TRUE(each.remove_directory(slot, Durable::kYes));
      ASSERT_TRUE(each.remove_directory(own, Durable::kYes));
    });
    auto done = old.run(files.replace(7, target, {before->version, dict::Dict{{"A", 2}}}));
    old.store.on_operation({});
    if (!removed) break;
    if (!done)
      EXPECT_EQ(done.error().code(), Code::kFenced) << removed_at << ": " << done.error().to_string();
    ASSERT_LT(removed_at, 100u);
  }
}

TEST_P(OlderStagesTest, ANewTreeHasNone) {
  Backend process(world, disk, kEpoch, GetParam());
  auto trash = process.run(retire_older_stages(process.store, process.epoch));
  ASSERT_TRUE(trash) << trash.error().to_string();
  EXPECT_TRUE(trash->empty());
}

TEST_P(OlderStagesTest, TrashOfAProcessThatDiedWhileItEmptiedItGoesAtTheNextStart) {
  stage(kEpoch, 7);
  Backend second(world, disk, kEpoch + 1, GetParam());
  ASSERT_TRUE(
      second.run(make_directories(second.store, std::string(kTrashRoot) + "/9.0/5", 0700, Durable::kYes)));
  ASSERT_TRUE(second.run(retire_older_stages(second.store, second.epoch)));  // and dies here
  Backend third(world, disk, kEpoch + 2, GetParam());
  auto trash = third.run(retire_older_stages(third.store, third.epoch));
  ASSERT_TRUE(trash) << trash.error().to_string();
  third.run_void(empty_trash(third.store, *trash));
  auto left = third.run(list_all(third.store, std::string(kTrashRoot), 100));
  EXPECT_TRUE(!left || left->empty());
}

INSTANTIATE_TEST_SUITE_P(Stores, OlderStagesTest, testing::Bool(), [](const auto& shared) {
  return std::string(shared.param ? "Shared" : "OfThisMachine");
});

}  // namespace
}  // namespace canopy
