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
  dict::VersionedDict settings;
  uint32_t slot = 0;  // of @domain

  std::string directory() const { return layout.domain_directory(name); }
  std::string settings_file() const { return layout.domain_settings_file(name); }
};

// What holds for the whole tree: Settings/Tree.settings and Settings/Defaults.settings.
struct TreeSettings {
  Foldering domain_foldering;
  dict::VersionedDict tree;
  dict::VersionedDict defaults;  // class-of-service defaults of all accounts
};
inline constexpr std::string_view kTreeSettingsFile = "Settings/Tree.settings";
inline constexpr std::string_view kDefaultsFile = "Settings/Defaults.settings";

struct DomainTable {
  TreeSettings tree;
  std::map<std::string, std::shared_ptr<const Domain>, std::less<>> domains;
  const Domain* find(std::string_view name) const {
    auto at = domains.find(name);
    return at == domains.end() ? nullptr : at->second.get();
  }
};

// Keys of a domain's settings.
inline constexpr std::string_view kAccountFolderingKey = "Foldering";
inline constexpr std::string_view kFastIndexKey = "FastIndex";
inline constexpr std::string_view kAccountDefaultsKey = "AccountDefaults";  // dictionary

// Builds the Domain that these settings describe; kInvalidArgument names a setting that is wrong.
Result<std::shared_ptr<const Domain>> make_domain(const TreeSettings& tree, std::string name,
                                                  dict::VersionedDict settings);
Task<Result<TreeSettings>> load_tree_settings(SettingsFiles& files);
// Walks SharedDomains for domains. A domain whose settings are damaged is an error that names the file.
Task<Result<std::shared_ptr<const DomainTable>>> load_domains(SettingsFiles& files);

}  // namespace canopy
