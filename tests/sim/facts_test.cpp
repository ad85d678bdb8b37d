// What the simulator holds against the accounts must itself be right: copies of one message look alike.
#include "tests/sim/facts.h"

#include <gtest/gtest.h>

namespace canopy::sim {
namespace {

using Is = RowFact::Is;

class FactsTest : public ::testing::Test {
 protected:
  FactsTest() {
    inbox->name = "INBOX";
    inbox->id = 1;
    inbox->is = Is::kThere;
    seen.mailboxes[1].name = "INBOX";
    seen.mailboxes[1].id = 1;
  }

  // UID 0: it was asked for, and nobody knows.
  std::shared_ptr<RowFact> row(uint32_t uid, uint32_t flags = 0) {
    auto fact = std::make_shared<RowFact>();
    fact->token = "T:1:1";
    fact->box = inbox;
    fact->uid = uid;
    fact->is = uid == 0 ? Is::kMaybe : Is::kThere;
    fact->flags.system = flags;
    facts.rows.push_back(fact);
    return fact;
  }
  // A move that nobody knows of.
  std::shared_ptr<RowFact> moved(const std::shared_ptr<RowFact>& from) {
    from->is = Is::kMaybe;
    from->instead = row(0, from->flags.system);
    return from->instead;
  }
  void see(uint32_t uid, uint32_t flags = 0) {
    SeenMessage message;
    message.uid = uid;
    message.token = "T:1:1";
    message.flags.system = flags;
    seen.mailboxes[1].messages[uid] = message;
  }
  std::string check() {
    Explained explained;
    std::set<uint32_t> boxes;
    check_facts(facts, "user0", seen, trace, explained, boxes);
    unexplained = seen.mailboxes[1].messages.size() - explained.size();
    return trace.violation();
  }

  SimWorld world{1, {}};
  Trace trace{world, false};
  std::shared_ptr<BoxFact> inbox = std::make_shared<BoxFact>();
  ClientFacts facts;
  Seen seen;
  size_t unexplained = 0;
};

TEST_F(FactsTest, ACopyThatNobodyKnowsOfIsNotTakenForAMoveThatDidNotHappen) {
  auto original = row(8);
  auto move = moved(original);
  auto copy = row(0);
  see(8);
  see(9);
  EXPECT_EQ(check(), "");
  EXPECT_EQ(unexplained, 0u);
  EXPECT_EQ(copy->uid, 9u);
  EXPECT_EQ(move->uid, 0u);
}

TEST_F(FactsTest, AMoveThatHappenedExplainsWhatIsThereBeforeACopyThatMayHaveHappened) {
  auto copy = row(0);
  auto move = moved(row(8));
  see(9);
  EXPECT_EQ(check(), "");
  EXPECT_EQ(move->uid, 9u);
  EXPECT_EQ(copy->uid, 0u);
}

TEST_F(FactsTest, CopiesAreToldApartByTheirFlags) {
  auto move = moved(row(8, 1));
  auto copy = row(0, 2);
  see(9, 2);
  see(10, 1);
  EXPECT_EQ(check(), "");
  EXPECT_EQ(move->uid, 10u);
  EXPECT_EQ(copy->uid, 9u);
}

TEST_F(FactsTest, AMovedMessageThatIsNowhereIsAViolation) {
  moved(row(8));
  EXPECT_NE(check().find("is in neither"), std::string::npos);
}

TEST_F(FactsTest, AMovedMessageThatIsInBothPlacesIsUnexplainedAndOnceKnownAViolation) {
  auto original = row(8);
  auto move = moved(original);
  see(8);
  see(9);
  EXPECT_EQ(check(), "");
  EXPECT_EQ(unexplained, 1u);
  move->uid = 9;
  EXPECT_NE(check().find("is in both"), std::string::npos);
}

}  // namespace
}  // namespace canopy::sim
