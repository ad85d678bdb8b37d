// Messages: appending, flags, keywords, expunging, copying, and the numbers that CONDSTORE and QRESYNC need.
#include "account_fixture.h"
#include "tests/account/checkpoint_payload.h"

namespace canopy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class MessagesTest : public AccountTest {
 protected:
  void deliver(uint32_t count, const std::string& mailbox = "INBOX") {
    for (uint32_t i = 1; i <= count; ++i) ASSERT_TRUE(backend.append(message_text(i), mailbox));
  }
  const MessageRow& row(uint32_t uid, std::string_view mailbox = "INBOX") {
    const MessageRow* found = backend.box(mailbox)->find(uid);
    EXPECT_NE(found, nullptr);
    return *found;
  }
  std::vector<std::string> keywords(uint32_t uid) {
    std::vector<std::string> names;
    for (uint16_t id : backend.account->state().keyword_sets().get(row(uid).keyword_set)) {
      names.push_back(*backend.account->state().keyword_name(id));
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  static std::vector<std::pair<uint32_t, uint32_t>> gone(const MailboxState& box) {
    std::vector<std::pair<uint32_t, uint32_t>> all;
    for (const ExpungedRange& range : box.expunged) all.emplace_back(range.first, range.last);
    return all;
  }
};

TEST_F(MessagesTest, UidsAndModSequencesRiseAndContentsComeBack) {
  deliver(5);
  EXPECT_THAT(uids_of(*backend.box("INBOX")), ElementsAre(1, 2, 3, 4, 5));
  uint64_t before = 0;
  for (const MessageRow& each : backend.box("INBOX")->rows) {
    EXPECT_GT(each.modseq, before);
    before = each.modseq;
    EXPECT_EQ(backend.fetch(1, each.uid), message_text(each.uid));
  }
  EXPECT_EQ(backend.box("INBOX")->uidnext, 6u);
  EXPECT_EQ(backend.box("INBOX")->highest_modseq, before);
  EXPECT_EQ(backend.box("INBOX")->unseen, 5u);
  EXPECT_EQ(code_of(backend.fetch(1, 6)), Code::kNotFound);
  EXPECT_EQ(backend.fetch(1, 2, 4, 3), message_text(2).substr(4, 3));
  EXPECT_EQ(backend.fetch(1, 2, 1000, 3), "");
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MessagesTest, AMessageKeepsItsDateZonePrefixAndFlags) {
  NewMessage message;
  message.prefix = "Return-Path: <>\r\n";
  message.content = "Subject: x\r\n\r\n";
  message.date_seconds = -1'000;
  message.zone_minutes = -330;
  message.flags = kFlagSeen | kFlagDraft | 0x4000;  // a bit that is no flag
  message.keywords = {"$Forwarded", "Later", "later"};
  ASSERT_TRUE(backend.run(backend.account->append(std::move(message))));
  EXPECT_EQ(row(1).date_seconds, -1'000);
  EXPECT_EQ(row(1).zone_minutes, -330);
  EXPECT_EQ(row(1).flags & ~kRowIsReference, kFlagSeen | kFlagDraft);
  EXPECT_EQ(backend.box("INBOX")->unseen, 0u);
  EXPECT_THAT(keywords(1), ElementsAre("$Forwarded", "Later"));
  EXPECT_EQ(backend.fetch(1, 1), "Return-Path: <>\r\nSubject: x\r\n\r\n");
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MessagesTest, FlagsAndKeywordsAreAddedTakenAwayAndReplaced) {
  deliver(4);
  ASSERT_TRUE(backend.flag(1, {{1, 3}}, FlagsMode::kAdd, kFlagSeen, {"Red"}));
  ASSERT_TRUE(backend.flag(1, {{2, 4}}, FlagsMode::kAdd, kFlagFlagged, {"Blue"}));
  EXPECT_EQ(row(1).flags, kFlagSeen);
  EXPECT_EQ(row(2).flags, kFlagSeen | kFlagFlagged);
  EXPECT_EQ(row(4).flags, kFlagFlagged);
  EXPECT_THAT(keywords(1), ElementsAre("Red"));
  EXPECT_THAT(keywords(2), ElementsAre("Blue", "Red"));
  EXPECT_EQ(backend.box("INBOX")->unseen, 1u);
  ASSERT_TRUE(
      backend.flag(1, {{1, UINT32_MAX}}, FlagsMode::kRemove, kFlagSeen, {"red"}));  // keywords have no case
  EXPECT_THAT(keywords(2), ElementsAre("Blue"));
  EXPECT_EQ(row(2).flags, kFlagFlagged);
  ASSERT_TRUE(backend.flag(1, {{3, 3}}, FlagsMode::kReplace, kFlagAnswered, {}));
  EXPECT_EQ(row(3).flags, kFlagAnswered);
  EXPECT_THAT(keywords(3), IsEmpty());
  EXPECT_EQ(code_of(backend.flag(1, {{1, 1}}, FlagsMode::kAdd, 0, {"two words"})), Code::kInvalidArgument);
  EXPECT_EQ(code_of(backend.flag(77, {{1, 1}}, FlagsMode::kAdd, kFlagSeen)), Code::kNotFound);
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MessagesTest, AChangeThatChangesNothingTakesNoModSequence) {
  deliver(2);
  auto changed = backend.flag(1, {{1, 2}}, FlagsMode::kAdd, kFlagSeen);
  ASSERT_TRUE(changed);
  EXPECT_EQ(row(1).modseq, changed->modseq);
  auto writes = backend.store.count(StoreOperation::kWrite);
  auto again = backend.flag(1, {{1, 2}}, FlagsMode::kAdd, kFlagSeen);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->modseq, changed->modseq);
  EXPECT_EQ(row(2).modseq, changed->modseq);
  EXPECT_EQ(backend.store.count(StoreOperation::kWrite), writes);
}

TEST_F(MessagesTest, UnchangedSinceLeavesWhatHasMovedOnAndNamesIt) {
  deliver(3);
  uint64_t then = backend.box("INBOX")->highest_modseq;
  ASSERT_TRUE(backend.flag(1, {{2, 2}}, FlagsMode::kAdd, kFlagSeen));
  auto done = backend.flag(1, {{1, 3}}, FlagsMode::kAdd, kFlagDeleted, {}, then);
  ASSERT_TRUE(done);
  EXPECT_THAT(done->modified, ElementsAre(2));
  EXPECT_EQ(row(2).flags, kFlagSeen);
  EXPECT_EQ(row(3).flags, kFlagDeleted);
  EXPECT_EQ(row(1).modseq, done->modseq);
}

TEST_F(MessagesTest, ExpungedUidsVanishAreRememberedAndNeverGivenAgain) {
  deliver(6);
  ASSERT_TRUE(backend.flag(1, {{2, 3}, {6, 6}}, FlagsMode::kAdd, kFlagDeleted));
  auto only = backend.expunge(1, {{1, 3}}, true);
  ASSERT_TRUE(only);
  EXPECT_EQ(only->uids, (std::vector<UidRange>{{2, 3}}));
  EXPECT_THAT(uids_of(*backend.box("INBOX")), ElementsAre(1, 4, 5, 6));
  ASSERT_TRUE(backend.expunge(1, {{5, 5}, {6, 6}, {100, 200}}));
  EXPECT_THAT(gone(*backend.box("INBOX")), ElementsAre(std::pair(2, 3), std::pair(5, 6)));
  EXPECT_EQ(backend.box("INBOX")->uidnext, 7u);
  EXPECT_EQ(code_of(backend.fetch(1, 2)), Code::kNotFound);
  auto nothing = backend.expunge(1, {{5, 5}});
  ASSERT_TRUE(nothing);
  EXPECT_TRUE(nothing->uids.empty());
  ASSERT_TRUE(backend.run(backend.account->compact()));
  ASSERT_TRUE(backend.reopen());
  EXPECT_THAT(gone(*backend.box("INBOX")), ElementsAre(std::pair(2, 3), std::pair(5, 6)));
  auto next = backend.append("after");
  ASSERT_TRUE(next);
  EXPECT_EQ(next->uids.front().first, 7u);
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MessagesTest, TheFloorRisesWhenMoreExpungesAreRememberedThanTheBound) {
  AccountState state;
  state.apply(MailboxCreate{1, 7, 1, "INBOX"});
  const uint32_t extra = 10;
  for (uint32_t i = 0; i < kExpungedRangesMax + extra; ++i) {
    state.apply(Expunge{1, 100 + i, {{2 * i + 1, 2 * i + 1}}});
  }
  EXPECT_EQ(state.mailbox(1)->expunged.size(), kExpungedRangesMax);
  EXPECT_EQ(state.mailbox(1)->floor, 100 + extra - 1);
  EXPECT_EQ(state.mailbox(1)->expunged.front().modseq, 100 + extra);
  AccountState loaded;
  ASSERT_TRUE(load_checkpoint(loaded, state.save_checkpoint()));
  EXPECT_EQ(picture_of(loaded), picture_of(state));
}

TEST_F(MessagesTest, ACopySharesTheContentAndOutlivesTheOriginal) {
  deliver(3);
  ASSERT_TRUE(backend.create("Archive"));
  ASSERT_TRUE(backend.flag(1, {{2, 2}}, FlagsMode::kAdd, kFlagFlagged, {"Blue"}));
  auto done = backend.copy(1, "Archive", {{2, 3}});
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->source_uids, (std::vector<UidRange>{{2, 3}}));
  EXPECT_EQ(done->uids, (std::vector<UidRange>{{1, 2}}));
  EXPECT_EQ(done->uidvalidity, backend.box("Archive")->uidvalidity);
  EXPECT_EQ(row(1, "Archive").flags & kSystemFlagsMask, kFlagFlagged);
  EXPECT_EQ(row(1, "Archive").date_seconds, row(2).date_seconds);
  ASSERT_TRUE(backend.expunge(1, {{1, 3}}));
  uint32_t archive = backend.id("Archive");
  EXPECT_EQ(backend.fetch(archive, 1), message_text(2));
  ASSERT_TRUE(backend.copy(archive, "Archive", {{1, 1}}));  // of a copy, into the same mailbox
  ASSERT_TRUE(backend.run(backend.account->compact()));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(backend.fetch(archive, 1), message_text(2));
    EXPECT_EQ(backend.fetch(archive, 2), message_text(3));
    EXPECT_EQ(backend.fetch(archive, 3), message_text(2));
    ASSERT_TRUE(backend.reopen());
  }
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MessagesTest, AMoveIsOneFrameAndNothingIsThereTwice) {
  deliver(4);
  ASSERT_TRUE(backend.create("Archive"));
  auto writes = backend.store.count(StoreOperation::kWrite);
  auto done = backend.copy(1, "Archive", {{1, 2}, {4, 4}}, true);
  ASSERT_TRUE(done);
  EXPECT_EQ(backend.store.count(StoreOperation::kWrite), writes + 1);
  EXPECT_THAT(uids_of(*backend.box("INBOX")), ElementsAre(3));
  EXPECT_THAT(uids_of(*backend.box("Archive")), ElementsAre(1, 2, 3));
  EXPECT_THAT(gone(*backend.box("INBOX")), ElementsAre(std::pair(1, 2), std::pair(4, 4)));
  EXPECT_EQ(backend.box("INBOX")->expunged.back().modseq, done->modseq);
  EXPECT_EQ(backend.account->state().messages(), 4u);
  EXPECT_EQ(backend.fetch(backend.id("Archive"), 3), message_text(4));
  ASSERT_TRUE(backend.copy(backend.id("Archive"), "Archive", {{1, 1}}, true));  // takes a new UID
  EXPECT_THAT(uids_of(*backend.box("Archive")), ElementsAre(2, 3, 4));
  EXPECT_EQ(backend.fetch(backend.id("Archive"), 4), message_text(1));
  EXPECT_EQ(code_of(backend.copy(1, "Nowhere", {{3, 3}})), Code::kNotFound);
  EXPECT_EQ(seen_by_another(), picture());
}

