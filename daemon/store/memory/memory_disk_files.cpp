// Operations on open files: content and attributes.
#include "daemon/base/check.h"
#include "daemon/store/memory/memory_disk.h"
#include "daemon/store/memory/memory_inode.h"

namespace canopy {

namespace {
constexpr size_t kUnsyncedChangesMax = 1024;
constexpr uint64_t kFileBytesMax = 1ull << 44;  // 16 TiB, as ext4 with pages of 4 KiB

bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size) {
  return a < b + b_size && b < a + a_size;
}
}  // namespace

void MemoryDisk::Inode::apply(const Change& change, SparseBytes& bytes, Owner& owner) {
  uint64_t end = change.offset + change.size;
  switch (change.kind) {
    case Change::Kind::kWrite: bytes.write(change.offset, change.bytes); break;
    case Change::Kind::kResize: bytes.resize(change.size); break;
    case Change::Kind::kPunch: bytes.punch(change.offset, change.size); break;
    case Change::Kind::kReserve: bytes.reserve(change.offset, change.size); break;
    case Change::Kind::kReserveAndGrow:
      bytes.reserve(change.offset, change.size);
      if (bytes.size() < end) bytes.resize(end);
      break;
    case Change::Kind::kZero:
      bytes.punch(change.offset, change.size);
      bytes.reserve(change.offset, change.size);
      if (bytes.size() < end) bytes.resize(end);
      break;
    case Change::Kind::kOwner:
      owner.mode = change.mode;
      owner.uid = change.uid;
      owner.gid = change.gid;
      break;
    case Change::Kind::kXattrs: owner.xattrs = change.xattrs; break;
  }
}

Result<MemoryDisk::Inode*> MemoryDisk::by_id(FileId file, bool stale) {
  auto found = inodes_.find(file);
  if (found == inodes_.end() || (stale && found->second->links == 0)) {
    return fail(Code::kNotFound, fmt::format("file {}", file),
                "the open file is gone from the store (stale)");
  }
  return found->second.get();
}

Attributes MemoryDisk::attributes_of(const Inode& inode) const {
  Attributes out;
  out.type = inode.type;
  out.mode = inode.owner.mode;
  out.uid = inode.owner.uid;
  out.gid = inode.owner.gid;
  out.links =
      inode.type == FileType::kDirectory ? (inode.links == 0 ? 0 : 2 + inode.subdirectories) : inode.links;
  out.size = inode.bytes.size();
  if (inode.type == FileType::kDirectory) out.size = SparseBytes::kPageBytes;
  if (inode.type == FileType::kSymlink) out.size = inode.target.size();
  out.allocated = inode.bytes.allocated();
  out.file_id = inode.id;
  out.accessed = inode.owner.accessed;
  out.modified = inode.owner.modified;
  out.changed = inode.owner.changed;
  return out;
}

Result<void> MemoryDisk::check_room(const Inode& inode, uint64_t offset, uint64_t size) {
  if (offset > kFileBytesMax || size > kFileBytesMax - offset) {
    return fail(Code::kTooLarge, fmt::format("file {}", inode.id), "beyond the largest file of the store");
  }
  uint64_t more = inode.bytes.pages_missing(offset, size) * SparseBytes::kPageBytes;
  if (more > 0 && used_bytes_ + more > options_.bytes_total) {
    return fail(Code::kStoreFull, fmt::format("file {}", inode.id), "no space left on the store");
  }
  return {};
}

void MemoryDisk::change_content(Inode& inode, Change change, Durable durable) {
  uint64_t before = inode.bytes.allocated();
  Inode::apply(change, inode.bytes, inode.owner);
  used_bytes_ += inode.bytes.allocated() - before;  // modulo 2^64: may be less than before
  inode.owner.changed = tick();
  if (change.kind != Change::Kind::kOwner && change.kind != Change::Kind::kXattrs)
    inode.owner.modified = inode.owner.changed;
  if (durable == Durable::kNo) {
    inode.unsynced.push_back(std::move(change));
    if (inode.unsynced.size() >
        kUnsyncedChangesMax) {  // the system writes back on its own account, oldest first
      Inode::apply(inode.unsynced.front(), inode.synced_bytes, inode.synced_owner);
      inode.unsynced.erase(inode.unsynced.begin());
    }
    return;
  }
  // Earlier writes elsewhere stay unsynced; what touches the same bytes must not come back over these at a
  // crash.
  bool rests_on_earlier = std::ranges::any_of(inode.unsynced, [&](const Change& earlier) {
    return earlier.kind == Change::Kind::kResize || change.kind != Change::Kind::kWrite ||
           (earlier.kind != Change::Kind::kOwner && earlier.kind != Change::Kind::kXattrs &&
            overlaps(earlier.offset, earlier.size, change.offset, change.size));
  });
  if (rests_on_earlier) sync_content(inode);
  Inode::apply(change, inode.synced_bytes, inode.synced_owner);
  inode.synced_owner.modified = inode.owner.modified;
}

Result<size_t> MemoryDisk::read(FileId file, bool stale, uint64_t offset, std::span<char> into) {
  CANOPY_ASSIGN(Inode * inode, by_id(file, stale));
  return inode->bytes.read(offset, into);
}

Result<WriteOutcome> MemoryDisk::write(FileId file, bool stale, uint64_t offset,
                                       std::span<const std::string_view> pieces, Durable durable) {
  CANOPY_ASSIGN(Inode * inode, by_id(file, stale));
  Change change{Change::Kind::kWrite};
  change.offset = offset;
  for (std::string_view piece : pieces) change.bytes.append(piece);
  change.size = change.bytes.size();
  WriteOutcome outcome;
  outcome.written = change.bytes.size();
  CANOPY_TRY(check_room(*inode, offset, change.size));
  if (change.size > 0) change_content(*inode, std::move(change), durable);
  outcome.after = attributes_of(*inode);
  return outcome;
}

