// A crash before every single operation of the store: of the process alone, and of the disk with it. What was
// acknowledged is there, what is there was written, and the account can be written again.
#include "tests/log/log_fixture.h"

namespace canopy {
namespace {

struct Acknowledged {
  std::map<uint32_t, uint16_t> rows;  // uid, flags: what must be there
  std::set<uint32_t> expunged;        // and what must not
  std::set<uint32_t> tried;           // uids that may or may not be there
  std::set<uint32_t> uncertain_flags, uncertain_expunges;
};

Task<void> deliver(Process& process, Acknowledged& told, uint32_t uid) {
  told.tried.insert(uid);
  if (co_await process.append_task(delivery(uid))) told.rows[uid] = 0;
}

Task<void> work(Process& process, Acknowledged& told, uint32_t first_uid) {
  for (uint32_t uid = first_uid; uid < first_uid + 6; uid += 3) {
    TaskGroup group(process.loop);
    for (uint32_t i = 0; i < 3; ++i) group.spawn(deliver(process, told, uid + i));
    co_await group.join();
  }
  told.uncertain_flags.insert(first_uid);
  if (co_await process.append_task(flags_of(first_uid, kFlagSeen))) {
    told.rows[first_uid] = kFlagSeen;
    told.uncertain_flags.erase(first_uid);
  }
  told.uncertain_expunges.insert(first_uid + 1);
  if (co_await process.append_task(expunge_of(first_uid + 1, first_uid + 1))) {
    told.rows.erase(first_uid + 1);
    told.uncertain_expunges.erase(first_uid + 1);
    told.expunged.insert(first_uid + 1);
  }
}

// Takes the account over, works, writes a checkpoint, works, compacts while it works, works.
Task<void> life(Process& process, Acknowledged& told, bool& finished, bool create) {
  ModelAccount& account = process.account;
  if (create) {
    auto made =
        co_await make_directories(*process.environment().store, std::string(kAccount), 0700, Durable::kYes);
    if (!made) co_return;
  }
  auto log = create ? co_await AccountLog::create(process.environment(), kAccount, account, first_frame())
                    : co_await AccountLog::open(process.environment(), kAccount, account);
  if (!log) co_return;
  process.log = std::move(*log);
  if (!create) (void)co_await process.log->take_over();
  co_await work(process, told, 100);
  co_await process.log->quiesce();
  (void)co_await process.log->write_checkpoint(process.log->covered(), account.checkpoint());
  co_await work(process, told, 200);
  ModelSource source(account);
  uint32_t uid = 300;
  source.between = [&]() -> Task<void> { co_await deliver(process, told, uid++); };
  (void)co_await process.log->compact(source, {});
  co_await work(process, told, 400);
  (void)co_await process.log->remove_orphans();
  co_await process.log->close();
  finished = true;
}

class CrashTest : public AccountLogTest {
 protected:
  static void expect_told(Process& process, const Acknowledged& told, uint64_t step) {
    for (const auto& [uid, flags] : told.rows) {
      if (told.uncertain_expunges.contains(uid) && !process.account.rows.contains(uid)) continue;
      ASSERT_TRUE(process.account.rows.contains(uid)) << "step " << step << " lost " << uid;
      if (!told.uncertain_flags.contains(uid))
        EXPECT_EQ(process.account.rows[uid].flags, flags) << "step " << step << " uid " << uid;
    }
    for (uint32_t uid : told.expunged)
      EXPECT_FALSE(process.account.rows.contains(uid)) << "step " << step << " brought back " << uid;
    for (const auto& [uid, row] : process.account.rows) {
      EXPECT_TRUE(told.tried.contains(uid)) << "step " << step;
      auto content = process.content(uid);
      ASSERT_TRUE(content) << "step " << step << " uid " << uid << " " << content.error().to_string();
      EXPECT_EQ(*content, content_of(uid)) << "step " << step;
    }
    EXPECT_TRUE(process.log->damages().empty()) << "step " << step;
  }

