#include "daemon/store/nfs/name_cache.h"

#include "daemon/store/store_path.h"

namespace canopy::nfs {
namespace {

bool is_at_or_below(std::string_view path, std::string_view top) {
  return path.starts_with(top) && (top.empty() || path.size() == top.size() || path[top.size()] == '/');
}

}  // namespace

const NamedFile* NameCache::find(std::string_view path, Nanos now) {
  auto found = entries_.find(path);
  if (found == entries_.end() || now - found->second.learnt_at > trusted_) return nullptr;
  uses_.splice(uses_.begin(), uses_, found->second.use);
  return &found->second.file;
}

void NameCache::learn(std::string_view path, const NamedFile& file, Nanos now, Moment asked) {
  if (entries_max_ == 0 || changed_since(asked, path)) return;
  auto [entry, is_new] = entries_.try_emplace(std::string(path));
  if (is_new) {
    entry->second.use = uses_.insert(uses_.begin(), entry->first);
  } else {
    uses_.splice(uses_.begin(), uses_, entry->second.use);
  }
  entry->second.file = file;
  entry->second.learnt_at = now;
  if (entries_.size() > entries_max_) erase(entries_.find(uses_.back()));
}

void NameCache::erase(Entries::iterator entry) {
  uses_.erase(entry->second.use);
  entries_.erase(entry);
}

void NameCache::erase_below(std::string_view path) {
  const std::string begin = std::string(path) + '/';
  for (auto entry = entries_.lower_bound(begin); entry != entries_.end() && entry->first.starts_with(begin);)
    erase(entry++);
}

void NameCache::note_change(std::string_view path) {
  changed_[changes_ % kChangesKept] = path;
  ++changes_;
}

bool NameCache::changed_since(Moment asked, std::string_view path) const {
  if (changes_ - asked > kChangesKept) return true;  // not known any more
  for (Moment change = asked; change < changes_; ++change)
    if (is_at_or_below(path, changed_[change % kChangesKept])) return true;
  return false;
}

void NameCache::forget(std::string_view path) {
  note_change(path);
  if (path.empty()) return clear();
  if (auto found = entries_.find(path); found != entries_.end()) erase(found);
  erase_below(path);
}

void NameCache::forget_way(std::string_view path) {
  for (std::string_view at = path; !at.empty(); at = store_parent_of(at))
    if (auto found = entries_.find(at); found != entries_.end()) erase(found);
}

void NameCache::moved(std::string_view from, std::string_view to) {
  note_change(from);
  forget(to);
  std::vector<std::pair<std::string, Entry>> taken;
  auto take = [&](Entries::iterator entry) {
    taken.emplace_back(std::string(to) + entry->first.substr(from.size()), entry->second);
    erase(entry);
  };
  if (auto found = entries_.find(from); found != entries_.end()) take(found);
  const std::string begin = std::string(from) + '/';
  for (auto entry = entries_.lower_bound(begin); entry != entries_.end() && entry->first.starts_with(begin);)
    take(entry++);
  for (auto& [path, entry] : taken) learn(path, entry.file, entry.learnt_at, changes_);
}

void NameCache::clear() {
  entries_.clear();
  uses_.clear();
}

}  // namespace canopy::nfs
