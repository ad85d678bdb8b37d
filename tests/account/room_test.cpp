// Quota of an account, and a store that is full.
#include "account_fixture.h"

namespace canopy {
namespace {

class QuotaTest : public AccountTest {};

TEST_F(QuotaTest, BytesAreBoundedAndExpungingMakesRoom) {
  backend.account->set_limits({.bytes_max = 1000});
  ASSERT_TRUE(backend.append(message_text(1, 600)));
  ASSERT_TRUE(backend.append(message_text(2, 400)));
  auto refused = backend.append("x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kQuotaExceeded);
  EXPECT_EQ(refused.error().object(), kName);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("1000 bytes"));
  EXPECT_TRUE(backend.account->usable());
  EXPECT_TRUE(backend.flag(1, {{1, 2}}, FlagsMode::kAdd, kFlagDeleted));
  ASSERT_TRUE(backend.expunge(1, {{2, 2}}));
  EXPECT_EQ(backend.account->state().bytes(), 600u);
  EXPECT_TRUE(backend.append(message_text(3, 400)));
}

TEST_F(QuotaTest, MessagesAreBoundedForCopiesTooAndNotForMoves) {
  backend.account->set_limits({.messages_max = 3});
  ASSERT_TRUE(backend.create("Archive"));
  ASSERT_TRUE(backend.append("1"));
  ASSERT_TRUE(backend.append("2"));
  EXPECT_EQ(code_of(backend.copy(1, "Archive", {{1, 2}})), Code::kQuotaExceeded);
  EXPECT_TRUE(backend.copy(1, "Archive", {{1, 1}}));
  EXPECT_EQ(code_of(backend.append("4")), Code::kQuotaExceeded);
  EXPECT_TRUE(backend.copy(1, "Archive", {{1, 2}}, true));
  EXPECT_EQ(backend.account->state().messages(), 3u);
}

TEST_F(QuotaTest, DeliveriesThatArriveTogetherDoNotPassItTogether) {
  ASSERT_TRUE(backend.append("0"));
  backend.account->set_limits({.messages_max = 5});
  int accepted = 0, refused = 0;
  TaskGroup group(backend.loop);
  auto one = [&]() -> Task<void> {
    NewMessage message;
    message.content = "x";
    auto done = co_await backend.account->append(std::move(message));
    ++(done ? accepted : refused);
    if (!done) EXPECT_EQ(done.error().code(), Code::kQuotaExceeded);
  };
  for (int i = 0; i < 20; ++i) group.spawn(one());
  backend.run_void(group.join());
  EXPECT_EQ(accepted, 4);
  EXPECT_EQ(refused, 16);
  EXPECT_EQ(backend.account->state().messages(), 5u);
}

TEST_F(QuotaTest, AMessageOverTheLimitOfOneIsRefused) {
  NewMessage message;
  message.parts.push_back({{1, 64}, 1});
  message.parts_bytes = kMessageBytesMax + 1;
  EXPECT_EQ(code_of(backend.run(backend.account->append(std::move(message)))), Code::kTooLarge);
}

// 8 MiB, of which 1 MiB is kept back.
class FullStoreTest : public testing::Test {
 protected:
  static constexpr uint64_t kTotal = 8u << 20, kReserve = 1u << 20;
  void SetUp() override {
    backend.options.capacity = &capacity;
    ASSERT_TRUE(backend.open());
  }
  void TearDown() override { backend.close(); }
  uint64_t free_bytes() { return disk.space().bytes_free; }
  // Compactions end, and what was removed is given back, as a file system does some time after a removal.
  void settle() {
    world.run_for(5 * kSecond);
    ASSERT_TRUE(disk.sync_directory(kDirectory));
    world.run_for(5 * kSecond);
  }
  uint32_t fill() {
    uint32_t delivered = 0;
    for (size_t size = 100'000;; ++delivered) {
      auto done = backend.append(message_text(delivered, size));
      if (done || std::exchange(size, 2'000) != 2'000) continue;
      EXPECT_EQ(done.error().code(), Code::kStoreFull);
      EXPECT_EQ(done.error().object(), "root");
      EXPECT_THAT(done.error().message(), testing::HasSubstr("over store capacity"));
      return delivered;
    }
  }

  SimWorld world{1};
  MemoryDisk disk{[] {
    MemoryDiskOptions options;
    options.bytes_total = kTotal;
    return options;
  }()};
  Backend backend{world, disk};
  StoreCapacity capacity{backend.loop, backend.store, {.reserve_bytes = kReserve, .look_every = kSecond}};
};

TEST_F(FullStoreTest, AppendsStopAtTheWatermarkAndUsersEmptyTheStoreBelowIt) {
  uint32_t delivered = fill();
  EXPECT_GT(delivered, 60u);
  EXPECT_GE(free_bytes(), kReserve);
  EXPECT_TRUE(backend.account->usable());  // nothing was written, nothing is in doubt

  ASSERT_TRUE(backend.flag(1, {{1, UINT32_MAX}}, FlagsMode::kAdd, kFlagDeleted, {"Old"}));
  ASSERT_TRUE(backend.create("Archive"));
  ASSERT_TRUE(backend.copy(1, "Archive", {{1, 1}}, true));
  EXPECT_EQ(code_of(backend.append(message_text(1, 5000))), Code::kStoreFull);
  EXPECT_EQ(code_of(backend.run(backend.account->upload(message_text(1, 5000)))), Code::kStoreFull);

  ASSERT_TRUE(backend.expunge(1, {}, true));
  settle();  // the compaction that an expunge on a full store brings about
  EXPECT_GT(free_bytes(), kTotal / 2);
  EXPECT_EQ(backend.fetch(backend.id("Archive"), 1, 0, 200'000), message_text(0, 100'000));
  EXPECT_TRUE(backend.append(message_text(1, 100'000)));
  ASSERT_TRUE(backend.reopen());
  EXPECT_EQ(backend.account->state().messages(), 2u);
}

TEST_F(FullStoreTest, AnAccountIsTakenOverAndEmptiedOnAStoreThatIsAlreadyFull) {
  fill();
  backend.close();
  Backend successor(world, disk, kEpoch + 1);
  StoreCapacity own(successor.loop, successor.store, {.reserve_bytes = kReserve});
  successor.options.capacity = &own;
  ASSERT_TRUE(successor.open());
  EXPECT_EQ(code_of(successor.append(message_text(1, 5000))), Code::kStoreFull);
  ASSERT_TRUE(successor.expunge(1, {}));
  settle();
  EXPECT_TRUE(successor.append("x"));
  successor.close();
  ASSERT_TRUE(backend.open());
}

TEST_F(FullStoreTest, RoomThatOthersTakeIsNoticedWithinASecond) {
  ASSERT_TRUE(backend.append("x"));
  OpenOptions options;
  options.write = options.create = true;
  auto file = disk.open("elsewhere", options);
  ASSERT_TRUE(file);
  std::string bytes(7u << 20, 'x');
  std::string_view piece = bytes;
  ASSERT_TRUE(disk.write(*file, false, 0, std::span(&piece, 1), Durable::kYes));
  world.run_for(2 * kSecond);
  EXPECT_EQ(code_of(backend.append("x")), Code::kStoreFull);
  EXPECT_TRUE(capacity.full());
  disk.close(*file);
  ASSERT_TRUE(disk.remove("elsewhere", Durable::kYes));
  EXPECT_TRUE(backend.append("x"));  // a full store is looked at each time
}

TEST(StoreReserve, IsAHundredthOfTheStoreWithinBounds) {
  EXPECT_EQ(store_reserve_bytes(100ull << 30), (100ull << 30) / 100);
  EXPECT_EQ(store_reserve_bytes(10ull << 40), kStoreReserveBytesMax);
  EXPECT_EQ(store_reserve_bytes(2ull << 30), kStoreReserveBytesMin);
  EXPECT_EQ(store_reserve_bytes(100u << 20), 10u << 20);
}

// A client that sends one message after another without waiting for answers finds them in that order, also
// where the store's answers about its room come in any.
TEST_F(QuotaTest, AppendsKeepTheirOrderWhileTheStoreIsAskedForItsRoom) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    MemoryDisk each;
    Backend process(world, each, kEpoch, false, seed);
    StoreCapacity capacity(process.loop, process.store, {.look_every = kMillisecond});
    process.options.capacity = &capacity;
    ASSERT_TRUE(process.open());
    ASSERT_TRUE(process.append("0"));
    FaultPlan plan = Backend::quiet();
    plan.delay = 1;
    plan.operations = FaultPlan::only(StoreOperation::kSpace);
    process.store.set_plan(plan);
    std::vector<uint32_t> uids(40);
    TaskGroup group(process.loop);
    auto one = [&](uint32_t& uid, Nanos when) -> Task<void> {
      co_await process.loop.sleep(when);
      NewMessage message;
      message.content = "x";
      auto done = co_await process.account->append(std::move(message));
      EXPECT_TRUE(done);
      if (done) uid = done->uids.empty() ? 0 : done->uids.front().first;
    };
    for (size_t i = 0; i < uids.size(); ++i)
      group.spawn(one(uids[i], static_cast<Nanos>(i) * kMillisecond / 2));
    process.run_void(group.join());
    for (size_t i = 0; i < uids.size(); ++i) EXPECT_EQ(uids[i], i + 2);
    process.close();
  }
}

}  // namespace
}  // namespace canopy
