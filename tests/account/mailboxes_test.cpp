// Mailboxes as such: hierarchy, renames, subscriptions, UIDVALIDITY.
#include "account_fixture.h"
#include "daemon/account/log_end.h"
#include "daemon/account/mailbox_name.h"

namespace canopy {
namespace {

using testing::ElementsAre;

class MailboxesTest : public AccountTest {};

TEST_F(MailboxesTest, AnAccountThatWasNeverWrittenIsEmptyAndNothingLiesInItsDirectory) {
  EXPECT_TRUE(backend.account->state().mailboxes().empty());
  auto list = disk.list(kDirectory, 0);
  ASSERT_TRUE(list);
  EXPECT_TRUE(list->entries.empty());
  ASSERT_TRUE(backend.append("first"));
  EXPECT_NE(backend.box("INBOX"), nullptr);
  EXPECT_TRUE(backend.account->state().subscriptions().contains("INBOX"));
}

TEST_F(MailboxesTest, AnAccountWhoseDirectoryHasGoneIsNotMadeAnew) {
  ASSERT_TRUE(disk.remove_directory(kDirectory, Durable::kYes));
  EXPECT_EQ(code_of(backend.append("first")), Code::kTryAgain);
  EXPECT_FALSE(backend.account->usable());
  EXPECT_EQ(code_of(disk.attributes(kDirectory)), Code::kNotFound);
  auto opened = backend.run(Account::open(backend.environment(), kName, kDirectory, backend.options));
  EXPECT_EQ(code_of(opened), Code::kTryAgain);
}

TEST_F(MailboxesTest, CreatingALevelCreatesThoseAboveIt) {
  auto made = backend.create("Work/Projects/Oak");
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_EQ(made->mailbox_id, backend.id("Work/Projects/Oak"));
  ASSERT_NE(backend.box("Work"), nullptr);
  ASSERT_NE(backend.box("Work/Projects"), nullptr);
  std::set<uint32_t> validities;
  for (const auto& [id, box] : backend.account->state().mailboxes()) validities.insert(box.uidvalidity);
  EXPECT_EQ(validities.size(), 4u);  // each its own, INBOX included
  EXPECT_EQ(code_of(backend.create("Work/Projects")), Code::kAlreadyExists);
  EXPECT_EQ(code_of(backend.create("Work//Oak")), Code::kInvalidArgument);
  EXPECT_EQ(code_of(backend.create("inbox")), Code::kAlreadyExists);
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MailboxesTest, RenamingAParentRenamesWhatIsBelowAndMakesTheLevelsAboveTheNewName) {
  ASSERT_TRUE(backend.create("Work/Oak/Bark"));
  ASSERT_TRUE(backend.create("Workshop"));
  ASSERT_TRUE(backend.append("in oak", "Work/Oak"));
  uint32_t oak = backend.id("Work/Oak");
  uint32_t validity = backend.box("Work/Oak")->uidvalidity;
  ASSERT_TRUE(backend.rename("Work", "Old/2026/Work"));
  EXPECT_EQ(backend.box("Work"), nullptr);
  EXPECT_NE(backend.box("Workshop"), nullptr);  // only begins alike
  EXPECT_NE(backend.box("Old/2026"), nullptr);
  EXPECT_EQ(backend.id("Old/2026/Work/Oak"), oak);
  EXPECT_EQ(backend.box("Old/2026/Work/Oak")->uidvalidity, validity);
  EXPECT_NE(backend.box("Old/2026/Work/Oak/Bark"), nullptr);
  EXPECT_EQ(backend.fetch(oak, 1), "in oak");
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MailboxesTest, ARenameNeverHidesAMailboxThatIsThere) {
  ASSERT_TRUE(backend.create("A/x"));
  ASSERT_TRUE(backend.create("B"));
  EXPECT_EQ(code_of(backend.rename("A", "B")), Code::kAlreadyExists);
  EXPECT_EQ(code_of(backend.rename("A", "A/y")), Code::kInvalidArgument);
  EXPECT_EQ(code_of(backend.rename("Nowhere", "Z")), Code::kNotFound);
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MailboxesTest, RenamingInboxGivesItsMessagesAwayAndLeavesAnEmptyOne) {
  ASSERT_TRUE(backend.append("one"));
  ASSERT_TRUE(backend.append("two"));
  ASSERT_TRUE(backend.create("INBOX/Lists"));
  uint32_t before = backend.id("INBOX");
  uint32_t validity = backend.box("INBOX")->uidvalidity;
  auto done = backend.rename("inbox", "Archive/2026");
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->mailbox_id, before);
  ASSERT_NE(backend.box("Archive"), nullptr);
  EXPECT_THAT(uids_of(*backend.box("Archive/2026")), ElementsAre(1, 2));
  EXPECT_EQ(backend.box("Archive/2026")->uidvalidity, validity);
  ASSERT_NE(backend.box("INBOX"), nullptr);
  EXPECT_TRUE(backend.box("INBOX")->rows.empty());
  EXPECT_GT(backend.box("INBOX")->uidvalidity, validity);
  EXPECT_NE(backend.id("INBOX"), before);
  EXPECT_NE(backend.box("INBOX/Lists"), nullptr);  // stays
  ASSERT_TRUE(backend.append("three"));
  EXPECT_THAT(uids_of(*backend.box("INBOX")), ElementsAre(1));
  EXPECT_EQ(backend.fetch(before, 2), "two");
  EXPECT_EQ(seen_by_another(), picture());
  ASSERT_TRUE(backend.run(backend.account->compact()));
  EXPECT_EQ(seen_by_another(), picture());
  ASSERT_TRUE(backend.rename("INBOX", "INBOX/Before"));
  EXPECT_THAT(uids_of(*backend.box("INBOX/Before")), ElementsAre(1));
}

TEST_F(MailboxesTest, ARestoredAccountTakesAnotherUidValidityInEveryMailboxAndKeepsItsMail) {
  ASSERT_TRUE(backend.run(backend.account->renew_uidvalidity()));
  EXPECT_EQ(backend.account->state().mailboxes().size(), 0u);  // never written: nothing to renew
  ASSERT_TRUE(backend.create("Work/Oak"));
  ASSERT_TRUE(backend.append("in oak", "Work/Oak"));
  std::map<uint32_t, uint32_t> before;
  for (const auto& [id, box] : backend.account->state().mailboxes()) before[id] = box.uidvalidity;
  ASSERT_TRUE(backend.run(backend.account->renew_uidvalidity()));
  std::set<uint32_t> after;
  for (const auto& [id, box] : backend.account->state().mailboxes()) {
    EXPECT_GT(box.uidvalidity, before[id]) << box.name;
    after.insert(box.uidvalidity);
  }
  EXPECT_EQ(after.size(), before.size());  // each its own
  EXPECT_EQ(backend.fetch(backend.id("Work/Oak"), 1), "in oak");
  EXPECT_EQ(seen_by_another(), picture());
  const std::string here = picture();
  ASSERT_TRUE(backend.run(backend.account->compact()));
  ASSERT_TRUE(backend.reopen());
  EXPECT_EQ(picture(), here);
}

TEST(LogEndTest, IsOrderedByEpochThenNumberThenLengthAndSurvivesItsText) {
  const LogEnd early{.epoch = 1, .number = 9, .length = 500}, late{.epoch = 2, .number = 3, .length = 100};
  EXPECT_LT(early, late);
  EXPECT_LT((LogEnd{.epoch = 2, .number = 3, .length = 99}), late);
  EXPECT_LT(LogEnd::of({}), early);
  EXPECT_EQ(LogEnd::parse(late.to_text()), late);
  for (std::string_view wrong : {"", " 1", "0000000003-0000000000000002.slice", "x.slice 1"})
    EXPECT_EQ(LogEnd::parse(wrong), std::nullopt) << wrong;
  EXPECT_EQ(LogEnd::parse(late.to_text() + "x"), std::nullopt);
  EXPECT_EQ(LogEnd::parse(late.to_text() + "99999999999999999999"), std::nullopt);
}

TEST_F(MailboxesTest, ADeletedMailboxComesBackEmptyUnderAnotherUidValidity) {
  ASSERT_TRUE(backend.create("Work/Oak"));
  ASSERT_TRUE(backend.append("gone soon", "Work/Oak"));
  uint32_t validity = backend.box("Work/Oak")->uidvalidity;
  EXPECT_EQ(code_of(backend.run(backend.account->delete_mailbox("Work", {}))), Code::kNotEmpty);
  EXPECT_EQ(code_of(backend.run(backend.account->delete_mailbox("INBOX", {}))), Code::kInvalidArgument);
  ASSERT_TRUE(backend.run(backend.account->delete_mailbox("Work/Oak", {})));
  EXPECT_EQ(backend.account->state().messages(), 0u);
  EXPECT_EQ(backend.account->state().bytes(), 0u);
  ASSERT_TRUE(backend.reopen());
  ASSERT_TRUE(backend.run(backend.account->compact()));
  ASSERT_TRUE(backend.reopen());
  ASSERT_TRUE(backend.create("Work/Oak"));
  EXPECT_GT(backend.box("Work/Oak")->uidvalidity, validity);
  EXPECT_TRUE(backend.box("Work/Oak")->rows.empty());
}

TEST_F(MailboxesTest, SubscriptionsAreNamesAndOutliveTheirMailbox) {
  ASSERT_TRUE(backend.create("Lists/birds"));
  ASSERT_TRUE(backend.run(backend.account->subscribe("Lists/birds", true, {})));
  ASSERT_TRUE(backend.run(backend.account->subscribe("Lists/none", true, {})));
  ASSERT_TRUE(backend.run(backend.account->subscribe("INBOX", false, {})));
  ASSERT_TRUE(backend.run(backend.account->delete_mailbox("Lists/birds", {})));
  EXPECT_THAT(backend.account->state().subscriptions(), ElementsAre("Lists/birds", "Lists/none"));
  EXPECT_EQ(seen_by_another(), picture());
  ASSERT_TRUE(backend.run(backend.account->compact()));
  EXPECT_EQ(seen_by_another(), picture());
}

TEST_F(MailboxesTest, AppendingCreatesAMailboxOnlyWhenAsked) {
  EXPECT_EQ(code_of(backend.append("x", "Junk")), Code::kNotFound);
  NewMessage message;
  message.mailbox = "Lists/birds";
  message.content = "x";
  message.create_mailbox = true;
  ASSERT_TRUE(backend.run(backend.account->append(std::move(message))));
  EXPECT_EQ(backend.box("Lists/birds")->rows.size(), 1u);
}

TEST_F(MailboxesTest, NamesAreBoundedByRule) {
  EXPECT_EQ(code_of(backend.create("")), Code::kInvalidArgument);
  EXPECT_EQ(code_of(backend.create(std::string(kMailboxNameBytesMax + 1, 'a'))), Code::kInvalidArgument);
  std::string deep = "a";
  for (uint32_t i = 1; i < kMailboxLevelsMax; ++i) deep += "/a";
  EXPECT_TRUE(backend.create(deep));
  EXPECT_EQ(code_of(backend.create(deep + "/a")), Code::kInvalidArgument);
  EXPECT_EQ(code_of(backend.create("bad\xff")), Code::kInvalidArgument);
  EXPECT_EQ(code_of(backend.create("a/../b")), Code::kInvalidArgument);
}

TEST_F(MailboxesTest, ANameThatIsNoUtf8IsRefusedByRuleAndShownEscaped) {
  auto refused = backend.create("bad\xff");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().object(), "bad\\xff");  // an error's text is UTF-8 too
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("UTF-8"));
  EXPECT_EQ(shown_mailbox_name("Work/\u00dcbung"), "Work/\u00dcbung");
  EXPECT_EQ(shown_mailbox_name("a\x01\xc3(\xc3\xa4\xed\xa0\x80"), "a\\x01\\xc3(\u00e4\\xed\\xa0\\x80");
  EXPECT_EQ(shown_mailbox_name("back\\slash"), "back\\slash");
}

}  // namespace
}  // namespace canopy
