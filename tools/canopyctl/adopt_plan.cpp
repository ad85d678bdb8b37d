#include "tools/canopyctl/adopt_plan.h"

#include <algorithm>

#include "daemon/dict/dict.h"

namespace canopy::ctl {
namespace {

constexpr std::string_view kFolderingKey = "Foldering", kFastIndexKey = "FastIndex";
constexpr std::string_view kSupersededKey = "SupersededLayouts", kRelocationKey = "Relocation";
constexpr std::string_view kDomainFolderingKey = "DomainFoldering";
constexpr std::string_view kSupersededDomainsKey = "SupersededDomainFolderings";

Result<TreeLayout> layout_in(const Foldering& domains, const dict::Dict& settings) {
  CANOPY_ASSIGN(const Foldering accounts, Foldering::parse(settings.string_or(kFolderingKey, "flat")));
  return TreeLayout::make(domains, accounts, static_cast<uint32_t>(settings.number_or(kFastIndexKey, 0)));
}

// What the domain's settings say already: its own layout, then superseded ones. Empty: nothing.
Result<std::vector<TreeLayout>> layouts_in(const Foldering& domains, const dict::Dict& settings) {
  std::vector<TreeLayout> layouts;
  if (!settings.contains(kFolderingKey) && !settings.contains(kFastIndexKey)) return layouts;
  CANOPY_ASSIGN(const TreeLayout own, layout_in(domains, settings));
  layouts.push_back(own);
  const dict::Value* older = settings.find(kSupersededKey);
  if (older == nullptr || older->array() == nullptr) return layouts;
  for (const dict::Value& one : *older->array()) {
    if (one.dict() == nullptr)
      return fail(Code::kInvalidArgument, std::string(kSupersededKey), "an array of dictionaries");
    Foldering above = domains;
    if (const dict::Value* named = one.dict()->find(kDomainFolderingKey)) {
      CANOPY_ASSIGN(above, Foldering::parse(named->string() == nullptr ? "" : *named->string()));
    }
    CANOPY_ASSIGN(const TreeLayout layout, layout_in(above, *one.dict()));
    layouts.push_back(layout);
  }
  return layouts;
}

// Nothing moves before somebody says so.
void pause_relocation(dict::Dict& settings) {
  const dict::Value* how = settings.find(kRelocationKey);
  dict::Dict relocation = how == nullptr || how->dict() == nullptr ? dict::Dict() : *how->dict();
  relocation.set("Paused", dict::Value::boolean(true));
  settings.set(kRelocationKey, std::move(relocation));
}

dict::Dict put_layouts(dict::Dict settings, const std::vector<TreeLayout>& layouts) {
  const auto put = [](dict::Dict& into, const TreeLayout& layout) {
    into.set(kFolderingKey, layout.account_foldering().to_string());
    into.set(kFastIndexKey, static_cast<int64_t>(layout.fast_index()));
  };
  put(settings, layouts.front());
  settings.erase(kSupersededKey);
  if (layouts.size() == 1) return settings;
  dict::Array older;
  for (size_t i = 1; i < layouts.size(); ++i) {
    dict::Dict one;
    if (layouts[i].domain_foldering() != layouts.front().domain_foldering())
      one.set(kDomainFolderingKey, layouts[i].domain_foldering().to_string());
    put(one, layouts[i]);
    older.emplace_back(std::move(one));
  }
  settings.set(kSupersededKey, std::move(older));
  pause_relocation(settings);
  return settings;
}

// One made by hand has no version, and stays older than any that a daemon writes.
Result<std::string> print_settings(dict::VersionedDict file, const std::string& path) {
  if (file.version.none() && file.created.empty()) return dict::print_file(file.dict, path);
  ++file.version.number;
  return dict::print_versioned(file, path);
}

std::vector<LayoutClaim> claims_of(const FoundAccount& account, const std::string& name,
                                   const FoundDomain& domain) {
  std::vector<LayoutClaim> claims;
  if (account.settings || account.info) claims.push_back({account.methods, 0});
  const auto [begin, end] = domain.fast_files.equal_range(name);
  for (auto at = begin; at != end; ++at) {
    const FoundFastFile& file = at->second;
    LayoutClaim both{{}, file.claim.fast_index};
    for (const Foldering& method : file.claim.methods)
      if (std::ranges::find(account.methods, method) != account.methods.end()) both.methods.push_back(method);
    claims.push_back(both.methods.empty() ? file.claim : both);
  }
  claims.push_back({account.methods, std::nullopt});
  return claims;
}

class DomainPlan {
 public:
  DomainPlan(const FoundDomain& found, const Foldering& domains, AdoptFindings& findings)
      : found_(found), domains_(domains), findings_(findings) {}

