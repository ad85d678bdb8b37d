// A proposal for the mount table: the folders below a domain, in their order, cut into as many runs as there
// are stores, so that each store gets accounts in proportion to its size, or by half of that load. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/tree/mount_table.h"

namespace canopy::ctl {

struct AccountCounts {
  std::map<std::string, uint64_t> by_store;
  std::map<std::string, uint64_t> by_leaf;  // folders below domains, or domains without folders
};

struct PlanRequest {
  struct Store {
    std::string name;
    uint64_t bytes_total = 0;
  };
  std::string domain_directory;  // SharedDomains/company.com
  std::string foldering;         // of its accounts
  std::vector<MountRow> rows;    // of the present table
  std::vector<Store> stores;     // to spread over
  // What each store was asked for. An account weighs by half as one, and by half as much as those of its
  // store were used on average. Empty: accounts weigh the same.
  std::map<std::string, uint64_t> operations;
};

struct MountPlan {
  std::vector<MountRow> rows;  // the whole proposed table
  std::vector<MountRow> added, removed;
  std::map<std::string, uint64_t> accounts;  // of the domain, by store
};

// kInvalidArgument: there is nothing to spread, or no store to spread over.
Result<MountPlan> plan_mounts(const PlanRequest& request, const AccountCounts& counts);

std::string to_line(const MountRow& row);  // PATTERN STORE [PREFIX]

}  // namespace canopy::ctl