// After a compaction either of two rows may be the one that holds the content; a copy must refer to that one.
TEST_F(MessagesTest, ACopyOfARowThatACompactionMadeAReferenceIsReadable) {
  ASSERT_TRUE(backend.create("A"));
  ASSERT_TRUE(backend.create("B"));
  ASSERT_TRUE(backend.append(message_text(7), "B"));
  ASSERT_TRUE(backend.copy(backend.id("B"), "A", {{1, 1}}));  // A comes first in a compaction
  ASSERT_TRUE(backend.run(backend.account->compact()));
  ASSERT_TRUE(backend.copy(backend.id("B"), "INBOX", {{1, 1}}));
  EXPECT_EQ(backend.fetch(1, 1), message_text(7));
  ASSERT_TRUE(backend.expunge(backend.id("A"), {{1, 1}}));
  ASSERT_TRUE(backend.expunge(backend.id("B"), {{1, 1}}));
  ASSERT_TRUE(backend.run(backend.account->compact()));
  EXPECT_EQ(backend.fetch(1, 1), message_text(7));
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MessagesTest, ConcurrentDeliveriesTakeUidsInTheOrderOfTheLog) {
  TaskGroup group(backend.loop);
  std::vector<uint32_t> uids(40);
  auto one = [this, &uids](uint32_t i) -> Task<void> {
    std::string text = message_text(i);
    NewMessage message;
    message.content = text;
    auto done = co_await backend.account->append(std::move(message));
    EXPECT_TRUE(done);
    if (done) uids[i] = done->uids.front().first;
  };
  for (uint32_t i = 0; i < uids.size(); ++i) group.spawn(one(i));
  backend.run_void(group.join());
  for (uint32_t i = 0; i < uids.size(); ++i) EXPECT_EQ(backend.fetch(1, uids[i]), message_text(i));
  EXPECT_LT(backend.store.count(StoreOperation::kWrite), 10u);  // they went out together
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MessagesTest, KeywordsAreBounded) {
  deliver(1);
  std::vector<std::string> many;
  for (uint32_t i = 0; i <= kKeywordsPerAccountMax; ++i) many.push_back(fmt::format("k{}", i));
  EXPECT_EQ(code_of(backend.flag(1, {{1, 1}}, FlagsMode::kAdd, 0, many)), Code::kTooLarge);
  many.pop_back();
  EXPECT_TRUE(backend.flag(1, {{1, 1}}, FlagsMode::kAdd, 0, many));
  EXPECT_EQ(code_of(backend.flag(1, {{1, 1}}, FlagsMode::kAdd, 0, {"one-more"})), Code::kTooLarge);
  EXPECT_EQ(code_of(backend.flag(1, {{1, 1}}, FlagsMode::kAdd, 0, {std::string(kKeywordBytesMax + 1, 'k')})),
            Code::kInvalidArgument);
  EXPECT_EQ(keywords(1).size(), kKeywordsPerAccountMax);
  EXPECT_EQ(seen_by_another(), picture());
}

}  // namespace
}  // namespace canopy
