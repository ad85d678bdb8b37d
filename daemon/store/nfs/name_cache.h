// NameCache: which file a path means, as the server said last. Bounded: what was not used for longest goes.
// It says nothing about absent names. A name that this process changes is forgotten with all below it, and
// what was asked of the server before that is not remembered afterwards. Pure.
#pragma once

#include <list>
#include <map>
#include <string>

#include "daemon/store/nfs/protocol.h"

namespace canopy::nfs {

struct NamedFile {
  FileHandle handle;
  FileType type = FileType::kOther;
  uint64_t file_id = 0;
};

class NameCache {
 public:
  NameCache(size_t entries_max, Nanos trusted) : entries_max_(entries_max), trusted_(trusted) {}

  // Null when it is not known, or was learnt longer ago than names are trusted. Valid until the next call.
  const NamedFile* find(std::string_view path, Nanos now);

  // What a question to the server takes with it, so that its answer can be told from outdated ones.
  using Moment = uint64_t;
  Moment moment() const { return changes_; }
  // No effect when `path`, or something above it, was forgotten since `asked`.
  void learn(std::string_view path, const NamedFile& file, Nanos now, Moment asked);

  void forget(std::string_view path);  // and all below it
  // The path itself and all directories above it, but not what else lies in those.
  void forget_way(std::string_view path);
  // After a rename: what was known of `from` and below is known of `to` and below.
  void moved(std::string_view from, std::string_view to);
  void clear();

  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    NamedFile file;
    Nanos learnt_at = 0;
    std::list<std::string_view>::iterator use;  // of the key
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  void erase(Entries::iterator entry);
  void erase_below(std::string_view path);
  void note_change(std::string_view path);
  bool changed_since(Moment asked, std::string_view path) const;

  const size_t entries_max_;
  const Nanos trusted_;
  Entries entries_;
  std::list<std::string_view> uses_;  // the youngest first
  Moment changes_ = 0;
  static constexpr size_t kChangesKept = 64;
  std::array<std::string, kChangesKept> changed_;  // change n in place n % kChangesKept
};

}  // namespace canopy::nfs
