// Names of accounts, read from the tree itself. What the catalog answers from is derived from this.
#pragma once

#include <string>
#include <vector>

#include "daemon/account/domains.h"
#include "daemon/store/store.h"

namespace canopy {

struct NamePage {
  std::vector<std::string> names;  // in byte order
  bool end = true;
};

// The first `limit` account names of the domain that are greater than `after` and begin with `prefix`. Walks
// the whole domain, holds `limit` names.
Task<Result<NamePage>> list_accounts(Store& store, std::shared_ptr<const Domain> domain, std::string after,
                                     std::string prefix, size_t limit);

}  // namespace canopy
