#include "fuse/known_names.h"

#include <algorithm>

namespace canopy::mount {

uint64_t NameSet::hash_of(std::string_view name) {
  return std::max<uint64_t>(std::hash<std::string_view>()(name), 1);
}

bool NameSet::has(uint64_t hash) const {
  if (slots_.empty()) return false;
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask; slots_[at] != 0; at = (at + 1) & mask)
    if (slots_[at] == hash) return true;
  return false;
}

void NameSet::add(uint64_t hash) {
  if ((count_ + 1) * 4 > slots_.size() * 3) grow();
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  for (; slots_[at] != 0; at = (at + 1) & mask)
    if (slots_[at] == hash) return;
  slots_[at] = hash;
  ++count_;
}

void NameSet::grow() {
  std::vector<uint64_t> old(std::max<size_t>(slots_.size() * 2, 16));
  old.swap(slots_);
  count_ = 0;
  for (const uint64_t hash : old)
    if (hash != 0) add(hash);
}

void NameSet::clear() {
  slots_ = {};
  count_ = 0;
}

void KnownNames::add(uint64_t hash) {
  const size_t before = names.size();
  names.add(hash);
  all += names.size() - before;
  if (names.size() <= kKnownNamesPerDirectoryMax && all <= kKnownNamesMax) return;
  clear();
}

void KnownNames::clear() {
  all -= names.size();
  names.clear();
  since = 0;
}

KnownDirectories::Coming::~Coming() {
  if (in_ == nullptr) return;
  auto mine = std::ranges::find(in_->coming, hash_);
  if (mine != in_->coming.end()) in_->coming.erase(mine);
}

KnownNames& KnownDirectories::of(Node& directory) {
  if (directory.known_names == nullptr) directory.known_names = std::make_shared<KnownNames>(all_);
  return *directory.known_names;
}

bool KnownDirectories::is_absent(const Node& directory, std::string_view name) const {
  const KnownNames* known = directory.known_names.get();
  return known != nullptr && !known->being_listed && holds(*known) &&
         !known->names.has(NameSet::hash_of(name));
}

KnownDirectories::Coming KnownDirectories::comes(Node& directory, std::string_view name) {
  const uint64_t hash = NameSet::hash_of(name);
  KnownNames& known = of(directory);
  known.coming.push_back(hash);
  if (known.since != 0) known.add(hash);
  return Coming(directory.known_names, hash);
}

void KnownDirectories::came(Node& directory, std::string_view name) {
  KnownNames* known = directory.known_names.get();
  if (known != nullptr && known->since != 0) known->add(NameSet::hash_of(name));
}

std::shared_ptr<KnownNames> KnownDirectories::made_since(const Since& begun) {
  if (!following_ || begun.generation != generation_ || begun.strays != strays_) return nullptr;
  auto known = std::make_shared<KnownNames>(all_);
  known->since = begun.time;
  known->generation = generation_;
  return known;
}

void KnownDirectories::missed(const NodeRef& directory) {
  if (!following_ || kept_for_ == 0) return;
  KnownNames& known = of(*directory);
  if (known.being_listed || ++known.misses < known.misses_wanted) return;
  const bool never = kNamesListedPerMiss * known.misses_wanted > 4 * kKnownNamesPerDirectoryMax;
  if (never || all_ > kKnownNamesMax / 2) return;
  known.being_listed = true;
  loop_.spawn(read(directory));
}

// What comes while it is read is put in as it comes.
Task<void> KnownDirectories::read(NodeRef directory) {
  const std::shared_ptr<KnownNames> known = directory->known_names;
  known->clear();
  known->since = loop_.now();
  known->generation = generation_;
  for (const uint64_t hash : known->coming) known->add(hash);
  const size_t most = kNamesListedPerMiss * known->misses;
  Page page;
  bool whole = false;
  do {
    auto next = co_await list_(directory, std::move(page.next));
    if (!next) break;
    page = std::move(*next);
    for (const Entry& entry : page.entries)
      if (known->since != 0) known->add(NameSet::hash_of(entry.name));
    whole = page.end;
  } while (!whole && known->since != 0 && known->names.size() <= most);
  if (!whole) {
    known->clear();
    known->misses_wanted *= 4;
  }
  known->misses = 0;
  known->being_listed = false;
}

}  // namespace canopy::mount
