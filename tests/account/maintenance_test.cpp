// What goes on beside the users' operations: checkpoints, compactions, large messages, large mailboxes.
#include "account_fixture.h"
#include "daemon/base/bytes.h"
#include "tests/account/checkpoint_payload.h"

namespace canopy {
namespace {

class MaintenanceTest : public AccountTest {
 protected:
  size_t files(std::string_view ending) {
    size_t found = 0;
    for (const DirectoryEntry& entry : disk.list(kDirectory, 0)->entries)
      found += entry.name.ends_with(ending);
    return found;
  }
  void expect_contents(uint32_t box, const std::map<uint32_t, uint32_t>& numbers, size_t size) {
    const MailboxState* found = backend.account->state().mailbox(box);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->rows.size(), numbers.size());
    for (auto [uid, number] : numbers) {
      auto content = backend.fetch(box, uid);
      ASSERT_TRUE(content) << uid << ": " << content.error().to_string();
      EXPECT_EQ(*content, message_text(number, size)) << uid;
    }
  }
};

TEST_F(MaintenanceTest, ALongTailBringsACheckpointAndOpeningReplaysLittle) {
  backend.close();
  backend.options.checkpoint_tail_bytes = 100'000;
  ASSERT_TRUE(backend.open());
  for (uint32_t i = 0; i < 300; ++i) ASSERT_TRUE(backend.append(message_text(i, 2000)));
  world.run_for(kSecond);
  EXPECT_EQ(files(".checkpoint"), 1u);
  std::string before = picture();
  ASSERT_TRUE(backend.reopen());
  EXPECT_EQ(picture(), before);
  auto slices = backend.account->slices();
  EXPECT_GT(slices.back().entry.length, 600'000u);
  uint64_t reads = backend.store.count(StoreOperation::kRead);
  ASSERT_TRUE(backend.reopen());
  // A checkpoint of 300 rows and a tail of at most 100 KB, not 600 KB in pieces.
  EXPECT_LT(backend.store.count(StoreOperation::kRead) - reads, 10u);
}

TEST_F(MaintenanceTest, ADamagedCheckpointIsPassedOver) {
  ASSERT_TRUE(backend.append("one", "INBOX", kFlagSeen, {"Blue"}, request(1)));
  ASSERT_TRUE(backend.run(backend.account->compact()));
  std::string before = picture();
  backend.close();
  for (const DirectoryEntry& entry : disk.list(kDirectory, 0)->entries) {
    if (!entry.name.ends_with(".checkpoint")) continue;
    std::string path = std::string(kDirectory) + "/" + entry.name;
    OpenOptions options;
    options.write = true;
    auto file = disk.open(path, options);
    ASSERT_TRUE(file);
    std::string_view piece = "garbage";
    ASSERT_TRUE(disk.write(*file, false, 40, std::span(&piece, 1), Durable::kYes));
    disk.close(*file);
  }
  ASSERT_TRUE(backend.open());
  EXPECT_EQ(picture(), before);
}

TEST_F(MaintenanceTest, TruncatedAndAlteredCheckpointPayloadsAreRefusedAndNeverCrash) {
  ASSERT_TRUE(backend.append("one", "INBOX", kFlagSeen, {"Blue"}, request(1)));
  ASSERT_TRUE(backend.append("two", "INBOX", 0, {"Blue", "Red"}));
  ASSERT_TRUE(backend.create("Lists/birds"));
  ASSERT_TRUE(backend.expunge(1, {{1, 1}}));
  const CheckpointPayload payload = backend.account->state().save_checkpoint();
  for (std::string CheckpointPayload::* part : {&CheckpointPayload::head, &CheckpointPayload::body}) {
    ASSERT_GT((payload.*part).size(), 60u);
    for (size_t length = 0; length < (payload.*part).size(); ++length) {
      CheckpointPayload cut = payload;
      (cut.*part).resize(length);
      AccountState state;
      EXPECT_FALSE(load_checkpoint(state, cut)) << length;
    }
    for (size_t at = 0; at < (payload.*part).size(); ++at) {
      CheckpointPayload altered = payload;
      (altered.*part)[at] = static_cast<char>((altered.*part)[at] ^ 0xff);
      AccountState state;
      (void)load_checkpoint(state, altered);  // its checksum guards it on disk; here it must only not crash
    }
  }
}

TEST_F(MaintenanceTest, GarbageIsCompactedAwayByItself) {
  backend.close();
  backend.options.garbage_bytes_min = 100'000;
  ASSERT_TRUE(backend.open());
  for (uint32_t i = 1; i <= 100; ++i) ASSERT_TRUE(backend.append(message_text(i, 5000)));
  uint64_t used = disk.space().bytes_total - disk.space().bytes_free;
  ASSERT_TRUE(backend.expunge(1, {{3, 100}}));  // writes a few bytes only
  world.run_for(10 * kSecond);
  ASSERT_TRUE(disk.sync_directory(kDirectory));  // what was removed is given back
  EXPECT_LT(disk.space().bytes_total - disk.space().bytes_free, used / 5);
  expect_contents(1, {{1, 1}, {2, 2}}, 5000);
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MaintenanceTest, WhatWasUploadedForAMessageThatDidNotComeIsGivenBack) {
  backend.close();
  backend.options.garbage_bytes_min = 100'000;
  ASSERT_TRUE(backend.open());
  ASSERT_TRUE(backend.append(message_text(1, 5000)));
  for (int upload = 0; upload < 2; ++upload) {
    backend.account->upload_begin();
    for (uint32_t i = 0; i < 50; ++i)
      ASSERT_TRUE(backend.run(backend.account->upload(message_text(i, 10'000))));
    if (upload == 0) continue;
    backend.account->upload_end();
    world.run_for(10 * kSecond);  // the other one goes on
    ASSERT_TRUE(backend.append(message_text(2, 5000)));
  }
  EXPECT_GT(disk.space().bytes_total - disk.space().bytes_free, 900'000u);
  backend.account->upload_end();
  world.run_for(10 * kSecond);
  ASSERT_TRUE(disk.sync_directory(kDirectory));  // what was removed is given back
  EXPECT_LT(disk.space().bytes_total - disk.space().bytes_free, 50'000u);
  expect_contents(1, {{1, 1}, {2, 2}}, 5000);
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MaintenanceTest, ADeletedMailboxIsGarbageToo) {
  backend.close();
  backend.options.garbage_bytes_min = 100'000;
  ASSERT_TRUE(backend.open());
  ASSERT_TRUE(backend.create("Big"));
  for (uint32_t i = 1; i <= 50; ++i) ASSERT_TRUE(backend.append(message_text(i, 5000), "Big"));
  ASSERT_TRUE(backend.run(backend.account->delete_mailbox("Big", {})));
  world.run_for(10 * kSecond);
  ASSERT_TRUE(disk.sync_directory(kDirectory));  // what was removed is given back
  EXPECT_LT(disk.space().bytes_total - disk.space().bytes_free, 20'000u);
}

// Everything goes on while a compaction copies, from many starting points.
TEST(MaintenanceSeeds, OperationsDuringACompactionAreAllThereAfterwards) {
  int compacted = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    SimWorld world(seed);
    MemoryDisk disk;
    Backend backend(world, disk, kEpoch, false, seed);
    backend.log_options.copy_chunk_bytes = 4096;
    ASSERT_TRUE(backend.open());
    ASSERT_TRUE(backend.create("A"));
    ASSERT_TRUE(backend.create("B"));
    for (uint32_t i = 1; i <= 40; ++i)
      ASSERT_TRUE(backend.append(message_text(i, 500), i % 2 ? "B" : "INBOX"));
    FaultPlan slow = Backend::quiet();
    slow.delay = 0.7;
    slow.delay_max = 5 * kMillisecond;
    backend.store.set_plan(slow);

    std::map<std::string, std::string> expected;  // "mailbox/uid" -> content
    auto note = [&](const std::string& box, uint32_t uid, std::string text) {
      expected[fmt::format("{}/{}", box, uid)] = std::move(text);
    };
    for (uint32_t uid = 1; uid <= 20; ++uid) {
      note("INBOX", uid, message_text(uid * 2, 500));
      note("B", uid, message_text(uid * 2 - 1, 500));
    }
    bool over = false;
    auto compacting = [&]() -> Task<void> {
      auto done = co_await backend.account->compact();
      // A conflict with a move gives it up; nothing is lost then.
      EXPECT_TRUE(done || done.error().code() == Code::kConflict || done.error().code() == Code::kBusy)
          << done.error().to_string();
      compacted += done.has_value();
      over = true;
    };
    auto meanwhile = [&]() -> Task<void> {
      SimRandom random(seed);
      uint32_t number = 1000;
      for (int step = 0; step < 30; ++step) {
        co_await backend.loop.sleep(random.between(0, 3 * kMillisecond));
        uint64_t what = random.below(4);
        const AccountState& state = backend.account->state();
        if (what == 0) {
          std::string text = message_text(++number, 300);
          NewMessage message;
          message.content = text;
          auto done = co_await backend.account->append(std::move(message));
          EXPECT_TRUE(done);
          if (done) note("INBOX", done->uids.front().first, text);
        } else if (what == 1) {  // in pieces, as large messages are
          std::string text = message_text(++number, 900);
          backend.account->upload_begin();
          NewMessage message;
          for (size_t at = 0; at < text.size(); at += 300) {
            auto part = co_await backend.account->upload(std::string_view(text).substr(at, 300));
            EXPECT_TRUE(part);
            if (part) message.parts.push_back(*part);
            co_await backend.loop.sleep(random.between(0, 2 * kMillisecond));
          }
          message.parts_bytes = text.size();
          auto done = co_await backend.account->append(std::move(message));
          backend.account->upload_end();
          EXPECT_TRUE(done);
          if (done) note("INBOX", done->uids.front().first, text);
        } else {
          const char* from = random.one_in(2) ? "B" : "INBOX";
          const MailboxState* box = state.mailbox(from);
          if (box->rows.empty()) continue;
          uint32_t uid = box->rows[random.below(box->rows.size())].uid;
          std::string key = fmt::format("{}/{}", from, uid);
          const bool move = random.one_in(2);
          const bool drop = what == 3 && random.one_in(2);
          if (drop) {
            EXPECT_TRUE(co_await backend.account->expunge(box->id, {{uid, uid}}, false, {}));
            expected.erase(key);
            continue;
          }
          auto done = co_await backend.account->copy(box->id, "A", {{uid, uid}}, move, {});
          EXPECT_TRUE(done);
          if (done) note("A", done->uids.front().first, expected[key]);
          if (move) expected.erase(key);
        }
      }
    };
    TaskGroup group(backend.loop);
    group.spawn(meanwhile());
    world.run_for(static_cast<Nanos>(seed) * kMillisecond / 2);
    group.spawn(compacting());
    backend.run_void(group.join());
    EXPECT_TRUE(over);
    for (int round = 0; round < 2; ++round) {
      std::map<std::string, std::string> found;
      for (const auto& [id, box] : backend.account->state().mailboxes()) {
        for (const MessageRow& row : box.rows) {
          auto content = backend.fetch(id, row.uid);
          ASSERT_TRUE(content) << box.name << "/" << row.uid << ": " << content.error().to_string();
          found[fmt::format("{}/{}", box.name, row.uid)] = *content;
        }
      }
      ASSERT_EQ(found, expected) << round;
      ASSERT_TRUE(backend.reopen());
      EXPECT_THAT(backend.account->damages(), testing::IsEmpty());
    }
    backend.close();
  }
  EXPECT_GT(compacted, 30);
}

TEST_F(MaintenanceTest, AMessageOf100MiBPassesThroughInPiecesAndIsNeverHeldWhole) {
  constexpr uint32_t kPieces = 100;
  auto piece = [](uint32_t number) { return message_text(number, kInlineContentBytesMax); };
  size_t most = 0;
  NewMessage message;
  backend.account->upload_begin();
  for (uint32_t i = 0; i < kPieces; ++i) {
    std::string bytes = piece(i);
    auto part =
        backend.run([](Account& account, std::string_view given, size_t& high) -> Task<Result<ContentPart>> {
          auto stored = co_await account.upload(given);
          high = std::max(high, account.memory_bytes());
          co_return stored;
        }(*backend.account, bytes, most));
    ASSERT_TRUE(part);
    EXPECT_EQ(part->length, bytes.size());
    message.parts.push_back(*part);
    message.parts_bytes += bytes.size();
  }
  EXPECT_EQ(backend.account->state().bytes(), 0u);  // nobody's yet
  ASSERT_TRUE(backend.run(backend.account->append(std::move(message))));
  backend.account->upload_end();
  EXPECT_EQ(backend.account->state().bytes(), kPieces * uint64_t{kInlineContentBytesMax});
  EXPECT_LT(most, 4u << 20);

  ASSERT_TRUE(backend.run(backend.account->compact()));  // copies it a piece at a time
  EXPECT_LT(backend.account->memory_bytes(), 1u << 20);
  ASSERT_TRUE(backend.reopen());
  for (uint32_t i : {0u, 1u, 57u, 99u}) {
    EXPECT_EQ(backend.fetch(1, 1, uint64_t{i} * kInlineContentBytesMax, kInlineContentBytesMax), piece(i))
        << i;
  }
  auto across = backend.fetch(1, 1, kInlineContentBytesMax - 10, 20);
  EXPECT_EQ(across, piece(0).substr(kInlineContentBytesMax - 10) + piece(1).substr(0, 10));
  EXPECT_EQ(backend.fetch(1, 1, kPieces * uint64_t{kInlineContentBytesMax} - 5, 100),
            piece(99).substr(kInlineContentBytesMax - 5));
}

TEST_F(MaintenanceTest, AMailboxOfAMillionMessagesIsCountedFoundAndSaved) {
  // Rows as deliveries would make them; their contents lie nowhere, so only what rests on rows is asked for.
  constexpr uint32_t kMany = 1'000'000;
  AccountState state;
  state.apply(MailboxCreate{1, 7, 1, "INBOX"});
  Message record;
  record.mailbox_id = 1;
  record.size = 2000;
  for (uint32_t uid = 1; uid <= kMany; ++uid) {
    record.uid = uid;
    record.modseq = uid + 1;
    record.flags = uid % 3 == 0 ? kFlagSeen : 0;
    state.apply(record, {1, 64ull * uid}, 64);
  }
  EXPECT_EQ(state.mailbox(1)->rows.size(), kMany);
  EXPECT_EQ(state.bytes(), 2000ull * kMany);
  EXPECT_LT(state.memory_bytes(), 120u << 20);
  state.apply(FlagsChange{1, kMany + 2, {{kFlagSeen | kFlagFlagged, {}, {{1, kMany}}}}});
  EXPECT_EQ(state.mailbox(1)->unseen, 0u);
  state.apply(Expunge{1, kMany + 3, {{500'000, 599'999}}});
  EXPECT_EQ(state.mailbox(1)->rows.size(), kMany - 100'000);
  EXPECT_EQ(state.mailbox(1)->find(550'000), nullptr);
  EXPECT_EQ(state.mailbox(1)->find(kMany)->modseq, kMany + 2);
  EXPECT_EQ(state.mailbox(1)->between(499'999, 600'000).size(), 2u);

  AccountState loaded;
  const CheckpointPayload payload = state.save_checkpoint();
  ASSERT_TRUE(load_checkpoint(loaded, payload));
  EXPECT_EQ(loaded.messages(), state.messages());
  EXPECT_TRUE(loaded.save_checkpoint() == payload);
}

}  // namespace
}  // namespace canopy
