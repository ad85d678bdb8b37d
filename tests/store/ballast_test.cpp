// Space set aside for a full store.
#include "daemon/store/ballast.h"

#include "daemon/store/capacity.h"
#include "tests/store/store_fixture.h"

namespace canopy {
namespace {

constexpr uint64_t kBytes = 100u << 20;

class Ballast : public testing::Test {
 protected:
  static MemoryDiskOptions options() {
    MemoryDiskOptions of;
    of.bytes_total = kBytes;
    return of;
  }
  Ballast() { EXPECT_TRUE(loop_->run_until_done(make_directories(store_, ".canopy", 0700, Durable::kNo))); }

  uint64_t free_bytes() { return disk_.space().bytes_free; }
  void look() { loop_->run_until_done(keep_ballast(store_)); }
  // A file of others, which leaves so much.
  void leave(uint64_t bytes) {
    loop_->run_until_done([&]() -> Task<void> {
      auto file = co_await store_.open("foreign", {.write = true, .create = true});
      EXPECT_TRUE(file);
      auto done = co_await (*file)->set_attributes({.size = 0}, Durable::kYes);
      EXPECT_TRUE(done);
      done = co_await (*file)->allocate(AllocateMode::kReserve, 0, free_bytes() - bytes);
      EXPECT_TRUE(done);
    }());
  }

  std::unique_ptr<UringLoop> loop_ = *UringLoop::create();
  MemoryDisk disk_{options()};
  MemoryStore store_{loop_.get(), disk_, {.name = "root"}};
};

TEST_F(Ballast, IsGivenBackByAFullStoreAndMadeAgainWhereThereIsRoom) {
  look();
  const uint64_t ballast = kBytes - free_bytes();
  EXPECT_GE(ballast, store_reserve_bytes(kBytes) / 4);
  look();
  EXPECT_EQ(kBytes - free_bytes(), ballast);  // once
  leave(ballast);
  look();
  EXPECT_EQ(free_bytes(), ballast);  // not full yet
  leave(0);
  look();
  EXPECT_EQ(free_bytes(), ballast);
  look();
  EXPECT_EQ(free_bytes(), ballast);  // still too full for it
  leave(store_reserve_bytes(kBytes) + 2 * ballast);
  const uint64_t before = free_bytes();
  look();
  EXPECT_EQ(before - free_bytes(), ballast);
}

TEST_F(Ballast, AStoreThatIsFullFromTheBeginningHasNone) {
  leave(0);
  look();
  EXPECT_EQ(free_bytes(), 0u);
  EXPECT_EQ(loop_->run_until_done(store_.attributes(std::string(kBallastPath))).error().code(),
            Code::kNotFound);
}

}  // namespace
}  // namespace canopy
