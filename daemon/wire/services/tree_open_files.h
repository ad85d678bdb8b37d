// TreeOpenFiles: which files the tree's clients have open, on all loops, and what is kept of those whose last
// name is gone: such a file gets a name in .canopy/unlinked, so that it outlives this process
// (docs/protocol/tree.md, "Files without a name"). Any thread.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "daemon/runtime/loop.h"
#include "daemon/wire/services/file_identity.h"

namespace canopy::wire {

inline constexpr std::string_view kTreeUnlinkedPath = ".canopy/unlinked";
// So long a client may be gone, or a backend be down, before a file without a name is removed.
inline constexpr Nanos kTreeUnlinkedKept = 600 * kSecond;

// ".canopy/unlinked/INODE.SECONDS.NANOSECONDS" of its birth, and back from the last element.
std::string unlinked_path(const FileIdentity& file);
std::optional<FileIdentity> parse_unlinked(std::string_view element);

class TreeOpenFiles {
 public:
  void opened(const FileIdentity& file);
  // `closed`: a client has closed it; otherwise its connection is gone, and it may come again.
  void gone(const FileIdentity& file, bool closed, Nanos now);
  bool is_open(const FileIdentity& file) const;
  bool any_open() const;

  // Writing to it, through whatever name it was opened, is changing the account's file at `path` from now on.
  // Does nothing unless a client has it open.
  void belongs_to(const FileIdentity& file, const std::string& path);
  std::optional<std::string> account_path(const FileIdentity& file) const;

  // It has a name in .canopy/unlinked from now on.
  void keep(const FileIdentity& file, Nanos now);
  void drop(const FileIdentity& file);
  bool is_kept(const FileIdentity& file) const;
  // Kept files that nobody needs any more; they are forgotten here.
  std::vector<FileIdentity> take_due(Nanos now);

 private:
  struct Row {
    uint32_t open = 0;
    bool kept = false;
    Nanos until = 0;  // of a kept one that nobody has open
    std::string account_path;
  };
  using Rows = std::unordered_map<FileIdentity, Row, FileIdentityHash>;
  Rows::iterator erase(Rows::iterator row);

  mutable std::mutex gate_;
  Rows rows_;
  std::atomic<size_t> kept_{0}, of_accounts_{0};  // rows that are kept, that have an account's path
};

}  // namespace canopy::wire
