#include "tests/log/log_fixture.h"

namespace canopy {
namespace {

using testing::ElementsAre;

TEST_F(AccountLogTest, WhatWasAppendedIsThereAfterOpeningAgain) {
  Process first(world, disk, kEpoch);
  ASSERT_TRUE(first.create());
  for (uint32_t uid = 1; uid <= 5; ++uid) ASSERT_TRUE(first.append(delivery(uid)));
  ASSERT_TRUE(first.append(flags_of(2, kFlagSeen)));
  ASSERT_TRUE(first.append(expunge_of(4, 4)));
  expect_contents(first);
  const auto rows = first.account.rows;
  first.close();

  Process second(world, disk, kEpoch + 1);
  ASSERT_TRUE(second.open());
  EXPECT_EQ(second.account.rows, rows);
  EXPECT_EQ(second.account.rows.at(2).flags, kFlagSeen);
  EXPECT_EQ(second.account.mailboxes.at(1), "INBOX");
  EXPECT_THAT(second.log->damages(), testing::IsEmpty());
  expect_contents(second);
  second.close();
}

TEST_F(AccountLogTest, OpeningForReadingChangesNothing) {
  Process first(world, disk, kEpoch);
  ASSERT_TRUE(first.create());
  ASSERT_TRUE(first.append(delivery(1)));
  first.close();
  const auto before = names();
  Process second(world, disk, kEpoch + 1);
  ASSERT_TRUE(second.open());
  second.close();
  EXPECT_EQ(names(), before);
  EXPECT_EQ(second.store.count(StoreOperation::kWrite), 0u);
}

TEST_F(AccountLogTest, AnAccountThatWasNeverCreatedIsNotFoundAndOneThatIsThereIsNotCreatedAgain) {
  Process process(world, disk, kEpoch);
  EXPECT_EQ(code_of(process.open()), Code::kTryAgain);
  ASSERT_TRUE(process.run(make_directories(process.store, std::string(kAccount), 0700, Durable::kYes)));
  EXPECT_EQ(code_of(process.open()), Code::kNotFound);
  ASSERT_TRUE(process.create());
  process.close();
  EXPECT_EQ(code_of(process.create()), Code::kAlreadyExists);
}

TEST_F(AccountLogTest, FramesThatWaitTogetherGoOutInOneWriteAndAreAnsweredInOrder) {
  Process process(world, disk, kEpoch);
  ASSERT_TRUE(process.create());
  FaultPlan slow = Process::without_unclosed({});
  slow.sync_delay = 10 * kMillisecond;
  process.store.set_plan(slow);
  const auto writes = process.store.count(StoreOperation::kWrite);
  std::vector<uint32_t> answered;
  std::vector<uint64_t> offsets;
  auto one = [&](uint32_t uid) -> Task<void> {
    auto done = co_await process.append_task(delivery(uid));
    EXPECT_TRUE(done);
    answered.push_back(uid);
    offsets.push_back(done->offset);
  };
  TaskGroup group(process.loop);
  group.spawn(one(1));
  world.run_for(kMillisecond);  // its write is under way
  for (uint32_t uid = 2; uid <= 50; ++uid) group.spawn(one(uid));
  process.run_void(group.join());
  EXPECT_EQ(process.store.count(StoreOperation::kWrite), writes + 2);
  EXPECT_EQ(answered.size(), 50u);
  EXPECT_TRUE(std::is_sorted(offsets.begin(), offsets.end()));
  EXPECT_EQ(process.store.count(StoreOperation::kSync), 0u);
  expect_contents(process);
  process.close();
}

TEST_F(AccountLogTest, AReopenedAccountOfTheSameProcessGoesOnInItsSlice) {
  Process process(world, disk, kEpoch);
  ASSERT_TRUE(process.create());
  ASSERT_TRUE(process.append(delivery(1)));
  process.close();
  ASSERT_TRUE(process.open());
  ASSERT_TRUE(process.append(delivery(2)));
  EXPECT_EQ(names().size(), 1u);
  process.close();
  ASSERT_TRUE(process.open());
  EXPECT_THAT(process.account.uids(), ElementsAre(1, 2));
  process.close();
}

TEST_F(AccountLogTest, TakingOverCostsOneSliceAndFewDurableOperations) {
  Process first(world, disk, kEpoch);
  ASSERT_TRUE(first.create());
  ASSERT_TRUE(first.append(delivery(1)));
  Process second(world, disk, kEpoch + 1);
  ASSERT_TRUE(second.open());
  ASSERT_TRUE(second.append(delivery(2)));
  EXPECT_LE(second.store.count(StoreOperation::kWrite) + second.store.count(StoreOperation::kSync) +
                second.store.count(StoreOperation::kSyncDirectory) +
                second.store.count(StoreOperation::kSetAttributes),
            4u);
  const auto before = second.store.operations();
  ASSERT_TRUE(second.append(delivery(3)));
  EXPECT_EQ(second.store.operations(), before + 1);
  EXPECT_EQ(names().size(), 2u);
  EXPECT_EQ(disk.unsynced_changes(), 0u);
  second.close();
}

TEST_F(AccountLogTest, OnASharedStoreTheOldOwnerIsFencedByItsNextWrite) {
  Process old_owner(world, disk, kEpoch, true);
  ASSERT_TRUE(old_owner.create());
  ASSERT_TRUE(old_owner.append(delivery(1)));
  Process new_owner(world, disk, kEpoch + 1, true);
  ASSERT_TRUE(new_owner.open());
  ASSERT_TRUE(old_owner.append(delivery(2)));  // after the other has read, before it takes over
  auto conflict = new_owner.append(delivery(3));
  EXPECT_EQ(code_of(conflict), Code::kConflict);  // it had not seen message 2
  EXPECT_THAT(new_owner.account.uids(), ElementsAre(1, 2));
  ASSERT_TRUE(new_owner.append(delivery(3)));

  EXPECT_EQ(code_of(old_owner.append(delivery(4))), Code::kFenced);
  EXPECT_TRUE(old_owner.log->fenced());
  EXPECT_EQ(code_of(old_owner.append(delivery(5))), Code::kFenced);
  old_owner.close();
  new_owner.close();
  Process third(world, disk, kEpoch + 2, true);
  ASSERT_TRUE(third.open());
  EXPECT_THAT(third.account.uids(), ElementsAre(1, 2, 3));
  third.close();
}

TEST_F(AccountLogTest, AnOwnerWithALowerEpochCannotTakeOver) {
  Process later(world, disk, kEpoch + 5, true);
  ASSERT_TRUE(later.create());
  Process earlier(world, disk, kEpoch, true);
  ASSERT_TRUE(earlier.open());
  EXPECT_EQ(code_of(earlier.append(delivery(1))), Code::kFenced);
  EXPECT_EQ(names().size(), 1u);
}

TEST_F(AccountLogTest, NothingIsAcknowledgedOnceTheLeaseHasEnded) {
  Process process(world, disk, kEpoch, true);
  ASSERT_TRUE(process.create());
  process.lease = false;
  EXPECT_EQ(code_of(process.append(delivery(1))), Code::kFenced);
  process.close();
}

TEST_F(AccountLogTest, AfterAFailedWriteTheSliceEndsAndWhatArrivesLateNeverCounts) {
  Process process(world, disk, kEpoch, true);
  ASSERT_TRUE(process.create());
  ASSERT_TRUE(process.append(delivery(1)));
  process.store.set_plan(Process::late_writes());
  auto failed = process.append(delivery(2));
  ASSERT_FALSE(failed);
  EXPECT_TRUE(process.log->broken());
  EXPECT_EQ(code_of(process.append(delivery(2))), Code::kTryAgain);
  process.store.set_plan(Process::without_unclosed({}));
  process.close();

  ASSERT_TRUE(process.open());
  EXPECT_THAT(process.account.uids(), ElementsAre(1));
  ASSERT_TRUE(process.append(delivery(3)));
  EXPECT_EQ(names().size(), 2u);
  world.run_for(1000 * kSecond);  // the late write lands in the first slice
  EXPECT_EQ(process.store.pending(), 0u);
  process.close();
  Process next(world, disk, kEpoch + 1, true);
  ASSERT_TRUE(next.open());
  EXPECT_THAT(next.account.uids(), ElementsAre(1, 3));
  EXPECT_THAT(next.log->damages(), testing::IsEmpty());
  expect_contents(next);
  next.close();
}

TEST_F(AccountLogTest, AFailedFirstWriteOfASliceIsForgottenEvenIfItArrives) {
  Process first(world, disk, kEpoch, true);
  ASSERT_TRUE(first.create());
  ASSERT_TRUE(first.append(delivery(1)));
  first.close();
  Process second(world, disk, kEpoch + 1, true);
  ASSERT_TRUE(second.open());
  FaultPlan lost = Process::without_unclosed({});
  lost.lost_answer = 1;
  lost.operations = FaultPlan::only(StoreOperation::kWrite);
  second.store.set_plan(lost);
  ASSERT_FALSE(second.append(delivery(2)));
  second.store.set_plan(Process::without_unclosed({}));
  second.close();
  ASSERT_TRUE(second.open());
  EXPECT_THAT(second.account.uids(), ElementsAre(1));
  ASSERT_TRUE(second.append(delivery(3)));
  second.close();
  Process third(world, disk, kEpoch + 2, true);
  ASSERT_TRUE(third.open());
  EXPECT_THAT(third.account.uids(), ElementsAre(1, 3));
  third.close();
}

// The manifest of a failed first write may arrive when the process has opened the account anew and begun
// another slice.
TEST_F(AccountLogTest, ASliceBegunAfterAFailedFirstWriteCountsMoreWhateverArrives) {
  Process first(world, disk, kEpoch, true);
  ASSERT_TRUE(first.create());
  ASSERT_TRUE(first.append(delivery(1)));
  first.close();
  Process second(world, disk, kEpoch + 1, true);
  ASSERT_TRUE(second.open());
  second.store.set_plan(Process::late_writes());
  ASSERT_FALSE(second.append(delivery(2)));
  second.store.set_plan(Process::without_unclosed({}));
  second.close();
  // As after several failed attempts: a slice of ours whose number is far above the one that counts.
  const std::string in = std::string(kAccount) + "/";
  ASSERT_TRUE(disk.rename(in + names().back(), in + slice_file_name({40, kEpoch + 1}), RenameMode::kReplace,
                          Durable::kYes));
  ASSERT_TRUE(second.open());
  ASSERT_TRUE(second.append(delivery(3)));
  EXPECT_GT(parse_slice_file_name(names().back())->number, 40u);
  second.close();
}

// A frame that is on its way while it is read, with one behind it that is there a moment later, looks like
// damage.
TEST_F(AccountLogTest, DamageThatWasMetBeforeOthersWereSealedIsLookedAtOnceMore) {
  Process first(world, disk, kEpoch, true);
  ASSERT_TRUE(first.create());
  ASSERT_TRUE(first.append(delivery(1)));
  const std::string path = std::string(kAccount) + "/" + names().front();
  const size_t before = file_bytes(path).size();
  ASSERT_TRUE(first.append(delivery(2)));
  const size_t behind = file_bytes(path).size();
  ASSERT_TRUE(first.append(delivery(3)));
  const std::string whole = file_bytes(path);
  std::string read_meanwhile = whole;
  std::fill(read_meanwhile.begin() + static_cast<ptrdiff_t>(before),
            read_meanwhile.begin() + static_cast<ptrdiff_t>(behind), '\0');
  write_file(path, read_meanwhile);
  Process second(world, disk, kEpoch + 1, true);
  ASSERT_TRUE(second.open());
  EXPECT_THAT(second.log->damages(), testing::SizeIs(1));
  EXPECT_THAT(second.account.uids(), ElementsAre(1, 3));
  write_file(path, whole);
  ASSERT_TRUE(second.run(second.log->take_over()));
  EXPECT_THAT(second.log->damages(), testing::IsEmpty());
  EXPECT_THAT(second.account.uids(), ElementsAre(1, 2, 3));
  second.close();
  first.close();
}

// What a successor has read may be cut off by a manifest of its predecessor that arrives later, until its own
// is there.
TEST_F(AccountLogTest, WhatWasHeldStaysWhateverManifestOfAPredecessorArrives) {
  for (const bool held : {false, true}) {
    SCOPED_TRACE(held);
    SimWorld own_world(1);
    MemoryDisk own_disk;
    Process first(own_world, own_disk, kEpoch, true);
    ASSERT_TRUE(first.create());
    ASSERT_TRUE(first.append(delivery(1)));
    FaultPlan fault = Process::without_unclosed({});
    fault.operations = FaultPlan::only(StoreOperation::kWrite);
    fault.lost_answer = 1;
    first.store.set_plan(fault);
    ASSERT_FALSE(first.append(delivery(2)));  // it is there, and nobody was told
    first.close();
    ASSERT_TRUE(first.open());
    fault.lost_answer = 0;
    fault.late = 1;
    fault.late_max = 600 * kSecond;
    first.store.set_plan(fault);
    ASSERT_FALSE(first.append(delivery(3)));  // its manifest ends the slice before the second message

    Process second(own_world, own_disk, kEpoch + 1, true);
    ASSERT_TRUE(second.open());
    EXPECT_THAT(second.account.uids(), ElementsAre(1, 2));
    ASSERT_TRUE(second.run(second.log->take_over()));
    if (held) ASSERT_TRUE(second.run(second.log->hold()));
    second.close();
    own_world.run_for(1000 * kSecond);
    EXPECT_EQ(first.store.pending(), 0u);
    Process third(own_world, own_disk, kEpoch + 2, true);
    ASSERT_TRUE(third.open());
    const bool there = third.account.uids().contains(2u);
    EXPECT_EQ(there, held);
    third.close();
    first.close();
  }
}

// The manifest that was in the failed write may lie there, and ends the older slice where it ended then.
TEST_F(AccountLogTest, AfterAFailedFirstWriteNothingIsAppendedToTheOlderSlice) {
  Process first(world, disk, kEpoch, true);
  first.options.slice_bytes_max = 500;
  ASSERT_TRUE(first.create());
  ASSERT_TRUE(first.append(delivery(1, 600)));
  FaultPlan lost = Process::without_unclosed({});
  lost.lost_answer = 1;
  lost.operations = FaultPlan::only(StoreOperation::kWrite);
  first.store.set_plan(lost);
  ASSERT_FALSE(first.append(delivery(2)));
  first.store.set_plan(Process::without_unclosed({}));
  first.close();
  ASSERT_TRUE(first.open());
  ASSERT_TRUE(first.append(delivery(3)));
  first.close();
  Process second(world, disk, kEpoch + 1, true);
  ASSERT_TRUE(second.open());
  EXPECT_THAT(second.account.uids(), testing::IsSupersetOf({1u, 3u}));
  second.close();
}

TEST_F(AccountLogTest, ASliceOfASuccessorTakesANumberThatNoSliceOfItsPredecessorHas) {
  Process first(world, disk, kEpoch, true);
  ASSERT_TRUE(first.create());
  ASSERT_TRUE(first.append(delivery(1)));
  Process second(world, disk, kEpoch + 1, true), third(world, disk, kEpoch + 2, true);
  ASSERT_TRUE(second.open());
  ASSERT_TRUE(third.open());  // both know of the first one's slice alone
  ASSERT_TRUE(second.append(delivery(2)));
  ASSERT_EQ(code_of(third.append(delivery(3))), Code::kConflict);
  ASSERT_TRUE(third.append(delivery(3)));
  for (Process* process : {&first, &second, &third}) process->close();
  Process next(world, disk, kEpoch + 3, true);
  auto opened = next.open();
  ASSERT_TRUE(opened) << opened.error().to_string();
  EXPECT_THAT(next.account.uids(), ElementsAre(1, 2, 3));
  expect_contents(next);
  next.close();
}

// How many messages the sink holds, each time the loop of `process` runs something else.
Task<void> watch(Process& process, std::set<size_t>& seen, const bool& over) {
  while (!over) {
    seen.insert(process.account.rows.size());
    co_await process.loop.sleep(kMicrosecond);
  }
}

class TakeOverTest : public AccountLogTest {
 protected:
  TakeOverTest() {
    predecessor.options.slice_bytes_max = 1000;
    EXPECT_TRUE(predecessor.create());
    for (uint32_t uid = 1; uid <= 20; ++uid) EXPECT_TRUE(predecessor.append(delivery(uid)));
    process.options.copy_chunk_bytes = 200;  // many reads
    EXPECT_TRUE(process.open());
  }
  std::set<size_t> seen_while_taken_over() {
    std::set<size_t> seen;
    bool over = false;
    process.loop.spawn(watch(process, seen, over));
    auto changed = process.run(process.log->take_over());
    over = true;
    EXPECT_TRUE(changed && *changed);
    world.run_for(kMillisecond);
    return seen;
  }
  static FaultPlan slow() {
    FaultPlan plan;
    plan.delay = 1;
    plan.delay_max = kMillisecond;
    return plan;
  }

