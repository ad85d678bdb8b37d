// A proposal for the mount table without one store: its rows go to the stores that have most room left. Pure.
#pragma once

#include <string>
#include <vector>

#include "daemon/tree/mount_table.h"

namespace canopy::ctl {

struct DrainRequest {
  struct Store {
    std::string name;
    uint64_t bytes_free = 0;  // beyond what is kept back
  };
  std::string store;           // that is to be emptied
  uint64_t bytes_used = 0;     // of it
  std::vector<MountRow> rows;  // of the present table
  std::vector<Store> stores;   // that its rows may go to
};

struct DrainPlan {
  struct Change {
    MountRow before, after;
  };
  std::vector<MountRow> rows;   // the whole proposed table
  std::vector<Change> changes;  // none: no row leads to it any more
};

// kInvalidArgument: there is no store to go to; kStoreFull: they have less room than it holds.
Result<DrainPlan> plan_drain(const DrainRequest& request);

}  // namespace canopy::ctl
