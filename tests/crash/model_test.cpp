// What the kill loop would overlook if it were wrong: each kind of loss must be seen.
#include <gmock/gmock.h>

#include "tests/crash/model.h"

namespace canopy::crash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Fixture : ::testing::Test {
  Fixture() {
    account.name = "a@b";
    add(1, "0.1.100");
    add(2, "0.2.100", 0x5, {"$Junk"});
    account.mailboxes["INBOX"].remove(1);
    add(3, "0.3.100");
    account.mailboxes["INBOX"].modseq = 9;
    account.other_mailboxes = {"Box"};
    account.removed_mailboxes = {"Old"};
    account.settings = {3, {{"Key", "7"}}};
    seen.mailboxes = account.mailboxes;
    seen.names = {"INBOX", "Box"};
    seen.settings = account.settings;
  }
  void add(uint32_t uid, std::string token, uint32_t flags = 0, std::set<std::string> keywords = {}) {
    ASSERT_EQ(account.mailboxes["INBOX"].add(uid, 77, {std::move(token), flags, std::move(keywords), 0}), "");
  }
  std::map<uint32_t, Message>& seen_messages() { return seen.mailboxes["INBOX"].messages; }

  Account account;
  Seen seen;
};

TEST_F(Fixture, WhatWasAcknowledgedIsFine) { EXPECT_THAT(compare(account, seen), IsEmpty()); }

TEST_F(Fixture, AMissingMessageIsSeen) {
  seen_messages().erase(3);
  EXPECT_THAT(compare(account, seen), ElementsAre(HasSubstr("UID 3 (0.3.100) is missing")));
}

TEST_F(Fixture, ADoubledMessageIsSeen) {
  seen_messages()[4] = seen_messages()[3];
  EXPECT_THAT(compare(account, seen),
              ElementsAre(HasSubstr("UID 4 (0.3.100) is there and nobody was told, or twice")));
}

TEST_F(Fixture, AnExpungedMessageThatComesBackIsSeen) {
  seen_messages()[1] = {"0.1.100", 0, {}, 0};
  EXPECT_THAT(compare(account, seen),
              ElementsAre(HasSubstr("UID 1 (0.1.100) was expunged and is there again")));
}

TEST_F(Fixture, LostFlagsAndKeywordsAreSeen) {
  seen_messages()[2].flags = 0x1;
  EXPECT_THAT(compare(account, seen), ElementsAre(HasSubstr("UID 2 is 0.2.100 flags 0x1 $Junk, should be")));
  seen_messages()[2] = {"0.2.100", 0x5, {}, 0};
  EXPECT_THAT(compare(account, seen), ElementsAre(HasSubstr("UID 2 is 0.2.100 flags 0x5, should be")));
}

TEST_F(Fixture, AnotherMessageUnderTheUidIsSeen) {
  seen_messages()[2].token = "0.3.100";
  seen_messages()[3].token = "";
  EXPECT_THAT(compare(account, seen),
              ElementsAre(HasSubstr("UID 2 holds 0.3.100, not 0.2.100"),
                          HasSubstr("UID 3 holds bytes that are not whole, not 0.3.100")));
}

TEST_F(Fixture, AMailboxOrSettingThatWentBackIsSeen) {
  seen.names = {"INBOX", "Old"};
  seen.settings = {2, {{"Key", "6"}}};
  seen.mailboxes["INBOX"].modseq = 8;
  seen.mailboxes["INBOX"].uid_validity = 78;
  EXPECT_THAT(
      compare(account, seen),
      ElementsAre(HasSubstr("UIDVALIDITY was 77, is 78"), HasSubstr("mod-sequence 9 was acknowledged"),
                  HasSubstr("the mailbox Box is missing"), HasSubstr("the mailbox Old is there again"),
                  HasSubstr("version 3 was acknowledged, 2 is there"), HasSubstr("Key is 6, should be 7")));
}

TEST_F(Fixture, AMessageFromLmtpIsThereOnceWhenAcknowledgedAndAtMostOnceOtherwise) {
  account.unplaced = {{"0.8.100", true}, {"0.9.100", false}};
  EXPECT_THAT(compare(account, seen),
              ElementsAre(HasSubstr("0.8.100 was acknowledged over LMTP and is missing")));
  seen_messages()[5] = {"0.8.100", 0, {}, 0};
  EXPECT_THAT(compare(account, seen), IsEmpty());
  EXPECT_EQ(account.mailboxes["INBOX"].messages.count(5), 1u);
  seen_messages()[6] = {"0.8.100", 0, {}, 0};
  EXPECT_THAT(compare(account, seen),
              ElementsAre(HasSubstr("UID 6 (0.8.100) is there and nobody was told, or twice")));
}

TEST_F(Fixture, AUidThatIsGivenTwiceIsRefused) {
  EXPECT_THAT(account.mailboxes["INBOX"].add(1, 77, {"0.5.100", 0, {}, 0}),
              HasSubstr("UID 1 was given a second time"));
  EXPECT_THAT(account.mailboxes["INBOX"].add(3, 77, {"0.5.100", 0, {}, 0}),
              HasSubstr("UID 3 is 0.3.100's already"));
}

TEST(Content, ATokenIsFoundOnlyInAWholeMessage) {
  std::string whole = content_of("4.17.3000");
  EXPECT_GE(whole.size(), 3000u);
  EXPECT_EQ(token_of(whole), "4.17.3000");
  EXPECT_EQ(token_of("Return-Path: <x@y>\r\nReceived: z\r\n" + whole), "4.17.3000");
  EXPECT_EQ(token_of(whole.substr(0, whole.size() - 1)), "");
  whole[1500] ^= 1;
  EXPECT_EQ(token_of(whole), "");
  EXPECT_EQ(token_of(""), "");
}

}  // namespace
}  // namespace canopy::crash
