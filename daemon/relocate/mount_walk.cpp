#include "daemon/relocate/mount_walk.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/relocate/folders.h"
#include "daemon/store/set/store_set.h"
#include "daemon/store/store_path.h"

namespace canopy {
namespace {

// Domain and account folders, `fast`, and what lies in a domain.
constexpr uint32_t kWalkDepthMax = 2 * kFolderingLevelsMax + 6;

bool is_literal(std::string_view element) { return element.find_first_of("[*") == std::string_view::npos; }

// The directory below which everything lies that the pattern names.
std::string literal_part(std::string_view pattern) {
  std::string out(kTreeRoot);
  if (!pattern.starts_with(kTreeRoot)) return out;  // "/"
  std::string_view rest = pattern.substr(kTreeRoot.size());
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the slash
    const std::string_view element = rest.substr(0, rest.find('/'));
    if (!is_literal(element) || element.ends_with(kAccountSuffix)) break;
    out.append("/").append(element);
    rest.remove_prefix(element.size());
  }
  return out;
}

// The cluster's register, which stays where it is whatever the table says.
bool is_register(const MountRow& row, std::string_view path) {
  return row.store == kRootStoreName && row.prefix.empty() && store_parent_of(path) == kTreeRoot &&
         store_leaf_of(path).starts_with(kHeartbeatElement);
}

// The domain whose directory the path lies in, or whose files under a fast index; "": none.
std::string domain_in(std::string_view path) {
  std::string_view rest = path.substr(std::min(kTreeRoot.size() + 1, path.size()));
  while (!rest.empty()) {
    const size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view element = rest.substr(0, slash);
    if (slash == rest.size()) return "";
    const TreeElement kind = classify_element(element, true);
    if (kind != TreeElement::kFolder && kind != TreeElement::kFast) return std::string(element);
    rest.remove_prefix(slash + 1);
  }
  return "";
}

}  // namespace

std::vector<MountWalk::Root> MountWalk::roots() const {
  std::vector<Root> all;
  for (const MountRow& row : mounts_->superseded()) {
    Root root{{"", row.store, row.prefix}, literal_part(row.pattern)};
    const auto covers = [&](const Root& other) {
      return other.row == root.row &&
             (root.directory == other.directory || root.directory.starts_with(other.directory + "/"));
    };
    if (std::ranges::any_of(all, covers)) continue;
    std::erase_if(all, [&](const Root& other) {
      return other.row == root.row && other.directory.starts_with(root.directory + "/");
    });
    all.push_back(std::move(root));
  }
  return all;
}

// Whether the path may lie at this row's place: as its newest place, or as one that was superseded.
bool MountWalk::leads_here(const MountRow& row, const std::string& path, bool newest) const {
  const auto places = mounts_->places_of(path);
  for (size_t i = 0; i < places.size(); ++i)
    if (places[i]->store == row.store && places[i]->prefix == row.prefix) return newest == (i == 0);
  return false;
}

std::string MountWalk::place_of(const MountRow& row, const std::string& path) const {
  return fmt::format("{}/{}/{}", kStoresElement, row.store, path_on_store(row, path));
}

void MountWalk::count_other(const MountRow& row, const std::string& path) {
  ++others_;
  if (other_.empty()) other_ = row.store + ":" + path_on_store(row, path);
}

Task<Result<void>> MountWalk::visit_file(const MountRow& row, const std::string& path,
                                         std::vector<SeenAccount>& seen) {
  const std::string_view leaf = store_leaf_of(path);
  const std::string domain = domain_in(path);
  const std::string_view parent = store_leaf_of(store_parent_of(path));
  const bool kept = (parent == "aliases" || parent == "requests") && leaf.ends_with(".data");
  if (!domain.empty() && (leaf == "domain.settings" || kept)) {
    auto done = co_await file_(path, domain);
    co_return done;
  }
  const TreePlace place = describe_path(path);
  if (place.kind == TreePlaceKind::kAccountFile)
    seen.push_back({{std::string(place.account), std::string(place.domain)}, path});
  else
    count_other(row, path);
  co_return Result<void>();
}

