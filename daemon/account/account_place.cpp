#include "daemon/account/account_place.h"

#include <algorithm>

#include "daemon/base/limits.h"
#include "daemon/dict/versioned.h"
#include "daemon/store/departure.h"

namespace canopy {
namespace {

std::vector<const TreeLayout*> layouts_of(const Domain& domain) {
  std::vector<const TreeLayout*> layouts = {&domain.layout};
  for (const TreeLayout& older : domain.older) layouts.push_back(&older);
  return layouts;
}

// The first path that is there, the first one looked at once more in the end; nullopt: none. A directory that
// was left is none.
Task<Result<std::optional<size_t>>> first_there(Store& store, std::vector<std::string> paths,
                                                bool directories) {
  const size_t looks = paths.size() == 1 ? 1 : paths.size() + 1;
  for (size_t i = 0; i < looks; ++i) {
    const size_t index = i % paths.size();
    auto found = co_await store.attributes(paths[index]);
    if (found && directories && is_on_several_stores(store, paths[index])) {
      CANOPY_CO_ASSIGN(const bool departed, co_await has_departed(store, paths[index]));
      if (departed) continue;
    }
    if (found) co_return index;
    if (found.error().code() != Code::kNotFound) co_return fail(std::move(found).error());
  }
  co_return std::nullopt;
}

// Of settings or info files, by layout. A copy that was left behind by a move from store to store has a lower
// version than what has been written since; it is added to `left`. `apart`: those that do not lie in the
// account's directory, which may each lie on several stores.
Task<Result<std::optional<size_t>>> newest_there(Store& store, std::vector<std::string> files,
                                                 std::vector<bool> apart, std::vector<std::string>& left) {
  std::vector<std::string> paths;  // each once: that beside the directory is the same under many layouts
  std::vector<size_t> layout_of;
  auto add = [&](const std::string& path) {
    if (std::ranges::find(paths, path) == paths.end()) paths.push_back(path);
  };
  for (size_t i = 0; i < files.size(); ++i) {
    const auto parts = apart[i] ? store.parts_of(files[i]) : std::vector<StoreSite>();
    if (parts.size() <= 1) add(files[i]);
    for (const StoreSite& part : parts)
      if (parts.size() > 1) add(part.path);
    layout_of.resize(paths.size(), i);
  }
  CANOPY_CO_ASSIGN(std::optional<size_t> newest, co_await first_there(store, paths, false));
  if (!newest) co_return newest;
  std::optional<dict::Version> version;  // of `newest`, once there was another
  for (size_t i = *newest + 1; i < paths.size(); ++i) {
    auto there = co_await store.attributes(paths[i]);
    if (!there && there.error().code() == Code::kNotFound) continue;
    if (!there) co_return fail(std::move(there).error());
    if (!version) {
      CANOPY_CO_ASSIGN(version, co_await version_at(store, paths[*newest]));
    }
    CANOPY_CO_ASSIGN(const dict::Version other, co_await version_at(store, paths[i]));
    const bool later = *version < other;
    left.push_back(paths[later ? *newest : i]);
    if (!later) continue;
    newest = i;
    version = other;
  }
  co_return layout_of[*newest];
}

// Where the file would lie under this layout, given where the directory is.
std::string file_under(const TreeLayout& layout, const std::string& apart, const std::string& directory) {
  return layout.fast_index() != 0 ? apart : directory + apart.substr(apart.rfind('/'));
}

}  // namespace

Task<Result<dict::Version>> version_at(Store& store, std::string path) {
  CANOPY_CO_ASSIGN(const std::string text, co_await read_file(store, path, kDictBytesMax));
  CANOPY_CO_ASSIGN(const dict::VersionedDict file, dict::parse_versioned(text, path));
  co_return file.version;
}

AccountPlace place_under(const TreeLayout& layout, const AccountAddress& address) {
  return {layout.account_directory(address), layout.settings_file(address), layout.info_file(address)};
}

bool is_on_several_stores(Store& store, const std::string& path) {
  const auto parts = store.parts_of(path);
  return parts.size() > 1 || parts.front().path != path;
}

bool may_lie_apart(const Domain& domain) {
  return domain.layout.fast_index() != 0 ||
         std::ranges::any_of(domain.older, [](const TreeLayout& of) { return of.fast_index() != 0; });
}

bool may_lie_elsewhere(Store& store, const Domain& domain, const AccountAddress& address) {
  if (!domain.older.empty()) return true;
  const AccountPlace place = place_under(domain.layout, address);
  if (store.parts_of(place.directory).size() > 1) return true;
  return domain.layout.fast_index() != 0 &&
         (store.parts_of(place.settings_file).size() > 1 || store.parts_of(place.info_file).size() > 1);
}

Task<Result<FoundPlace>> find_place(Store& store, std::shared_ptr<const Domain> domain,
                                    AccountAddress address) {
  FoundPlace found;
  found.place = place_under(domain->layout, address);
  const auto layouts = layouts_of(*domain);
  std::vector<std::string> directories, settings, infos;
  for (const TreeLayout* layout : layouts) directories.push_back(layout->account_directory(address));
  CANOPY_CO_ASSIGN(const std::optional<size_t> at, co_await first_there(store, directories, true));
  if (!at) co_return found;
  found.exists = true;
  const std::string& directory = directories[*at];
  std::vector<bool> apart;
  for (const TreeLayout* layout : layouts) {
    apart.push_back(layout->fast_index() != 0);
    settings.push_back(file_under(*layout, layout->settings_file(address), directory));
    infos.push_back(file_under(*layout, layout->info_file(address), directory));
  }
  CANOPY_CO_ASSIGN(const std::optional<size_t> settings_at,
                   co_await newest_there(store, settings, apart, found.left));
  CANOPY_CO_ASSIGN(const std::optional<size_t> info_at,
                   co_await newest_there(store, infos, apart, found.left));
  found.place.directory = directory;
  found.place.settings_file = settings[settings_at.value_or(*at)];
  found.place.info_file = infos[info_at.value_or(settings_at.value_or(*at))];
  co_return found;
}

std::vector<std::string> files_apart(const Domain& domain, const AccountAddress& address) {
  std::vector<std::string> paths;
  for (const TreeLayout* layout : layouts_of(domain)) {
    if (layout->fast_index() == 0) continue;
    paths.push_back(layout->settings_file(address));
    paths.push_back(layout->info_file(address));
  }
  return paths;
}

}  // namespace canopy
