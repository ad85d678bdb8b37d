// Every mutating request is done once: its id is remembered for an hour, through reopening, compaction and
// takeover.
#include "account_fixture.h"

namespace canopy {
namespace {

class RequestsTest : public AccountTest {
 protected:
  // So that the next opening has the log alone.
  void remove_checkpoints() {
    for (const DirectoryEntry& entry : disk.list(kDirectory, 0)->entries) {
      if (entry.name.ends_with(".checkpoint")) {
        ASSERT_TRUE(disk.remove(std::string(kDirectory) + "/" + entry.name, Durable::kYes));
      }
    }
  }
  static void expect_same(const Result<RequestResult>& a, const Result<RequestResult>& b) {
    ASSERT_TRUE(a) << a.error().to_string();
    ASSERT_TRUE(b) << b.error().to_string();
    EXPECT_EQ(a->encode(), b->encode());
  }
  // One of each mutation, the same whenever it is called.
  std::vector<Result<RequestResult>> all_of_them(Backend& on) {
    std::vector<Result<RequestResult>> results;
    results.push_back(on.append("hello", "INBOX", kFlagSeen, {"Blue"}, request(1)));
    results.push_back(on.create("Archive/2026", request(2)));
    results.push_back(on.copy(1, "Archive/2026", {{1, 1}}, false, request(3)));
    results.push_back(on.flag(1, {{1, 1}}, FlagsMode::kAdd, kFlagFlagged, {}, 0, request(4)));
    results.push_back(on.rename("Archive", "Old", request(5)));
    results.push_back(on.run(on.account->subscribe("Old", true, request(6))));
    results.push_back(on.append("second", "INBOX", 0, {}, request(7)));
    results.push_back(on.expunge(1, {{1, 1}}, false, request(8)));
    results.push_back(on.copy(1, "Old/2026", {{2, 2}}, true, request(9)));
    results.push_back(on.create("Brief", request(10)));
    results.push_back(on.run(on.account->delete_mailbox("Brief", request(11))));
    return results;
  }
  void expect_all_same(const std::vector<Result<RequestResult>>& first, Backend& on) {
    std::string before = picture_of(on.account->state());
    auto again = all_of_them(on);
    for (size_t i = 0; i < first.size(); ++i) {
      SCOPED_TRACE(i);
      expect_same(first[i], again[i]);
    }
    EXPECT_EQ(picture_of(on.account->state()), before);
  }
};

TEST_F(RequestsTest, AResendIsAnsweredWithTheFirstResultWhateverHappenedSince) {
  auto first = all_of_them(backend);
  expect_all_same(first, backend);
  ASSERT_TRUE(backend.reopen());
  expect_all_same(first, backend);
  ASSERT_TRUE(backend.run(backend.account->compact()));  // from a checkpoint afterwards
  ASSERT_TRUE(backend.reopen());
  expect_all_same(first, backend);
  Backend successor(world, disk, kEpoch + 1);
  ASSERT_TRUE(successor.open());
  expect_all_same(first, successor);
  successor.close();
}

TEST_F(RequestsTest, ARequestThatFoundNothingToChangeChangesNothingLaterEither) {
  ASSERT_TRUE(backend.append("hello", "INBOX", kFlagSeen, {}, request(20)));
  auto flagged = backend.flag(1, {{1, 1}}, FlagsMode::kAdd, kFlagSeen, {}, 0, request(21));
  auto expunged = backend.expunge(1, {{2, 9}}, false, request(22));
  auto copied = backend.copy(1, "INBOX", {{2, 9}}, false, request(23));
  ASSERT_TRUE(backend.flag(1, {{1, 1}}, FlagsMode::kRemove, kFlagSeen, {}, 0, request(24)));
  ASSERT_TRUE(backend.append("second", "INBOX", 0, {}, request(25)));
  std::string before = picture_of(backend.account->state());
  ASSERT_TRUE(backend.reopen());
  expect_same(flagged, backend.flag(1, {{1, 1}}, FlagsMode::kAdd, kFlagSeen, {}, 0, request(21)));
  expect_same(expunged, backend.expunge(1, {{2, 9}}, false, request(22)));
  expect_same(copied, backend.copy(1, "INBOX", {{2, 9}}, false, request(23)));
  EXPECT_EQ(picture_of(backend.account->state()), before);
}

TEST_F(RequestsTest, CompactionKeepsThemAlsoWithoutItsCheckpoint) {
  auto first = all_of_them(backend);
  ASSERT_TRUE(backend.run(backend.account->compact()));
  backend.close();
  remove_checkpoints();
  ASSERT_TRUE(backend.open());
  expect_all_same(first, backend);
}

TEST_F(RequestsTest, TheSameRequestTwiceAtOnceIsDoneOnce) {
  ASSERT_TRUE(backend.append("before"));
  std::vector<Result<RequestResult>> results;
  TaskGroup group(backend.loop);
  auto one = [&]() -> Task<void> {
    NewMessage message;
    message.content = "once";
    message.request_id = request(1);
    results.push_back(co_await backend.account->append(std::move(message)));
  };
  for (int i = 0; i < 5; ++i) group.spawn(one());
  backend.run_void(group.join());
  ASSERT_EQ(results.size(), 5u);
  for (const auto& each : results) expect_same(results.front(), each);
  EXPECT_EQ(backend.box("INBOX")->rows.size(), 2u);
}

TEST_F(RequestsTest, TwiceAtOnceOnAnAccountThatIsJustBeingTakenOver) {
  ASSERT_TRUE(backend.append("before"));
  ASSERT_TRUE(backend.reopen());
  std::vector<Result<RequestResult>> results;
  TaskGroup group(backend.loop);
  auto one = [&]() -> Task<void> {
    results.push_back(co_await backend.account->create_mailbox("Once", request(1)));
  };
  for (int i = 0; i < 5; ++i) group.spawn(one());
  backend.run_void(group.join());
  for (const auto& each : results) expect_same(results.front(), each);
}

TEST_F(RequestsTest, AResendToTheSuccessorFindsWhatTheDeadProcessWrote) {
  MemoryDisk shared_disk;
  Backend first(world, shared_disk, kEpoch, true);
  ASSERT_TRUE(first.open());
  ASSERT_TRUE(first.append("before"));
  Backend second(world, shared_disk, kEpoch + 1, true);
  ASSERT_TRUE(second.open());  // before the request: it has not seen it yet
  auto answered = first.append("once", "INBOX", 0, {}, request(1));
  expect_same(answered, second.append("once", "INBOX", 0, {}, request(1)));
  EXPECT_EQ(second.box("INBOX")->rows.size(), 2u);
  EXPECT_EQ(code_of(first.append("late")), Code::kFenced);
  EXPECT_FALSE(first.account->usable());
  first.close();
  second.close();
}

TEST_F(RequestsTest, IdsAreForgottenAfterAnHour) {
  ASSERT_TRUE(backend.append("once", "INBOX", 0, {}, request(1)));
  world.run_for((kRequestIdRememberedSeconds - 60) * kSecond);
  ASSERT_TRUE(backend.append("once", "INBOX", 0, {}, request(1)));
  EXPECT_EQ(backend.box("INBOX")->rows.size(), 1u);
  world.run_for(120 * kSecond);
  ASSERT_TRUE(backend.append("once", "INBOX", 0, {}, request(1)));
  EXPECT_EQ(backend.box("INBOX")->rows.size(), 2u);
}

TEST_F(RequestsTest, TheyAreForgottenInTheirOrderAlsoAfterACompaction) {
  for (uint8_t i = 1; i <= 100; ++i) {
    ASSERT_TRUE(backend.append("x", "INBOX", 0, {}, request(i)));
    world.run_for(30 * kSecond);
  }
  ASSERT_TRUE(backend.run(backend.account->compact()));
  backend.close();
  remove_checkpoints();
  ASSERT_TRUE(backend.open());
  world.run_for(1800 * kSecond);  // the first 40 or so are over an hour old
  ASSERT_TRUE(backend.append("x", "INBOX", 0, {}, request(100)));
  EXPECT_FALSE(backend.account->state().remembered(request(1)));
  EXPECT_FALSE(backend.account->state().remembered(request(39)));
  EXPECT_TRUE(backend.account->state().remembered(request(42)));
}

TEST_F(RequestsTest, AFailedWriteIsUncertainAndAResendAfterReopeningSettlesIt) {
  ASSERT_TRUE(backend.append("before"));
  for (bool carried_out : {true, false}) {
    FaultPlan plan = Backend::quiet();
    (carried_out ? plan.lost_answer : plan.error) = 1;
    plan.operations = FaultPlan::only(StoreOperation::kWrite);
    backend.store.set_plan(plan);
    RequestId id = request(carried_out ? 1 : 2);
    size_t had = backend.box("INBOX")->rows.size();
    ASSERT_FALSE(backend.append("once", "INBOX", 0, {}, id));
    EXPECT_FALSE(backend.account->usable());
    EXPECT_EQ(code_of(backend.append("more")), Code::kTryAgain);
    backend.store.set_plan(Backend::quiet());
    ASSERT_TRUE(backend.reopen());
    ASSERT_TRUE(backend.append("once", "INBOX", 0, {}, id));
    ASSERT_TRUE(backend.append("once", "INBOX", 0, {}, id));
    EXPECT_EQ(backend.box("INBOX")->rows.size(), had + 1) << carried_out;
  }
}

TEST_F(RequestsTest, AnAccountThatIsClosedChangesNothingMore) {
  Backend fresh(world, disk, kEpoch + 7);
  ASSERT_TRUE(fresh.open());
  std::shared_ptr<Account> held = fresh.account;
  fresh.close();
  fresh.account = held;
  EXPECT_EQ(code_of(fresh.append("late")), Code::kTryAgain);
  auto list = disk.list(kDirectory, 0);
  ASSERT_TRUE(list);
  EXPECT_TRUE(list->entries.empty());
  fresh.account.reset();
}

}  // namespace
}  // namespace canopy
