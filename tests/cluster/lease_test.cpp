// The register and the lease on virtual time: who may answer, and until when.
#include "daemon/cluster/heartbeat.h"

#include "tests/account/account_fixture.h"

namespace canopy {
namespace {

constexpr Nanos kHeld = kLeaseNanos - kDriftNanos;

// A backend with its register, its lease and an account that is written to all the time.
struct Node {
  Node(SimWorld& world, MemoryDisk& disk, std::string name)
      : backend(world, disk, 0, true), heartbeat(backend.loop, backend.store, std::move(name), lease) {}

  bool held() const { return lease.held(backend.loop.now()); }
  Result<uint32_t> claim(bool locked) {
    auto generation = backend.run(heartbeat.claim(locked));
    if (generation) backend.epoch = uint64_t{*generation} << 32 | 1;
    return generation;
  }
  void start() {
    backend.loop.spawn(beats());
    backend.loop.spawn(deliveries());
  }
  Task<void> beats() {
    for (;;) {
      co_await backend.loop.sleep(kBeatNanos);
      const Nanos sent = backend.loop.now();
      auto done = co_await heartbeat.beat();
      if (done) last_renewal = sent;
      if (!done && done.error().code() == Code::kFenced) co_return;
    }
  }
  // Delivers every 50 ms, opening the account again when it has to, as Accounts does.
  Task<void> deliveries() {
    LogEnvironment environment = backend.environment();
    environment.lease_held = [this] { return held(); };
    std::shared_ptr<Account> account;
    while (!co_await make_directories(*environment.store, std::string(kDirectory), 0700, Durable::kYes)) {
    }
    for (uint32_t number = 1; !stopped; ++number) {
      co_await backend.loop.sleep(50 * kMillisecond);
      if (account && !account->usable()) {
        co_await account->close();
        account = nullptr;
      }
      if (!account) {
        auto opened = co_await Account::open(environment, kName, kDirectory, {});
        if (!opened) continue;
        account = *opened;
      }
      std::string text = fmt::format("{} of generation {}", number, heartbeat.generation());
      NewMessage message;
      message.content = text;
      auto done = co_await account->append(std::move(message));
      if (!done) {
        last_error = done.error().code();
        continue;
      }
      acknowledged[text] = backend.loop.now();
    }
  }
  // Beats no longer reach the register; what else the node asks of the store does.
  void stall_beats() {
    FaultPlan plan = Backend::quiet();
    plan.late = 1;
    plan.late_max = 90 * kSecond;
    plan.deadline = 70 * kSecond;
    plan.object_contains = "heartbeat.data";
    backend.store.set_plan(plan);
  }
  Nanos last_acknowledged() const {
    Nanos last = 0;
    for (const auto& [text, when] : acknowledged) last = std::max(last, when);
    return last;
  }

  Backend backend;
  Lease lease;
  Heartbeat heartbeat;
  Nanos last_renewal = 0;
  bool stopped = false;
  std::map<std::string, Nanos> acknowledged;
  Code last_error = Code::kOk;
};

class LeaseTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(disk.make_directory("SharedDomains", 0700, Durable::kYes));
    first = std::make_unique<Node>(world, disk, "first");
  }
  std::set<std::string> messages_on_disk() {
    Backend reader(world, disk, kEpoch);
    EXPECT_TRUE(reader.open());
    std::set<std::string> all;
    for (const MessageRow& row : reader.box("INBOX")->rows)
      all.insert(*reader.fetch(reader.id("INBOX"), row.uid));
    reader.close();
    return all;
  }

  SimWorld world{1};
  MemoryDisk disk;
  std::unique_ptr<Node> first;
};

TEST(LeaseClock, IsHeldFromTheRenewalForALeaseLessDriftAndNeverComesBackOnceEnded) {
  Lease lease;
  EXPECT_FALSE(lease.held(0));
  lease.renew(10 * kSecond);
  EXPECT_TRUE(lease.held(10 * kSecond + kHeld - 1));
  EXPECT_FALSE(lease.held(10 * kSecond + kHeld));
  lease.renew(9 * kSecond);  // an older answer that came later
  EXPECT_TRUE(lease.held(10 * kSecond + kHeld - 1));
  lease.end();
  lease.renew(20 * kSecond);
  EXPECT_FALSE(lease.held(20 * kSecond));
}

