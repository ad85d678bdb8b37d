// The space of a path in a tree that lies on several stores.
#include "tests/store/store_set_fixture.h"

namespace canopy {
namespace {

using testing::HasSubstr;

class StoreSpaceTest : public StoreSetTest {
 protected:
  static constexpr uint64_t kMiB = 1u << 20;
  void SetUp() override {
    StoreSetTest::SetUp();
    MemoryDiskOptions small, large;
    small.bytes_total = kMiB;
    large.bytes_total = 4 * kMiB;
    add_store("small", small);
    add_store("large", large);
  }
  uint64_t total(const std::string& path) { return ok(set->space_at(path)).bytes_total; }

  const uint64_t root_total = root_disk.space().bytes_total;
};

TEST_F(StoreSpaceTest, APathHasThatOfItsStoreAndADirectoryOnSeveralThatOfAllInSum) {
  mount_fresh({"/ root", "SharedDomains/company.com/[a-d].sub small",
               "SharedDomains/company.com/[e-h].sub large deep", "SharedDomains/company.com/i.sub large"});
  EXPECT_EQ(total(kA), kMiB);
  EXPECT_EQ(total(kA + "/u.macnt/1.slice"), kMiB);
  EXPECT_EQ(total(kE), 4 * kMiB);
  EXPECT_EQ(total(std::string(kDomain) + "/x.sub"), root_total);
  EXPECT_EQ(total("Settings"), root_total);
  for (const std::string directory : {kDomain, "SharedDomains"})
    EXPECT_EQ(total(directory), root_total + 5 * kMiB) << directory;
  const StoreSpace before = ok(set->space_at(kA)), of_large = ok(set->space_at(kE));
  ok(make_directories(*set, kA, 0700, Durable::kYes));
  write(kA + "/file", std::string(500'000, 'x'));
  EXPECT_LE(ok(set->space_at(kA)).bytes_free + 500'000, before.bytes_free);
  EXPECT_EQ(ok(set->space_at(kE)).bytes_free, of_large.bytes_free);
}

TEST_F(StoreSpaceTest, AStoreThatIsAwayIsNoPartOfTheSumAndHasNoneOfItsOwn) {
  away.insert("small");
  mount_fresh(
      {"/ root", "SharedDomains/company.com/[a-d].sub small", "SharedDomains/company.com/[e-h].sub large"});
  EXPECT_THAT(refused(set->space_at(kA)).message(), HasSubstr("store small unavailable"));
  EXPECT_EQ(total(kE), 4 * kMiB);
  EXPECT_EQ(total(kDomain), root_total + 4 * kMiB);
}

TEST_F(StoreSpaceTest, AnAccountHasThatOfTheStoreThatItHasNotLeftYet) {
  mount({"/ root", "SharedDomains/company.com/[a-d].sub small"});
  ok(make_directories(*set, kA + "/old.macnt", 0700, Durable::kYes));
  mount({"/ root", "SharedDomains/company.com/[a-d].sub large"});
  EXPECT_EQ(total(kA + "/old.macnt"), kMiB);
  EXPECT_EQ(total(kA + "/new.macnt"), 4 * kMiB);
  EXPECT_EQ(total(kA), 4 * kMiB) << "where new accounts go";
}

TEST_F(StoreSpaceTest, ADirectoryHasThatOfTheStoresThatTheNewestTableNames) {
  mount({"/ root", "SharedDomains/company.com/[a-d].sub small"});
  mount({"/ root", "SharedDomains/company.com/[a-d].sub large"});
  EXPECT_EQ(total(kDomain), root_total + 4 * kMiB);
  mount({"/ root", "SharedDomains/company.com small", "SharedDomains/company.com/[a-d].sub root"});
  EXPECT_EQ(total(kDomain), root_total + kMiB);
  EXPECT_EQ(total(kA), root_total);
  for (const std::string path : {".stores/large", ".stores/large/SharedDomains"})
    EXPECT_EQ(total(path), 4 * kMiB) << "that store's own";
}

}  // namespace
}  // namespace canopy
