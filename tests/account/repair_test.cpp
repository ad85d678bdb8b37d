// Damage in an account's log: named, set apart, repaired around.
#include "account_fixture.h"

namespace canopy {
namespace {

class RepairTest : public AccountTest {
 protected:
  void flip(const std::string& name, uint64_t offset) { flip(disk, name, offset); }
  static void flip(MemoryDisk& on, const std::string& name, uint64_t offset) {
    const std::string path = std::string(kDirectory) + "/" + name;
    OpenOptions options;
    options.write = true;
    auto file = on.open(path, options);
    ASSERT_TRUE(file);
    char byte = 0;
    ASSERT_TRUE(on.read(*file, false, offset, std::span(&byte, 1)));
    byte = static_cast<char>(byte ^ 0x55);
    std::string_view piece(&byte, 1);
    ASSERT_TRUE(on.write(*file, false, offset, std::span(&piece, 1), Durable::kYes));
    on.close(*file);
  }
  std::vector<std::string> names(const std::string& path) {
    std::vector<std::string> all;
    auto page = disk.list(path, 0);
    if (!page) return all;
    for (const DirectoryEntry& entry : page->entries) all.push_back(entry.name);
    return all;
  }
};

// One slice a process, the newest with a damaged manifest.
TEST_F(RepairTest, ALostManifestIsMadeUpFromTheOlderSlicesAndAllMessagesStay) {
  for (int slices = 1; slices <= 3; ++slices) {
    SCOPED_TRACE(slices);
    SimWorld own(1);
    MemoryDisk tree;
    std::string newest, before;
    for (int i = 0; i < slices; ++i) {
      Backend process(own, tree, kEpoch + static_cast<uint64_t>(i) * (1ull << 32));
      ASSERT_TRUE(process.open());
      for (uint32_t k = 0; k < 3; ++k) ASSERT_TRUE(process.append(message_text(k, 500)));
      ASSERT_TRUE(process.flag(1, {{1, 2}}, FlagsMode::kAdd, kFlagSeen));
      ASSERT_TRUE(process.expunge(1, {{static_cast<uint32_t>(3 * i + 2), static_cast<uint32_t>(3 * i + 2)}}));
      newest = process.account->slices().back().file;
      ASSERT_EQ(process.account->slices().size(), static_cast<size_t>(i + 1));
      before = picture_of(process.account->state());
      own.kill(process.loop);
      process.account.reset();
    }
    flip(tree, newest, 64 + 50);

    Backend next(own, tree, kEpoch + (9ull << 32));
    auto refused = next.open();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::kDamaged);
    next.log_options.reconstruct_manifest = true;
    ASSERT_TRUE(next.open());
    EXPECT_EQ(picture_of(next.account->state()), before);
    auto repaired = next.run(next.account->repair());
    ASSERT_TRUE(repaired) << repaired.error().to_string();
    EXPECT_THAT(repaired->lost, testing::IsEmpty());
    next.close();
    next.log_options.reconstruct_manifest = false;
    ASSERT_TRUE(next.open());
    EXPECT_EQ(picture_of(next.account->state()), before);
    EXPECT_TRUE(next.fetch(1, 1));
    auto report = next.run(next.account->check());
    ASSERT_TRUE(report);
    EXPECT_THAT(report->damages, testing::IsEmpty());
    next.close();
  }
}

TEST_F(RepairTest, ALostManifestIsNotMadeUpWhereASliceIsMissingOrUnknown) {
  ASSERT_TRUE(backend.append(message_text(1)));
  ASSERT_TRUE(backend.append(message_text(2)));
  const std::string oldest = backend.account->slices().back().file;
  backend.close();
  Backend second(world, disk, kEpoch + (1ull << 32));
  ASSERT_TRUE(second.open());
  ASSERT_TRUE(second.append(message_text(3)));
  ASSERT_TRUE(second.append(message_text(4)));
  const std::string newest = second.account->slices().back().file;
  second.close();
  flip(newest, 64 + 50);
  const std::string path = std::string(kDirectory) + "/";
  Backend third(world, disk, kEpoch + (2ull << 32));
  third.log_options.reconstruct_manifest = true;

  // A slice that no manifest names, as a compaction makes them.
  const std::string between = fmt::format("{:016x}-{:016x}.slice", 1, kEpoch + 1);
  ASSERT_TRUE(disk.link(path + oldest, path + between, Durable::kYes));
  auto unknown = third.open();
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code(), Code::kDamaged);
  EXPECT_THAT(unknown.error().message(), testing::HasSubstr(between));
  ASSERT_TRUE(disk.remove(path + between, Durable::kYes));
  ASSERT_TRUE(third.open());
  third.close();
}

