// RelocationPass: one walk over the directories of a domain, which hands on the accounts that it meets,
// folder by folder and, as far as their names are remembered, in the order of their file numbers: in that
// order a local file system has them beside one another (docs/architecture/relocation.md). For one loop's
// thread.
#pragma once

#include <atomic>
#include <functional>
#include <map>
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

// How many names the passes of a loop remember. Beyond the most, each has one page of a directory.
struct NamesRemembered {
  static constexpr size_t kMost = 131'072;  // about 16 MiB
  size_t count = 0;
};

class RelocationPass {
 public:
  static constexpr size_t kWindow = 65'536;  // names that one pass remembers; and a page more
  static constexpr size_t kVisited = 4096;   // accounts at once
  static constexpr size_t kFoldersRemembered = 4096;
  // What is to be done with some accounts. False: the pass ends.
  using Visit = std::function<Task<bool>(std::vector<SeenAccount> page)>;
  // Asked at each page of a directory: true ends the pass.
  using Ended = std::function<bool()>;

  // `remembered`: of the loop, outlives this; null: the order of the accounts does not matter.
  RelocationPass(Store& store, std::shared_ptr<const Domain> domain, NamesRemembered* remembered, Visit visit,
                 Ended ended)
      : store_(store),
        domain_(std::move(domain)),
        remembered_(remembered),
        visit_(std::move(visit)),
        ended_(std::move(ended)) {}
  RelocationPass(const RelocationPass&) = delete;
  RelocationPass& operator=(const RelocationPass&) = delete;
  ~RelocationPass() {
    if (remembered_ != nullptr) remembered_->count -= names_.size();
  }

  // Those of which nothing has to move are added to `count`, as the walk meets them, and not handed on;
  // without anything to be done with them all are.
  void leave_alone(std::atomic<uint64_t>& count) { left_alone_ = &count; }

  // False: it was ended. Errors are those of listing a directory of the domain; what was met before it was
  // visited.
  Task<Result<bool>> run();
  // The paths of those that it has met, from above on, as far as it remembers them, and how many there are.
  const std::vector<std::string>& folders() const { return folders_; }
  size_t folder_count() const { return folder_count_; }

 private:
  struct Name {
    std::shared_ptr<const std::string> directory;
    std::string element;  // of an account's directory
  };
  Task<Result<bool>> walk(std::string directory, uint32_t depth);
  Task<bool> visit_remembered();
  bool has_enough() const;
  bool is_left_alone(const std::string& directory, const std::string& element) const;

  Store& store_;
  const std::shared_ptr<const Domain> domain_;
  NamesRemembered* const remembered_;
  const Visit visit_;
  const Ended ended_;
  std::multimap<uint64_t, Name> names_;  // by file number
  std::atomic<uint64_t>* left_alone_ = nullptr;
  std::vector<std::string> folders_;
  size_t folder_count_ = 0;
};

}  // namespace canopy
