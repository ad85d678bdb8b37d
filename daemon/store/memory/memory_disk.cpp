// Operations by path: names, directories, links.
#include "daemon/store/memory/memory_disk.h"

#include "daemon/base/check.h"
#include "daemon/store/memory/memory_inode.h"
#include "daemon/store/store_path.h"

namespace canopy {

namespace {
constexpr uint32_t kModeBits = 07777;
}

MemoryDisk::MemoryDisk(MemoryDiskOptions options) : options_(std::move(options)) {
  Inode* root = *make_inode(FileType::kDirectory, 0755, "/");
  root->parent = root->id;
  root->links = 1;
  root->durable_references = 1;  // never goes
}

MemoryDisk::~MemoryDisk() = default;

FileTime MemoryDisk::tick() {
  int64_t now = options_.wall_clock_ns ? options_.wall_clock_ns() : (ticks_ += 1000);
  return FileTime{now / 1'000'000'000, static_cast<uint32_t>(now % 1'000'000'000)};
}

Result<MemoryDisk::Inode*> MemoryDisk::walk(std::string_view path) {
  CANOPY_TRY(check_store_path(path));
  Inode* at = inodes_.at(1).get();
  size_t start = 0;
  while (start < path.size()) {
    size_t end = std::min(path.find('/', start), path.size());
    if (at->type == FileType::kSymlink) {
      return fail(Code::kLoop, std::string(path), "a symbolic link is on the way, and none is followed");
    }
    if (at->type != FileType::kDirectory)
      return fail(Code::kNotDirectory, std::string(path), "a file is on the way");
    auto name = at->names.find(std::string(path.substr(start, end - start)));
    if (name == at->names.end()) return fail(Code::kNotFound, std::string(path), "no such file or directory");
    at = inodes_.at(name->second.target).get();
    start = end + 1;
  }
  return at;
}

Result<MemoryDisk::Place> MemoryDisk::place_of(std::string_view path) {
  CANOPY_TRY(check_store_name(path));
  Place place;
  CANOPY_ASSIGN(place.directory, walk(store_parent_of(path)));
  if (place.directory->type == FileType::kSymlink) {
    return fail(Code::kLoop, std::string(path), "a symbolic link is on the way, and none is followed");
  }
  if (place.directory->type != FileType::kDirectory) {
    return fail(Code::kNotDirectory, std::string(path), "a file is on the way");
  }
  place.name = store_leaf_of(path);
  auto name = place.directory->names.find(place.name);
  if (name != place.directory->names.end()) place.found = inodes_.at(name->second.target).get();
  return place;
}

Result<MemoryDisk::Inode*> MemoryDisk::make_inode(FileType type, uint32_t mode, std::string_view path) {
  if (inodes_.size() >= options_.files_total) {
    return fail(Code::kStoreFull, std::string(path), "the store holds as many files as it can");
  }
  auto inode = std::make_unique<Inode>();
  inode->id = next_id_++;
  inode->type = type;
  inode->owner.mode = mode & kModeBits;
  inode->owner.accessed = inode->owner.modified = inode->owner.changed = tick();
  inode->synced_owner = inode->owner;
  Inode* raw = inode.get();
  inodes_.emplace(raw->id, std::move(inode));
  return raw;
}

Result<MemoryDisk::Inode*> MemoryDisk::create_file(Place& place, const OpenOptions& options,
                                                   std::string_view path) {
  CANOPY_ASSIGN(Inode * made, make_inode(FileType::kRegular, options.mode, path));
  apply({Assignment{place.directory->id, place.name, made->id, 0, true, false}}, Durable::kNo);
  return made;
}

Result<MemoryDisk::FileId> MemoryDisk::open(std::string_view path, const OpenOptions& options) {
  CANOPY_TRY(check_store_path(path));
  if (path.empty()) return fail(Code::kIsDirectory, "/", "is the root directory");
  CANOPY_ASSIGN(Place place, place_of(path));
  bool fresh = place.found == nullptr;
  if (fresh) {
    if (!options.create) return fail(Code::kNotFound, std::string(path), "no such file or directory");
    CANOPY_ASSIGN(place.found, create_file(place, options, path));
  } else if (options.create && options.exclusive) {
    return fail(Code::kAlreadyExists, std::string(path), "the name is taken");
  }
  Inode& inode = *place.found;
  if (inode.type == FileType::kDirectory)
    return fail(Code::kIsDirectory, std::string(path), "is a directory");
  if (inode.type == FileType::kSymlink) return fail(Code::kLoop, std::string(path), "is a symbolic link");
  ++inode.open;
  if (!fresh && options.truncate) {
    auto emptied = change_attributes(inode, SetAttributes{.size = 0}, Durable::kNo);
    CANOPY_CHECK(emptied.has_value());
  }
  return inode.id;
}

