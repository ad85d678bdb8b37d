// CachedDicts: small versioned dictionaries of a domain that are kept in memory after their first use, each
// behind a gate, so that one is read and replaced by one task at a time. For one loop's thread.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "daemon/account/settings_files.h"
#include "daemon/runtime/sync.h"

namespace canopy {

inline constexpr size_t kCachedDictsMax = 4096;

class CachedDicts {
  struct Entry {
    explicit Entry(Loop& loop) : gate(loop) {}
    Mutex gate;
    bool loaded = false;
    dict::VersionedDict file;
  };

 public:
  CachedDicts(Loop& loop, SettingsFiles& files) : loop_(loop), files_(files), opened_(loop) {}

  // A dictionary with its gate held; an absent file is an empty one.
  class Held {
   public:
    const dict::VersionedDict& file() const { return entry_->file; }

   private:
    friend class CachedDicts;
    std::string path_;
    std::shared_ptr<Entry> entry_;
    std::optional<Mutex::Guard> guard_;
  };
  // kStoreUnavailable, too, when the store cannot say whether there is one (a stale handle).
  Task<Result<Held>> hold(std::string path);
  // Makes its directory when that is not there.
  Task<Result<void>> replace(Held& held, uint32_t slot, dict::Dict changed, ChangeRequest request = {});
  // As SettingsFiles says, with its gate held.
  Task<Result<void>> move_to_newest_store(uint32_t slot, std::string path);
  void forget_below(const std::string& directory);
  // Before the directory (of a domain) is renamed: ends what is under way below it. What comes waits for
  // open_below(), which says where it lies now; who names it by its former place is understood. One
  // directory at a time.
  Task<void> close_below(std::string directory);
  void open_below(const std::string& directory, const std::string& now);

  Loop& loop() const { return loop_; }

 private:
  Loop& loop_;
  SettingsFiles& files_;
  bool is_closed(std::string_view path) const {
    return !closed_.empty() && path.starts_with(closed_) && path.substr(closed_.size()).starts_with('/');
  }
  void translate(std::string& path) const;

  std::unordered_map<std::string, std::shared_ptr<Entry>> entries_;  // by path
  std::string closed_;                                               // a directory; empty: none
  Event opened_;
  std::unordered_map<std::string, std::string> moved_;  // directories of domains, and where they lie now
};

}  // namespace canopy
