#include "daemon/wire/services/relocations.h"

#include <ranges>

#include "daemon/base/log.h"
#include "daemon/relocate/folders.h"
#include "daemon/relocate/mount_walk.h"
#include "daemon/store/set/store_set.h"

namespace canopy::wire {
namespace {

constexpr Nanos kLookEvery = kSecond;
constexpr Nanos kLookForTurnsEvery = 20 * kMillisecond;
constexpr Nanos kRetryAfter = 5 * kSecond;
constexpr Nanos kInUseAgainAfter = 200 * kMillisecond;
constexpr Nanos kStopLookedAtAfter = 100 * kMillisecond;
// A move that took longer says that the store has enough to do: as long again it is left to those who use it,
// when anything came for them meanwhile.
constexpr Nanos kLongMove = 5 * kMillisecond;
constexpr Nanos kRestMax = kSecond;
// So long it goes on before others on the loop have their turn.
constexpr Nanos kTurn = 200 * kMicrosecond;
// Users come first: after a turn in which anything came for any loop they have the processors for a while.
constexpr Nanos kLeftToOthers = 500 * kMicrosecond;
// That move accounts on a file system of this machine while nobody else is at work; otherwise one. More
// arrivals than so many, during the page before or the one at hand, show that somebody is.
constexpr size_t kLoopsAtOnce = 2;
constexpr uint64_t kOwnArrivals = 64;
// Of each loop while nobody else is at work: the others go on while the file system's journal holds one up.
constexpr uint32_t kAccountsAtOnce = 8;

}  // namespace

std::string_view relocation_state_name(Relocations::State state) {
  switch (state) {
    case Relocations::State::kMoving: return "moving";
    case Relocations::State::kSettling: return "settling";
    case Relocations::State::kPaused: return "paused";
    case Relocations::State::kWaiting: return "waiting";
    case Relocations::State::kRetrying: return "retrying";
    case Relocations::State::kFinished: return "finished";
  }
  return "";
}

std::vector<Relocations::RunRef> Relocations::all() const {
  std::vector<RunRef> out;
  out.reserve(runs_.size() + finished_.size());
  for (const auto& [name, run] : runs_) out.push_back(run);
  out.insert(out.end(), finished_.rbegin(), finished_.rend());
  return out;
}

Relocations::RunRef Relocations::find(const std::string& domain) const {
  if (auto at = runs_.find(domain); at != runs_.end()) return at->second;
  for (const RunRef& run : std::views::reverse(finished_))
    if (run->domain == domain) return run;
  return nullptr;
}

Task<void> Relocations::run(const std::atomic<bool>& over) {
  Shard& first = *node_.shards().front();
  while (!over) {
    some_wait_ = false;
    moving_ = static_cast<size_t>(std::ranges::count_if(runs_, [](const auto& of) {
      return of.second && of.second->active && of.second->state == State::kMoving;
    }));
    look(over);
    co_await first.loop.sleep(some_wait_ ? kLookForTurnsEvery : kLookEvery);
  }
  for (auto& [name, run] : runs_) run->stop = true;
  co_await runs_on_.join();
}

// What the settings say now of how to move, and whether it is time to.
void Relocations::advance(const RunRef& run, std::shared_ptr<const Domain> domain, const dict::Dict* how,
                          const std::atomic<bool>& over) {
  Loop& loop = node_.shards().front()->loop;
  auto parsed = RelocationSettings::parse(how == nullptr ? dict::Dict() : *how);
  if (parsed)
    run->settings = *parsed;
  else
    run->last_error = parsed.error().to_string();
  run->rate = run->settings.rate;
  const auto& window = run->settings.window;
  const bool open = !window || window->contains(loop.wall_clock_ns() / kSecond);
  if (!run->settings.paused && open) {
    if (run->active || over) return;
    if (moving_ >= kRelocationsMovingMax) {
      some_wait_ = true;
      return;
    }
    ++moving_;
    run->active = true;
    run->state = State::kMoving;
    run->stop = false;
    runs_on_.spawn(move_all(run, std::move(domain)));
    return;
  }
  run->stop = true;
  run->state = run->settings.paused ? State::kPaused : State::kWaiting;
}

void Relocations::look_at_mounts(const std::atomic<bool>& over) {
  Shard& first = *node_.shards().front();
  if (first.stores == nullptr) return;
  const auto config = first.stores->config();
  if (config->mounts->superseded().empty()) return;
  RunRef& run = runs_[kMountsRun];
  if (run && !(*run->mounts == *config->mounts)) {
    run->stop = true;
    if (run->active) return;
    run = nullptr;
  }
  if (!run) {
    run = std::make_shared<Run>();
    run->domain = kMountsRun;
    run->mounts = config->mounts;
    run->started = first.loop.now();
    log_event(LogLevel::kInfo, "relocation-begun", kMountsRun,
              {{"superseded_rows", config->mounts->superseded().size()}});
  }
  advance(run, nullptr, &config->relocation, over);
}

void Relocations::look(const std::atomic<bool>& over) {
  Shard& first = *node_.shards().front();
  const auto table = first.accounts.domain_table();
  look_at_mounts(over);
  for (const auto& [name, domain] : table->domains) {
    if (domain->older.empty()) continue;
    RunRef& run = runs_[name];
    if (run && (run->to != domain->layout || run->from != domain->older)) {
      run->stop = true;  // its accounts go elsewhere now
      if (run->active) continue;
      run = nullptr;
    }
    if (!run) {
      run = std::make_shared<Run>();
      run->domain = name;
      run->from = domain->older;
      run->to = domain->layout;
      run->started = first.loop.now();
      log_event(LogLevel::kInfo, "relocation-begun", name,
                {{"foldering", domain->layout.account_foldering().to_string()},
                 {"fast_index", domain->layout.fast_index()}});
    }
    const dict::Value* how = domain->settings.dict.find(kRelocationKey);
    advance(run, domain, how == nullptr ? nullptr : how->dict(), over);
  }
  const bool rows = first.stores != nullptr && !first.stores->config()->mounts->superseded().empty();
  std::erase_if(runs_, [&](const auto& of) {
    const auto& [name, run] = of;
    const Domain* domain = table->find(name);
    if (run->active || (domain != nullptr && !domain->older.empty()) || (name == kMountsRun && rows))
      return false;
    if (run->state == State::kFinished) finished_.push_back(run);
    return true;
  });
  if (finished_.size() > kRelocationsFinishedKept)
    finished_.erase(finished_.begin(), finished_.end() - kRelocationsFinishedKept);
}

Task<void> Relocations::move_all(RunRef run, std::shared_ptr<const Domain> domain) {
  Loop& loop = node_.shards().front()->loop;
  run->moving_since = loop.now();
  bool moving = true;
  TaskGroup counting(loop);
  if (run->accounts == 0) counting.spawn(count(run, domain, moving));
  while (!run->stop) {
    run->state = State::kMoving;
    auto done = domain ? co_await try_once(run, domain) : co_await try_mounts(run);
    if (done && *done) {
      run->state = State::kFinished;
      log_event(LogLevel::kInfo, "relocation-finished", run->domain,
                {{"moved", run->moved.load()}, {"bytes_copied", run->bytes_copied.load()}});
      break;
    }
    if (done && run->stop) break;
    const Domain* now = domain ? node_.shards().front()->accounts.domains().find(domain->name) : nullptr;
    if (!done && domain && (now == nullptr || now->directory() != domain->directory()))
      break;  // it has gone, or moved itself
    if (!done) {
      run->last_error = done.error().to_string();
      log_event(LogLevel::kWarning, "relocation-held-up", run->domain, {{"error", run->last_error}});
    }
    run->state = State::kRetrying;
    const Nanos until = loop.now() + kRetryAfter;
    while (!run->stop && loop.now() < until) co_await loop.sleep(kStopLookedAtAfter);
  }
  moving = false;
  co_await counting.join();
  if (run->accounts < run->seen) run->accounts = run->seen.load();
  run->moving_for = run->moving_until(loop.now());
  run->moving_since = 0;
  run->active = false;
  if (run->state == State::kMoving || run->state == State::kSettling || run->state == State::kRetrying)
    run->state = State::kWaiting;
}

// Nobody may still put an account where the newest layout and table do not have it.
Task<void> Relocations::settle_places() {
  for (const auto& shard : node_.shards()) {
    co_await shard->loop.switch_to();
    co_await shard->accounts.settle_places();
  }
  co_await node_.shards().front()->loop.switch_to();
}

static Task<bool> answer(bool value) { co_return value; }

// Beside the first walk, which waits for no figure. A walk that fails says so itself.
Task<void> Relocations::count(RunRef run, std::shared_ptr<const Domain> domain, const bool& moving) {
  Store& store = *node_.shards().front()->store;
  std::atomic<uint64_t> found = 0;
  Result<bool> counted;
  if (domain) {
    RelocationPass pass(store, domain, nullptr, {}, [&moving, run] { return !moving || run->stop; });
    pass.leave_alone(found);
    counted = co_await pass.run();
  } else {
    auto add = [&found, &moving, run](const std::vector<SeenAccount>& page) {
      found += page.size();
      return answer(moving && !run->stop);
    };
    MountWalk walk(store, run->mounts, add,
                   [](std::string, std::string) -> Task<Result<void>> { co_return Result<void>(); });
    counted = co_await walk.run();
  }
  if (counted && *counted) run->accounts = found.load();
}

Task<Result<bool>> Relocations::try_once(RunRef run, std::shared_ptr<const Domain> domain) {
  Shard& first = *node_.shards().front();
  co_await settle_places();
  bool awaited = !first.store->shared();
  run->arrivals = arrivals();
  for (;;) {
    run->seen = run->failed = run->in_use = 0;
    const uint64_t before = run->moved;
    const Domain* now = first.accounts.domains().find(domain->name);
    if (now == nullptr || now->layout != domain->layout || now->older != domain->older) co_return false;
    const dict::Version as_of = now->settings.version;
    RelocationPass pass(
        *first.store, domain, &names_remembered_,
        [this, run, domain](std::vector<SeenAccount> page) {
          return move_page(run, domain, std::move(page));
        },
        [run] { return run->stop.load(); });
    pass.leave_alone(run->seen);
    auto whole = co_await pass.run();
    if (!whole) co_return fail(std::move(whole).error());
    if (!*whole || run->failed != 0) co_return false;
    if (run->in_use != 0) {
      co_await first.loop.sleep(kInUseAgainAfter);
    } else if (run->moved != before) {
      awaited = !first.store->shared();
    } else if (awaited) {
      co_return co_await finish(domain, as_of, pass);
    } else {
      co_await await_late_renames(run);
      awaited = true;
    }
  }
}

struct Relocations::Share {
  std::vector<SeenAccount> accounts;
  size_t next = 0;
  Nanos turn_ends = 0;  // of all that move some
  std::string last_error;
  bool is_done() const { return next >= accounts.size(); }
};

// Its own are those of the shares that go to their loops and come back, and of what looks at it meanwhile.
bool Relocations::is_alone(const Run& run) const {
  return arrivals() - run.arrivals <= kOwnArrivals + 4 * node_.shards().size();
}

Task<bool> Relocations::move_page(RunRef run, std::shared_ptr<const Domain> domain,
                                  std::vector<SeenAccount> page) {
  const auto& shards = node_.shards();
  std::vector<std::shared_ptr<Share>> shares;
  for (size_t i = 0; i < shards.size(); ++i) shares.push_back(std::make_shared<Share>());
  for (SeenAccount& seen : page)
    shares[slot_of(seen.address) % shards.size()]->accounts.push_back(std::move(seen));
  // A kernel moves one directory of a file system at a time: two loops keep it busy. Users' changes of names
  // would wait for both.
  const bool by_turns = domain && !shards.front()->store->shared_at(domain->directory());
  const uint32_t together = run->settings.concurrency;
  const bool was_alone = is_alone(*run) && run->rate == 0;
  run->arrivals = arrivals();
  TaskGroup moving(shards.front()->loop);
  size_t under_way = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    if (shares[i]->is_done()) continue;
    const bool alone = was_alone && is_alone(*run);
    if (by_turns && under_way == (alone ? kLoopsAtOnce : 1)) {
      co_await moving.join();
      under_way = 0;
    }
    // When others come, one goes on.
    const uint32_t at_once = by_turns ? (alone ? kAccountsAtOnce : 1) : together;
    const uint32_t staying = by_turns ? (under_way == 0 ? 1 : 0) : together;
    moving.spawn(move_share(run, *shards[i], shares[i], at_once, staying));
    ++under_way;
  }
  co_await moving.join();
  for (size_t i = 0; i < shares.size(); ++i)
    if (!shares[i]->is_done() && !run->stop) co_await move_share(run, *shards[i], shares[i], 1, 1);
  co_return !run->stop;
}

