// What lies under SharedDomains of a tree that no daemon serves: domains, accounts, settings under `fast`,
// and everything that is none of Canopy's. Reads names, settings files and nothing of the mail. One thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/dict/versioned.h"
#include "daemon/tree/layout_votes.h"
#include "tools/canopyctl/progress.h"

namespace canopy::ctl {

inline constexpr size_t kAdoptFindingsMax = 100'000;  // that are listed; those beyond are only counted

// Paths are relative to the base directory.
struct AdoptFinding {
  std::string path, what;
  auto operator<=>(const AdoptFinding&) const = default;
};

class AdoptFindings {
 public:
  void add(std::string path, std::string what) {
    ++count_;
    if (listed_.size() < kAdoptFindingsMax) listed_.insert({std::move(path), std::move(what)});
  }
  const std::set<AdoptFinding>& listed() const { return listed_; }
  uint64_t not_listed() const { return count_ - listed_.size(); }

 private:
  std::set<AdoptFinding> listed_;  // sorted
  uint64_t count_ = 0;
};

struct FoundAccount {
  std::string directory;
  std::vector<Foldering> methods;                    // that explain where it lies
  bool log = false, settings = false, info = false;  // in the directory
};

struct FoundFastFile {
  std::string path;
  LayoutClaim claim;
};

struct FoundDomain {
  std::string name, directory;
  std::vector<Foldering> methods;               // that explain where it lies
  std::optional<dict::VersionedDict> settings;  // none: there is no file
  bool damaged = false;                         // the file cannot be read; a finding says why
  std::multimap<std::string, FoundAccount> accounts;
  std::multimap<std::string, FoundFastFile> fast_files;
};

class AdoptScan {
 public:
  explicit AdoptScan(std::string base) : base_(std::move(base)) {}

  // Errors are those of directories that cannot be listed: nothing is said about a tree that was seen in
  // part.
  Result<void> run();

  const std::string& base() const { return base_; }
  std::map<std::string, FoundDomain>& domains() { return domains_; }  // by directory
  AdoptFindings& findings() { return findings_; }
  uint64_t highest_epoch() const { return highest_epoch_; }            // in names of slices, and in settings
  uint32_t highest_claim() const { return highest_claim_; }            // of the heartbeat; 0: none
  const std::string& tree_settings() const { return tree_settings_; }  // text; empty: no such file

 private:
  struct Place {  // of a directory, and what is known of the way there
    std::string path;
    std::vector<std::string> domain_folders, account_folders;  // without ".sub"
    std::string domain;
    std::string plain;             // `path` without `fast`
    std::string domain_directory;  // likewise
    uint32_t fast_index = 0;       // 0: not under `fast`
    uint32_t elements = 1;         // of `path`, without `fast`
    bool odd = false;              // below a folder of a wrong name
  };
  Result<void> walk(const Place& place);
  Result<void> enter(const Place& place, const std::string& name);
  Result<void> take_account(const Place& place, const std::string& name);
  void take_file(const Place& place, const std::string& name);
  Result<void> take_domain(Place place);
  void take_slice_name(std::string_view name);
  std::optional<dict::VersionedDict> read_settings(const std::string& path);
  void join_fast_files();

  const std::string base_;
  std::map<std::string, FoundDomain> domains_;
  std::map<std::string, std::multimap<std::string, FoundFastFile>> fast_files_;  // by the domain's directory
  AdoptFindings findings_;
  std::string tree_settings_;
  uint64_t highest_epoch_ = 0;
  uint32_t highest_claim_ = 0;
  uint64_t seen_ = 0;
  Progress progress_{"accounts"};
};

}  // namespace canopy::ctl
