#include "tools/canopyctl/drain_plan.h"

#include <algorithm>

namespace canopy::ctl {

Result<DrainPlan> plan_drain(const DrainRequest& request) {
  DrainPlan plan;
  std::vector<DrainRequest::Store> left = request.stores;
  const auto rows = static_cast<uint64_t>(std::ranges::count(request.rows, request.store, &MountRow::store));
  uint64_t room = 0;
  for (const DrainRequest::Store& store : left) room += store.bytes_free;
  if (rows > 0 && left.empty())
    return fail(Code::kInvalidArgument, request.store,
                "there is no other store that its accounts could go to");
  if (rows > 0 && room < request.bytes_used)
    return fail(
        Code::kStoreFull, request.store,
        fmt::format("it holds {} bytes, and the other stores have room for {}", request.bytes_used, room));
  // Nobody has counted what each row leads to: they are taken for alike.
  const uint64_t each = rows == 0 ? 0 : request.bytes_used / rows;
  for (const MountRow& row : request.rows) {
    plan.rows.push_back(row);
    if (row.store != request.store) continue;
    auto most = std::ranges::max_element(left, {}, &DrainRequest::Store::bytes_free);
    MountRow& after = plan.rows.back();
    after.store = most->name;
    after.prefix.clear();  // a directory of the store that it leaves
    most->bytes_free -= std::min(most->bytes_free, each);
    plan.changes.push_back({row, after});
  }
  return plan;
}

}  // namespace canopy::ctl