  // One run with a crash before operation `step`. False when the life ended before.
  static bool run(uint64_t step, bool shared, bool power_cut, bool create, uint64_t seed) {
    SimWorld sim(seed);
    MemoryDisk memory;
    Acknowledged told;
    if (!create) {
      Process before(sim, memory, kEpoch, shared);
      EXPECT_TRUE(before.create());
      for (uint32_t uid = 1; uid <= 3; ++uid) {
        EXPECT_TRUE(before.append(delivery(uid)));
        told.rows[uid] = 0;
        told.tried.insert(uid);
      }
    }
    bool crashed = false, finished = false;
    auto process = std::make_unique<Process>(sim, memory, kEpoch + 1, shared, FaultPlan{}, seed);
    process->options.slice_bytes_max = 3000;
    process->store.on_operation([&](uint64_t index, StoreOperation, std::string_view) {
      if (index != step || crashed) return;
      crashed = true;
      process->store.halt();
    });
    process->loop.spawn(life(*process, told, finished, create));
    sim.run_until([&] { return crashed || finished; }, kNever);
    if (!crashed) {
      process->log.reset();
      return false;
    }
    sim.kill(process->loop);
    sim.run_for(kMillisecond);
    if (power_cut) memory.crash(seed * 1000 + step);

    for (uint64_t again = 0; again < 2; ++again) {
      Process next(sim, memory, kEpoch + 2 + again, shared);
      auto opened = next.open();
      if (!opened && create && told.tried.empty() &&
          (opened.error().code() == Code::kNotFound || opened.error().code() == Code::kTryAgain)) {
        EXPECT_TRUE(next.create()) << "step " << step;
      } else {
        EXPECT_TRUE(opened) << "step " << step << " " << opened.error().to_string();
        if (!opened) return true;
      }
      expect_told(next, told, step);
      EXPECT_TRUE(next.run(next.log->take_over())) << "step " << step;
      const auto uid = static_cast<uint32_t>(900 + again);
      EXPECT_TRUE(next.append(delivery(uid))) << "step " << step;
      told.tried.insert(uid);
      told.rows[uid] = 0;
      // What the readers have been shown stays.
      for (const auto& [shown, row] : next.account.rows)
        if (!told.rows.contains(shown)) told.rows[shown] = row.flags;
      next.close();
      if (power_cut) memory.crash(seed * 77 + step);
    }
    return true;
  }

  static void run_all(bool shared, bool power_cut, bool create) {
    uint64_t step = 1;
    while (run(step, shared, power_cut, create, 3) && !HasFatalFailure() && step < 2000) ++step;
    EXPECT_GT(step, 40u);
    EXPECT_LT(step, 2000u);
  }
};

TEST_F(CrashTest, TheProcessMayDieAtAnyStep) { run_all(false, false, false); }
TEST_F(CrashTest, TheProcessMayDieAtAnyStepOnASharedStore) { run_all(true, false, false); }
TEST_F(CrashTest, ThePowerMayFailAtAnyStep) { run_all(false, true, false); }
TEST_F(CrashTest, ThePowerMayFailAtAnyStepOnASharedStore) { run_all(true, true, false); }
TEST_F(CrashTest, ThePowerMayFailWhileAnAccountIsCreated) { run_all(false, true, true); }

// A store that takes new files but no writes for a while, and somebody who tries again and again.
TEST_F(AccountLogTest, AnyNumberOfFailedAttemptsLeavesAnAccountThatCanBeTakenOver) {
  Process process(world, disk, kEpoch);
  ASSERT_TRUE(process.create());
  process.close();
  FaultPlan plan = Process::without_unclosed({});
  plan.error = 1;
  plan.operations = FaultPlan::only(StoreOperation::kWrite);
  process.store.set_plan(plan);
  for (int attempt = 0; attempt < 50; ++attempt) {
    ASSERT_TRUE(process.open());
    EXPECT_FALSE(process.append(delivery(1)));
    process.close();
  }
  process.store.set_plan(Process::without_unclosed({}));
  ASSERT_TRUE(process.open());
  ASSERT_TRUE(process.append(delivery(1)));
  EXPECT_GT(names().size(), 10u);
  auto removed = process.run(process.log->remove_orphans());
  ASSERT_TRUE(removed);
  EXPECT_GT(*removed, 10u);
  EXPECT_EQ(names().size(), 2u);
  process.close();
}

}  // namespace
}  // namespace canopy