Task<void> Relocations::move_share(RunRef run, Shard& shard, std::shared_ptr<Share> share, uint32_t at_once,
                                   uint32_t staying) {
  co_await shard.loop.switch_to();
  {
    TaskGroup moving(shard.loop);
    for (uint32_t i = 0; i < at_once; ++i) moving.spawn(move_some(run, shard, share, i >= staying));
    co_await moving.join();
  }
  co_await node_.shards().front()->loop.switch_to();
  if (!share->last_error.empty()) run->last_error = share->last_error;
}

// What came for any loop, of which users' requests are a part.
uint64_t Relocations::arrivals() const {
  uint64_t sum = 0;
  for (const auto& shard : node_.shards()) sum += shard->loop.arrivals();
  return sum;
}

Task<void> Relocations::move_some(RunRef run, Shard& shard, std::shared_ptr<Share> share, bool while_alone) {
  uint64_t arrived = arrivals();
  while (!share->is_done() && !run->stop) {
    if (while_alone && !is_alone(*run)) co_return;
    SeenAccount& seen = share->accounts[share->next++];
    if (const uint32_t rate = run->rate; rate != 0) {
      const Nanos step = kSecond / rate, now = shard.loop.now();
      Nanos at = run->next_start;
      while (!run->next_start.compare_exchange_weak(at, std::max(at, now) + step)) {
      }
      while (!run->stop && run->rate == rate && shard.loop.now() < at)
        co_await shard.loop.sleep(std::min(at - shard.loop.now(), kStopLookedAtAfter));
      if (run->stop) co_return;
    }
    const Nanos began = shard.loop.now();
    Accounts::MoveFigures figures;
    auto moved = co_await shard.accounts.relocate(seen.address, seen.directory, &figures);
    // Of the mount table's walk, a file that no account has.
    if (run->mounts && moved && *moved == Accounts::Relocated::kNothing &&
        !seen.directory.ends_with(kAccountSuffix)) {
      auto brought = co_await shard.accounts.bring_along(seen.address, seen.directory);
      if (!brought)
        moved = fail(std::move(brought).error());
      else if (*brought)
        moved = Accounts::Relocated::kMoved;
    }
    ++run->seen;
    run->bytes_copied += figures.bytes_copied;
    if (figures.held_for > run->held_max) run->held_max = figures.held_for;
    if (moved && *moved == Accounts::Relocated::kMoved) ++run->moved;
    if (moved && *moved == Accounts::Relocated::kInUse) ++run->in_use;
    if (!moved) {
      ++run->failed;
      share->last_error = moved.error().to_string();
      log_event(LogLevel::kWarning, "account-not-moved", seen.address.to_string(),
                {{"error", share->last_error}});
    }
    const Nanos now = shard.loop.now();
    if (now <= share->turn_ends) continue;
    co_await shard.loop.yield();
    const uint64_t came = arrivals();
    if (came != std::exchange(arrived, came))
      co_await shard.loop.sleep(now - began > kLongMove ? std::min(now - began, kRestMax) : kLeftToOthers);
    if (shard.loop.now() > share->turn_ends) share->turn_ends = shard.loop.now() + kTurn;
  }
}

