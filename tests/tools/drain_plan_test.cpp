#include "tools/canopyctl/drain_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace canopy::ctl {
namespace {

DrainRequest request_of(std::vector<DrainRequest::Store> stores) {
  DrainRequest request;
  request.store = "old";
  request.bytes_used = 300;
  request.rows = {{"/", "root", ""},
                  {"SharedDomains/a.com", "old", "export"},
                  {"SharedDomains/b.com", "one", "mail"},
                  {"SharedDomains/c.com", "old", ""},
                  {"SharedDomains/d.com", "old", ""}};
  request.stores = std::move(stores);
  return request;
}

TEST(DrainPlan, RowsGoWhereMostRoomIsLeftAndOthersStay) {
  auto plan = plan_drain(request_of({{"one", 250}, {"two", 350}}));
  ASSERT_TRUE(plan) << plan.error().to_string();
  std::vector<std::string> stores;
  for (const MountRow& row : plan->rows) stores.push_back(row.store + row.prefix);
  EXPECT_THAT(stores, testing::ElementsAre("root", "two", "onemail", "one", "two"));
  EXPECT_EQ(plan->changes.size(), 3u);
  EXPECT_TRUE(MountTable::make(plan->rows));
}

TEST(DrainPlan, ItIsRefusedWithoutRoomOrStoresAndNothingWithoutRows) {
  EXPECT_EQ(plan_drain(request_of({{"one", 100}, {"two", 100}})).error().code(), Code::kStoreFull);
  EXPECT_EQ(plan_drain(request_of({})).error().code(), Code::kInvalidArgument);
  DrainRequest none = request_of({});
  none.rows.resize(1);
  auto plan = plan_drain(none);
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->changes.empty());
}

}  // namespace
}  // namespace canopy::ctl
