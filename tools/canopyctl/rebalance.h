// canopyctl rebalance, and what it shares with `mounts` and `store drain`.
#pragma once

#include "tools/canopyctl/command.h"
#include "tools/canopyctl/mounts_plan.h"

namespace canopy::ctl {

inline constexpr char kLoadHelp[] = "also by how much each store's accounts were used since canopyd started";

// What plans are made from.
struct PlanBasis {
  uint64_t version = 0;  // of the mount table
  std::vector<MountRow> rows;
  v1::ListStoresResponse stores;
  AccountCounts counts;
  std::map<std::string, uint64_t> operations;  // as in PlanRequest
};
v1::SetMountsRequest set_mounts_request(const std::vector<MountRow>& rows);
Result<PlanBasis> plan_basis(Context& context, bool by_load);
// Rows that spread the domain over these stores, or over all that answer but root and fast ones.
Result<MountPlan> plan_domain(Context& context, const PlanBasis& basis, const std::string& name,
                              const std::vector<std::string>& only);

void add_rebalance_command(CLI::App& app, Commands& commands);

}  // namespace canopy::ctl
