#include "tests/log/log_fixture.h"

namespace canopy {
namespace {

class CompactionTest : public AccountLogTest {
 protected:
  Result<CompactionReport> compact(Process& process, ModelSource& source, CompactionRequest request = {}) {
    return process.run(process.log->compact(source, std::move(request)));
  }
  void expect_same_after_reopening(Process& process) {
    const auto rows = process.account.rows;
    expect_contents(process);
    process.close();
    Process next(world, disk, process.epoch + 1);
    ASSERT_TRUE(next.open());
    EXPECT_EQ(next.account.rows, rows);
    EXPECT_TRUE(next.log->damages().empty());
    expect_contents(next);
    auto report = next.run(next.log->check());
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->damages.empty());
    EXPECT_TRUE(report->orphans.empty());
    next.close();
  }
};

TEST_F(CompactionTest, OnlyWhatLivesIsCopiedAndOldSlicesGo) {
  Process process(world, disk, kEpoch);
  process.options.slice_bytes_max = 2000;
  ASSERT_TRUE(process.create());
  for (uint32_t uid = 1; uid <= 40; ++uid) ASSERT_TRUE(process.append(delivery(uid)));
  ASSERT_TRUE(process.append(expunge_of(1, 30)));
  ASSERT_TRUE(process.append(flags_of(33, kFlagFlagged)));
  ModelSource source(process.account);
  auto report = compact(process, source);
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_EQ(report->rows, 10u);
  EXPECT_LT(report->bytes_after, report->bytes_before / 2);
  EXPECT_TRUE(source.done);
  world.run_for(kSecond);
  // The data slice and the one with its manifest. Appends rolled to a slice for what comes meanwhile; nothing
  // came, so it was never written, no manifest names it, and its file goes.
  EXPECT_THAT(names(),
              testing::UnorderedElementsAre(process.log->slices()[0].file, process.log->slices()[1].file));
  EXPECT_EQ(process.log->slices().size(), 2u);
  ASSERT_TRUE(process.append(delivery(41)));
  expect_same_after_reopening(process);
}

TEST_F(CompactionTest, AppendsAndReadsGoOnMeanwhile) {
  Process process(world, disk, kEpoch);
  process.options.slice_bytes_max = 2000;
  ASSERT_TRUE(process.create());
  for (uint32_t uid = 1; uid <= 30; ++uid) ASSERT_TRUE(process.append(delivery(uid)));
  ModelSource source(process.account);
  uint32_t uid = 100;
  source.between = [&]() -> Task<void> {
    EXPECT_TRUE(co_await process.append_task(delivery(++uid)));
    EXPECT_TRUE(co_await process.append_task(expunge_of(uid - 92, uid - 92)));
    EXPECT_TRUE(co_await process.append_task(flags_of(25, static_cast<uint16_t>(uid % 16))));
  };
  ASSERT_TRUE(compact(process, source));
  EXPECT_GT(uid, 103u);
  world.run_for(kSecond);
  ASSERT_EQ(process.log->slices().size(), names().size());
  EXPECT_GE(names().size(), 3u);  // the slices of what came meanwhile lie between those two
  EXPECT_EQ(process.log->slices()[0].entry.kind, SliceKind::kData);
  expect_same_after_reopening(process);
}

TEST_F(CompactionTest, APinKeepsDroppedSlicesReadable) {
  Process process(world, disk, kEpoch, true);
  ASSERT_TRUE(process.create());
  for (uint32_t uid = 1; uid <= 5; ++uid) ASSERT_TRUE(process.append(delivery(uid)));
  const auto old_rows = process.account.rows;
  auto pin = std::make_optional(process.log->pin());
  const auto before = names();
  ModelSource source(process.account);
  ASSERT_TRUE(compact(process, source));
  world.run_for(kSecond);
  EXPECT_THAT(names(), testing::IsSupersetOf(before));
  EXPECT_EQ(*process.run(process.log->remove_orphans()), 0u);
  for (const auto& [uid, row] : old_rows) {
    auto content = process.run(read_content(*process.log, *pin, row.place, row.length, kMessageBytesMax));
    ASSERT_TRUE(content);
    EXPECT_EQ(*content, content_of(uid));
  }
  pin.reset();
  world.run_for(kSecond);
  EXPECT_THAT(names(), testing::Not(testing::Contains(before[0])));
  expect_same_after_reopening(process);
}

TEST_F(CompactionTest, ASliceThatIsNotDroppedStaysForItsContentOnly) {
  Process process(world, disk, kEpoch);
  process.options.slice_bytes_max = 1500;
  ASSERT_TRUE(process.create());
  for (uint32_t uid = 1; uid <= 30; ++uid) ASSERT_TRUE(process.append(delivery(uid)));
  ASSERT_TRUE(process.append(expunge_of(4, 4)));
  const auto slices = process.log->slices();
  ASSERT_GT(slices.size(), 3u);
  CompactionRequest request;
  request.drop = {slices[1].entry.id.number};
  ModelSource source(process.account);
  auto report = compact(process, source, std::move(request));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->slices_dropped, 1u);
  EXPECT_LT(report->content_bytes_copied, 1500u);
  EXPECT_FALSE(process.log->slices()[0].entry.replayed);
  ASSERT_TRUE(process.append(delivery(31)));
  expect_same_after_reopening(process);
}

