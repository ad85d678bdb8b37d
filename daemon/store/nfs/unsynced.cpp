#include "daemon/store/nfs/unsynced.h"

namespace canopy::nfs {

void UnsyncedFiles::opened(const FileHandle& file) {
  std::string key(file.bytes());
  if (auto at = entries_.find(key); at != entries_.end() && at->second.is_closed) {
    closed_.erase(at->second.place);
    at->second.is_closed = false;
  }
  ++open_[std::move(key)];
}

void UnsyncedFiles::closed(const FileHandle& file) {
  const auto open = open_.find(std::string(file.bytes()));
  CANOPY_CHECK(open != open_.end());
  if (--open->second > 0) return;
  if (auto at = entries_.find(open->first); at != entries_.end()) {
    if (at->second.state.order == 0) {
      erase(at);
    } else {
      at->second.is_closed = true;
      at->second.place = closed_.insert(closed_.end(), open->first);
    }
  }
  open_.erase(open);
}

Unsynced* UnsyncedFiles::find(const FileHandle& file) {
  const auto at = entries_.find(std::string(file.bytes()));
  return at == entries_.end() ? nullptr : &at->second.state;
}

Unsynced* UnsyncedFiles::make(const FileHandle& file) {
  if (Unsynced* known = find(file); known != nullptr) return known;
  if (entries_.size() >= most_) {
    if (closed_.empty()) return nullptr;
    erase(entries_.find(closed_.front()));
  }
  return &entries_[std::string(file.bytes())].state;
}

void UnsyncedFiles::synced(const FileHandle& file) {
  if (auto at = entries_.find(std::string(file.bytes())); at != entries_.end()) erase(at);
}

void UnsyncedFiles::erase(Entries::iterator at) {
  if (at->second.is_closed) closed_.erase(at->second.place);
  entries_.erase(at);
}

}  // namespace canopy::nfs
