// Damage in an account's log: named, set apart, repaired around.
#include "account_fixture.h"

namespace canopy {
namespace {

class RepairTest : public AccountTest {
 protected:
  void flip(const std::string& name, uint64_t offset) {
    const std::string path = std::string(kDirectory) + "/" + name;
    OpenOptions options;
    options.write = true;
    auto file = disk.open(path, options);
    ASSERT_TRUE(file);
    char byte = 0;
    ASSERT_TRUE(disk.read(*file, false, offset, std::span(&byte, 1)));
    byte = static_cast<char>(byte ^ 0x55);
    std::string_view piece(&byte, 1);
    ASSERT_TRUE(disk.write(*file, false, offset, std::span(&piece, 1), Durable::kYes));
    disk.close(*file);
  }
  std::vector<std::string> names(const std::string& path) {
    std::vector<std::string> all;
    auto page = disk.list(path, 0);
    if (!page) return all;
    for (const DirectoryEntry& entry : page->entries) all.push_back(entry.name);
    return all;
  }
};

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