TEST_F(CompactionTest, ContentThatSeveralRowsShareIsCopiedOnce) {
  Process process(world, disk, kEpoch);
  ASSERT_TRUE(process.create());
  const std::string bytes = content_of(1, 5000);
  Frame frame;
  const size_t content = frame.add(Content{bytes});
  for (uint32_t uid = 1; uid <= 3; ++uid) {
    Message message = message_with(uid, bytes);
    message.bytes = {};
    message.content = ContentKind::kReference;
    message.reference = Place::in_this_frame(content);
    frame.add(message);
  }
  auto done = process.append(std::move(frame));
  ASSERT_TRUE(done);
  ModelSource source(process.account);
  for (uint32_t uid = 1; uid <= 3; ++uid) {
    source.references[uid] = done->place(content);
    source.sizes[uid] = bytes.size();
  }
  auto report = compact(process, source);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->content_bytes_copied, bytes.size());
  for (uint32_t uid = 1; uid <= 3; ++uid) EXPECT_EQ(*process.content(uid), bytes);
  process.close();
}

TEST_F(CompactionTest, RepairLeavesOutWhatIsDamagedAndSetsItsSliceAside) {
  Process first(world, disk, kEpoch);
  ASSERT_TRUE(first.create());
  for (uint32_t uid = 1; uid <= 5; ++uid) ASSERT_TRUE(first.append(delivery(uid)));
  const Place damaged = first.account.rows.at(3).place;
  ASSERT_TRUE(first.run(first.log->write_checkpoint(first.log->covered(), first.account.checkpoint())));
  first.close();
  const std::string path = std::string(kAccount) + "/" + slice_file_name({1, kEpoch});
  std::string bytes = file_bytes(path);
  bytes[damaged.offset + 60] ^= 4;
  write_file(path, bytes);

  Process process(world, disk, kEpoch + 1);
  ASSERT_TRUE(process.open());
  EXPECT_EQ(process.account.rows.size(), 5u);  // the checkpoint speaks of all
  auto report = process.run(process.log->check());
  ASSERT_TRUE(report);
  EXPECT_EQ(report->damages.size(), 1u);
  CompactionRequest request;
  request.set_damaged_aside = true;
  ModelSource source(process.account);
  auto done = compact(process, source, std::move(request));
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_THAT(done->lost, testing::ElementsAre(LostMessage{1, 3}));
  EXPECT_EQ(done->damages.size(), 1u);
  process.account.rows.erase(3);
  world.run_for(kSecond);
  EXPECT_TRUE(disk.attributes(std::string(kAccount) + "/damaged/" + slice_file_name({1, kEpoch})));
  expect_same_after_reopening(process);
}

TEST_F(CompactionTest, DamagedContentStaysInItsSliceWhenNotRepairing) {
  Process process(world, disk, kEpoch);
  ASSERT_TRUE(process.create());
  for (uint32_t uid = 1; uid <= 3; ++uid) ASSERT_TRUE(process.append(delivery(uid)));
  const std::string path = std::string(kAccount) + "/" + slice_file_name({1, kEpoch});
  std::string bytes = file_bytes(path);
  bytes[process.account.rows.at(2).place.offset + 60] ^= 4;
  write_file(path, bytes);
  ModelSource source(process.account);
  auto done = compact(process, source);
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->slices_dropped, 0u);
  EXPECT_EQ(done->damages.size(), 1u);
  EXPECT_EQ(*process.content(1), content_of(1));
  EXPECT_EQ(code_of(process.content(2)), Code::kDamaged);
  process.close();
}

}  // namespace
}  // namespace canopy
