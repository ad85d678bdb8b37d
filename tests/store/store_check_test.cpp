// What `canopyctl store check` and `bench` find out.
#include "daemon/store/store_check.h"

#include "daemon/store/store_bench.h"
#include "tests/store/store_fixture.h"

namespace canopy {
namespace {

class StoreCheckTest : public testing::Test {
 protected:
  template <class T>
  T run(Task<T> task) {
    return loop->run_until_done(std::move(task));
  }
  std::map<std::string, StoreFinding> check(Store& store) {
    std::map<std::string, StoreFinding> found;
    for (StoreFinding& finding : run(check_store(store, *loop))) found[finding.requirement] = finding;
    return found;
  }
  std::vector<std::string> left_over(Store& store) {
    std::vector<std::string> names;
    auto entries = run(list_all(store, ".canopy", 100));
    for (const DirectoryEntry& entry : *entries) names.push_back(entry.name);
    return names;
  }

  std::unique_ptr<UringLoop> loop = *UringLoop::create();
};

TEST_F(StoreCheckTest, ALocalDirectoryIsFitAndNothingStays) {
  umask(0);
  TemporaryDirectory directory;
  auto store = *LocalStore::open_root(*loop, directory.path(), {.name = "local"});
  for (const auto& [requirement, finding] : check(*store)) {
    // Whether there is room for a million files depends on the machine.
    if (requirement == "millions of small files") continue;
    EXPECT_TRUE(finding.good) << requirement << ": " << finding.found;
    EXPECT_TRUE(finding.advice.empty());
  }
  EXPECT_THAT(left_over(*store), testing::IsEmpty());
}

TEST_F(StoreCheckTest, WhatAStoreCannotDoIsNamedWithAdvice) {
  MemoryStore memory(loop.get(), {.name = "memory", .yields_max = 2});
  FaultPlan plan;
  plan.error = 1;
  plan.error_code = Code::kUnsupported;
  plan.operations = FaultPlan::only(StoreOperation::kRename);
  FaultyStore store(memory, *loop, plan, 1);
  auto found = check(store);
  EXPECT_FALSE(found.at("rename and link").good);
  EXPECT_FALSE(found.at("rename and link").advice.empty());
  EXPECT_TRUE(found.at("exclusive create").good) << found.at("exclusive create").found;
  EXPECT_TRUE(found.at("multi-byte names").good) << found.at("multi-byte names").found;
  plan.operations = FaultPlan::only(StoreOperation::kWrite);
  store.set_plan(plan);
  found = check(store);
  EXPECT_FALSE(found.at("durable writes").good);
  EXPECT_FALSE(found.at("many writers in one directory").good);
}

TEST_F(StoreCheckTest, ABenchHasARowForEachOperationAndDepth) {
  umask(0);
  TemporaryDirectory directory;
  auto store = *LocalStore::open_root(*loop, directory.path(), {.name = "local"});
  auto rows = run(measure_store(*store, *loop, 20 * kMillisecond));
  ASSERT_TRUE(rows) << rows.error().to_string();
  EXPECT_EQ(rows->size(), 8u);
  for (const StoreMeasurement& row : *rows) {
    EXPECT_GT(row.operations, 0u) << row.operation;
    EXPECT_LE(row.p50, row.p99);
  }
  EXPECT_THAT(left_over(*store), testing::IsEmpty());
}

}  // namespace
}  // namespace canopy
