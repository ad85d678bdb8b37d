// Which layouts explain where the accounts of a domain lie, in a tree that nobody has the settings of
// (`canopyctl adopt`). Pure; any thread.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/tree/layout.h"

namespace canopy {

// More than this a domain does not have: its own and the superseded ones (domains.h).
inline constexpr size_t kLayoutsOfDomainMax = 17;

// The methods under which a prepared name lies in these folders (`js`, `m`: without ".sub"): none, one, or
// two, where its hash happens to begin with its own letters.
std::vector<Foldering> folderings_of(std::span<const std::string> folders, std::string_view name);

// Something of an account lies under any one of these methods, with its settings where this fast index has
// them; no index: nothing says where they would be.
struct LayoutClaim {
  std::vector<Foldering> methods;
  std::optional<uint32_t> fast_index;

  bool fits(const TreeLayout& layout) const;
};

class LayoutVotes {
 public:
  void add(const LayoutClaim& claim);
  // `first`, and then layouts under which every claim lies, the one with most of them first, as far as
  // kLayoutsOfDomainMax lets them. With an empty `first` the one with most claims comes first. Never empty.
  std::vector<TreeLayout> choose(const Foldering& domains, std::vector<TreeLayout> first) const;

 private:
  struct Counted {
    LayoutClaim claim;
    uint64_t count = 0;
  };
  std::map<std::string, Counted> claims_;  // by their text: as many as there are ways to fold, not accounts
};

}  // namespace canopy
