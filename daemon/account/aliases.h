// Aliases of a domain: other names for its accounts, in 256 files `aliases/HH.data` of the domain's
// directory, HH being the lowest byte of XXH64 (seed 0) of the alias (docs/formats/tree.md, "Aliases"). Used
// on the loop that owns the domain's slot.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/account/cached_dicts.h"
#include "daemon/account/domains.h"

namespace canopy {

class Aliases {
 public:
  Aliases(Loop& loop, SettingsFiles& files) : files_(loop, files) {}

  // The account that the prepared name stands for ("jsmith@company.com"); kNotFound.
  Task<Result<std::string>> find(std::shared_ptr<const Domain> domain, std::string alias);
  // Makes, changes or (with an empty account) removes an alias; kNotFound when there is none to remove.
  // Nothing happens when `id` has made such a change of the alias within the hour.
  Task<Result<void>> set(std::shared_ptr<const Domain> domain, std::string alias, std::string account,
                         RequestId id = {});
  // Whether it has.
  Task<Result<bool>> answered(std::shared_ptr<const Domain> domain, std::string alias, RequestId id);
  // Lets the domain's aliases of `from` stand for `to`; both as jsmith@company.com.
  Task<Result<void>> retarget(std::shared_ptr<const Domain> domain, std::string from, std::string to);
  struct Page {
    std::vector<std::pair<std::string, std::string>> aliases;  // in byte order
    bool end = true;
  };
  Task<Result<Page>> list(std::shared_ptr<const Domain> domain, std::string after, std::string prefix,
                          size_t limit);
  // One of the domain's files, when the mount table has it elsewhere now (SettingsFiles).
  Task<Result<void>> move_to_newest_store(uint32_t slot, std::string path) {
    return files_.move_to_newest_store(slot, std::move(path));
  }
  void forget_domain(const std::string& directory) { files_.forget_below(directory); }
  // While the domain's directory moves, and once it has: CachedDicts.
  Task<void> close_domain(std::string directory) { return files_.close_below(std::move(directory)); }
  void open_domain(const std::string& directory, const std::string& now) {
    files_.open_below(directory, now);
  }

 private:
  static std::string path_of(const Domain& domain, uint32_t part);

  CachedDicts files_;
};

}  // namespace canopy
