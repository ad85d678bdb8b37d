// An account that is compacted while it is used: what was there before, and what came meanwhile, is there
// afterwards, also for who opens it anew.
#include "daemon/log/compaction.h"
#include "daemon/base/log.h"
#include "daemon/log/format.h"
#include "daemon/log/records.h"
#include "tests/account/small_account.h"

namespace canopy {
namespace {

struct Seen {
  std::string content;
  uint16_t flags = 0;
  uint64_t modseq = 0;
  std::vector<uint16_t> keywords;
  auto operator<=>(const Seen&) const = default;
};
using Messages = std::map<std::pair<std::string, uint32_t>, Seen>;  // by mailbox and UID

Messages everything(AccountProcess& process) {
  Messages all;
  for (const auto& [id, box] : process.account->state().mailboxes()) {
    for (const MessageRow& row : box.rows) {
      auto content = process.run(process.account->fetch(id, row.uid, 0, kMessageBytesMax));
      EXPECT_TRUE(content) << box.name << "/" << row.uid << ": " << content.error().to_string();
      all[{box.name, row.uid}] = {content.value_or("unreadable"),
                                  static_cast<uint16_t>(row.flags & kSystemFlagsMask), row.modseq,
                                  process.account->state().keyword_sets().get(row.keyword_set)};
    }
  }
  return all;
}

class AccountCompactionTest : public testing::TestWithParam<uint64_t> {
 protected:
  static void SetUpTestSuite() { log_start({.level = LogLevel::kError, .file = ""}); }
  static void TearDownTestSuite() { log_start({}); }
  MemoryDisk disk;
};

// What a client does while the account is compacted: copies, moves, copies of copies, into mailboxes that are
// older than the compaction or newer.
Task<void> use_meanwhile(Account& account, Loop& loop, uint64_t seed, const bool& over) {
  SimRandom random(seed);
  const uint64_t made_at = random.below(8);
  for (uint32_t step = 0; step < 40 && !over; ++step) {
    if (step == made_at) EXPECT_TRUE(co_await account.create_mailbox("Meanwhile", RequestId{}));
    const bool newer = account.state().mailbox("Meanwhile") != nullptr && random.one_in(2);
    const auto uid = static_cast<uint32_t>(1 + random.below(30));
    const uint32_t from = random.one_in(3) ? 2 : 1;
    EXPECT_TRUE(
        co_await account.copy(from, newer ? "Meanwhile" : "Kept", {{uid, uid + 1}}, random.one_in(2), {}));
    StoreFlags change;
    change.mailbox_id = 1;
    change.uids = {{uid, uid + 3}};
    change.mode = FlagsMode::kAdd;
    change.flags = static_cast<uint16_t>(1u << random.below(5));
    change.keywords = {"step" + std::to_string(step)};
    if (random.one_in(3)) EXPECT_TRUE(co_await account.store_flags(change));
    const std::string content = small_content(static_cast<int>(100 + step));
    NewMessage message;
    message.content = content;
    if (random.one_in(3)) EXPECT_TRUE(co_await account.append(message));
    if (random.one_in(4)) EXPECT_TRUE(co_await account.expunge(1, {{uid, uid}}, false, {}));
    if (random.one_in(4)) co_await loop.yield();
  }
}

Task<void> compact_and_tell(Account& account, Result<void>& done, bool& over) {
  done = co_await account.compact();
  over = true;
}

// One message after the other, at every moment of the compaction.
Task<void> read_meanwhile(Account& account, Loop& loop, const bool& over, int& read) {
  uint32_t uid = 0;
  while (!over) {
    uid = uid % 30 + 1;
    auto content = co_await account.fetch(1, uid, 0, kMessageBytesMax);
    if (!content) {
      ADD_FAILURE() << content.error().to_string();
      co_return;
    }
    EXPECT_EQ(*content, small_content(static_cast<int>(uid)));
    ++read;
    co_await loop.yield();
  }
}

TEST_P(AccountCompactionTest, MessagesAreReadMeanwhile) {
  AccountProcess process(disk, kFirstEpoch, {.yields_max = 4, .seed = GetParam()});
  ok(process.open());
  for (int number = 1; number <= 30; ++number) process.deliver("", small_content(number));
  for (int round = 0; round < 3; ++round) {
    Result<void> compacted = fail(Code::kInternal, "test", "did not end");
    bool over = false;
    int read = 0;
    process.loop().spawn(compact_and_tell(*process.account, compacted, over));
    process.world().run_until_done(process.loop(),
                                   read_meanwhile(*process.account, process.loop(), over, read));
    ok(compacted);
    EXPECT_GT(read, 0);
  }
  process.close();
}

TEST_P(AccountCompactionTest, CopiesAndMovesGoOnMeanwhile) {
  Messages expected;
  {
    AccountProcess process(disk, kFirstEpoch, {.yields_max = 4, .seed = GetParam()});
    ok(process.open());
    ok(process.run(process.account->create_mailbox("Kept", RequestId{})));
    for (int number = 1; number <= 30; ++number) process.deliver("", small_content(number));
    ok(process.run(process.account->copy(1, "Kept", {{3, 9}}, false, RequestId{})));
    Result<void> compacted = fail(Code::kInternal, "test", "did not end");
    bool over = false;
    process.loop().spawn(compact_and_tell(*process.account, compacted, over));
    process.world().run_until_done(process.loop(),
                                   use_meanwhile(*process.account, process.loop(), GetParam(), over));
    process.world().run_until([&] { return over; }, process.world().now() + 60 * kSecond);
    ok(compacted);
    expected = everything(process);
    process.close();
  }
  for (const auto& name : account_files(disk)) {
    if (!parse_checkpoint_file_name(name)) continue;
    ASSERT_TRUE(disk.remove(std::string(kSmallAccount) + "/" + name, Durable::kYes));
  }
  AccountProcess reader(disk, kFirstEpoch + 1);
  ok(reader.open());
  EXPECT_TRUE(reader.account->damages().empty());
  EXPECT_EQ(everything(reader), expected);
  reader.close();
}

Task<void> copy_first(Account& account, bool& copied) {
  copied = (co_await account.copy(1, "Kept", {{1, 1}}, false, RequestId{})).has_value();
}

// A write may be torn anywhere: where the manifest came through, which drops the old slices, what was copied
// out of them meanwhile must be found all the same.
TEST(AccountCompactionTornTest, TheManifestAloneSaysWhereCopiedContentIs) {
  MemoryDisk disk;
  AccountProcess process(disk, kFirstEpoch, {.yields_max = 4, .seed = 1});
  ok(process.open());
  ok(process.run(process.account->create_mailbox("Kept", RequestId{})));
  for (int number = 1; number <= 30; ++number) process.deliver("", small_content(number));
  Result<void> compacted = fail(Code::kInternal, "test", "did not end");
  bool over = false, copied = false;
  process.loop().spawn(compact_and_tell(*process.account, compacted, over));
  process.loop().spawn(copy_first(*process.account, copied));
  process.world().run_until([&] { return copied; }, process.world().now() + 60 * kSecond);
  ASSERT_TRUE(copied && !over) << "the copy was not made while the account was compacted";
  process.world().run_until([&] { return over; }, process.world().now() + 60 * kSecond);
  ok(compacted);
  const Messages expected = everything(process);
  const SliceInfo newest = process.account->slices().back();
  process.close();

  const std::string bytes = file_bytes(disk, newest.file);
  const auto slice = decode_slice_header(bytes);
  ASSERT_TRUE(slice);
  const auto manifest = decode_frame_header(std::string_view(bytes).substr(kSliceHeaderBytes),
                                            SliceSeed(slice->secret, slice->id), kSliceHeaderBytes);
  ASSERT_TRUE(manifest);
  write_file(disk, newest.file, std::string_view(bytes).substr(0, kSliceHeaderBytes + manifest->length));
  for (const auto& name : account_files(disk)) {
    if (!parse_checkpoint_file_name(name)) continue;
    ASSERT_TRUE(disk.remove(std::string(kSmallAccount) + "/" + name, Durable::kYes));
  }
  AccountProcess reader(disk, kFirstEpoch + 1);
  ok(reader.open());
  EXPECT_EQ(everything(reader), expected);
  reader.close();
}

INSTANTIATE_TEST_SUITE_P(Seeds, AccountCompactionTest, testing::Range<uint64_t>(1, 201));

}  // namespace
}  // namespace canopy
