// MountWalk: one walk over what lies where only superseded rows of the mount table lead, store by store and
// page by page. What is remembered of accounts is one page of a directory. For one loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/relocate/relocation_pass.h"
#include "daemon/store/store.h"
#include "daemon/tree/mounts.h"

namespace canopy {

class MountWalk {
 public:
  // Accounts of which something lies there; false: the walk ends.
  using VisitAccounts = std::function<Task<bool>(std::vector<SeenAccount> page)>;
  // A file of a domain: its settings, aliases or requests.
  using VisitFile = std::function<Task<Result<void>>(std::string path, std::string domain)>;

  MountWalk(Store& store, std::shared_ptr<const Mounts> mounts, VisitAccounts accounts, VisitFile file)
      : store_(store), mounts_(std::move(mounts)), accounts_(std::move(accounts)), file_(std::move(file)) {}

  // False: it was ended by a visit. Errors are those of listing a directory, and of the visits of files; of
  // the latter one holds up nothing else.
  Task<Result<bool>> run();
  // Removes the folders there in which nothing is and nothing new will be.
  Task<Result<void>> remove_empty_folders();

  // Files and directories there that are none of Canopy's, and one of them as STORE:PATH.
  uint64_t others() const { return others_; }
  const std::string& other() const { return other_; }

 private:
  struct Root {
    MountRow row;
    std::string directory;  // in the tree
  };
  std::vector<Root> roots() const;
  bool leads_here(const MountRow& row, const std::string& path, bool newest) const;
  std::string place_of(const MountRow& row, const std::string& path) const;
  Task<Result<bool>> walk(MountRow row, std::string directory, uint32_t depth);
  Task<Result<void>> visit_file(const MountRow& row, const std::string& path, std::vector<SeenAccount>& seen);
  Task<Result<bool>> clear(MountRow row, std::string directory, uint32_t depth);
  void count_other(const MountRow& row, const std::string& path);

  Store& store_;
  const std::shared_ptr<const Mounts> mounts_;
  const VisitAccounts accounts_;
  const VisitFile file_;
  uint64_t others_ = 0;
  std::string other_;
  std::optional<Error> file_failed_;
};

}  // namespace canopy
