// SliceFiles: the open slice files of all accounts of one loop, bounded by count, least recently used first
// to go; and what the loop must remember of its own slices while an account is closed. For the loop's thread
// only.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "daemon/runtime/loop.h"
#include "daemon/runtime/task.h"
#include "daemon/store/store.h"

namespace canopy {

inline constexpr size_t kSliceFilesOpenMax = 4096;  // default bound of one loop

class SliceFiles {
 public:
  explicit SliceFiles(size_t files_max = kSliceFilesOpenMax) : files_max_(files_max) {}
  SliceFiles(const SliceFiles&) = delete;

  // The file, opened for reading or writing as asked; shared, so that it stays open while a call on it is
  // under way even when the cache lets go of it. Paths are the store's.
  Task<Result<std::shared_ptr<File>>> get(Store& store, std::string path, bool write);
  // Puts in a file that the caller opened itself.
  void put(Store& store, const std::string& path, bool write, std::shared_ptr<File> file);
  void forget(Store& store, const std::string& path);  // before the file is removed or renamed
  size_t open_files() const { return entries_.size(); }

  // A slice of this process whose last write failed: bytes from `length` on may still arrive and must never
  // count, and nothing may be appended to it. Remembered until a manifest that says the length is durable, by
  // domain and account: whatever folders, and store, the account's directory moves to meanwhile.
  void end_slice(Store& store, const std::string& path, uint64_t length);
  std::optional<uint64_t> ended_at(Store& store, const std::string& path) const;
  void forget_ends(Store& store, const std::string& directory);
  // Then the account must not get another name, nor another loop.
  bool has_ends(Store& store, const std::string& directory) const;

 private:
  struct Entry {
    std::string key;
    bool write = false;
    std::shared_ptr<File> file;
  };
  static std::string key_of(Store& store, const std::string& path);
  static std::string end_key_of(Store& store, std::string_view path);
  void evict();

  size_t files_max_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
  std::map<std::string, uint64_t> ended_;
};

}  // namespace canopy
