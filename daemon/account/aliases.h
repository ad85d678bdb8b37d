// Aliases of a domain: other names for its accounts, in 256 files `aliases/HH.data` of the domain's
// directory, HH being the lowest byte of XXH64 (seed 0) of the alias (docs/formats/tree.md, "Aliases"). Used
// on the loop that owns the domain's slot.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/account/domains.h"
#include "daemon/runtime/sync.h"

namespace canopy {

inline constexpr size_t kAliasFilesCachedMax = 4096;

class Aliases {
 public:
  Aliases(Loop& loop, SettingsFiles& files) : loop_(loop), files_(files) {}

  // The account that the prepared name stands for ("jsmith@company.com"); kNotFound.
  Task<Result<std::string>> find(std::shared_ptr<const Domain> domain, std::string alias);
  // Makes, changes or (with an empty account) removes an alias; kNotFound when there is none to remove.
  Task<Result<void>> set(std::shared_ptr<const Domain> domain, std::string alias, std::string account);
  // Lets the domain's aliases of `from` stand for `to`; both as jsmith@company.com.
  Task<Result<void>> retarget(std::shared_ptr<const Domain> domain, std::string from, std::string to);
  struct Page {
    std::vector<std::pair<std::string, std::string>> aliases;  // in byte order
    bool end = true;
  };
  Task<Result<Page>> list(std::shared_ptr<const Domain> domain, std::string after, std::string prefix,
                          size_t limit);
  void forget_domain(const std::string& domain);

 private:
  struct Entry {
    explicit Entry(Loop& loop) : gate(loop) {}
    Mutex gate;
    bool loaded = false;
    dict::VersionedDict file;
  };
  std::shared_ptr<Entry> entry(const Domain& domain, uint32_t part);
  static std::string path_of(const Domain& domain, uint32_t part);
  Task<Result<void>> load(std::shared_ptr<Entry> entry, std::string path);
  Task<Result<void>> replace(std::shared_ptr<const Domain> domain, std::shared_ptr<Entry> entry,
                             std::string path, dict::Dict changed);

  Loop& loop_;
  SettingsFiles& files_;
  std::unordered_map<std::string, std::shared_ptr<Entry>> entries_;  // by path
};

}  // namespace canopy