  Process predecessor{world, disk, kEpoch, true};
  Process process{world, disk, kEpoch + 2, true, slow()};
};

TEST_F(TakeOverTest, WhoReadsWhileTheTailGrewSeesAllOfTheOldOrAllOfTheNew) {
  for (uint32_t uid = 21; uid <= 22; ++uid) ASSERT_TRUE(predecessor.append(delivery(uid)));
  EXPECT_THAT(seen_while_taken_over(), ElementsAre(20u, 22u));
  expect_contents(process);
  for (Process* each : {&predecessor, &process}) each->close();
}

TEST_F(TakeOverTest, WhoReadsWhileAnotherManifestIsLoadedSeesAllOfTheOldOrAllOfTheNew) {
  Process between(world, disk, kEpoch + 1, true);
  ASSERT_TRUE(between.open());
  for (uint32_t uid = 21; uid <= 40; ++uid) ASSERT_TRUE(between.append(delivery(uid)));
  EXPECT_THAT(seen_while_taken_over(), ElementsAre(20u, 40u));
  expect_contents(process);
  for (Process* each : {&predecessor, &between, &process}) each->close();
}

// A sink that holds a part must not be taken for the account: a compaction would write the loss down for
// good.
TEST_F(AccountLogTest, ATakeOverThatFailsWhileItLoadsAnewBreaksTheLog) {
  Process first(world, disk, kEpoch, true);
  ASSERT_TRUE(first.create());
  ASSERT_TRUE(first.append(delivery(1)));
  Process third(world, disk, kEpoch + 2, true);
  ASSERT_TRUE(third.open());
  Process second(world, disk, kEpoch + 1, true);
  ASSERT_TRUE(second.open());
  ASSERT_TRUE(second.append(delivery(2)));  // another manifest than the third's counts now

  third.account.refused_from = third.account.frames_applied + 1;
  EXPECT_EQ(code_of(third.run(third.log->take_over())), Code::kStoreUnavailable);
  third.account.refused_from = -1;
  EXPECT_TRUE(third.log->broken());
  EXPECT_THAT(third.account.uids(), ElementsAre(1));  // who reads it still has what was there before
  expect_contents(third);
  EXPECT_EQ(code_of(third.run(third.log->take_over())), Code::kTryAgain);
  EXPECT_EQ(code_of(third.append(delivery(3))), Code::kTryAgain);
  third.close();
  ASSERT_TRUE(third.open());
  ASSERT_TRUE(third.append(delivery(3)));
  EXPECT_EQ(third.account.uids(), (std::set<uint32_t>{1, 2, 3}));
  for (Process* process : {&first, &second, &third}) process->close();
}

TEST_F(AccountLogTest, ATakeOverThatFailsWithinTheTailBreaksTheLog) {
  Process first(world, disk, kEpoch, true);
  ASSERT_TRUE(first.create());
  Process second(world, disk, kEpoch + 1, true);
  ASSERT_TRUE(second.open());
  ASSERT_TRUE(first.append(delivery(1)));
  ASSERT_TRUE(first.append(delivery(2)));

  second.account.refused_from = second.account.frames_applied + 1;
  EXPECT_EQ(code_of(second.run(second.log->take_over())), Code::kStoreUnavailable);
  second.account.refused_from = -1;
  EXPECT_TRUE(second.log->broken());
  EXPECT_THAT(second.account.uids(), testing::IsEmpty());
  second.close();
  ASSERT_TRUE(second.open());
  ASSERT_TRUE(second.append(delivery(3)));
  EXPECT_EQ(second.account.uids(), (std::set<uint32_t>{1, 2, 3}));
  for (Process* process : {&first, &second}) process->close();
}

TEST_F(AccountLogTest, AppendsRollToANewSliceWhenOneIsFull) {
  Process process(world, disk, kEpoch);
  process.options.slice_bytes_max = 600;
  ASSERT_TRUE(process.create());
  for (uint32_t uid = 1; uid <= 20; ++uid) ASSERT_TRUE(process.append(delivery(uid)));
  EXPECT_GT(names().size(), 3u);
  expect_contents(process);
  process.close();
  Process next(world, disk, kEpoch + 1);
  ASSERT_TRUE(next.open());
  EXPECT_EQ(next.account.rows.size(), 20u);
  expect_contents(next);
  next.close();
}

TEST_F(AccountLogTest, APlaceInTheSameFrameBecomesAbsolute) {
  Process process(world, disk, kEpoch);
  ASSERT_TRUE(process.create());
  const std::string bytes = content_of(1);
  Frame frame;
  const size_t content = frame.add(Content{bytes});
  Message message = message_with(1, bytes);
  message.bytes = {};
  message.content = ContentKind::kReference;
  message.reference = Place::in_this_frame(content);
  frame.add(message);
  Message parts = message_with(2, bytes);
  parts.bytes = {};
  parts.content = ContentKind::kParts;
  parts.parts = {{Place::in_this_frame(content), static_cast<uint32_t>(bytes.size())},
                 {Place::in_this_frame(content), static_cast<uint32_t>(bytes.size())}};
  parts.size = 2 * bytes.size();
  frame.add(parts);
  ASSERT_TRUE(process.append(std::move(frame)));
  EXPECT_EQ(*process.content(1), bytes);
  EXPECT_EQ(*process.content(2), bytes + bytes);
  auto tail = [&]() -> Task<Result<std::string>> {
    const auto& row = process.account.rows.at(2);
    CANOPY_CO_ASSIGN(auto reader, co_await ContentReader::open(*process.log, process.log->pin(), row.place,
                                                               row.length, bytes.size() + 5));
    CANOPY_CO_ASSIGN(auto piece, co_await reader.next());
    co_return std::string(piece);
  };
  EXPECT_EQ(*process.run(tail()), bytes.substr(5));
  process.close();
}

Task<Result<void>> two_checkpoints_at_once(Process& process) {
  std::vector<Task<Result<void>>> both;
  for (int i = 0; i < 2; ++i)
    both.push_back(process.log->write_checkpoint(process.log->covered(), process.account.checkpoint()));
  for (Result<void>& done : co_await join_all(process.loop, std::move(both))) CANOPY_CO_TRY(std::move(done));
  co_return Result<void>();
}

TEST_F(AccountLogTest, TwoCheckpointsAtOnceAreWrittenOneAfterTheOther) {
  Process process(world, disk, kEpoch);
  ASSERT_TRUE(process.create());
  ASSERT_TRUE(process.append(delivery(1)));
  auto done = process.run(two_checkpoints_at_once(process));
  EXPECT_TRUE(done) << done.error().to_string();
  process.close();
}

TEST_F(AccountLogTest, ACheckpointShortensTheReplayAndAForeignOneIsIgnored) {
  Process process(world, disk, kEpoch);
  ASSERT_TRUE(process.create());
  for (uint32_t uid = 1; uid <= 10; ++uid) ASSERT_TRUE(process.append(delivery(uid)));
  ASSERT_TRUE(
      process.run(process.log->write_checkpoint(process.log->covered(), process.account.checkpoint())));
  EXPECT_EQ(process.log->bytes_since_checkpoint(), 0u);
  ASSERT_TRUE(process.append(delivery(11)));
  EXPECT_GT(process.log->bytes_since_checkpoint(), 0u);
  const auto rows = process.account.rows;
  process.close();

  Process next(world, disk, kEpoch + 1);
  ASSERT_TRUE(next.open());
  EXPECT_EQ(next.account.rows, rows);
  EXPECT_EQ(next.account.checkpoints_loaded, 1);
  EXPECT_EQ(next.account.frames_applied, 1);
  ASSERT_TRUE(next.append(delivery(12)));
  const auto all = next.account.rows;
  next.close();

  // The same bytes under another name, and one bit changed, are of no use.
  std::string path;
  for (const auto& name : names())
    if (parse_checkpoint_file_name(name)) path = std::string(kAccount) + "/" + name;
  std::string bytes = file_bytes(path);
  write_file(std::string(kAccount) + "/" + checkpoint_file_name({9, kEpoch}), bytes);
  bytes[bytes.size() / 2] ^= 1;
  write_file(path, bytes);
  Process last(world, disk, kEpoch + 2);
  ASSERT_TRUE(last.open());
  EXPECT_EQ(last.account.rows, all);
  EXPECT_EQ(last.account.checkpoints_loaded, 0);
  last.close();
}

// Larger than what is read at a time, so that most of it goes straight from the file to where it stays.
TEST_F(AccountLogTest, ALargeCheckpointIsLoadedWholeOrNotAtAll) {
  constexpr uint32_t kRows = 30'000;
  Process process(world, disk, kEpoch);
  ASSERT_TRUE(process.create());
  ASSERT_TRUE(process.append(delivery(1)));
  const auto in_log = process.account.rows;
  for (uint32_t uid = 2; uid <= kRows; ++uid) process.account.rows[uid] = {0, uid, {1, 8ull * uid}, uid};
  const auto rows = process.account.rows;
  ASSERT_TRUE(
      process.run(process.log->write_checkpoint(process.log->covered(), process.account.checkpoint())));
  process.close();
  std::string path;
  for (const auto& name : names())
    if (parse_checkpoint_file_name(name)) path = std::string(kAccount) + "/" + name;
  const std::string bytes = file_bytes(path);
  ASSERT_GT(bytes.size(), 1u << 20);

  const auto expect_loaded = [&](const std::string& file, bool whole) {
    write_file(path, file);
    Process next(world, disk, kEpoch);
    ASSERT_TRUE(next.open());
    EXPECT_EQ(next.account.checkpoints_loaded, whole ? 1 : 0);
    EXPECT_TRUE(next.account.rows == (whole ? rows : in_log)) << next.account.rows.size();
    next.close();
  };
  expect_loaded(bytes, true);
  for (size_t at = 3; at < bytes.size(); at += bytes.size() / 11) {
    std::string altered = bytes;
    altered[at] ^= 1;
    expect_loaded(altered, false);
    expect_loaded(bytes.substr(0, at), false);
  }
  expect_loaded(bytes + '\0', false);
  expect_loaded(bytes.substr(0, bytes.size() - 1), false);
}

}  // namespace
}  // namespace canopy