Result<Attributes> MemoryDisk::attributes(FileId file, bool stale) {
  CANOPY_ASSIGN(Inode * inode, by_id(file, stale));
  return attributes_of(*inode);
}

Result<void> MemoryDisk::change_attributes(Inode& inode, const SetAttributes& change, Durable durable) {
  if (change.size && *change.size > kFileBytesMax) {
    return fail(Code::kTooLarge, fmt::format("file {}", inode.id), "beyond the largest file of the store");
  }
  if (change.size) {
    Change resize{Change::Kind::kResize};
    resize.size = *change.size;
    change_content(inode, std::move(resize), Durable::kNo);
  }
  if (change.mode || change.uid || change.gid) {
    Change owner{Change::Kind::kOwner};
    owner.mode = change.mode.value_or(inode.owner.mode) & 07777;
    owner.uid = change.uid.value_or(inode.owner.uid);
    owner.gid = change.gid.value_or(inode.owner.gid);
    change_content(inode, std::move(owner), Durable::kNo);
  }
  if (change.accessed) inode.owner.accessed = *change.accessed;
  if (change.modified) inode.owner.modified = *change.modified;
  inode.owner.changed = tick();
  if (durable == Durable::kYes) sync_content(inode);
  return {};
}

Result<void> MemoryDisk::set_attributes(FileId file, bool stale, const SetAttributes& change,
                                        Durable durable) {
  CANOPY_ASSIGN(Inode * inode, by_id(file, stale));
  return change_attributes(*inode, change, durable);
}

Result<void> MemoryDisk::sync(FileId file, bool stale) {
  CANOPY_ASSIGN(Inode * inode, by_id(file, stale));
  sync_content(*inode);
  return {};
}

Result<void> MemoryDisk::allocate(FileId file, bool stale, AllocateMode mode, uint64_t offset,
                                  uint64_t size) {
  CANOPY_ASSIGN(Inode * inode, by_id(file, stale));
  if (size == 0)
    return fail(Code::kInvalidArgument, fmt::format("file {}", file), "a range has at least one byte");
  Change change{Change::Kind::kReserve};
  change.offset = offset;
  change.size = size;
  switch (mode) {
    case AllocateMode::kReserve: change.kind = Change::Kind::kReserveAndGrow; break;
    case AllocateMode::kReserveKeepSize: change.kind = Change::Kind::kReserve; break;
    case AllocateMode::kPunchHole: change.kind = Change::Kind::kPunch; break;
    case AllocateMode::kZero: change.kind = Change::Kind::kZero; break;
  }
  if (mode != AllocateMode::kPunchHole) CANOPY_TRY(check_room(*inode, offset, size));
  change_content(*inode, std::move(change), Durable::kNo);
  return {};
}

Result<uint64_t> MemoryDisk::seek(FileId file, bool stale, uint64_t offset, bool data) {
  CANOPY_ASSIGN(Inode * inode, by_id(file, stale));
  std::optional<uint64_t> at = data ? inode->bytes.data_at(offset) : inode->bytes.hole_at(offset);
  if (!at)
    return fail(Code::kNotFound, fmt::format("file {}", file),
                "nothing of the kind before the end of the file");
  return *at;
}

namespace {
std::unexpected<Error> no_xattr(std::string_view path, const std::string& name) {
  return std::unexpected<Error>(
      Error(Code::kNotFound, std::string(path), fmt::format("it has no attribute {}", name), ENODATA));
}
}  // namespace

Result<std::string> MemoryDisk::xattr(std::string_view path, const std::string& name) {
  CANOPY_ASSIGN(Inode * inode, walk(path));
  auto found = inode->owner.xattrs.find(name);
  if (found == inode->owner.xattrs.end()) return no_xattr(path, name);
  return found->second;
}

Result<std::vector<std::string>> MemoryDisk::list_xattrs(std::string_view path) {
  CANOPY_ASSIGN(Inode * inode, walk(path));
  std::vector<std::string> names;
  names.reserve(inode->owner.xattrs.size());
  for (const auto& [name, value] : inode->owner.xattrs) names.push_back(name);
  return names;
}

Result<void> MemoryDisk::set_xattr(std::string_view path, const std::string& name, std::string value,
                                   XattrMode mode, Durable durable) {
  CANOPY_ASSIGN(Inode * inode, walk(path));
  const bool there = inode->owner.xattrs.contains(name);
  if (mode == XattrMode::kReplace && !there) return no_xattr(path, name);
  if (mode == XattrMode::kCreate && there)
    return fail(Code::kAlreadyExists, std::string(path), fmt::format("it has an attribute {}", name));
  Change change{Change::Kind::kXattrs};
  change.xattrs = inode->owner.xattrs;
  change.xattrs[name] = std::move(value);
  change_content(*inode, std::move(change), durable);
  return {};
}

Result<void> MemoryDisk::remove_xattr(std::string_view path, const std::string& name, Durable durable) {
  CANOPY_ASSIGN(Inode * inode, walk(path));
  Change change{Change::Kind::kXattrs};
  change.xattrs = inode->owner.xattrs;
  if (change.xattrs.erase(name) == 0) return no_xattr(path, name);
  change_content(*inode, std::move(change), durable);
  return {};
}

}  // namespace canopy
