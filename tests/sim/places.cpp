#include "tests/sim/places.h"

#include <optional>
#include <set>
#include <vector>

#include "daemon/account/settings_files.h"
#include "tests/sim/stores.h"

namespace canopy::sim {
namespace {

struct Seen {
  std::string_view store;
  std::string prefix;  // of the mount row that it may belong to
  std::string path;    // in the tree
};

std::string joined(std::string_view prefix, std::string_view path) {
  return prefix.empty() ? std::string(path) : fmt::format("{}/{}", prefix, path);
}

// Account directories, and what is no directory.
void collect(MemoryDisk& disk, const Seen& at, std::vector<Seen>& found) {
  uint64_t cookie = 0;
  for (;;) {
    auto page = disk.list(joined(at.prefix, at.path), cookie);
    if (!page) return;
    for (const DirectoryEntry& entry : page->entries) {
      Seen one = at;
      one.path += "/" + entry.name;
      if (entry.type != FileType::kDirectory || entry.name.ends_with(kAccountSuffix)) found.push_back(one);
      if (entry.type == FileType::kDirectory) collect(disk, one, found);
    }
    if (page->end) return;
    cookie = page->next_cookie;
  }
}

std::string_view leaf_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }
std::string_view parent_of(std::string_view path) { return path.substr(0, path.rfind('/')); }

// The path that an object of this name must have; empty: it is none of an account. Settings and info that lie
// apart from their account are no account: a removal that a crash ended may leave them.
std::string expected_of(const std::string& path, const TreeLayout& layout, std::string_view domain,
                        const std::set<std::string>& accounts) {
  const std::string_view name = leaf_of(path);
  // In the account's directory its files have names that say nothing of the account.
  const std::string_view directory = leaf_of(parent_of(path));
  const bool inside = directory.ends_with(kAccountSuffix);
  auto address = [&](std::string_view suffix) {
    const std::string_view of = inside ? directory : name;
    return AccountAddress{std::string(of.substr(0, of.size() - (inside ? kAccountSuffix : suffix).size())),
                          std::string(domain)};
  };
  if (name.ends_with(kAccountSuffix)) return layout.account_directory(address(kAccountSuffix));
  const bool of_domain = directory == "aliases" || directory == "requests";
  if (name == "domain.settings") return layout.domain_settings_file(domain);
  if (of_domain && name.ends_with(".data"))
    return fmt::format("{}/{}/{}", parent_of(layout.domain_settings_file(domain)), directory, name);
  const std::string_view suffix = name.ends_with(kInfoSuffix) ? kInfoSuffix : kSettingsSuffix;
  if (!name.ends_with(suffix) || !accounts.contains(address(suffix).account)) return {};
  if (suffix == kInfoSuffix) return layout.info_file(address(kInfoSuffix));
  return layout.settings_file(address(kSettingsSuffix));
}

}  // namespace

void check_places(std::span<MemoryDisk> disks, const MountTable& mounts, const TreeLayout& layout,
                  std::string_view domain, Trace& trace) {
  std::vector<Seen> all;
  for (size_t i = 0; i < disks.size(); ++i)
    for (const std::string_view prefix : {std::string_view(), kStorePrefix})
      collect(disks[i], {kStoreNames[i], std::string(prefix), std::string(kTreeRoot)}, all);
  std::set<std::string> accounts;
  for (const Seen& one : all) {
    const std::string_view name = leaf_of(one.path);
    if (name.ends_with(kAccountSuffix)) accounts.emplace(name.substr(0, name.size() - kAccountSuffix.size()));
  }
  for (const Seen& one : all) {
    const std::string expected = expected_of(one.path, layout, domain, accounts);
    if (expected.empty()) continue;
    const MountRow& row = mounts.row_for(expected);
    if (expected != one.path || row.store != one.store || row.prefix != one.prefix)
      trace.violation("{}:{} lies there although nothing moves any more; it should be {}:{}", one.store,
                      joined(one.prefix, one.path), row.store, joined(row.prefix, expected));
  }
}

namespace {

void check_empty(MemoryDisk& disk, std::string_view store, const std::string& path, size_t directories,
                 Trace& trace) {
  auto page = disk.list(path, 0);
  if (!page) return;
  for (const DirectoryEntry& entry : page->entries) {
    const std::string inside = path + "/" + entry.name;
    if (entry.type == FileType::kDirectory && directories > 0)
      check_empty(disk, store, inside, directories - 1, trace);
    else
      trace.violation("{}:{} stays although nothing is under way any more", store, inside);
  }
}

}  // namespace

// Below the stage: that of the process, and in it those of its slots.
void check_stage(MemoryDisk& disk, std::string_view store, Trace& trace) {
  auto stages = disk.list(kStageRoot, 0);
  if (stages && stages->entries.size() > 1)
    trace.violation("{}: {} stages stay although one process serves", store, stages->entries.size());
  check_empty(disk, store, std::string(kStageRoot), 2, trace);
  check_empty(disk, store, std::string(kTrashRoot), 0, trace);
}

}  // namespace canopy::sim