Task<Result<bool>> MountWalk::walk(MountRow row, std::string directory, uint32_t depth) {
  std::vector<std::string> folders;
  DirectoryPage page;
  do {
    CANOPY_CO_ASSIGN(const bool there, co_await next_page(store_, place_of(row, directory), page));
    if (!there) co_return true;
    std::vector<SeenAccount> seen;
    for (const DirectoryEntry& entry : page.entries) {
      const std::string path = directory + "/" + entry.name;
      const bool folder = entry.type == FileType::kDirectory;
      if (folder && !entry.name.ends_with(kAccountSuffix)) {
        if (depth < kWalkDepthMax)
          folders.push_back(path);
        else
          count_other(row, path);
        continue;
      }
      if (!leads_here(row, path, false) || is_register(row, path)) continue;
      const std::string domain = domain_in(path);
      if (folder && !domain.empty())
        seen.push_back({{std::string(account_of_element(entry.name)), domain}, path});
      else if (folder)
        count_other(row, path);
      else if (auto visited = co_await visit_file(row, path, seen); !visited)
        file_failed_ = std::move(visited).error();
    }
    if (!seen.empty() && !co_await accounts_(std::move(seen))) co_return false;
  } while (!page.end);
  for (const std::string& folder : folders) {
    auto whole = co_await walk(row, folder, depth + 1);
    if (!whole || !*whole) co_return whole;
  }
  co_return true;
}

// What a store that is away holds waits for it; the others' accounts do not.
Task<Result<bool>> MountWalk::run() {
  std::optional<Error> failed;
  file_failed_.reset();
  for (const Root& root : roots()) {
    auto whole = co_await walk(root.row, root.directory, 0);
    if (!whole)
      failed = std::move(whole).error();
    else if (!*whole)
      co_return false;
  }
  if (!failed) failed = std::move(file_failed_);
  if (failed) co_return fail(std::move(*failed));
  co_return true;
}

// Answers whether nothing is left of it.
Task<Result<bool>> MountWalk::clear(MountRow row, std::string directory, uint32_t depth) {
  std::vector<std::string> folders;
  bool empty = true;
  DirectoryPage page;
  do {
    CANOPY_CO_ASSIGN(const bool there, co_await next_page(store_, place_of(row, directory), page));
    if (!there) co_return true;
    for (const DirectoryEntry& entry : page.entries) {
      if (entry.type == FileType::kDirectory && !entry.name.ends_with(kAccountSuffix) &&
          depth < kWalkDepthMax)
        folders.push_back(directory + "/" + entry.name);
      else
        empty = false;
    }
  } while (!page.end);
  for (const std::string& folder : folders) {
    CANOPY_CO_ASSIGN(const bool gone, co_await clear(row, folder, depth + 1));
    empty = empty && gone;
  }
  bool wanted = leads_here(row, directory, true);
  for (const MountRow* below : mounts_->table().rows_below(directory))
    wanted = wanted || (below->store == row.store && below->prefix == row.prefix);
  if (!empty || wanted) co_return false;
  auto removed = co_await store_.remove_directory(place_of(row, directory), Durable::kNo);
  if (removed || removed.error().code() == Code::kNotFound) co_return true;
  if (removed.error().code() == Code::kNotEmpty) co_return false;
  co_return fail(std::move(removed).error());
}

Task<Result<void>> MountWalk::remove_empty_folders() {
  for (const Root& root : roots()) {
    auto done = co_await clear(root.row, root.directory, 0);
    if (!done) co_return fail(std::move(done).error());
    // The folders above, down from the root of the store, hold nothing but what was just removed.
    std::string above(store_parent_of(root.directory));
    while (*done && !above.empty() && !leads_here(root.row, above, true)) {
      auto removed = co_await store_.remove_directory(place_of(root.row, above), Durable::kNo);
      if (!removed) break;
      above = std::string(store_parent_of(above));
    }
  }
  co_return Result<void>();
}

}  // namespace canopy
