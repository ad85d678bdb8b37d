// RelocationPass: one walk over the directories of a domain, which hands on the accounts that it meets,
// folder by folder and, as far as their names are remembered, in the order of their file numbers: in that
// order a local file system has them beside one another (docs/architecture/relocation.md). For one loop's
// thread.
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

// How many names all passes of a loop remember. Beyond the most, each has one page of a directory.
struct NamesRemembered {
  static constexpr size_t kMost = 131'072;  // about 8 MiB
  size_t count = 0;
};

class RelocationPass {
 public:
  static constexpr size_t kWindow = 65'536;  // names that one pass remembers; and a page more
  static constexpr size_t kVisited = 512;    // accounts at once
  // What is to be done with some accounts. False: the pass ends.
  using Visit = std::function<Task<bool>(std::vector<SeenAccount> page)>;

  // `remembered`: of the loop, outlives this.
  RelocationPass(Store& store, std::shared_ptr<const Domain> domain, NamesRemembered& remembered, Visit visit)
      : store_(store), domain_(std::move(domain)), remembered_(remembered), visit_(std::move(visit)) {}
  RelocationPass(const RelocationPass&) = delete;
  RelocationPass& operator=(const RelocationPass&) = delete;
  ~RelocationPass() { forget(); }

  // False: it was ended by a visit. Errors are those of listing a directory of the domain.
  Task<Result<bool>> run();

 private:
  struct Name {
    uint64_t file_id;
    uint32_t directory;   // in directories_
    std::string element;  // of an account's directory
  };
  Task<Result<bool>> walk(std::string directory, uint32_t depth);
  Task<bool> visit_remembered();
  void forget();

  Store& store_;
  const std::shared_ptr<const Domain> domain_;
  NamesRemembered& remembered_;
  const Visit visit_;
  std::vector<std::string> directories_;
  std::vector<Name> names_;
};

}  // namespace canopy
