// The tables: made anew when they are of no use, whoever deletes or damages them.
#include <fstream>

#include "tests/catalog/catalog_fixture.h"

namespace canopy {
namespace {

Result<void> put(CatalogRows& rows, std::string key, std::string value) {
  CatalogChanges changes;
  changes.put(CatalogTable::kSummaries, std::move(key), std::move(value));
  return rows.write(changes);
}

std::optional<std::string> held(const CatalogRows& rows, CatalogTable table, std::string_view key) {
  auto found = rows.get(table, key);
  EXPECT_TRUE(found);
  return found ? *found : std::nullopt;
}

TEST_F(CatalogTest, RowsAreThereAfterTheTablesWereOpenedAgain) {
  {
    auto rows = CatalogRows::open(options());
    ASSERT_TRUE(rows) << rows.error().to_string();
    ASSERT_TRUE(put(**rows, "key", "value"));
  }
  auto rows = CatalogRows::open(options());
  ASSERT_TRUE(rows);
  EXPECT_EQ(held(**rows, CatalogTable::kSummaries, "key"), "value");
  EXPECT_EQ(held(**rows, CatalogTable::kAccounts, "key"), std::nullopt);
}

TEST_F(CatalogTest, RowsOfAnotherTreeDoNotCount) {
  {
    auto rows = CatalogRows::open(options("tree-1"));
    ASSERT_TRUE(rows && put(**rows, "key", "value"));
  }
  auto rows = CatalogRows::open(options("tree-2"));
  ASSERT_TRUE(rows);
  EXPECT_EQ(held(**rows, CatalogTable::kSummaries, "key"), std::nullopt);
}

TEST_F(CatalogTest, DamagedTablesAreMadeAnew) {
  {
    auto rows = CatalogRows::open(options());
    ASSERT_TRUE(rows && put(**rows, "key", "value"));
  }
  for (const auto& entry : std::filesystem::directory_iterator(options().directory)) {
    if (entry.path().filename().string().starts_with("MANIFEST"))
      std::ofstream(entry.path()) << "no manifest";
  }
  auto rows = CatalogRows::open(options());
  ASSERT_TRUE(rows) << rows.error().to_string();
  EXPECT_EQ(held(**rows, CatalogTable::kSummaries, "key"), std::nullopt);
  EXPECT_TRUE(put(**rows, "key", "again"));
}

TEST_F(CatalogTest, TheTablesOfARunningProcessAreLeftAlone) {
  auto first = CatalogRows::open(options());
  ASSERT_TRUE(first && put(**first, "key", "value"));
  auto second = CatalogRows::open(options());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kBusy);
  EXPECT_EQ(held(**first, CatalogTable::kSummaries, "key"), "value");
}

TEST_F(CatalogTest, MemoryStaysWithinItsOption) {
  auto rows = CatalogRows::open(options());
  ASSERT_TRUE(rows);
  for (int i = 0; i < 200; ++i) {
    CatalogChanges changes;
    for (int j = 0; j < 500; ++j) {
      changes.put(CatalogTable::kAccounts, fmt::format("key{:09}", i * 500 + j), std::string(300, 'x'));
    }
    ASSERT_TRUE((*rows)->write(changes));
    if (i % 20 == 0) EXPECT_LT((*rows)->memory_bytes(), 2 * options().memory_bytes) << i;
  }
  size_t seen = 0;
  for (auto at = (*rows)->seek(CatalogTable::kAccounts, "key", "l"); at->valid(); at->next()) ++seen;
  EXPECT_EQ(seen, 100'000u);
  EXPECT_LT((*rows)->memory_bytes(), 2 * options().memory_bytes);
}

TEST_F(CatalogTest, AFaultMakesTheTablesAnewAndWorkGoesOn) {
  auto work = [](CatalogRows& rows) { return put(rows, "key", "value"); };
  auto fault = [](CatalogRows&) -> Result<void> { return fail(Code::kIo, "disk", "is bad"); };
  auto look = [](CatalogRows& rows) { return rows.get(CatalogTable::kSummaries, "key"); };
  for (int64_t pause : {int64_t{0}, int64_t{1'000'000}}) {
    CatalogOptions with = options();
    with.renew_seconds = pause;
    Catalog catalog(with);
    run(catalog.start(loop));
    uint64_t before = catalog.instance();
    ASSERT_TRUE(run(catalog.run(loop, work)));
    EXPECT_FALSE(run(catalog.run(loop, fault)));
    // A disk that stays bad must not be written anew all the time.
    EXPECT_EQ(catalog.instance() != before, pause == 0);
    EXPECT_EQ(catalog.counters().renewed.load(), pause == 0 ? 1u : 0u);
    auto held = run(catalog.run(loop, look));
    ASSERT_TRUE(held);
    EXPECT_EQ(held->has_value(), pause != 0);
  }
}

TEST_F(CatalogTest, BeforeItIsOpenWorkIsRefusedAndOpensIt) {
  Catalog catalog(options());
  EXPECT_EQ(catalog.instance(), 0u);
  auto work = [](CatalogRows&) -> Result<int> { return 1; };
  auto refused = run(catalog.run(loop, work));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kTryAgain);
  EXPECT_EQ(run(catalog.run(loop, work)), 1);
}

}  // namespace
}  // namespace canopy
