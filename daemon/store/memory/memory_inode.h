// The inside of MemoryDisk: an inode with its volatile and its durable side, and the records of what is not
// yet durable.
#pragma once

#include <map>

#include "daemon/store/memory/memory_disk.h"

namespace canopy {

// A change of content or attributes that was not synced.
struct MemoryDisk::Change {
  enum class Kind { kWrite, kResize, kPunch, kReserve, kReserveAndGrow, kZero, kOwner, kXattrs } kind;
  uint64_t offset = 0;
  uint64_t size = 0;  // kResize: of the file
  std::string bytes = {};
  uint32_t mode = 0, uid = 0, gid = 0;             // kOwner: all three after the change
  std::map<std::string, std::string> xattrs = {};  // kXattrs: all of them after the change
};

struct MemoryDisk::Assignment {
  FileId directory = 0;
  std::string name;
  FileId target = 0;               // 0: the name goes
  FileId previous = 0;             // what the name meant before; 0: nothing
  bool creates = false;            // `target` is a new inode
  bool removes_directory = false;  // `previous` is a directory and goes for good
};

struct MemoryDisk::NameChange {
  std::vector<Assignment> assignments;
};

struct MemoryDisk::Inode {
  struct Owner {
    uint32_t mode = 0, uid = 0, gid = 0;
    FileTime accessed, modified, changed;
    std::map<std::string, std::string> xattrs;
  };
  struct Name {
    FileId target = 0;
    uint64_t cookie = 0;
  };

  FileId id = 0;
  FileType type = FileType::kRegular;
  std::string target;  // of a symbolic link

  // Volatile
  Owner owner;
  SparseBytes bytes;
  std::unordered_map<std::string, Name> names;  // of a directory
  std::map<uint64_t, std::string> by_cookie;    // the same, in listing order
  FileId parent = 0;                            // of a directory that has a name
  uint32_t links = 0;                           // names that mean it; 1 for a directory with a name
  uint32_t subdirectories = 0;
  uint32_t open = 0;

  // Durable
  Owner synced_owner;
  SparseBytes synced_bytes;
  std::map<std::string, FileId> synced_names;
  std::vector<Change> unsynced;     // oldest first
  uint32_t durable_references = 0;  // by durable names and by records of unsynced name changes

  static void apply(const Change& change, SparseBytes& bytes, Owner& owner);
};

}  // namespace canopy
