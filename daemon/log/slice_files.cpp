#include "daemon/log/slice_files.h"

#include "daemon/base/check.h"
#include "daemon/store/set/store_set.h"
#include "daemon/tree/layout.h"

namespace canopy {

std::string SliceFiles::key_of(Store& store, const std::string& path) {
  return std::string(store.name()) + '\0' + path;
}

Task<Result<std::shared_ptr<File>>> SliceFiles::get(Store& store, std::string path, bool write) {
  const std::string key = key_of(store, path);
  if (auto found = by_key_.find(key); found != by_key_.end() && (found->second->write || !write)) {
    entries_.splice(entries_.begin(), entries_, found->second);
    co_return found->second->file;
  }
  OpenOptions options;
  options.write = write;
  CANOPY_CO_ASSIGN(std::unique_ptr<File> opened, co_await store.open(path, options));
  std::shared_ptr<File> file = std::move(opened);
  put(store, path, write, file);
  co_return file;
}

void SliceFiles::put(Store& store, const std::string& path, bool write, std::shared_ptr<File> file) {
  const std::string key = key_of(store, path);
  if (auto found = by_key_.find(key); found != by_key_.end()) {
    if (found->second->write && !write) return;  // opened twice at the same time: the better one stays
    entries_.erase(found->second);
    by_key_.erase(found);
  }
  entries_.push_front({key, write, std::move(file)});
  by_key_[key] = entries_.begin();
  evict();
}

void SliceFiles::evict() {
  while (entries_.size() > files_max_) {
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

void SliceFiles::forget(Store& store, const std::string& path) {
  auto found = by_key_.find(key_of(store, path));
  if (found == by_key_.end()) return;
  entries_.erase(found->second);
  by_key_.erase(found);
}

// Without the folders, and without the store where the path names one.
std::string SliceFiles::end_key_of(Store& store, std::string_view path) {
  std::string key = std::string(store.name()) + '\0';
  bool of_store = false;
  while (!path.empty()) {
    const std::string_view element = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), element.size() + 1));
    if (std::exchange(of_store, element == kStoresElement)) continue;
    if (of_store || element.ends_with(kFolderSuffix)) continue;
    key.append(element).append("/");
  }
  return key;
}

void SliceFiles::end_slice(Store& store, const std::string& path, uint64_t length) {
  auto [at, added] = ended_.emplace(end_key_of(store, path), length);
  CANOPY_CHECK(added || at->second == length);
}

std::optional<uint64_t> SliceFiles::ended_at(Store& store, const std::string& path) const {
  if (ended_.empty()) return std::nullopt;
  auto found = ended_.find(end_key_of(store, path));
  if (found == ended_.end()) return std::nullopt;
  return found->second;
}

void SliceFiles::forget_ends(Store& store, const std::string& directory) {
  if (ended_.empty()) return;
  const std::string below = end_key_of(store, directory);
  auto at = ended_.lower_bound(below);
  while (at != ended_.end() && at->first.starts_with(below)) at = ended_.erase(at);
}

bool SliceFiles::has_ends(Store& store, const std::string& directory) const {
  if (ended_.empty()) return false;
  const std::string below = end_key_of(store, directory);
  auto at = ended_.lower_bound(below);
  return at != ended_.end() && at->first.starts_with(below);
}

}  // namespace canopy
