#include "daemon/log/slice_files.h"

#include "daemon/base/check.h"

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

void SliceFiles::end_slice(Store& store, const std::string& path, uint64_t length) {
  auto [at, added] = ended_.emplace(key_of(store, path), length);
  CANOPY_CHECK(added || at->second == length);
}

std::optional<uint64_t> SliceFiles::ended_at(Store& store, const std::string& path) const {
  auto found = ended_.find(key_of(store, path));
  if (found == ended_.end()) return std::nullopt;
  return found->second;
}

void SliceFiles::forget_ends(Store& store, const std::string& directory) {
  const std::string below = key_of(store, directory + "/");
  auto at = ended_.lower_bound(below);
  while (at != ended_.end() && at->first.starts_with(below)) at = ended_.erase(at);
}

}  // namespace canopy
