// What else happens to paths that are in the journal.
#include "daemon/store/journal/replace_journal.h"
#include "daemon/store/store_path.h"

namespace canopy {

ReplaceJournal::Hold::~Hold() {
  if (of_ != nullptr && of_->paths_.release(held_)) of_->loop_.post([of = of_] { of->progress_.wake_all(); });
}

Task<Result<ReplaceJournal::Hold>> ReplaceJournal::hold(std::vector<std::string> paths) {
  Hold hold(this, paths_.hold(paths));
  for (const std::string& path : paths)
    while (paths_.any_claimed_below(path)) co_await progress_.wait();
  for (const std::string& path : paths) CANOPY_CO_TRY(co_await settle_below(path));
  co_return hold;
}

std::optional<ReplaceJournal::Hold> ReplaceJournal::hold_at_once(const std::vector<std::string>& paths) {
  auto held = paths_.hold_if_unused(paths);
  if (!held) return std::nullopt;
  return Hold(this, std::move(*held));
}

// Those at or below the path, which is held.
Task<Result<void>> ReplaceJournal::settle_below(std::string path) {
  for (;;) {
    const std::vector<std::string> below = paths_.pending_below(path, kSettledOneByOneMax);
    if (below.empty()) co_return Result<void>();
    if (trouble_) {
      CANOPY_CO_TRY(co_await wait_recovered());
    } else if (below.size() == 1) {
      CANOPY_CO_TRY(co_await settle(below.front()));
    } else if (below.size() <= kSettledOneByOneMax) {
      std::vector<Result<void>> results(below.size());
      TaskGroup group(loop_);
      for (size_t i = 0; i < below.size(); ++i) group.spawn(settle_into(below[i], results[i]));
      co_await group.join();
      for (Result<void>& result : results) CANOPY_CO_TRY(std::move(result));
    } else {
      CANOPY_CO_TRY(co_await checkpoint_until_gone(path));
    }
  }
}

Task<void> ReplaceJournal::settle_into(std::string path, Result<void>& into) {
  into = co_await settle(std::move(path));
}

// The file becomes durable as it is, and then its records count no more. It is held, or its replacement
// waits.
Task<Result<void>> ReplaceJournal::settle(std::string path) {
  auto done = co_await make_durable(path);
  if (done && !paths_.is_pending(path)) co_return done;  // a checkpoint has come first
  if (done)
    done =
        co_await enqueue(std::make_shared<Item>(loop_, Replacement{"", path, ""}, journal::Kind::kSettled));
  if (done) co_return done;
  if (paths_.is_pending(path)) in_trouble(std::move(done).error());
  co_return co_await wait_recovered();
}

Task<Result<void>> ReplaceJournal::make_durable(std::string path) {
  auto file = co_await store_->open(path, {});
  if (!file && file.error().code() != Code::kNotFound) co_return fail(std::move(file).error());
  if (file) CANOPY_CO_TRY(co_await (*file)->sync());
  auto synced = co_await store_->sync_directory(std::string(store_parent_of(path)));
  if (!synced && synced.error().code() != Code::kNotFound) co_return synced;
  co_return Result<void>();
}

bool ReplaceJournal::note_undurable(std::string from, std::string to) {
  // In this order: while files are made the one is set before the other is reset.
  if (!making_files_ && !has_files_) return true;
  return paths_.note_name(std::move(from), std::move(to)) <= kUndurableMax;
}

Task<Result<void>> ReplaceJournal::make_names_durable() {
  const uint64_t own = paths_.names_noted();
  auto turn = co_await syncing_names_.lock();
  if (names_synced_ >= own) co_return Result<void>();  // whoever had the turn before began later than this
  const uint64_t noted = paths_.names_noted();
  CANOPY_CO_TRY(co_await store_->sync_all());
  paths_.names_durable(noted);
  names_synced_ = noted;
  co_return Result<void>();
}

// Every name on the way to the path that was given and not made durable.
Task<Result<void>> ReplaceJournal::sync_names_above(std::string path) {
  const std::vector<JournalPaths::Name> names = paths_.names_above(path);
  for (const JournalPaths::Name& name : names) {
    const std::string to(store_parent_of(name.to)), from(store_parent_of(name.from));
    for (const std::string* directory : {&to, &from}) {
      if (directory == &from && from == to) continue;
      auto synced = co_await store_->sync_directory(*directory);
      if (!synced && synced.error().code() != Code::kNotFound) co_return synced;
    }
  }
  for (const JournalPaths::Name& name : names) paths_.name_durable(name);
  co_return Result<void>();
}

}  // namespace canopy
