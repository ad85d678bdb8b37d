// MemoryDisk: what a machine with a disk would hold: a whole file system, and beside it what of it would
// survive a power cut. MemoryStores are its clients; several may share one disk, as processes share an NFS
// server. Every member is one operation that takes effect at once, so that any interleaving of clients is an
// interleaving of these calls.
//
// What survives a cut:
//  - content, size and mode of a file: what was synced, by sync() or by a write with Durable::kYes, which
//  makes
//    durable its own bytes and the size up to them, but no earlier write to another range;
//  - names: what a durable call or sync_directory() made durable, together with the earlier name changes it
//    rests on. A rename is one step, and syncing either of its two directories makes all of it durable;
//  - of everything else a random part, chosen from the seed: an unsynced write may be absent, whole, cut
//  short
//    at any byte, or present with a sector range that was never written; an unsynced name change is whole or
//    absent.
// A new file's name says nothing about its content, and a synced file may be lost with its unsynced name.
//
// For one thread. It must outlive its stores and their files.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "daemon/store/memory/sparse_bytes.h"
#include "daemon/store/seeded.h"
#include "daemon/store/store.h"

namespace canopy {

struct MemoryDiskOptions {
  uint64_t bytes_total = 1ull << 40;
  uint64_t files_total = 1ull << 32;
  uint32_t links_max = 65000;
  std::function<int64_t()>
      wall_clock_ns;  // for the times of files; absent: a counter that rises by 1 us a change
};

class MemoryDisk {
 public:
  using FileId = uint64_t;

  explicit MemoryDisk(MemoryDiskOptions options = {});
  ~MemoryDisk();

  // The power fails and comes back. The same seed and history give the same outcome. Open files stay usable
  // if the file survived, as those of a client whose NFS server restarted; else they answer kNotFound.
  void crash(uint64_t seed);

  // By path. Refusals are those of Linux, with the codes of code_from_errno.
  Result<FileId> open(std::string_view path, const OpenOptions& options);  // raises the file's open count
  void close(FileId file);
  Result<Attributes> attributes(std::string_view path);
  Result<void> set_attributes(std::string_view path, const SetAttributes& change, Durable durable);
  Result<void> make_directory(std::string_view path, uint32_t mode, Durable durable);
  Result<void> remove_directory(std::string_view path, Durable durable);
  Result<void> remove(std::string_view path, Durable durable);
  Result<void> rename(std::string_view from, std::string_view to, RenameMode mode, Durable durable);
  Result<void> link(std::string_view from, std::string_view to, Durable durable);
  Result<void> make_symlink(std::string_view target, std::string_view path, Durable durable);
  Result<std::string> read_symlink(std::string_view path);
  Result<DirectoryPage> list(std::string_view path, uint64_t cookie, Listing listing = Listing::kNames);
  Result<void> sync_directory(std::string_view path);
  void sync_all();
  StoreSpace space() const;
  Result<std::string> xattr(std::string_view path, const std::string& name);
  Result<std::vector<std::string>> list_xattrs(std::string_view path);
  Result<void> set_xattr(std::string_view path, const std::string& name, std::string value, XattrMode mode,
                         Durable durable);
  Result<void> remove_xattr(std::string_view path, const std::string& name, Durable durable);

  // By open file. With `stale` a file without a name answers kNotFound although it is open, as NFSv3 does.
  Result<size_t> read(FileId file, bool stale, uint64_t offset, std::span<char> into);
  Result<WriteOutcome> write(FileId file, bool stale, uint64_t offset,
                             std::span<const std::string_view> pieces, Durable durable);
  Result<Attributes> attributes(FileId file, bool stale);
  Result<void> set_attributes(FileId file, bool stale, const SetAttributes& change, Durable durable);
  Result<void> sync(FileId file, bool stale);
  Result<void> allocate(FileId file, bool stale, AllocateMode mode, uint64_t offset, uint64_t size);
  Result<uint64_t> seek(FileId file, bool stale, uint64_t offset, bool data);

  uint64_t unsynced_changes() const;  // of names and contents: 0 means that a crash loses nothing

 private:
  struct Inode;
  struct Change;
  struct NameChange;
  struct Assignment;
  struct Place {  // where a path leads: the directory, the last name, and what it names (null: nothing)
    Inode* directory = nullptr;
    std::string name;
    Inode* found = nullptr;
  };

  Result<Inode*> walk(std::string_view path);
  Result<Place> place_of(std::string_view path);
  Result<Inode*> by_id(FileId file, bool stale);
  Result<Inode*> make_inode(FileType type, uint32_t mode, std::string_view path);
  Result<Inode*> create_file(Place& place, const OpenOptions& options, std::string_view path);
  Attributes attributes_of(const Inode& inode) const;
  Result<void> change_attributes(Inode& inode, const SetAttributes& change, Durable durable);
  void change_content(Inode& inode, Change change, Durable durable);
  Result<void> check_room(const Inode& inode, uint64_t offset, uint64_t size);
  FileTime tick();

  // Volatile names, then the record of the change. All assignments of a change are one atomic step.
  void apply(std::vector<Assignment> assignments, Durable durable);
  void set_name(Inode& directory, const std::string& name, FileId target);
  void release(FileId file);  // frees the inode when nothing refers to it any more

  // Durable side
  void make_durable(const std::function<bool(const NameChange&)>& wanted);
  void write_through(NameChange& change);
  void forget(const NameChange& change);
  void sync_content(Inode& inode);
  void crash_names(SeededRandom& random);
  void crash_content(Inode& inode, SeededRandom& random);
  void rebuild_from_durable();

  MemoryDiskOptions options_;
  std::unordered_map<FileId, std::unique_ptr<Inode>> inodes_;
  std::list<NameChange> unsynced_names_;  // oldest first
  FileId next_id_ = 1;
  uint64_t next_cookie_ = 1;
  uint64_t used_bytes_ = 0;
  int64_t ticks_ = 1'700'000'000'000'000'000;  // a plausible date
};

}  // namespace canopy
