// RelocationPass: one walk over the directories of a domain, which hands on the accounts that it meets,
// folder by folder and page by page. What is remembered of accounts is one page of a directory. For one
// loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/account/domains.h"
#include "daemon/store/store.h"

namespace canopy {

struct SeenAccount {
  AccountAddress address;
  std::string directory;  // where it was seen
};

// Whether something of an account may have to move that was seen there: not when its directory is at its
// place and none of the domain's layouts has settings apart from it.
bool may_have_to_move(const Domain& domain, const SeenAccount& seen);

class RelocationPass {
 public:
  // What is to be done with the accounts of a page of a directory. False: the pass ends.
  using Visit = std::function<Task<bool>(std::vector<SeenAccount> page)>;

  RelocationPass(Store& store, std::shared_ptr<const Domain> domain, Visit visit)
      : store_(store), domain_(std::move(domain)), visit_(std::move(visit)) {}

  // False: it was ended by a visit. Errors are those of listing a directory of the domain.
  Task<Result<bool>> run();

 private:
  Task<Result<bool>> walk(std::string directory, uint32_t depth);

  Store& store_;
  const std::shared_ptr<const Domain> domain_;
  const Visit visit_;
};

}  // namespace canopy
