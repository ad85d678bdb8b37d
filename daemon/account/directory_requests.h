// DirectoryRequests: the requests of the last hour that removed or renamed accounts or domains. What they
// changed is gone from its place and cannot remember them, as settings and aliases do (dict/versioned.h):
// they are written down before the change, with a mark of the thing that they mean, so that a resend sees
// from what is there now whether it was done (docs/formats/tree.md, "Requests"). For one loop's thread: the
// one that owns the domain's slot; for requests about domains the node's first.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/account/cached_dicts.h"
#include "daemon/account/domains.h"

namespace canopy {

inline constexpr std::string_view kDomainRequestsFile = "Settings/Requests.data";
inline constexpr size_t kDirectoryRequestsPerFileMax = 1024;  // beyond them the oldest is forgotten

class DirectoryRequests {
 public:
  DirectoryRequests(Loop& loop, SettingsFiles& files) : files_(loop, files) {}

  // Where the requests about an account or domain are kept.
  struct Place {
    std::string path;
    uint32_t slot = 0;
    std::string name;  // of the account or domain
  };
  static Place of_account(const Domain& domain, const std::string& account);
  static Place of_domain(std::string name) { return {std::string(kDomainRequestsFile), 0, std::move(name)}; }

  // What the request about that name meant: the mark of the thing that had it then (empty: it had none).
  // None: not remembered.
  Task<Result<std::optional<std::string>>> find(Place place, RequestId id);
  // Whether a thing of this mark went from that name within the hour, or was about to.
  Task<Result<bool>> has_gone(Place place, std::string mark);
  // Before the thing with that mark goes from the name. Durable.
  Task<Result<void>> add(Place place, RequestId id, std::string mark);
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
  CachedDicts files_;
};

}  // namespace canopy
