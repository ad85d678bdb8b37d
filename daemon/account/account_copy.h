// AccountCopy: a copy of an account's directory on another store, made while the account is in use: what its
// slices hold first, then what they have grown by, and the rest once the account is closed. Every byte is
// read back after it was made durable and compared with what was read. For one loop's thread; the Store and
// the Loop outlive it. After an error the copy is of no use to anybody and must be removed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/log/account_log.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/sync.h"
#include "daemon/store/store.h"

namespace canopy {

inline constexpr uint64_t kCopyChunkBytes = 1u << 20;
inline constexpr uint64_t kCopySyncedBytes = 4u << 20;  // written between two syncs
inline constexpr uint32_t kCopyDepthMax = 8;            // of directories within an account's

class AccountCopy {
  class Hashed;

 public:
  // Both are directories that stay what they are whatever the mount table says (".stores/NAME/…"); `to` is
  // not there yet. `turns`: of all copies that write to the same disk, which has more to do than they say;
  // null: they need not take turns. It outlives this.
  AccountCopy(Store& store, Loop& loop, std::string from, std::string to, Mutex* turns = nullptr)
      : store_(store), loop_(loop), from_(std::move(from)), to_(std::move(to)), turns_(turns) {}

  Task<Result<void>> begin();
  // What of these slices was not copied so far; their valid lengths are what counts. Answers how many bytes
  // that were.
  Task<Result<uint64_t>> follow(std::vector<SliceInfo> slices);
  // So many bytes of these slices follow() or finish() would have to copy.
  uint64_t missing(const std::vector<SliceInfo>& slices) const;
  // With nobody writing any more: the slices as they are now and everything else that belongs to the account.
  // kUnsupported: a file that is none of Canopy's and cannot be copied, by its path.
  Task<Result<void>> finish(std::vector<SliceInfo> slices);

  uint64_t bytes() const { return bytes_; }  // that were written, whatever became of them

 private:
  Task<Result<uint64_t>> copy_range(std::string name, uint64_t from, uint64_t until);
  Task<Result<uint64_t>> copy_piece(File& from, File& to, uint64_t at, uint64_t until, Hashed& hashed);
  Task<Result<void>> verify(std::string name, uint64_t from, uint64_t until, uint64_t hash);
  Task<Result<void>> copy_whole(std::string name, Attributes of);
  Task<Result<void>> copy_others(std::string below, std::vector<DirectoryEntry> entries, uint32_t depth);
  Task<Result<void>> copy_directory(std::string name, uint32_t depth);
  std::string source(const std::string& name) const { return from_ + "/" + name; }
  std::string target(const std::string& name) const { return to_ + "/" + name; }

  Store& store_;
  Loop& loop_;
  const std::string from_, to_;
  Mutex* const turns_;
  bool held_ = false;                       // somebody may wait for the account: no turns, no rests
  std::map<std::string, uint64_t> copied_;  // slices, up to where
  uint64_t bytes_ = 0;
};

}  // namespace canopy
