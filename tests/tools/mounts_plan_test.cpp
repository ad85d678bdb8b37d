#include "tools/canopyctl/mounts_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace canopy::ctl {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

PlanRequest request_for(std::vector<PlanRequest::Store> stores, std::string foldering = "1") {
  PlanRequest request;
  request.domain_directory = "SharedDomains/company.com";
  request.foldering = std::move(foldering);
  request.rows = {{"/", "root", ""}};
  request.stores = std::move(stores);
  return request;
}

std::vector<std::string> lines(const std::vector<MountRow>& rows) {
  std::vector<std::string> out;
  for (const MountRow& row : rows) out.push_back(to_line(row));
  return out;
}

TEST(MountsPlan, AccountsAreSpreadInProportionToTheStoresSizes) {
  AccountCounts counts;
  for (char letter = 'a'; letter <= 'z'; ++letter)
    counts.by_leaf[fmt::format("SharedDomains/company.com/{}.sub", letter)] = 100;
  counts.by_leaf["SharedDomains/other.com/a.sub"] = 100'000;
  auto plan = plan_mounts(request_for({{"one", 100}, {"two", 300}}), counts);
  ASSERT_TRUE(plan) << plan.error().to_string();
  EXPECT_EQ(plan->accounts["one"] + plan->accounts["two"], 2600u);
  EXPECT_NEAR(static_cast<double>(plan->accounts["one"]), 650, 100);
  EXPECT_TRUE(MountTable::make(plan->rows));
  EXPECT_EQ(plan->rows.size(), 3u);
  EXPECT_THAT(plan->removed, IsEmpty());
}

TEST(MountsPlan, AccountsThatAreUsedMoreWeighMoreWhereTheLoadCounts) {
  AccountCounts counts;
  for (char letter = 'a'; letter <= 'z'; ++letter)
    counts.by_leaf[fmt::format("SharedDomains/company.com/{}.sub", letter)] = 100;
  counts.by_store = {{"one", 1300}, {"two", 1300}};
  PlanRequest request = request_for({{"one", 1000}, {"two", 1000}});
  request.rows.push_back({"SharedDomains/company.com/[a-m].sub", "one", ""});
  request.rows.push_back({"SharedDomains/company.com/[n-z].sub", "two", ""});
  auto by_space = plan_mounts(request, counts);
  ASSERT_TRUE(by_space) << by_space.error().to_string();
  EXPECT_EQ(by_space->accounts["one"], 1300u);
  // Accounts on `one` are used three times as much: they weigh 1.25, those on `two` 0.75.
  request.operations = {{"root", 1'000'000}, {"one", 3'000'000}, {"two", 1'000'000}};
  auto by_load = plan_mounts(request, counts);
  ASSERT_TRUE(by_load) << by_load.error().to_string();
  EXPECT_EQ(by_load->accounts["one"], 1000u);
  EXPECT_EQ(by_load->accounts["two"], 1600u);
  request.operations["two"] = 3'000'000;
  EXPECT_EQ(plan_mounts(request, counts)->accounts["one"], 1300u);
  request.operations = {{"one", 0}, {"two", 0}};
  EXPECT_EQ(plan_mounts(request, counts)->accounts["one"], 1300u);
}

TEST(MountsPlan, AnEmptyDomainIsSpreadByFoldersAndAPlanOfItsOwnResultIsEmpty) {
  PlanRequest request = request_for({{"one", 1000}, {"two", 1000}});
  auto plan = plan_mounts(request, {});
  ASSERT_TRUE(plan) << plan.error().to_string();
  EXPECT_EQ(plan->rows.size(), 3u);
  request.rows = plan->rows;
  auto again = plan_mounts(request, {});
  ASSERT_TRUE(again);
  EXPECT_THAT(again->added, IsEmpty());
  EXPECT_THAT(again->removed, IsEmpty());
}

TEST(MountsPlan, RowsOfOtherThingsStay) {
  PlanRequest request = request_for({{"one", 1000}});
  request.rows.push_back({"SharedDomains/company.com/fast", "ssd", ""});
  request.rows.push_back({"SharedDomains/company.com/[a-z].sub", "old", ""});
  auto plan = plan_mounts(request, {});
  ASSERT_TRUE(plan);
  EXPECT_THAT(lines(plan->removed), ElementsAre("SharedDomains/company.com/[a-z].sub old"));
  EXPECT_THAT(lines(plan->rows), testing::Contains("SharedDomains/company.com/fast ssd"));
}

TEST(MountsPlan, WhatCannotBeSpreadIsRefused) {
  EXPECT_EQ(plan_mounts(request_for({}), {}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(plan_mounts(request_for({{"one", 1}}, "flat"), {}).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace canopy::ctl
