// LocalJournals: the journals of a process, one for each local directory that its loops have opened as a
// store.
#pragma once

#include <functional>
#include <map>
#include <mutex>

#include "daemon/store/journal/journaled_store.h"
#include "daemon/store/local/local_store.h"

namespace canopy {

class LocalJournals {
 public:
  // Takes a lock of this file until what it answers goes; kBusy.
  using TakeLock = std::function<Result<std::shared_ptr<void>>(const std::string& file)>;

  // `home`: the loop of all journals. It and this outlive the stores.
  LocalJournals(UringLoop& home, TakeLock take_lock) : home_(home), take_lock_(std::move(take_lock)) {}
  LocalJournals(const LocalJournals&) = delete;
  LocalJournals& operator=(const LocalJournals&) = delete;

  // As LocalStore::open_root(), with the journal of that directory, which has yet to begin. When the last
  // store of a directory goes, its journal ends; kBusy until it has. Any thread.
  Result<std::unique_ptr<JournaledStore>> open(UringLoop& loop, const std::string& root,
                                               const LocalStoreOptions& options);
  // Ends all in order; what cannot be ended is logged, and replayed at the next start. For the home loop.
  Task<void> end();

 private:
  using Identity = std::pair<uint64_t, uint64_t>;
  struct Entry {
    std::shared_ptr<ReplaceJournal> journal;
    uint32_t users = 0;
    bool ending = false;
  };
  Result<std::shared_ptr<ReplaceJournal>> make(const std::string& root, const LocalStoreOptions& options);
  void give_back(Identity of);
  Task<void> end_given_back(Identity of, std::shared_ptr<ReplaceJournal> journal);

  UringLoop& home_;
  const TakeLock take_lock_;
  std::mutex mutex_;
  std::map<Identity, Entry> entries_;  // under mutex_
};

}  // namespace canopy
