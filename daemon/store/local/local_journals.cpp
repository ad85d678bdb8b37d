#include "daemon/store/local/local_journals.h"

#include "daemon/base/log.h"

namespace canopy {

static Task<void> end_in_order(std::shared_ptr<ReplaceJournal> journal) {
  auto ended = co_await journal->end();
  if (!ended)
    log_event(LogLevel::kWarning, "journal-not-ended", ended.error().object(),
              {{"error", ended.error().to_string()}});
}

Result<std::unique_ptr<JournaledStore>> LocalJournals::open(UringLoop& loop, const std::string& root,
                                                            const LocalStoreOptions& options) {
  CANOPY_ASSIGN(std::unique_ptr<LocalStore> store, LocalStore::open_root(loop, root, options));
  const Identity identity = store->identity();
  std::lock_guard lock(mutex_);
  Entry& entry = entries_[identity];
  if (entry.ending) return fail(Code::kBusy, root, "the journal of this store is being ended; try again");
  if (!entry.journal) {
    auto made = make(root, options);
    if (!made) entries_.erase(identity);
    CANOPY_TRY(made);
    entry.journal = std::move(*made);
  }
  ++entry.users;
  std::shared_ptr<ReplaceJournal> used(entry.journal.get(),
                                       [this, identity](ReplaceJournal*) { give_back(identity); });
  return std::make_unique<JournaledStore>(loop, std::move(store), std::move(used));
}

Result<std::shared_ptr<ReplaceJournal>> LocalJournals::make(const std::string& root,
                                                            const LocalStoreOptions& options) {
  CANOPY_ASSIGN(std::unique_ptr<LocalStore> store, LocalStore::open_root(home_, root, options));
  JournalOptions journal;
  journal.use = store->may_have_journal();
  journal.round = store->journal_round();
  journal.lock = [take = take_lock_, held = std::shared_ptr<void>(),
                  file = fmt::format("{}/{}/lock", root, journal::kDirectory)]() mutable -> Result<void> {
    if (held) return {};
    CANOPY_ASSIGN(held, take(file));
    return {};
  };
  return std::make_shared<ReplaceJournal>(home_, std::move(store), std::move(journal));
}

void LocalJournals::give_back(Identity of) {
  std::lock_guard lock(mutex_);
  Entry& entry = entries_.at(of);
  if (--entry.users > 0) return;
  if (!entry.journal->is_begun()) {  // there is nothing to end
    home_.post([journal = std::move(entry.journal)] {});
    entries_.erase(of);
    return;
  }
  entry.ending = true;
  home_.post(
      [this, of, journal = entry.journal]() mutable { home_.spawn(end_given_back(of, std::move(journal))); });
}

Task<void> LocalJournals::end_given_back(Identity of, std::shared_ptr<ReplaceJournal> journal) {
  co_await end_in_order(std::move(journal));
  std::lock_guard lock(mutex_);
  entries_.erase(of);
}

Task<void> LocalJournals::end() {
  std::vector<std::shared_ptr<ReplaceJournal>> journals;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [identity, entry] : entries_) journals.push_back(entry.journal);
  }
  TaskGroup group(home_);
  for (auto& journal : journals) group.spawn(end_in_order(std::move(journal)));
  co_await group.join();
}

}  // namespace canopy
