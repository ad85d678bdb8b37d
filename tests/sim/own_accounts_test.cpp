#include "tests/sim/own_accounts.h"

#include <gtest/gtest.h>

namespace canopy::sim {
namespace {

using Is = RowFact::Is;

class OwnAccountsTest : public ::testing::Test {
 protected:
  OwnAccountsTest() {
    account.name = "c1-1";
    account.is = Is::kThere;
  }
  std::string check(bool at_end = true) {
    check_own_accounts({account}, seen, at_end, trace);
    return trace.violation();
  }

  SimWorld world{1, {}};
  Trace trace{world, false};
  OwnAccount account;
  SeenAccounts seen;
};

TEST_F(OwnAccountsTest, WhatWasDeliveredIsThereOnceAndWhatMayHaveBeenAtMostOnce) {
  account.tokens = {"T:1:1"};
  account.maybe_tokens = {"T:1:1", "T:1:2"};
  seen["c1-1"] = {"T:1:1"};
  EXPECT_EQ(check(), "");
  seen["c1-1"] = {"T:1:1", "T:1:2", "T:1:2"};
  EXPECT_EQ(check(), "c1-1: T:1:2 is there 2 times");
}

TEST_F(OwnAccountsTest, AMessageThatIsLostIsAViolation) {
  account.tokens = {"T:1:1"};
  seen["c1-1"] = {};
  EXPECT_EQ(check(), "c1-1: T:1:1 is lost");
}

TEST_F(OwnAccountsTest, AnAccountThatIsLostIsAViolation) { EXPECT_EQ(check(), "account c1-1 is lost"); }

TEST_F(OwnAccountsTest, AnAccountThatWasDeletedMustNotComeBack) {
  account.is = Is::kGone;
  EXPECT_EQ(check(), "");
  seen["c1-1"] = {};
  EXPECT_EQ(check(), "account c1-1 was deleted and is there");
}

TEST_F(OwnAccountsTest, AnAccountThatWasRenamedMustNotComeBack) {
  account.had_names = {"c1-0"};
  seen["c1-1"] = {};
  EXPECT_EQ(check(), "");
  seen["c1-0"] = {};
  EXPECT_EQ(check(), "account c1-0 was renamed and is there");
}

TEST_F(OwnAccountsTest, ARenameThatNobodyKnowsOfIsWholeAtTheEnd) {
  account.or_name = "c1-2";
  EXPECT_EQ(check(false), "");  // both names were listed while it happened
  seen["c1-2"] = {};
  EXPECT_EQ(check(), "");
  seen["c1-1"] = {};
  EXPECT_EQ(check(false), "");
  EXPECT_EQ(check(), "account c1-1 was renamed to c1-2 and is both");
}

TEST_F(OwnAccountsTest, AnAccountThatNobodyAskedForIsAViolation) {
  account.is = Is::kMaybe;
  EXPECT_EQ(check(), "");
  seen["c1-1"] = {};
  EXPECT_EQ(check(), "");
  seen["c1-7"] = {};
  EXPECT_EQ(check(), "nobody asked for account c1-7");
}

}  // namespace
}  // namespace canopy::sim