  Result<std::optional<AdoptedDomain>> make(const std::pair<Foldering, uint32_t>* wish) {
    const std::string path = found_.directory + "/domain.settings";
    const dict::VersionedDict before = found_.settings.value_or(dict::VersionedDict());
    auto present = layouts_in(domains_, before.dict);
    if (!present) {
      findings_.add(path, "settings that break a rule: " + present.error().to_string());
      return std::nullopt;
    }
    std::vector<TreeLayout> first = *present;
    if (wish != nullptr) {
      CANOPY_ASSIGN(const TreeLayout wanted, TreeLayout::make(domains_, wish->first, wish->second));
      std::erase(first, wanted);
      first.insert(first.begin(), wanted);
    }
    LayoutVotes votes;
    for (const auto& [name, account] : found_.accounts) {
      if (!account.log && claims_of(account, name, found_).size() == 1) continue;  // an empty directory
      for (const LayoutClaim& claim : claims_of(account, name, found_)) votes.add(claim);
    }
    const std::vector<TreeLayout> layouts = votes.choose(domains_, std::move(first));
    AdoptedDomain out;
    out.name = found_.name;
    out.directory = found_.directory;
    out.is_new = !found_.settings;
    for (const TreeLayout& layout : layouts) out.layouts.push_back({layout, 0});
    count_accounts(out);
    look_at_fast_files(layouts);
    if (out.is_new || layouts != *present) {
      dict::VersionedDict after = before;
      after.dict = put_layouts(std::move(after.dict), layouts);
      CANOPY_ASSIGN(out.settings, print_settings(std::move(after), path));
    }
    return out;
  }

 private:
  void count_accounts(AdoptedDomain& out) {
    const auto& accounts = found_.accounts;
    for (auto at = accounts.begin(); at != accounts.end();) {
      const auto end = accounts.upper_bound(at->first);
      const FoundAccount* counts = nullptr;
      for (AdoptedLayout& of : out.layouts) {
        for (auto one = at; one != end && counts == nullptr; ++one)
          if (LayoutClaim{one->second.methods, std::nullopt}.fits(of.layout)) counts = &one->second;
        if (counts == nullptr) continue;
        const bool known = counts->log || claims_of(*counts, at->first, found_).size() > 1;
        if (known) ++of.accounts;
        if (known) ++out.accounts;
        if (!known)
          findings_.add(counts->directory,
                        "neither a log nor settings: canopyd shows it as an account without mail");
        break;
      }
      for (; at != end; ++at) {
        if (&at->second == counts) continue;
        if (counts != nullptr)
          findings_.add(at->second.directory,
                        "a second directory of one account: the one that counts is " + counts->directory);
        else
          findings_.add(at->second.directory, why_not_found(at->second));
      }
    }
  }

  static std::string why_not_found(const FoundAccount& account) {
    if (account.methods.empty()) return "an account's directory at a place that no layout explains";
    return fmt::format("an account's directory under foldering {}, which {}",
                       account.methods.front().to_string(),
                       account.log || account.settings || account.info
                           ? "would be one layout more than a domain can have"
                           : "no account with a log or settings has: it is empty");
  }

  void look_at_fast_files(const std::vector<TreeLayout>& layouts) {
    for (const auto& [account, file] : found_.fast_files) {
      const bool found =
          std::ranges::any_of(layouts, [&](const TreeLayout& of) { return file.claim.fits(of); });
      if (!found) findings_.add(file.path, "settings or info at a place that no layout explains");
    }
  }

