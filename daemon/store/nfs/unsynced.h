// UnsyncedFiles: the files with writes that the server may still lose, as no sync() has covered them. Of
// files that nobody has open for writing any more it knows the latest only. Pure; for one thread.
#pragma once

#include <list>
#include <string>
#include <unordered_map>

#include "daemon/store/nfs/protocol.h"

namespace canopy::nfs {

// Writes to a file that the server may still lose, by the verifier of the server's life that took them.
struct Unsynced {
  WriteVerifier verifier{};
  bool lost = false;   // the server has begun another life since
  uint64_t order = 0;  // of the last such write; 0: none yet
};

class UnsyncedFiles {
 public:
  explicit UnsyncedFiles(size_t most) : most_(most) {}

  // Of each open file that may write, as it comes and goes.
  void opened(const FileHandle& file);
  void closed(const FileHandle& file);

  Unsynced* find(const FileHandle& file);  // null: none; until the next change
  // Made when it is not there, in the place of the one that was closed first when there is no room. Null: all
  // are of open files.
  Unsynced* make(const FileHandle& file);
  void synced(const FileHandle& file);
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Unsynced state;
    bool is_closed = false;
    std::list<std::string>::iterator place;  // in closed_
  };
  using Entries = std::unordered_map<std::string, Entry>;
  void erase(Entries::iterator at);

  const size_t most_;
  std::unordered_map<std::string, uint32_t> open_;  // how often, by handle
  Entries entries_;                                 // by handle
  std::list<std::string> closed_;                   // the first to be closed first
};

}  // namespace canopy::nfs
