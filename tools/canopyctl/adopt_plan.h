// What adopting a tree would change, made of what a scan found: nothing but settings of the tree and of its
// domains. One thread.
#pragma once

#include "tools/canopyctl/adopt_scan.h"

namespace canopy::ctl {

struct AdoptedLayout {
  TreeLayout layout;
  uint64_t accounts = 0;  // whose directory is found under it
};

struct AdoptedDomain {
  std::string name, directory;
  std::vector<AdoptedLayout> layouts;  // the domain's own, then superseded ones
  uint64_t accounts = 0;
  bool is_new = false;                  // it has no domain.settings yet
  std::optional<std::string> settings;  // the text that is to be written; none: it stays as it is
};

struct AdoptPlan {
  std::vector<Foldering> domain_folderings;  // the tree's own, then superseded ones; never empty
  std::optional<std::string> tree_settings;  // to be written
  std::vector<AdoptedDomain> domains;
  uint64_t accounts = 0;
  // A daemon writes under a generation above this one, which is that of the newest files.
  std::optional<uint32_t> claim;
};

struct AdoptWishes {
  std::optional<Foldering> domain_foldering;
  std::map<std::string, std::pair<Foldering, uint32_t>> layouts;  // by domain
};

// Adds to the scan's findings what no layout explains. kDamaged: the tree's own settings.
Result<AdoptPlan> plan_adoption(AdoptScan& scan, const AdoptWishes& wishes);

}  // namespace canopy::ctl
