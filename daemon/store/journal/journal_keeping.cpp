// The journal's files: made, replayed, emptied, and brought in order again after a failure.
#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/store/journal/replace_journal.h"

namespace canopy {

namespace {

constexpr Nanos kFilesTriedAgainAfter = 60 * kSecond;
constexpr Nanos kRecoveredAgainAfter = 100 * kMillisecond;  // and twice as long each time
constexpr Nanos kRecoveredAgainAfterMax = 5 * kSecond;
constexpr size_t kJournalEntriesMax = 65'536;

}  // namespace

Task<Result<void>> ReplaceJournal::begin() {
  auto one = co_await beginning_.lock();
  if (begun_) co_return Result<void>();
  auto begun = co_await begin_once();
  if (!begun) co_return fail(std::move(begun).error());
  co_return Result<void>();
}

Task<Result<void>> ReplaceJournal::begin_once() {
  auto there = co_await store_->attributes(std::string(journal::kDirectory));
  if (!there && there.error().code() != Code::kNotFound) co_return fail(std::move(there).error());
  if (!there && !options_.use) {
    on_ = false;
    off_ = true;
    begun_ = true;
    co_return Result<void>();
  }
  if (!there) {
    auto made = co_await store_->make_directory(std::string(journal::kDirectory), 0700, Durable::kYes);
    if (!made && made.error().code() == Code::kNotFound) co_return Result<void>();  // no store, or none yet
    if (!made && made.error().code() != Code::kAlreadyExists) co_return made;
  }
  if (options_.lock) CANOPY_CO_TRY(options_.lock());
  CANOPY_CO_TRY(co_await replay_found());
  if (!options_.use) {
    CANOPY_CO_TRY(co_await remove_files());
    on_ = false;
    off_ = true;
  }
  begun_ = true;
  co_return Result<void>();
}

Task<Result<void>> ReplaceJournal::replay_found() {
  const Nanos begun = loop_.now();
  auto found = co_await journal::read_contents(*store_);
  if (!found) co_return fail(std::move(found).error());
  const journal::Contents& contents = **found;
  const uint64_t missing = contents.missing();
  if (contents.records() > 0 || contents.rewrite()) {
    CANOPY_CO_ASSIGN(const journal::Replayed done,
                     co_await journal::replay(*store_, loop_, contents, contents.rewrite()));
    log_event(LogLevel::kInfo, "journal-replayed", store_->name(),
              {{"records", done.records},
               {"replaced", done.replaced},
               {"current", done.current},
               {"without-directory", done.without_directory},
               {"ms", (loop_.now() - begun) / kMillisecond}});
  }
  if (missing > 0)
    log_event(LogLevel::kError, "journal-damaged", store_->name(),
              {{"missing", missing}, {"set-aside", fmt::format("{}/damaged.*", journal::kDirectory)}});
  co_return co_await journal::make_empty(*store_, loop_, contents, missing > 0);
}

Task<Result<void>> ReplaceJournal::remove_files() {
  CANOPY_CO_ASSIGN(auto entries,
                   co_await list_all(*store_, std::string(journal::kDirectory), kJournalEntriesMax));
  bool all = true;
  for (const DirectoryEntry& entry : entries) {
    if (entry.name.starts_with("damaged.")) {
      all = false;
      continue;
    }
    CANOPY_CO_TRY(
        co_await store_->remove(fmt::format("{}/{}", journal::kDirectory, entry.name), Durable::kYes));
  }
  if (!all) co_return Result<void>();
  co_return co_await store_->remove_directory(std::string(journal::kDirectory), Durable::kYes);
}

Task<void> ReplaceJournal::make_files() {
  auto space = co_await store_->space();
  Result<void> made;
  if (!space)
    made = fail(std::move(space).error());
  else if (space->bytes_free < options_.bytes_free_min)
    made = fail(Code::kStoreFull, std::string(store_->name()),
                fmt::format("the journal's files are made where {} bytes are free", options_.bytes_free_min));
  if (made) made = co_await store_->sync_all();
  if (made) made = co_await check_exchange();
  for (uint32_t file = 0; made && file < journal::kFiles; ++file) made = co_await make_file(file);
  if (made) {
    active_ = 0;
    has_files_ = true;  // before the other: names are noted all the time
  }
  making_files_ = false;
  if (made) co_return;
  const bool never = made.error().code() == Code::kUnsupported;
  no_files_before_ = never ? kNever : loop_.now() + kFilesTriedAgainAfter;
  log_event(never ? LogLevel::kInfo : LogLevel::kWarning, "journal-off", store_->name(),
            {{"error", made.error().to_string()}});
}

// Some file systems cannot exchange names.
Task<Result<void>> ReplaceJournal::check_exchange() {
  const std::string one = fmt::format("{}/try.0", journal::kDirectory),
                    two = fmt::format("{}/try.1", journal::kDirectory);
  OpenOptions options;
  options.write = options.create = true;
  for (const std::string& path : {one, two}) {
    auto file = co_await store_->open(path, options);
    if (!file) co_return fail(std::move(file).error());
  }
  auto exchanged = co_await store_->rename(one, two, RenameMode::kExchange, Durable::kNo);
  for (const std::string& path : {one, two}) (void)co_await store_->remove(path, Durable::kNo);
  if (!exchanged && exchanged.error().code() == Code::kInvalidArgument)
    co_return fail(Code::kUnsupported, std::string(store_->name()), exchanged.error().message());
  co_return exchanged;
}

// An empty one that is there is used again.
Task<Result<void>> ReplaceJournal::make_file(uint32_t index) {
  Turn& turn = turns_[index];
  turn = Turn();
  paths_.emptied(index);
  OpenOptions options;
  options.write = true;
  auto there = co_await store_->open(journal::file_path(index), options);
  if (!there && there.error().code() != Code::kNotFound) co_return fail(std::move(there).error());
  if (there) {
    CANOPY_CO_ASSIGN(const Attributes found, co_await (*there)->attributes());
    std::string head(journal::kBatchesAt, '\0');
    CANOPY_CO_ASSIGN(const size_t got, co_await (*there)->read(0, std::span(head.data(), head.size())));
    auto header = journal::newest_header(std::string_view(head).substr(0, got));
    if (header && found.size >= options_.file_bytes && found.size <= journal::kFileBytesMax) {
      turn.header = *header;
      turn.file = std::move(*there);
      // Nothing that was in it can count, whatever an answer has told.
      co_return co_await journal::make_empty(*turn.file, turn.header, loop_);
    }
  }
  const std::string staged = fmt::format("{}/new.{}", journal::kDirectory, index);
  options.create = options.truncate = true;
  CANOPY_CO_ASSIGN(std::unique_ptr<File> file, co_await store_->open(staged, options));
  CANOPY_CO_TRY(co_await file->allocate(AllocateMode::kReserve, 0, options_.file_bytes));
  turn.header.secret = loop_.random();
  CANOPY_CO_TRY(co_await journal::write_header(*file, turn.header));
  CANOPY_CO_TRY(co_await file->sync());
  CANOPY_CO_TRY(
      co_await store_->rename(staged, journal::file_path(index), RenameMode::kReplace, Durable::kYes));
  turn.file = std::move(file);
  co_return Result<void>();
}

// What comes goes into the other file, which is empty; no round is under way.
void ReplaceJournal::begin_checkpoint(Turn& turn) {
  CANOPY_CHECK(!in_round_ && !in_checkpoint_ && &turn == &turns_[active_]);
  active_ = 1 - active_;
  CANOPY_CHECK(turns_[active_].is_empty());
  in_checkpoint_ = true;
  loop_.spawn(checkpoint(turn));
}

Task<void> ReplaceJournal::checkpoint(Turn& turn) {
  const uint64_t noted = paths_.names_noted();
  auto done = co_await store_->sync_all();
  if (!done)
    sync_failed_ = true;
  else
    done = co_await journal::make_empty(*turn.file, turn.header, loop_);
  in_checkpoint_ = false;
  if (done) {
    ++checkpoints_;
    turn.records = 0;
    turn.end = journal::kBatchesAt;
    paths_.emptied(number_of(turn));
    paths_.names_durable(noted);
  } else {
    in_trouble(std::move(done).error());
  }
  progress_.wake_all();
}

Task<void> ReplaceJournal::checkpoint_later() {
  while (!is_empty() && !co_await ended_.wait_until(loop_.now() + options_.checkpoint_after)) {
    while (in_round_ || in_checkpoint_) co_await progress_.wait();
    Turn& turn = turns_[active_];
    const bool due = !turn.is_empty() && loop_.now() - turn.since >= options_.checkpoint_after;
    if (due && !trouble_) begin_checkpoint(turn);
  }
  checkpoint_planned_ = false;
  progress_.wake_all();
}

Task<Result<void>> ReplaceJournal::checkpoint_until_gone(std::string path) {
  while (path.empty() ? !is_empty() : any_pending_below(path)) {
    if (trouble_) {
      CANOPY_CO_TRY(co_await wait_recovered());
      continue;
    }
    if (!in_round_ && !in_checkpoint_) begin_checkpoint(turns_[active_]);
    co_await progress_.wait();
  }
  co_return Result<void>();
}

Task<Result<void>> ReplaceJournal::end() {
  off_ = true;
  while (running_ || making_files_ || paths_.any_claimed()) {
    if (making_files_)
      co_await loop_.sleep(kMillisecond);
    else
      co_await progress_.wait();
  }
  auto ended = co_await checkpoint_until_gone("");
  if (ended) on_ = false;
  ended_.set();
  while (checkpoint_planned_ || recovering_) co_await progress_.wait();
  co_return ended;
}

void ReplaceJournal::in_trouble(Error error) {
  if (!trouble_) {
    log_event(LogLevel::kError, "journal-failed", store_->name(), {{"error", error.to_string()}});
    trouble_ = std::move(error);
  }
  if (!std::exchange(recovering_, true)) loop_.spawn(recover());
}

Task<Result<void>> ReplaceJournal::wait_recovered() {
  while (trouble_ && !given_up_) co_await progress_.wait();
  if (trouble_) co_return fail(*trouble_);
  co_return Result<void>();
}

Task<void> ReplaceJournal::recover() {
  Nanos pause = kRecoveredAgainAfter;
  for (int attempt = 1;; ++attempt) {
    while (in_round_ || in_checkpoint_) co_await progress_.wait();
    auto recovered = co_await recover_once();
    if (recovered) {
      trouble_.reset();
      given_up_ = false;
      log_event(LogLevel::kInfo, "journal-recovered", store_->name());
      break;
    }
    if (attempt >= kRecoveriesAwaited) given_up_ = true;
    progress_.wake_all();
    if (co_await ended_.wait_until(loop_.now() + pause)) break;  // the next start goes on
    pause = std::min(2 * pause, kRecoveredAgainAfterMax);
  }
  recovering_ = false;
  progress_.wake_all();
}

// As at a start, but that those who wait are still there.
Task<Result<void>> ReplaceJournal::recover_once() {
  auto found = co_await journal::read_contents(*store_);
  if (!found) co_return fail(std::move(found).error());
  journal::Contents& contents = **found;
  if (sync_failed_) {  // whoever starts next has to know, should this process die now
    for (uint32_t file : contents.by_age()) {
      auto& header = contents.parts[file].header;
      if (!header || !turns_[file].file) continue;
      ++header->written;
      header->rewrite = true;
      CANOPY_CO_TRY(co_await journal::write_header(*turns_[file].file, *header));
    }
  }
  auto done = co_await journal::replay(*store_, loop_, contents, sync_failed_ || contents.rewrite());
  if (!done) co_return fail(std::move(done).error());
  CANOPY_CO_TRY(co_await journal::make_empty(*store_, loop_, contents, contents.missing() > 0));
  sync_failed_ = has_files_ = false;
  for (Turn& turn : turns_) {
    turn = Turn();
    paths_.emptied(number_of(turn));
  }
  co_return Result<void>();
}

}  // namespace canopy
