// Names of accounts, read from the tree itself. What the catalog answers from is derived from this.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "daemon/account/domains.h"
#include "daemon/store/store.h"

namespace canopy {

struct NamePage {
  std::vector<std::string> names;  // in byte order
  bool end = true;
};

// The first `limit` names of those that walks have come by which are greater than `after` and begin with
// `prefix`.
struct NameWindow {
  std::string after, prefix;
  size_t limit = 0;
  std::set<std::string> found;  // the smallest limit + 1

  void add(std::string name);
  NamePage page() const;
};

// Adds the names of one walk over the whole domain. An account that is moved from a folder that comes later
// to one that was read before is not among them: another walk finds it.
Task<Result<void>> walk_accounts(Store& store, std::shared_ptr<const Domain> domain, NameWindow& window);

// The first `limit` account names of the domain that are greater than `after` and begin with `prefix`. Walks
// the whole domain once, holds `limit` names.
Task<Result<NamePage>> list_accounts(Store& store, std::shared_ptr<const Domain> domain, std::string after,
                                     std::string prefix, size_t limit);

// Whether there is none at all, also while accounts move: asked before what is empty is removed.
Task<Result<bool>> has_accounts(Store& store, std::shared_ptr<const Domain> domain);

}  // namespace canopy
