#include "tests/sim/places.h"

#include <set>
#include <vector>

namespace canopy::sim {
namespace {

void collect(MemoryDisk& disk, const std::string& directory, std::vector<std::string>& paths) {
  uint64_t cookie = 0;
  for (;;) {
    auto page = disk.list(directory, cookie);
    if (!page) return;
    for (const DirectoryEntry& entry : page->entries) {
      const std::string path = directory + "/" + entry.name;
      if (entry.type != FileType::kDirectory || entry.name.ends_with(kAccountSuffix)) paths.push_back(path);
      if (entry.type == FileType::kDirectory) collect(disk, path, paths);
    }
    if (page->end) return;
    cookie = page->next_cookie;
  }
}

// The path that an object of this name must have; empty: it is none of an account. Settings and info that lie
// apart from their account are no account: a removal that a crash ended may leave them.
std::string expected_of(const std::string& path, const TreeLayout& layout, std::string_view domain,
                        const std::set<std::string>& accounts) {
  const size_t slash = path.rfind('/');
  const std::string_view name = std::string_view(path).substr(slash + 1);
  // In the account's directory its files have names that say nothing of the account.
  std::string_view directory = std::string_view(path).substr(0, slash);
  directory = directory.substr(directory.rfind('/') + 1);
  const bool inside = directory.ends_with(kAccountSuffix);
  auto address = [&](std::string_view suffix) {
    const std::string_view of = inside ? directory : name;
    return AccountAddress{std::string(of.substr(0, of.size() - (inside ? kAccountSuffix : suffix).size())),
                          std::string(domain)};
  };
  if (name.ends_with(kAccountSuffix)) return layout.account_directory(address(kAccountSuffix));
  const std::string_view suffix = name.ends_with(kInfoSuffix) ? kInfoSuffix : kSettingsSuffix;
  if (!name.ends_with(suffix) || !accounts.contains(address(suffix).account)) return {};
  if (suffix == kInfoSuffix) return layout.info_file(address(kInfoSuffix));
  return layout.settings_file(address(kSettingsSuffix));
}

}  // namespace

void check_places(MemoryDisk& disk, const TreeLayout& layout, std::string_view domain, Trace& trace) {
  std::vector<std::string> paths;
  collect(disk, std::string(kTreeRoot), paths);
  std::set<std::string> accounts;
  for (const std::string& path : paths) {
    const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
    if (name.ends_with(kAccountSuffix)) accounts.emplace(name.substr(0, name.size() - kAccountSuffix.size()));
  }
  const std::string of_domain = layout.domain_settings_file(domain);
  for (const std::string& path : paths) {
    if (path.ends_with("/domain.settings") && path != of_domain)
      trace.violation("{} lies there although no domain moves any more; it should be {}", path, of_domain);
    const std::string expected = expected_of(path, layout, domain, accounts);
    if (!expected.empty() && expected != path)
      trace.violation("{} lies there although nothing moves any more; it should be {}", path, expected);
  }
}

}  // namespace canopy::sim
