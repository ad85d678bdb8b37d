// ReplaceJournal: small files that are replaced often become durable as records of one journal, all that wait
// by one sync, and are put into their places without a sync of their own (docs/decisions/info-groups.md,
// docs/formats/journal.md). Whatever is seen is durable in the journal. Two files take turns: when one is
// full, the whole store is made durable while replacements go on into the other, and it is empty then.
//
// For a store that only this process changes. Whatever else happens to a path in the journal, or to a
// directory above it, goes through a Hold. One of a store in a process; for the thread of its loop, but where
// said.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "daemon/runtime/sync.h"
#include "daemon/store/journal/journal_format.h"
#include "daemon/store/journal/journal_paths.h"
#include "daemon/store/journal/replay.h"
#include "daemon/store/store.h"

namespace canopy {

struct JournalOptions {
  // One replaced file of a round.
  struct Step {
    const Replacement* what = nullptr;
    Result<void> result;
  };
  // Writes the batch there, durably, and then puts each file into its place, not durably, setting its result;
  // the old file is gone then. Answers whether the batch is durable; if not, nothing was put anywhere.
  using Round = std::move_only_function<Task<Result<void>>(File& file, uint64_t offset,
                                                           std::string_view batch, std::span<Step> steps)>;
  Round round;  // empty: by the store's own operations
  // Keeps other processes of this machine off the journal, for as long as this one lives; kBusy. Empty:
  // nobody else is there.
  std::function<Result<void>()> lock;
  // Off: what an earlier process has left is brought to its place, and the journal is removed.
  bool use = true;
  uint64_t file_bytes = journal::kFileBytes;
  uint32_t records_max = 65'536;          // of a file
  uint64_t bytes_free_min = 1ull << 30;   // on the store, before its files are made
  Nanos checkpoint_after = 30 * kSecond;  // with something in it
};

class ReplaceJournal {
 public:
  static constexpr size_t kBatchRecordsMax = 512;
  static constexpr size_t kBatchBytesMax = 1u << 20;
  static constexpr size_t kSettledOneByOneMax = 64;  // paths; more wait for the whole store's sync
  static constexpr size_t kUndurableMax = 4096;      // names
  static constexpr int kRecoveriesAwaited = 8;       // by those whom it concerns; it goes on without them

  // `store`: of `loop`, for the journal alone.
  ReplaceJournal(Loop& loop, std::shared_ptr<Store> store, JournalOptions options);
  ReplaceJournal(const ReplaceJournal&) = delete;
  ReplaceJournal& operator=(const ReplaceJournal&) = delete;

  Loop& loop() const { return loop_; }
  // Whether anything has to go through it. Any thread.
  bool is_on() const { return on_.load(std::memory_order_relaxed); }
  bool is_begun() const { return begun_; }  // any thread
  // Whether a replacement of this file is its business. Any thread.
  static bool takes(std::string_view path) { return journal::takes(path); }

  // Before anything is served from the store, by the process that has the right to it: replays what it finds.
  // Once it has succeeded, more calls have no effect. Errors: the store's; kBusy: see JournalOptions::lock.
  Task<Result<void>> begin();
  // In order: nothing is in the journal when it succeeds. Replacements go without it from now on. Nothing of
  // it is under way afterwards; without a call of this it outlives its loop.
  Task<Result<void>> end();

  // As Store::replace(), of a path that it takes.
  Task<Result<void>> replace(Replacement what);

  // While it lives, no replacement at or below its paths is under way, and none of them is in the journal.
  // The journal outlives it. Any thread.
  class [[nodiscard]] Hold {
   public:
    Hold(Hold&& other) noexcept : of_(std::exchange(other.of_, nullptr)), held_(std::move(other.held_)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold();

   private:
    friend class ReplaceJournal;
    Hold(ReplaceJournal* of, JournalPaths::Held held) : of_(of), held_(std::move(held)) {}
    ReplaceJournal* of_;
    JournalPaths::Held held_;
  };
  // Errors: what is in the journal could not be made durable; then the operation must not happen.
  Task<Result<Hold>> hold(std::vector<std::string> paths);
  // The same where nothing has to be waited for, as of most paths. Any thread.
  std::optional<Hold> hold_at_once(const std::vector<std::string>& paths);
  // A name that was given, not durably: what is written below it counts only when it is. False: there are too
  // many, and make_names_durable() is to be called. Any thread.
  [[nodiscard]] bool note_undurable(std::string from, std::string to);
  Task<Result<void>> make_names_durable();

