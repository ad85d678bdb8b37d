// Settings and info files: dictionaries that are replaced whole (DESIGN "Settings and info"). A replacement
// is staged in `.canopy/stage/EPOCH/SLOT/` on the same store under a name that is never used again, made
// durable, then renamed over (docs/formats/store.md). For one loop's thread; the Store outlives it.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "daemon/base/error.h"
#include "daemon/dict/versioned.h"
#include "daemon/log/records.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/task.h"
#include "daemon/store/store.h"

namespace canopy {

inline constexpr std::string_view kStageRoot = ".canopy/stage";
inline constexpr std::string_view kTrashRoot = ".canopy/trash";
// In a stage, beside the slots' directories: those through which domains go (passage()).
inline constexpr std::string_view kPassagesElement = "domains";
inline constexpr size_t kPassagesMax = 65536;  // in one stage

// The request that a change answers, kept with it so that a resend finds it.
struct ChangeRequest {
  RequestId id{};
  int64_t unix_seconds = 0;

  std::string key() const;  // as the files hold it; empty: none
};

// The mark of the account or domain of this name (as `jsmith@company.com`) that this request creates
// (VersionedDict::created). A random one without a request.
std::string mark_of(const RequestId& id, std::string_view name, Loop& loop);

class SettingsFiles {
 public:
  // `writer`: told apart from the other loops of this process, so that their staged names differ.
  // `lease_held`: asked when a replacement completes; empty: always held.
  SettingsFiles(Store& store, uint64_t epoch, uint32_t writer, std::function<bool()> lease_held = {})
      : store_(store), epoch_(epoch), writer_(writer), lease_held_(std::move(lease_held)) {}

  Store& store() const { return store_; }
  uint64_t epoch() const { return epoch_; }

  // kNotFound when it is absent, kDamaged when it does not parse.
  Task<Result<dict::VersionedDict>> read(std::string path);
  // Where the file lies elsewhere than the newest row of the mount table says: brings it there, while nobody
  // replaces it. What has a higher version counts, should a crash leave it at both places.
  Task<Result<void>> move_to_newest_store(uint32_t slot, std::string path);
  // Copies it, as it is, from one of the places that `path` may lie at to another; durable. As with
  // replace(), a copy without an answer cannot appear any more once `path` is read or replaced again. The
  // directory must exist: it may be an account's, which nobody makes twice.
  Task<Result<void>> copy(uint32_t slot, std::string path, std::string from, std::string to);
  // Replaces (or makes) the file by `file` under the next version after the one in it, remembering the
  // request; durable. Answers the file as it is now. The directory must exist. kFenced: a process with a
  // higher epoch has removed our stage. After another error either file may be there; before it is read or
  // replaced again it is made sure that the rename, should it still be on its way, finds nothing to rename.
  // `in_place`: as Replacement's.
  Task<Result<dict::VersionedDict>> replace(uint32_t slot, std::string path, dict::VersionedDict file,
                                            ChangeRequest request = {}, bool in_place = true);

  // A name in the slot's stage directory that nobody has used, on the store that holds `target`: for things
  // that are made ready before they appear, or that disappear. kFenced as above.
  Task<Result<std::string>> stage_path(uint32_t slot, std::string target);
  // Writes a durable file in the stage and answers its path.
  Task<Result<std::string>> stage_file(uint32_t slot, std::string target, std::string text);
  // A new directory in our stage on the store that holds `target`, for one thing that is renamed into it, and
  // on to its place. A successor brings what it finds there to its own stage, and removes it before it looks
  // for domains; then neither rename can be carried out any more. kFenced as above.
  Task<Result<std::string>> passage(std::string target);
  std::string passages_at(const StoreSite& site) const;  // the directory of all of them
  // Before `directory` gets another name: of files below it whose replacement was not answered, it is made
  // sure that it cannot be carried out any more, as for replace().
  Task<Result<void>> settle_below(std::string directory);
  // The error of an operation that named `staged`, of stage_path(). kNotFound means kFenced when a
  // successor has removed that stage, which it does slot by slot.
  Task<Error> fenced_if_gone(std::string staged, Error error);
  // kFenced when a later process has taken the slot on the store of `target`: for renames that do not name
  // the stage. One that was sent just before can still come after the successor's.
  Task<Result<void>> check_not_succeeded(uint32_t slot, std::string target);

 private:
  Store& store_;
  const uint64_t epoch_;
  const uint32_t writer_;
  const std::function<bool()> lease_held_;
  Task<Result<void>> begin_stage(StoreSite site, std::string stage);
  Task<Result<void>> settle(std::string path);
  Task<Result<void>> keep_newest(std::string path);

  uint64_t next_ = 1;
  std::set<std::string> begun_;  // stages of ours that were made; never again, as a successor removes them
  std::set<std::string> slot_stages_;             // directories of slots that are there
  std::map<std::string, std::string> undecided_;  // by target: what was staged for a rename without an answer
};

// Gives a damaged file a second name in `damaged/` of the directory; its own stays until it is replaced.
Task<Result<void>> set_damaged_aside(Store& store, Loop& loop, std::string path, std::string directory);

// At start, on a shared store: removes what processes with a lower epoch staged, so that a late rename of
// theirs finds nothing; our own stage, made first, tells them of our epoch. Domains in passages get one of
// our own (settle_domains()). Answers how many directories went.
Task<Result<uint32_t>> remove_older_stages(Store& store, uint64_t epoch);
// Whether some stage has a passage with a domain in it.
Task<Result<bool>> holds_domains(Store& store);
// Removes a directory with all that is in it; absent is fine.
Task<Result<void>> remove_tree(Store& store, std::string path);

}  // namespace canopy