  const FoundDomain& found_;
  const Foldering domains_;
  AdoptFindings& findings_;
};

bool is_domain(const FoundDomain& domain) { return domain.settings || !domain.accounts.empty(); }

bool lies_under(const FoundDomain& domain, const Foldering& method) {
  return std::ranges::find(domain.methods, method) != domain.methods.end();
}

// That of most accounts among domains that lie under none of these; none: there is no such domain that a
// foldering explains.
std::optional<Foldering> usual_foldering(const std::map<std::string, FoundDomain>& domains,
                                         const std::vector<Foldering>& chosen) {
  std::map<std::string, uint64_t> votes;
  for (const auto& [directory, domain] : domains) {
    const bool known =
        std::ranges::any_of(chosen, [&](const Foldering& method) { return lies_under(domain, method); });
    if (known || !is_domain(domain)) continue;
    for (const Foldering& method : domain.methods) votes[method.to_string()] += 1 + domain.accounts.size();
  }
  if (votes.empty()) return std::nullopt;
  const auto best = std::ranges::max_element(votes, {}, [](const auto& of) { return of.second; });
  return Foldering::parse(best->first).value_or(Foldering());
}

Result<std::vector<Foldering>> folderings_in(const dict::Dict& settings) {
  std::vector<Foldering> folderings;
  const dict::Value* own = settings.find(kDomainFolderingKey);
  if (own == nullptr) return folderings;
  CANOPY_ASSIGN(const Foldering first, Foldering::parse(own->string() == nullptr ? "" : *own->string()));
  folderings.push_back(first);
  const dict::Value* older = settings.find(kSupersededDomainsKey);
  if (older == nullptr || older->array() == nullptr) return folderings;
  for (const dict::Value& one : *older->array()) {
    CANOPY_ASSIGN(const Foldering next, Foldering::parse(one.string() == nullptr ? "" : *one.string()));
    folderings.push_back(next);
  }
  return folderings;
}

Result<void> choose_domain_folderings(AdoptScan& scan, const AdoptWishes& wishes, AdoptPlan& plan) {
  constexpr std::string_view kPath = "Settings/Tree.settings";
  dict::VersionedDict settings;
  if (!scan.tree_settings().empty()) {
    CANOPY_ASSIGN(settings, dict::parse_versioned(scan.tree_settings(), kPath));
  }
  CANOPY_ASSIGN(const std::vector<Foldering> present, folderings_in(settings.dict));
  std::vector<Foldering>& chosen = plan.domain_folderings;
  chosen = present;
  if (wishes.domain_foldering) {
    std::erase(chosen, *wishes.domain_foldering);
    chosen.insert(chosen.begin(), *wishes.domain_foldering);
  }
  while (chosen.size() < kLayoutsOfDomainMax) {
    const std::optional<Foldering> next = usual_foldering(scan.domains(), chosen);
    if (!next) break;
    chosen.push_back(*next);
  }
  if (chosen.empty()) chosen.emplace_back();
  if (chosen == present || (present.empty() && chosen == std::vector<Foldering>(1))) return {};
  settings.dict.set(kDomainFolderingKey, chosen.front().to_string());
  settings.dict.erase(kSupersededDomainsKey);
  if (chosen.size() > 1) {
    dict::Array older;
    for (size_t i = 1; i < chosen.size(); ++i) older.emplace_back(chosen[i].to_string());
    settings.dict.set(kSupersededDomainsKey, std::move(older));
    pause_relocation(settings.dict);
  }
  CANOPY_ASSIGN(plan.tree_settings, print_settings(std::move(settings), std::string(kPath)));
  return {};
}

struct PlacedDomain {
  const FoundDomain* found;
  size_t foldering;  // its place among the plan's; of two directories the lower one counts
};

// Domains by name, each where it counts; the others become findings.
std::map<std::string, PlacedDomain> place_domains(AdoptScan& scan, const AdoptPlan& plan) {
  std::map<std::string, PlacedDomain> placed;
  for (const auto& [directory, domain] : scan.domains()) {
    if (domain.damaged) continue;  // a finding says so
    if (!is_domain(domain)) {
      scan.findings().add(directory, "called as a domain, but without settings and accounts");
      continue;
    }
    const auto at = std::ranges::find_if(plan.domain_folderings,
                                         [&](const Foldering& method) { return lies_under(domain, method); });
    if (at == plan.domain_folderings.end()) {
      scan.findings().add(directory,
                          fmt::format("a domain with {} accounts at a place that no foldering explains",
                                      domain.accounts.size()));
      continue;
    }
    PlacedDomain mine{&domain, static_cast<size_t>(at - plan.domain_folderings.begin())};
    auto [other, first] = placed.try_emplace(domain.name, mine);
    if (first) continue;
    if (mine.foldering < other->second.foldering) std::swap(mine, other->second);
    scan.findings().add(mine.found->directory, "a second directory of one domain: the one that counts is " +
                                                   other->second.found->directory);
  }
  return placed;
}

}  // namespace

Result<AdoptPlan> plan_adoption(AdoptScan& scan, const AdoptWishes& wishes) {
  AdoptPlan plan;
  CANOPY_TRY(choose_domain_folderings(scan, wishes, plan));
  std::set<std::string> named;
  for (const auto& [name, placed] : place_domains(scan, plan)) {
    const auto wish = wishes.layouts.find(name);
    CANOPY_ASSIGN(auto adopted,
                  DomainPlan(*placed.found, plan.domain_folderings[placed.foldering], scan.findings())
                      .make(wish == wishes.layouts.end() ? nullptr : &wish->second));
    if (!adopted) continue;
    named.insert(name);
    plan.accounts += adopted->accounts;
    plan.domains.push_back(std::move(*adopted));
  }
  for (const auto& [name, layout] : wishes.layouts)
    if (!named.contains(name))
      return fail(Code::kNotFound, name,
                  "a layout is given for this domain, but there is no such domain to adopt");
  const auto newest = static_cast<uint32_t>(scan.highest_epoch() >> 32);
  if (newest > scan.highest_claim()) plan.claim = newest;
  return plan;
}

}  // namespace canopy::ctl