TEST_F(LeaseTest, WhileBeatsGoThroughTheLeaseIsHeldAllTheTime) {
  ASSERT_EQ(first->claim(true), 1u);
  first->start();
  bool always = true;
  world.run_until([&] { return !(always = always && first->held()); }, 60 * kSecond);
  EXPECT_TRUE(always);
  EXPECT_GT(first->acknowledged.size(), 1000u);
  EXPECT_EQ(first->last_error, Code::kOk);
}

TEST_F(LeaseTest, AProcessWhoseBeatIsStalledAcknowledgesNothingAfterItsLease) {
  ASSERT_TRUE(first->claim(true));
  first->start();
  world.run_for(21 * kSecond);
  first->stall_beats();
  world.run_for(60 * kSecond);
  const Nanos end = first->last_renewal + kHeld;
  EXPECT_FALSE(first->held());
  EXPECT_LT(first->last_acknowledged(), end);
  EXPECT_GT(first->last_acknowledged(), end - kSecond);  // and up to then it did
  EXPECT_EQ(first->last_error, Code::kTryAgain);

  // Nobody took over: once beats go through again it serves again.
  first->backend.store.set_plan(Backend::quiet());
  const size_t before = first->acknowledged.size();
  world.run_for(120 * kSecond);
  EXPECT_TRUE(first->held());
  EXPECT_GT(first->acknowledged.size(), before + 100);
  first->stopped = true;
  world.run_for(kSecond);
  auto there = messages_on_disk();
  for (const auto& [text, when] : first->acknowledged) EXPECT_TRUE(there.contains(text)) << text;
}

TEST_F(LeaseTest, APausedProcessAcknowledgesNothingOnItsReturn) {
  ASSERT_TRUE(first->claim(true));
  first->start();
  for (int round = 0; round < 20; ++round) {
    world.run_for(10 * kSecond + round * 7 * kMillisecond);  // pauses at other points of a delivery
    const size_t before = first->acknowledged.size();
    world.pause(first->backend.loop);
    world.run_for(30 * kSecond);
    world.resume(first->backend.loop);
    const Nanos returned = world.now();
    world.run_until([&] { return first->held(); }, world.now() + 10 * kSecond);
    const Nanos renewed = world.now();
    for (const auto& [text, when] : first->acknowledged)
      EXPECT_FALSE(when >= returned && when < renewed) << text;
    EXPECT_GE(first->acknowledged.size(), before);
  }
}

TEST_F(LeaseTest, TheSuccessorServesOnlyAfterTheLeaseAndSeesEverythingThatWasAcknowledged) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    SimWorld one_world(seed);
    MemoryDisk one_disk;
    ASSERT_TRUE(one_disk.make_directory("SharedDomains", 0700, Durable::kYes));
    Node old(one_world, one_disk, "old"), next(one_world, one_disk, "next");
    ASSERT_TRUE(old.claim(true));
    old.start();
    one_world.run_for(20 * kSecond + static_cast<Nanos>(seed) * 200 * kMillisecond);
    old.stall_beats();
    ASSERT_EQ(next.claim(false), 2u);
    const Nanos claimed = one_world.now();
    EXPECT_FALSE(old.held());
    next.start();
    one_world.run_for(150 * kSecond);  // all that was late has arrived
    old.stopped = next.stopped = true;
    one_world.run_for(kSecond);
    EXPECT_FALSE(old.held());
    EXPECT_TRUE(next.held());
    EXPECT_LT(old.last_acknowledged(), claimed);
    EXPECT_GT(next.acknowledged.size(), 100u);
    Backend reader(one_world, one_disk, kEpoch);
    ASSERT_TRUE(reader.open());
    std::set<std::string> there;
    for (const MessageRow& row : reader.box("INBOX")->rows) there.insert(*reader.fetch(1, row.uid));
    for (const Node* node : {&old, &next}) {
      for (const auto& [text, when] : node->acknowledged) EXPECT_TRUE(there.contains(text)) << text;
    }
    reader.close();
  }
}

