// What survives a power cut: the durable side of MemoryDisk.
#include "daemon/base/check.h"
#include "daemon/store/memory/memory_disk.h"
#include "daemon/store/memory/memory_inode.h"

namespace canopy {

namespace {

constexpr uint64_t kSectorBytes = 512;
constexpr size_t kUnsyncedNamesMax = 4096;

// Names, files and directories that a set of name changes is about. Collected backwards it says what a change
// rests on; collected forwards, what can no longer happen once a change was lost.
struct Ties {
  std::set<std::pair<uint64_t, std::string>> names;
  std::unordered_set<uint64_t> files;  // renamed, linked or removed
  std::unordered_set<uint64_t> created;
  std::unordered_set<uint64_t> contents;  // directories whose names changed
  std::unordered_set<uint64_t> emptied;   // directories that were removed for good
};

}  // namespace

void MemoryDisk::apply(std::vector<Assignment> assignments, Durable durable) {
  for (const Assignment& a : assignments) set_name(*inodes_.at(a.directory), a.name, a.target);
  NameChange& change = unsynced_names_.emplace_back(NameChange{std::move(assignments)});
  for (const Assignment& a : change.assignments) {
    for (FileId id : {a.directory, a.target, a.previous}) {
      if (id != 0) ++inodes_.at(id)->durable_references;
    }
  }
  if (durable == Durable::kYes) {
    make_durable([&change](const NameChange& candidate) { return &candidate == &change; });
  }
  if (unsynced_names_.size() >
      kUnsyncedNamesMax) {  // the system writes back on its own account, oldest first
    NameChange oldest = std::move(unsynced_names_.front());
    unsynced_names_.pop_front();
    write_through(oldest);
    forget(oldest);
  }
}

void MemoryDisk::make_durable(const std::function<bool(const NameChange&)>& wanted) {
  Ties needed;
  std::list<NameChange> chosen;  // oldest first
  for (auto at = unsynced_names_.end(); at != unsynced_names_.begin();) {
    --at;
    bool take = wanted(*at);
    for (const Assignment& a : at->assignments) {
      take = take || needed.names.contains({a.directory, a.name}) || needed.files.contains(a.target) ||
             needed.files.contains(a.previous) || (a.creates && needed.created.contains(a.target)) ||
             needed.emptied.contains(a.directory);
    }
    if (!take) continue;
    for (const Assignment& a : at->assignments) {
      needed.names.emplace(a.directory, a.name);
      if (a.target != 0) needed.files.insert(a.target);
      if (a.previous != 0) needed.files.insert(a.previous);
      needed.created.insert(a.directory);
      if (a.removes_directory) needed.emptied.insert(a.previous);
    }
    auto taken = at++;
    chosen.splice(chosen.begin(), unsynced_names_, taken);
  }
  for (NameChange& change : chosen) write_through(change);
  for (NameChange& change : chosen) forget(change);
}

void MemoryDisk::write_through(NameChange& change) {
  for (const Assignment& a : change.assignments) {
    auto& names = inodes_.at(a.directory)->synced_names;
    auto held = names.find(a.name);
    if (a.target != 0) ++inodes_.at(a.target)->durable_references;
    if (held != names.end()) {
      FileId was = held->second;
      names.erase(held);
      --inodes_.at(was)
            ->durable_references;  // the change's own record still refers to it: released with forget()
    }
    if (a.target != 0) names.emplace(a.name, a.target);
  }
}

void MemoryDisk::forget(const NameChange& change) {
  for (const Assignment& a : change.assignments) {
    for (FileId id : {a.directory, a.target, a.previous}) {
      if (id == 0) continue;
      --inodes_.at(id)->durable_references;
      release(id);
    }
  }
}

void MemoryDisk::release(FileId file) {
  auto found = inodes_.find(file);
  if (found == inodes_.end()) return;
  const Inode& inode = *found->second;
  if (inode.links > 0 || inode.open > 0 || inode.durable_references > 0) return;
  used_bytes_ -= inode.bytes.allocated();
  inodes_.erase(found);
}

void MemoryDisk::sync_content(Inode& inode) {
  for (const Change& change : inode.unsynced) Inode::apply(change, inode.synced_bytes, inode.synced_owner);
  inode.unsynced.clear();
  inode.synced_owner = inode.owner;
}

Result<void> MemoryDisk::sync_directory(std::string_view path) {
  CANOPY_ASSIGN(Inode * inode, walk(path));
  if (inode->type == FileType::kSymlink) return fail(Code::kLoop, std::string(path), "is a symbolic link");
  if (inode->type != FileType::kDirectory)
    return fail(Code::kNotDirectory, std::string(path), "not a directory");
  sync_content(*inode);
  FileId id = inode->id;
  make_durable([id](const NameChange& change) {
    return std::ranges::any_of(change.assignments, [id](const Assignment& a) { return a.directory == id; });
  });
  return {};
}

void MemoryDisk::sync_all() {
  for (auto& [id, inode] : inodes_) sync_content(*inode);
  make_durable([](const NameChange&) { return true; });
}

uint64_t MemoryDisk::unsynced_changes() const {
  uint64_t count = unsynced_names_.size();
  for (const auto& [id, inode] : inodes_) count += inode->unsynced.size();
  return count;
}

void MemoryDisk::crash(uint64_t seed) {
  SeededRandom random(seed);
  crash_names(random);
  std::vector<FileId> ids;
  ids.reserve(inodes_.size());
  for (const auto& [id, inode] : inodes_) ids.push_back(id);
  std::ranges::sort(ids);  // the map's own order is not part of the seed
  for (FileId id : ids) crash_content(*inodes_.at(id), random);
  rebuild_from_durable();
}

void MemoryDisk::crash_names(SeededRandom& random) {
  uint64_t outcome = random.below(4);  // nothing of it, all of it, or any part (twice as often)
  Ties lost;
  std::list<NameChange> kept;
  while (!unsynced_names_.empty()) {
    const NameChange& change = unsynced_names_.front();
    bool keep = outcome == 1 || (outcome > 1 && random.chance(0.5));
    for (const Assignment& a : change.assignments) {
      bool impossible = lost.names.contains({a.directory, a.name}) || lost.files.contains(a.target) ||
                        lost.files.contains(a.previous) || lost.created.contains(a.directory) ||
                        (a.removes_directory && lost.contents.contains(a.previous));
      keep = keep && !impossible;
    }
    if (keep) {
      kept.splice(kept.end(), unsynced_names_, unsynced_names_.begin());
      continue;
    }
    for (const Assignment& a : change.assignments) {
      lost.names.emplace(a.directory, a.name);
      if (a.target != 0) lost.files.insert(a.target);
      if (a.previous != 0) lost.files.insert(a.previous);
      if (a.creates) lost.created.insert(a.target);
      lost.contents.insert(a.directory);
    }
    unsynced_names_.pop_front();
  }
  for (NameChange& change : kept) write_through(change);
}

void MemoryDisk::crash_content(Inode& inode, SeededRandom& random) {
  uint64_t fate = random.below(4);
  for (Change& change : inode.unsynced) {
    uint64_t outcome = fate == 0 ? 0 : fate == 1 ? 1 : random.below(4);
    if (outcome == 0) continue;
    if (change.kind == Change::Kind::kWrite && outcome == 2) {  // cut short
      change.bytes.resize(random.below(change.bytes.size() + 1));
    }
    if (change.kind == Change::Kind::kWrite && outcome == 3) {  // a sector range of it never reached the disk
      uint64_t first = random.below(change.size / kSectorBytes + 1) * kSectorBytes;
      uint64_t count = (random.below(4) + 1) * kSectorBytes;
      if (first < change.size) {
        std::string old(std::min(count, change.size - first), '\0');
        inode.synced_bytes.read(change.offset + first, std::span<char>(old.data(), old.size()));
        change.bytes.replace(first, old.size(), old);
      }
    }
    if (change.kind == Change::Kind::kWrite && change.bytes.empty()) continue;
    Inode::apply(change, inode.synced_bytes, inode.synced_owner);
  }
  inode.unsynced.clear();
  inode.owner = inode.synced_owner;
  inode.bytes = inode.synced_bytes;
}

void MemoryDisk::rebuild_from_durable() {
  for (auto& [id, inode] : inodes_) {
    inode->links = inode->subdirectories = inode->durable_references = 0;
    auto before = std::move(inode->names);
    inode->names.clear();
    inode->by_cookie.clear();
    for (const auto& [name, target] : inode->synced_names) {
      auto held = before.find(name);  // a reader's place in the directory holds across the crash
      uint64_t cookie = held != before.end() ? held->second.cookie : next_cookie_++;
      inode->names.emplace(name, Inode::Name{target, cookie});
      inode->by_cookie.emplace(cookie, name);
    }
  }
  Inode& root = *inodes_.at(1);
  root.links = root.durable_references = 1;
  std::vector<Inode*> reached{&root};
  while (!reached.empty()) {
    Inode* directory = reached.back();
    reached.pop_back();
    for (const auto& [name, entry] : directory->names) {
      Inode& target = *inodes_.at(entry.target);
      ++target.links;
      ++target.durable_references;
      if (target.type != FileType::kDirectory) continue;
      CANOPY_CHECK(target.links == 1);  // a directory has one name
      target.parent = directory->id;
      ++directory->subdirectories;
      reached.push_back(&target);
    }
  }
  used_bytes_ = 0;
  std::erase_if(inodes_, [](const auto& entry) { return entry.second->links == 0; });
  for (const auto& [id, inode] : inodes_) used_bytes_ += inode->bytes.allocated();
}

}  // namespace canopy