Task<void> Relocations::await_late_renames(RunRef run) {
  Loop& loop = node_.shards().front()->loop;
  run->state = State::kSettling;
  const Nanos until = loop.now() + late_renames_awaited_;
  while (!run->stop && loop.now() < until) co_await loop.sleep(kStopLookedAtAfter);
  if (run->state == State::kSettling) run->state = State::kMoving;
}

Task<Result<void>> Relocations::remove_files_elsewhere(std::shared_ptr<const Domain> domain,
                                                       std::vector<AccountAddress> page) {
  const auto& shards = node_.shards();
  Result<void> done;
  for (size_t i = 0; done && i < page.size(); ++i) {
    Shard& shard = *shards[slot_of(page[i]) % shards.size()];
    co_await shard.loop.switch_to();
    done = co_await shard.accounts.remove_files_elsewhere(domain, std::move(page[i]));
  }
  co_await shards.front()->loop.switch_to();
  co_return done;
}

// The older layouts are needed by nobody any more once that all lie under the newest is durable.
Task<Result<bool>> Relocations::finish(std::shared_ptr<const Domain> domain, dict::Version as_of,
                                       const RelocationPass& last) {
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(
      co_await visit_files_elsewhere(*first.store, domain, [this, domain](std::vector<AccountAddress> page) {
        return remove_files_elsewhere(domain, std::move(page));
      }));
  CANOPY_CO_TRY(co_await sync_folders(*first.store, domain, last.folder_count()));
  bool done = false;
  auto drop = [&done, domain, as_of](Shard& on, DomainTable& table) -> Task<Result<void>> {
    return [](Shard& shard, DomainTable& into, std::shared_ptr<const Domain> of, dict::Version seen,
              bool& ended) -> Task<Result<void>> {
      const Domain* now = into.find(of->name);
      if (now == nullptr || now->layout != of->layout || now->older != of->older ||
          now->settings.version != seen)
        co_return Result<void>();
      dict::VersionedDict file = now->settings;
      file.dict.erase(kSupersededKey);
      auto written = co_await shard.files.replace(now->slot, now->settings_file(), std::move(file));
      if (!written) co_return fail(std::move(written).error());
      CANOPY_CO_ASSIGN(into.domains[of->name], make_domain(into.tree, *now, std::move(*written)));
      ended = true;
      co_return Result<void>();
    }(on, table, domain, as_of, done);
  };
  CANOPY_CO_TRY(co_await node_.change_domains(drop));
  co_await first.loop.switch_to();
  if (!done) co_return false;
  const bool all_known = last.folders().size() == last.folder_count();
  auto removed =
      co_await remove_empty_folders(first.loop, *first.store, domain, all_known ? &last.folders() : nullptr);
  if (!removed)  // they are in nobody's way
    log_event(LogLevel::kWarning, "folders-not-removed", domain->name,
              {{"error", removed.error().to_string()}});
  co_return true;
}

}  // namespace canopy::wire
