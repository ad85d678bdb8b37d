#include "tools/canopyctl/adopt_plan.h"

#include <algorithm>

#include "daemon/dict/dict.h"

namespace canopy::ctl {
namespace {

constexpr std::string_view kFolderingKey = "Foldering", kFastIndexKey = "FastIndex";
constexpr std::string_view kSupersededKey = "SupersededLayouts", kRelocationKey = "Relocation";
constexpr std::string_view kDomainFolderingKey = "DomainFoldering";

Result<TreeLayout> layout_in(const Foldering& domains, const dict::Dict& settings) {
  CANOPY_ASSIGN(const Foldering accounts, Foldering::parse(settings.string_or(kFolderingKey, "flat")));
  return TreeLayout::make(domains, accounts, static_cast<uint32_t>(settings.number_or(kFastIndexKey, 0)));
}

// What the domain's settings say already: its own layout, then superseded ones. Empty: nothing.
Result<std::vector<TreeLayout>> layouts_in(const Foldering& domains, const dict::Dict& settings) {
  std::vector<TreeLayout> layouts;
  if (!settings.contains(kFolderingKey) && !settings.contains(kFastIndexKey)) return layouts;
  CANOPY_ASSIGN(TreeLayout own, layout_in(domains, settings));
  layouts.push_back(std::move(own));
  const dict::Value* older = settings.find(kSupersededKey);
  if (older == nullptr || older->array() == nullptr) return layouts;
  for (const dict::Value& one : *older->array()) {
    if (one.dict() == nullptr)
      return fail(Code::kInvalidArgument, std::string(kSupersededKey), "an array of dictionaries");
    CANOPY_ASSIGN(TreeLayout layout, layout_in(domains, *one.dict()));
    layouts.push_back(std::move(layout));
  }
  return layouts;
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
    put(one, layouts[i]);
    older.emplace_back(std::move(one));
  }
  settings.set(kSupersededKey, std::move(older));
  // Nothing moves before somebody says so.
  dict::Value* how = settings.find(kRelocationKey);
  dict::Dict relocation = how == nullptr || how->dict() == nullptr ? dict::Dict() : *how->dict();
  relocation.set("Paused", dict::Value::boolean(true));
  settings.set(kRelocationKey, std::move(relocation));
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
    claims.push_back(both.methods.empty() ? file.claim : std::move(both));
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

// That of most accounts.
Foldering usual_foldering(const std::map<std::string, FoundDomain>& domains) {
  std::map<std::string, uint64_t> votes;
  for (const auto& [directory, domain] : domains)
    if (is_domain(domain))
      for (const Foldering& method : domain.methods) votes[method.to_string()] += 1 + domain.accounts.size();
  std::string best = "flat";
  for (const auto& [method, count] : votes)
    if (count > votes[best]) best = method;
  return Foldering::parse(best).value_or(Foldering());
}

Result<Foldering> choose_domain_foldering(AdoptScan& scan, const AdoptWishes& wishes, AdoptPlan& plan) {
  constexpr std::string_view kPath = "Settings/Tree.settings";
  dict::VersionedDict settings;
  if (!scan.tree_settings().empty()) {
    CANOPY_ASSIGN(settings, dict::parse_versioned(scan.tree_settings(), kPath));
  }
  const dict::Value* said = settings.dict.find(kDomainFolderingKey);
  Foldering present;
  if (said != nullptr) {
    CANOPY_ASSIGN(present, Foldering::parse(said->string() == nullptr ? "" : *said->string()));
  }
  const Foldering wanted = wishes.domain_foldering ? *wishes.domain_foldering
                           : said != nullptr       ? present
                                                   : usual_foldering(scan.domains());
  if (wanted == present) return wanted;
  settings.dict.set(kDomainFolderingKey, wanted.to_string());
  CANOPY_ASSIGN(plan.tree_settings, print_settings(std::move(settings), std::string(kPath)));
  return wanted;
}

}  // namespace

Result<AdoptPlan> plan_adoption(AdoptScan& scan, const AdoptWishes& wishes) {
  AdoptPlan plan;
  CANOPY_ASSIGN(plan.domain_foldering, choose_domain_foldering(scan, wishes, plan));
  std::set<std::string> named;
  for (const auto& [directory, domain] : scan.domains()) {
    if (domain.damaged) continue;  // a finding says so
    if (!is_domain(domain)) {
      scan.findings().add(directory, "called as a domain, but without settings and accounts");
      continue;
    }
    if (!lies_under(domain, plan.domain_foldering)) {
      scan.findings().add(
          directory,
          fmt::format("a domain with {} accounts that does not lie where DomainFoldering {} has it",
                      domain.accounts.size(), plan.domain_foldering.to_string()));
      continue;
    }
    const auto wish = wishes.layouts.find(domain.name);
    CANOPY_ASSIGN(auto adopted, DomainPlan(domain, plan.domain_foldering, scan.findings())
                                    .make(wish == wishes.layouts.end() ? nullptr : &wish->second));
    if (!adopted) continue;
    named.insert(domain.name);
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
