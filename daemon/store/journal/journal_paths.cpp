#include "daemon/store/journal/journal_paths.h"

#include <algorithm>

#include "daemon/store/store_path.h"

namespace canopy {

namespace {

// Calls for each of the ordered paths that is this one or lies below it; `each` answers whether to go on.
template <class Set, class Each>
void for_paths_below(const Set& paths, std::string_view path, Each each) {
  if (paths.empty()) return;
  if (auto found = paths.find(path); found != paths.end() && !each(*found)) return;
  const std::string inside = std::string(path) + "/";
  for (auto at = paths.lower_bound(inside); at != paths.end() && at->starts_with(inside); ++at)
    if (!each(*at)) return;
}

template <class Set>
bool any_path_below(const Set& paths, std::string_view path) {
  bool any = false;
  for_paths_below(paths, path, [&](const std::string&) { return !(any = true); });
  return any;
}

}  // namespace

JournalPaths::Claim JournalPaths::claim(std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (held_above(path)) {
    ++waiting_;
    return Claim::kHeld;
  }
  if (!names_.empty())
    for (std::string_view at = path; !at.empty(); at = store_parent_of(at))
      if (names_.contains(at)) return Claim::kNameAbove;
  claimed_.emplace(path);
  return Claim::kClaimed;
}

bool JournalPaths::is_held(std::string_view path) {
  const std::lock_guard lock(mutex_);
  const bool held = held_above(path);
  if (held) ++waiting_;
  return held;
}

void JournalPaths::waited() {
  const std::lock_guard lock(mutex_);
  --waiting_;
}

void JournalPaths::unclaim(std::string_view path) {
  const std::lock_guard lock(mutex_);
  claimed_.erase(claimed_.find(path));
}

bool JournalPaths::any_claimed() const {
  const std::lock_guard lock(mutex_);
  return !claimed_.empty();
}

bool JournalPaths::any_claimed_below(std::string_view path) const {
  const std::lock_guard lock(mutex_);
  return any_path_below(claimed_, path);
}

void JournalPaths::recorded(uint32_t file, std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (!pending_[file].contains(path)) pending_[file].emplace(path);
}

void JournalPaths::settled(std::string_view path) {
  const std::lock_guard lock(mutex_);
  for (auto& paths : pending_)
    if (auto found = paths.find(path); found != paths.end()) paths.erase(found);
}

void JournalPaths::emptied(uint32_t file) {
  std::set<std::string, std::less<>> gone;  // what takes long happens to it without the lock
  const std::lock_guard lock(mutex_);
  gone.swap(pending_[file]);
}

bool JournalPaths::is_pending(std::string_view path) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(pending_, [&](const auto& paths) { return paths.contains(path); });
}

std::vector<std::string> JournalPaths::pending_below(std::string_view path, size_t most) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> found;
  for (const auto& paths : pending_) {
    for_paths_below(paths, path, [&](const std::string& below) {
      if (&paths == &pending_[0] || !pending_[0].contains(below)) found.push_back(below);
      return found.size() <= most;
    });
  }
  return found;
}

JournalPaths::Held JournalPaths::hold(const std::vector<std::string>& paths) {
  const std::lock_guard lock(mutex_);
  return insert_held(paths);
}

std::optional<JournalPaths::Held> JournalPaths::hold_if_unused(const std::vector<std::string>& paths) {
  const std::lock_guard lock(mutex_);
  for (const std::string& path : paths)
    if (any_path_below(claimed_, path) || any_pending_below(path)) return std::nullopt;
  return insert_held(paths);
}

JournalPaths::Held JournalPaths::insert_held(const std::vector<std::string>& paths) {
  Held held;
  held.reserve(paths.size());
  for (const std::string& path : paths) held.push_back(held_.insert(path));
  return held;
}

bool JournalPaths::release(const Held& held) {
  const std::lock_guard lock(mutex_);
  for (auto at : held) held_.erase(at);
  return waiting_ > 0;
}

size_t JournalPaths::note_name(std::string from, std::string to) {
  const std::lock_guard lock(mutex_);
  names_.insert_or_assign(std::move(to), std::pair(std::move(from), ++noted_));
  return names_.size();
}

std::vector<JournalPaths::Name> JournalPaths::names_above(std::string_view path) const {
  const std::lock_guard lock(mutex_);
  std::vector<Name> found;
  for (std::string_view at = path; !names_.empty() && !at.empty(); at = store_parent_of(at))
    if (auto name = names_.find(at); name != names_.end())
      found.push_back({name->second.first, name->first, name->second.second});
  return found;
}

uint64_t JournalPaths::names_noted() const {
  const std::lock_guard lock(mutex_);
  return noted_;
}

void JournalPaths::names_durable(uint64_t up_to) {
  const std::lock_guard lock(mutex_);
  std::erase_if(names_, [up_to](const auto& name) { return name.second.second <= up_to; });
}

void JournalPaths::name_durable(const Name& name) {
  const std::lock_guard lock(mutex_);
  auto found = names_.find(name.to);
  if (found != names_.end() && found->second.second == name.number) names_.erase(found);
}

bool JournalPaths::held_above(std::string_view path) const {
  if (held_.empty()) return false;
  for (; !path.empty(); path = store_parent_of(path))
    if (held_.contains(path)) return true;
  return false;
}

bool JournalPaths::any_pending_below(std::string_view path) const {
  return std::ranges::any_of(pending_, [&](const auto& paths) { return any_path_below(paths, path); });
}

}  // namespace canopy