TEST_F(RepairTest, AMessageThatIsDamagedIsNamedLostAndExpungedAndAllOthersStay) {
  for (uint32_t i = 1; i <= 5; ++i) ASSERT_TRUE(backend.append(message_text(i, 1000)));
  ASSERT_TRUE(backend.flag(1, {{1, 5}}, FlagsMode::kAdd, kFlagSeen, {"Blue"}));
  const MessageRow row = *backend.box("INBOX")->find(3);
  const std::string slice = backend.account->slices().back().file;
  flip(slice, row.offset + 500);

  auto report = backend.run(backend.account->check());
  ASSERT_TRUE(report);
  ASSERT_EQ(report->damages.size(), 1u);
  EXPECT_EQ(report->damages[0].file, slice);
  EXPECT_LE(report->damages[0].offset, row.offset);
  EXPECT_GT(report->damages[0].offset + report->damages[0].length, row.offset);
  auto refused = backend.fetch(1, 3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kDamaged);

  // Moving the slice takes its time: it must not be taken for one that a crash left.
  FaultPlan slow = Backend::quiet();
  slow.delay = 1;
  slow.delay_max = 200 * kMillisecond;
  slow.operations =
      FaultPlan::only(StoreOperation::kRename) | FaultPlan::only(StoreOperation::kMakeDirectory);
  backend.store.set_plan(slow);
  auto repaired = backend.run(backend.account->repair());
  ASSERT_TRUE(repaired) << repaired.error().to_string();
  backend.store.set_plan(Backend::quiet());
  EXPECT_THAT(repaired->lost, testing::ElementsAre(LostMessage{1, 3}));
  world.run_for(kSecond);
  EXPECT_THAT(names(std::string(kDirectory) + "/damaged"), testing::ElementsAre(slice));
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(uids_of(*backend.box("INBOX")), testing::ElementsAre(1, 2, 4, 5));
    for (uint32_t uid : {1u, 2u, 4u, 5u}) {
      EXPECT_EQ(backend.fetch(1, uid), message_text(uid, 1000));
      EXPECT_EQ(backend.box("INBOX")->find(uid)->flags & kSystemFlagsMask, kFlagSeen);
    }
    EXPECT_EQ(backend.box("INBOX")->expunged.back().first, 3u);  // clients are told
    auto again = backend.run(backend.account->check());
    ASSERT_TRUE(again);
    EXPECT_THAT(again->damages, testing::IsEmpty());
    EXPECT_THAT(again->orphans, testing::IsEmpty());
    ASSERT_TRUE(backend.reopen());
  }
  EXPECT_TRUE(backend.append("goes on"));
}

TEST_F(RepairTest, FilesThatCrashesLeftAreRemoved) {
  ASSERT_TRUE(backend.append("one"));
  FaultPlan plan = Backend::quiet();
  plan.error = 1;
  plan.operations = FaultPlan::only(StoreOperation::kWrite);
  for (int i = 0; i < 5; ++i) {
    backend.store.set_plan(plan);
    EXPECT_FALSE(backend.append("fails"));
    backend.store.set_plan(Backend::quiet());
    ASSERT_TRUE(backend.reopen());
  }
  ASSERT_TRUE(backend.append("two"));
  auto report = backend.run(backend.account->check());
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->orphans.empty());
  EXPECT_THAT(report->damages, testing::IsEmpty());
  auto repaired = backend.run(backend.account->repair());
  ASSERT_TRUE(repaired);
  EXPECT_THAT(repaired->lost, testing::IsEmpty());
  EXPECT_THAT(backend.run(backend.account->check())->orphans, testing::IsEmpty());
  EXPECT_EQ(backend.box("INBOX")->rows.size(), 2u);
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(RepairTest, WhileAMessageIsBeingUploadedNothingIsRepaired) {
  ASSERT_TRUE(backend.append("one"));
  backend.account->upload_begin();
  EXPECT_EQ(code_of(backend.run(backend.account->repair())), Code::kBusy);
  backend.account->upload_end();
  EXPECT_TRUE(backend.run(backend.account->repair()));
}

}  // namespace
}  // namespace canopy