void MemoryDisk::close(FileId file) {
  auto found = inodes_.find(file);
  if (found == inodes_.end() || found->second->open == 0) return;  // lost in a crash
  --found->second->open;
  release(file);
}

Result<Attributes> MemoryDisk::attributes(std::string_view path) {
  CANOPY_ASSIGN(Inode * inode, walk(path));
  return attributes_of(*inode);
}

Result<void> MemoryDisk::set_attributes(std::string_view path, const SetAttributes& change, Durable durable) {
  CANOPY_ASSIGN(Inode * inode, walk(path));
  if (inode->type == FileType::kSymlink && change.mode) {
    return fail(Code::kUnsupported, std::string(path), "a symbolic link has no mode of its own");
  }
  if (inode->type != FileType::kRegular && change.size) {
    Code code = inode->type == FileType::kDirectory ? Code::kIsDirectory : Code::kLoop;
    return fail(code, std::string(path), "only a file has a size to set");
  }
  return change_attributes(*inode, change, durable);
}

Result<void> MemoryDisk::make_directory(std::string_view path, uint32_t mode, Durable durable) {
  if (path.empty()) return fail(Code::kAlreadyExists, "/", "the root is always there");
  CANOPY_ASSIGN(Place place, place_of(path));
  if (place.found != nullptr) return fail(Code::kAlreadyExists, std::string(path), "the name is taken");
  CANOPY_ASSIGN(Inode * made, make_inode(FileType::kDirectory, mode, path));
  apply({Assignment{place.directory->id, place.name, made->id, 0, true, false}}, durable);
  return {};
}

Result<void> MemoryDisk::remove_directory(std::string_view path, Durable durable) {
  CANOPY_ASSIGN(Place place, place_of(path));
  if (place.found == nullptr) return fail(Code::kNotFound, std::string(path), "no such file or directory");
  if (place.found->type != FileType::kDirectory)
    return fail(Code::kNotDirectory, std::string(path), "not a directory");
  if (!place.found->names.empty())
    return fail(Code::kNotEmpty, std::string(path), "the directory is not empty");
  apply({Assignment{place.directory->id, place.name, 0, place.found->id, false, true}}, durable);
  return {};
}

Result<void> MemoryDisk::remove(std::string_view path, Durable durable) {
  CANOPY_ASSIGN(Place place, place_of(path));
  if (place.found == nullptr) return fail(Code::kNotFound, std::string(path), "no such file or directory");
  if (place.found->type == FileType::kDirectory)
    return fail(Code::kIsDirectory, std::string(path), "is a directory");
  apply({Assignment{place.directory->id, place.name, 0, place.found->id, false, false}}, durable);
  return {};
}

Result<void> MemoryDisk::rename(std::string_view from, std::string_view to, RenameMode mode,
                                Durable durable) {
  CANOPY_ASSIGN(Place source, place_of(from));
  CANOPY_ASSIGN(Place target, place_of(to));
  if (source.found == nullptr) return fail(Code::kNotFound, std::string(from), "no such file or directory");
  if (target.found == nullptr && mode == RenameMode::kExchange) {
    return fail(Code::kNotFound, std::string(to), "no such file or directory");
  }
  if (target.found != nullptr && mode == RenameMode::kNoReplace) {
    return fail(Code::kAlreadyExists, std::string(to), "the name is taken");
  }
  auto moves_into_itself = [this](const Inode* moved, const Inode* directory) {
    if (moved == nullptr || moved->type != FileType::kDirectory) return false;
    for (const Inode* at = directory;; at = inodes_.at(at->parent).get()) {
      if (at == moved) return true;
      if (at->parent == at->id) return false;
    }
  };
  if (moves_into_itself(source.found, target.directory) ||
      (mode == RenameMode::kExchange && moves_into_itself(target.found, source.directory))) {
    return fail(Code::kInvalidArgument, std::string(to), "a directory cannot move into itself");
  }
  if (source.found == target.found) return {};  // two names of one file: nothing happens, as POSIX wants
  Assignment leaves{source.directory->id, source.name, 0, source.found->id, false, false};
  Assignment arrives{target.directory->id, target.name, source.found->id, 0, false, false};
  if (target.found != nullptr) {
    arrives.previous = target.found->id;
    if (mode == RenameMode::kExchange) {
      leaves.target = target.found->id;
    } else {
      bool source_is_directory = source.found->type == FileType::kDirectory;
      bool target_is_directory = target.found->type == FileType::kDirectory;
      if (source_is_directory && !target_is_directory) {
        return fail(Code::kNotDirectory, std::string(to), "a file is in the way of a directory");
      }
      if (!source_is_directory && target_is_directory) {
        return fail(Code::kIsDirectory, std::string(to), "a directory is in the way of a file");
      }
      if (target_is_directory && !target.found->names.empty()) {
        return fail(Code::kNotEmpty, std::string(to), "the directory is not empty");
      }
      arrives.removes_directory = target_is_directory;
    }
  }
  std::vector<Assignment> both;
  both.push_back(std::move(leaves));
  both.push_back(std::move(arrives));
  apply(std::move(both), durable);
  return {};
}

