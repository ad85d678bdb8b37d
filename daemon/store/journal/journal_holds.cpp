// What else happens to paths that are in the journal.
#include "daemon/base/check.h"
#include "daemon/store/journal/replace_journal.h"
#include "daemon/store/store_path.h"

namespace canopy {

namespace {

// Calls for each of the ordered paths that is this one or lies below it; `each` answers whether to go on.
template <class Set, class Each>
void for_paths_below(const Set& paths, const std::string& path, Each each) {
  if (auto found = paths.find(path); found != paths.end() && !each(*found)) return;
  const std::string inside = path + "/";
  for (auto at = paths.lower_bound(inside); at != paths.end() && at->starts_with(inside); ++at)
    if (!each(*at)) return;
}

template <class Set>
bool any_path_below(const Set& paths, const std::string& path) {
  bool any = false;
  if (!paths.empty()) for_paths_below(paths, path, [&](const std::string&) { return !(any = true); });
  return any;
}

}  // namespace

ReplaceJournal::Hold::~Hold() {
  if (of_ == nullptr) return;
  for (auto at : held_) of_->held_.erase(at);
  of_->progress_.wake_all();
}

bool ReplaceJournal::is_pending(std::string_view path) const {
  return turns_[0].pending.contains(path) || turns_[1].pending.contains(path);
}

bool ReplaceJournal::is_held(std::string_view path) const {
  if (held_.empty()) return false;
  for (; !path.empty(); path = store_parent_of(path))
    if (held_.contains(path)) return true;
  return false;
}

Task<Result<ReplaceJournal::Hold>> ReplaceJournal::hold(std::vector<std::string> paths) {
  Hold hold;
  hold.of_ = this;
  for (const std::string& path : paths) hold.held_.push_back(held_.insert(path));
  for (const std::string& path : paths)
    while (any_path_below(busy_, path)) co_await progress_.wait();
  for (const std::string& path : paths) CANOPY_CO_TRY(co_await settle_below(path));
  co_return hold;
}

std::vector<std::string> ReplaceJournal::pending_below(const std::string& path) const {
  std::vector<std::string> found;
  for (const Turn& turn : turns_) {
    for_paths_below(turn.pending, path, [&](const std::string& below) {
      if (&turn == &turns_[0] || !turns_[0].pending.contains(below)) found.push_back(below);
      return found.size() <= kSettledOneByOneMax;
    });
  }
  return found;
}

// Those at or below the path, which is held.
Task<Result<void>> ReplaceJournal::settle_below(std::string path) {
  for (;;) {
    const std::vector<std::string> below = pending_below(path);
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
  if (done && !is_pending(path)) co_return done;  // a checkpoint has come first
  if (done)
    done =
        co_await enqueue(std::make_shared<Item>(loop_, Replacement{"", path, ""}, journal::Kind::kSettled));
  if (done) co_return done;
  if (is_pending(path)) in_trouble(std::move(done).error());
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

Task<Result<void>> ReplaceJournal::note_undurable(std::string from, std::string to) {
  const uint64_t noted = ++undurable_noted_;
  undurable_.insert_or_assign(std::move(to), std::pair(std::move(from), noted));
  if (undurable_.size() <= kUndurableMax) co_return Result<void>();
  CANOPY_CO_TRY(co_await store_->sync_all());
  std::erase_if(undurable_, [noted](const auto& name) { return name.second.second <= noted; });
  co_return Result<void>();
}

// Every name on the way to the path that was given and not made durable.
Task<Result<void>> ReplaceJournal::sync_names_above(std::string path) {
  std::vector<std::string> directories;
  std::vector<std::pair<std::string, uint64_t>> names;
  for (std::string_view at = path; !at.empty(); at = store_parent_of(at)) {
    auto found = undurable_.find(at);
    if (found == undurable_.end()) continue;
    names.emplace_back(at, found->second.second);
    directories.emplace_back(store_parent_of(at));
    const std::string from(store_parent_of(found->second.first));
    if (from != directories.back()) directories.push_back(from);
  }
  for (std::string& directory : directories) {
    auto synced = co_await store_->sync_directory(std::move(directory));
    if (!synced && synced.error().code() != Code::kNotFound) co_return synced;
  }
  for (const auto& [name, noted] : names) {
    auto found = undurable_.find(name);
    if (found != undurable_.end() && found->second.second == noted) undurable_.erase(found);
  }
  co_return Result<void>();
}

}  // namespace canopy
