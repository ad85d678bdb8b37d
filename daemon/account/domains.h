// Domains of the tree as each loop sees them: an immutable table that is replaced when a domain changes, by
// the loop that owns the domain's slot (Node, daemon/wire/server/node.h), on every loop in turn.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "daemon/account/settings_files.h"
#include "daemon/tree/layout.h"

namespace canopy {

struct Domain {
  std::string name;  // A-labels
  TreeLayout layout;
  std::vector<TreeLayout> older;  // superseded ones that accounts may still lie under, newest first
  dict::VersionedDict settings;
  uint32_t slot = 0;  // of @domain

  // Where it lies says `layout` too: until it has moved, that has a domain foldering that was superseded.
  std::string directory() const { return layout.domain_directory(name); }
  std::string settings_file() const { return layout.domain_settings_file(name); }
};

// What holds for the whole tree: Settings/Tree.settings and Settings/Defaults.settings.
struct TreeSettings {
  Foldering domain_foldering;
  std::vector<Foldering> older_domain_folderings;  // that domains may still lie under, newest first
  dict::VersionedDict tree;
  dict::VersionedDict defaults;  // class-of-service defaults of all accounts
  // Why Defaults.settings cannot be read: then limits that neither an account nor its domain states are not
  // known, and nothing is added to such an account (AccountLimits).
  std::optional<Error> defaults_error;
};
inline constexpr std::string_view kDomainFolderingKey = "DomainFoldering";
inline constexpr std::string_view kSupersededDomainsKey = "SupersededDomainFolderings";  // array of text
inline constexpr std::string_view kTreeSettingsFile = "Settings/Tree.settings";
inline constexpr std::string_view kDefaultsFile = "Settings/Defaults.settings";

// A domain that is there and cannot be served: its settings are damaged, or it lies elsewhere than they say.
struct BrokenDomain {
  std::string directory;
  Error error;  // names the file and the rule; never kNotFound or kInvalidArgument, which would bounce mail
};

struct DomainTable {
  TreeSettings tree;
  std::map<std::string, std::shared_ptr<const Domain>, std::less<>> domains;
  std::map<std::string, BrokenDomain, std::less<>> broken;  // none that is among `domains`
  // Stores that did not answer when their domains were read, and why: a domain that is not known may be one
  // of theirs.
  std::map<std::string, Error, std::less<>> unread;

  // kNotFound, or why it cannot be served.
  Result<std::shared_ptr<const Domain>> get(std::string_view name) const;
  const Domain* find(std::string_view name) const {
    auto at = domains.find(name);
    return at == domains.end() ? nullptr : at->second.get();
  }
};

// Keys of a domain's settings.
inline constexpr std::string_view kAccountFolderingKey = "Foldering";
inline constexpr std::string_view kFastIndexKey = "FastIndex";
inline constexpr std::string_view kAccountDefaultsKey = "AccountDefaults";  // dictionary
// The daemon's own: an array of dictionaries with the two keys above, newest first, while accounts move, and
// with kDomainFolderingKey where something lay before the domain moved; and how they do (daemon/relocate/).
inline constexpr std::string_view kSupersededKey = "SupersededLayouts";
inline constexpr std::string_view kRelocationKey = "Relocation";
inline constexpr size_t kSupersededMax = 16;

// Writes superseded layouts, newest first. Each names its domain foldering unless that is `lies_under`, where
// the domain is and stays; without that all do.
void put_superseded(const std::vector<TreeLayout>& layouts, const std::optional<Foldering>& lies_under,
                    dict::Dict& settings);
// What the settings say when the domain gets this layout: those of accounts that have yet to move, newest
// first. kInvalidArgument beyond kSupersededMax.
Result<void> supersede(const Domain& before, const TreeLayout& now, dict::Dict& settings);

// Builds the Domain that these settings describe; kInvalidArgument names a setting that is wrong.
// `lies_under`: the domain foldering where it is, when that is not the tree's.
Result<std::shared_ptr<const Domain>> make_domain(const TreeSettings& tree, std::string name,
                                                  dict::VersionedDict settings,
                                                  std::optional<Foldering> lies_under = std::nullopt);
// The same domain at the same place with other settings.
Result<std::shared_ptr<const Domain>> make_domain(const TreeSettings& tree, const Domain& before,
                                                  dict::VersionedDict settings);
// Reads what the tree's own settings say of domains; kDamaged.
Result<TreeSettings> parse_tree_settings(dict::VersionedDict file);
Task<Result<TreeSettings>> load_tree_settings(SettingsFiles& files);
// Walks SharedDomains for domains.
Task<Result<std::shared_ptr<const DomainTable>>> load_domains(SettingsFiles& files);
// Takes in domains that are not known: of stores that did not answer before, or that the mount table leads
// to.
Task<Result<void>> read_more_domains(SettingsFiles& files, DomainTable& table);
// Reads again what could not be read: somebody may have repaired it.
Task<Result<void>> read_broken_again(SettingsFiles& files, DomainTable& table);
// Whether accounts that lie in the domain's directory are where its settings say: kInvalidArgument names one
// that is not. Looks at the first account only.
Task<Result<void>> check_layout(Store& store, std::shared_ptr<const Domain> domain);

}  // namespace canopy