Result<void> MemoryDisk::link(std::string_view from, std::string_view to, Durable durable) {
  CANOPY_ASSIGN(Place source, place_of(from));
  CANOPY_ASSIGN(Place target, place_of(to));
  if (source.found == nullptr) return fail(Code::kNotFound, std::string(from), "no such file or directory");
  if (target.found != nullptr) return fail(Code::kAlreadyExists, std::string(to), "the name is taken");
  if (source.found->type == FileType::kDirectory) {
    return fail(Code::kPermissionDenied, std::string(from), "a directory has one name only");
  }
  if (source.found->links >= options_.links_max) {
    return fail(Code::kTooManyLinks, std::string(from), "the file has as many names as it can");
  }
  apply({Assignment{target.directory->id, target.name, source.found->id, 0, false, false}}, durable);
  return {};
}

Result<void> MemoryDisk::make_symlink(std::string_view target, std::string_view path, Durable durable) {
  if (target.empty() || target.find('\0') != std::string_view::npos) {
    return fail(Code::kInvalidArgument, std::string(path),
                "a symbolic link needs a target without NUL bytes");
  }
  if (target.size() > kSymlinkBytesMax)
    return fail(Code::kNoSpaceForName, std::string(path), "the target is too long");
  CANOPY_ASSIGN(Place place, place_of(path));
  if (place.found != nullptr) return fail(Code::kAlreadyExists, std::string(path), "the name is taken");
  CANOPY_ASSIGN(Inode * made, make_inode(FileType::kSymlink, 0777, path));
  made->target = target;
  apply({Assignment{place.directory->id, place.name, made->id, 0, true, false}}, durable);
  return {};
}

Result<std::string> MemoryDisk::read_symlink(std::string_view path) {
  CANOPY_ASSIGN(Inode * inode, walk(path));
  if (inode->type != FileType::kSymlink)
    return fail(Code::kInvalidArgument, std::string(path), "not a symbolic link");
  return inode->target;
}

Result<DirectoryPage> MemoryDisk::list(std::string_view path, uint64_t cookie, Listing listing) {
  CANOPY_ASSIGN(Inode * inode, walk(path));
  if (inode->type == FileType::kSymlink) return fail(Code::kLoop, std::string(path), "is a symbolic link");
  if (inode->type != FileType::kDirectory)
    return fail(Code::kNotDirectory, std::string(path), "not a directory");
  DirectoryPage page;
  page.next_cookie = cookie;
  auto at = inode->by_cookie.upper_bound(cookie);
  for (; at != inode->by_cookie.end() && page.entries.size() < kStoreDirectoryPageEntries; ++at) {
    const Inode& target = *inodes_.at(inode->names.at(at->second).target);
    page.entries.push_back(DirectoryEntry{at->second, target.type, target.id, at->first});
    if (listing == Listing::kAttributes) page.attributes.push_back(attributes_of(target));
    page.next_cookie = at->first;
  }
  page.end = at == inode->by_cookie.end();
  return page;
}

StoreSpace MemoryDisk::space() const {
  uint64_t files = inodes_.size();
  return StoreSpace{options_.bytes_total, options_.bytes_total - std::min(options_.bytes_total, used_bytes_),
                    options_.files_total, options_.files_total - std::min(options_.files_total, files)};
}

void MemoryDisk::set_name(Inode& directory, const std::string& name, FileId target) {
  FileTime now = tick();
  auto held = directory.names.find(name);
  if (held != directory.names.end()) {
    Inode& was = *inodes_.at(held->second.target);
    --was.links;
    was.owner.changed = now;
    if (was.type == FileType::kDirectory) --directory.subdirectories;
    if (target == 0) {
      directory.by_cookie.erase(held->second.cookie);
      directory.names.erase(held);
    } else {
      held->second.target = target;
    }
  } else if (target != 0) {
    uint64_t cookie = next_cookie_++;
    directory.names.emplace(name, Inode::Name{target, cookie});
    directory.by_cookie.emplace(cookie, name);
  }
  if (target != 0) {
    Inode& is = *inodes_.at(target);
    ++is.links;
    is.owner.changed = now;
    if (is.type == FileType::kDirectory) {
      ++directory.subdirectories;
      is.parent = directory.id;
    }
  }
  directory.owner.modified = directory.owner.changed = now;
}

}  // namespace canopy