  uint64_t rounds() const { return rounds_; }
  uint64_t records() const { return records_; }
  uint64_t checkpoints() const { return checkpoints_; }
  bool is_empty() const { return turns_[0].is_empty() && turns_[1].is_empty(); }

 private:
  struct Item {
    Item(Loop& loop, Replacement replacement, journal::Kind of)
        : what(std::move(replacement)), kind(of), answered(loop) {}
    Replacement what;
    const journal::Kind kind;
    Result<void> result;
    Event answered;
  };
  using ItemRef = std::shared_ptr<Item>;
  struct Turn {  // one of the two files
    std::unique_ptr<File> file;
    journal::Header header;
    uint64_t end = journal::kBatchesAt;
    uint32_t records = 0;
    Nanos since = 0;  // the first record
    bool is_empty() const { return records == 0; }
  };

  Task<Result<void>> begin_once();
  Task<Result<void>> replay_found();
  Task<Result<void>> remove_files();
  Task<void> make_files();
  Task<Result<void>> make_file(uint32_t file);
  Task<Result<void>> check_exchange();
  Task<Result<void>> replace_durably(Replacement what);
  Task<Result<void>> enqueue(ItemRef item);
  Task<void> run();
  Task<Turn*> room();
  std::vector<ItemRef> take_group(Turn& turn, std::string& batch);
  Task<Result<void>> do_round(File& file, uint64_t offset, std::string_view batch,
                              std::span<JournalOptions::Step> steps);
  void round_ended(std::span<const ItemRef> group, std::span<JournalOptions::Step> steps);
  void answer_without(std::deque<ItemRef> items, const Result<void>& recovered);
  Task<void> finish_durably(ItemRef item);
  Task<void> finish_refused(ItemRef item);
  void answer(Item& item);

  bool fits(const Turn& turn, size_t batch_bytes, const Item& item) const;
  void begin_checkpoint(Turn& turn);
  Task<void> checkpoint(Turn& turn);
  Task<void> checkpoint_later();
  Task<Result<void>> checkpoint_until_gone(std::string path);  // "": until it is empty

  Task<Result<void>> settle(std::string path);
  Task<void> settle_into(std::string path, Result<void>& into);
  uint32_t number_of(const Turn& turn) const { return static_cast<uint32_t>(&turn - turns_.data()); }
  bool any_pending_below(const std::string& path) const { return !paths_.pending_below(path, 0).empty(); }
  Task<Result<void>> make_durable(std::string path);
  Task<Result<void>> settle_below(std::string path);
  Task<Result<void>> sync_names_above(std::string path);

  void in_trouble(Error error);
  Task<void> recover();
  Task<Result<void>> recover_once();
  Task<Result<void>> wait_recovered();

  Loop& loop_;
  const std::shared_ptr<Store> store_;
  JournalOptions options_;
  std::atomic<bool> on_{true};
  Mutex beginning_;
  std::atomic<bool> begun_{false};
  std::atomic<bool> making_files_{false}, has_files_{false};  // names are noted by any thread, where either
  bool off_ = false;
  Nanos no_files_before_ = 0;

  JournalPaths paths_;
  std::array<Turn, journal::kFiles> turns_;
  uint32_t active_ = 0;
  uint64_t next_sequence_ = 1;
  std::deque<ItemRef> waiting_;
  bool running_ = false, in_round_ = false, in_checkpoint_ = false, checkpoint_planned_ = false;
  std::optional<Error> trouble_;
  bool recovering_ = false, given_up_ = false, sync_failed_ = false;
  Mutex syncing_names_;  // many who come meanwhile share the next sync
  uint64_t names_synced_ = 0;
  Event ended_;
  Event progress_;  // never set: wakes those who wait for any of the above
  uint64_t rounds_ = 0, records_ = 0, checkpoints_ = 0;
};

// A round by the store's own operations.
Task<Result<void>> journal_round_over(Store& store, File& file, uint64_t offset, std::string_view batch,
                                      std::span<JournalOptions::Step> steps);

}  // namespace canopy