TEST_F(LeaseTest, ATreeWhoseHolderBeatsIsNotClaimed) {
  ASSERT_TRUE(first->claim(true));
  first->start();
  Node second(world, disk, "second");
  EXPECT_EQ(code_of(second.claim(false)), Code::kBusy);
  EXPECT_FALSE(second.held());
  EXPECT_TRUE(first->held());
}

TEST_F(LeaseTest, WhereNobodyHeldTheTreeOrItWasReleasedTheNextDoesNotWait) {
  ASSERT_EQ(first->claim(false), 1u);
  EXPECT_LT(world.now(), kSecond);
  ASSERT_TRUE(first->backend.run(first->heartbeat.release()));
  EXPECT_FALSE(first->held());
  EXPECT_FALSE(first->backend.run(first->heartbeat.beat()));  // one that comes late says nothing else
  Node second(world, disk, "second");
  ASSERT_EQ(second.claim(false), 2u);
  EXPECT_LT(world.now(), kSecond);
  EXPECT_TRUE(second.held());

  // What the first released was the first's: the second is waited for. And the first cannot release it again.
  ASSERT_TRUE(first->backend.run(first->heartbeat.release()));
  Node third(world, disk, "third");
  const Nanos begun = world.now();
  ASSERT_EQ(third.claim(false), 3u);
  EXPECT_GE(world.now() - begun, 2 * kLeaseNanos);
}

TEST_F(LeaseTest, AClaimWhoseRegisterWasNeverWrittenIsWaitedFor) {
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  ASSERT_TRUE(
      first->backend.run(first->backend.store.open(fmt::format("{}/heartbeat.data.1", kTreeRoot), options)));
  ASSERT_EQ(first->claim(false), 2u);
  EXPECT_GE(world.now(), 2 * kLeaseNanos);
}

TEST_F(LeaseTest, WhoWasSupersededLearnsItWithTheNextBeatAndForGood) {
  ASSERT_TRUE(first->claim(true));
  Node second(world, disk, "second");
  ASSERT_EQ(second.claim(true), 2u);  // as if the lock had gone with a killed process
  EXPECT_EQ(code_of(first->backend.run(first->heartbeat.beat())), Code::kFenced);
  EXPECT_FALSE(first->held());
}

TEST_F(LeaseTest, ClaimsOfStartsThatWereKilledGoWithTheNext) {
  ASSERT_EQ(first->claim(true), 1u);
  for (uint32_t generation : {2, 3, 5}) {  // killed after the claim, before the one below it was removed
    OpenOptions options;
    options.write = options.create = options.exclusive = true;
    auto path = fmt::format("{}/heartbeat.data.{}", kTreeRoot, generation);
    ASSERT_TRUE(first->backend.run(first->backend.store.open(path, options)));
  }
  Node next(world, disk, "next");
  ASSERT_EQ(next.claim(true), 6u);
  auto left = next.backend.run(list_all(next.backend.store, std::string(kTreeRoot), 100));
  ASSERT_TRUE(left);
  std::set<std::string> names;
  for (const DirectoryEntry& entry : *left) {
    if (entry.name.starts_with("heartbeat.data")) names.insert(entry.name);
  }
  EXPECT_EQ(names, (std::set<std::string>{"heartbeat.data", "heartbeat.data.6"}));
}

TEST_F(LeaseTest, ASettingsFileThatIsReplacedWithoutALeaseIsNotAcknowledged) {
  bool held = true;
  SettingsFiles files(first->backend.store, 7, 0, [&held] { return held; });
  auto one = first->backend.run(files.replace(5, "SharedDomains/x.settings", {{}, dict::Dict{{"A", 1}}}));
  ASSERT_TRUE(one) << one.error().to_string();
  held = false;
  EXPECT_EQ(code_of(first->backend.run(
                files.replace(5, "SharedDomains/x.settings", {one->version, dict::Dict{{"A", 2}}}))),
            Code::kFenced);
}

}  // namespace
}  // namespace canopy
