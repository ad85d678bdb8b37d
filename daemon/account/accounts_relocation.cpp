// Moving an account to where the newest layout of its domain has it (docs/architecture/relocation.md).
#include <algorithm>

#include "daemon/account/accounts.h"
#include "daemon/base/log.h"
#include "daemon/store/store_path.h"

namespace canopy {

constexpr Nanos kPlacingLookedAtAfter = 5 * kMillisecond;
// So long others wait for an account that is about to move while somebody goes on using it.
constexpr Nanos kUseAwaited = 20 * kMillisecond;
constexpr Nanos kUseLookedAtAfter = kMillisecond;

Task<Result<void>> move_into(Store& store, std::string from, std::string to, RenameMode mode,
                             Durable durable) {
  constexpr int kTries = 8;
  for (int i = 0;; ++i) {
    auto moved = co_await store.rename(from, to, mode, durable);
    if (moved || moved.error().code() != Code::kNotFound || i == kTries) co_return moved;
    auto source = co_await store.attributes(from);
    if (!source) co_return moved;
    CANOPY_CO_TRY(co_await make_directories(store, std::string(store_parent_of(to)), 0700, durable));
  }
}

namespace {

bool may_lie_apart(const Domain& domain) {
  return domain.layout.fast_index() != 0 ||
         std::ranges::any_of(domain.older, [](const TreeLayout& of) { return of.fast_index() != 0; });
}

std::string inside(const std::string& directory, const std::string& file) {
  return directory + file.substr(file.rfind('/'));
}

// From store to store: whole at the new place before it goes from the old one.
Task<Result<void>> copy_to(SettingsFiles& files, uint32_t slot, std::string from, std::string to) {
  CANOPY_CO_ASSIGN(std::string text, co_await read_file(files.store(), from, kDictBytesMax));
  auto staged = co_await files.stage_file(slot, to, std::move(text));
  if (!staged) co_return fail(std::move(staged).error());
  auto moved = co_await move_into(files.store(), *staged, to, RenameMode::kReplace, Durable::kYes);
  if (!moved) co_return fail(co_await files.fenced_if_gone(*staged, std::move(moved).error()));
  co_return moved;
}

}  // namespace

// The files go first: wherever this ends, each of the three is at one place, and is found there.
Task<Result<bool>> Accounts::move_files(AccountAddress address, const Way& way) {
  const bool with_directory = way.next.settings_file.starts_with(way.next.directory);
  bool moved = false;
  for (auto [from, to] : {std::pair(way.now.settings_file, way.next.settings_file),
                          std::pair(way.now.info_file, way.next.info_file)}) {
    if (with_directory) to = inside(way.now.directory, to);
    if (way.several_stores) {
      CANOPY_CO_ASSIGN(const StoreSite is, co_await store().site_of(from));
      to = with_directory ? inside(way.from.path, to) : store().parts_of(to).front().path;
      from = is.path;
    }
    if (from == to) continue;
    // What is written there next is durable only with the folder's own name.
    if (!with_directory)
      CANOPY_CO_TRY(
          co_await make_directories(store(), std::string(store_parent_of(to)), 0700, Durable::kYes));
    // Never over another one: a rename that comes late must not put back what has been written since.
    auto done = co_await move_into(store(), from, to, RenameMode::kNoReplace, Durable::kNo);
    if (!done && done.error().code() == Code::kCrossStore) {
      done = co_await copy_to(files_, slot_of(address), from, to);
      if (done) done = co_await discard_file(slot_of(address), from);
    }
    if (!done && done.error().code() == Code::kNotFound) continue;  // not every account has info
    if (!done) co_return fail(std::move(done).error());
    moved = true;
  }
  co_return moved;
}

Task<Result<bool>> Accounts::move_within(AccountAddress address, Way way) {
  // One that was frozen and does not know it yet must not send a rename now.
  if (environment_.lease_held && !environment_.lease_held())
    co_return fail(Code::kTryAgain, address.to_string(), "this backend does not hold its lease now");
  CANOPY_CO_TRY(co_await files_.check_not_succeeded(slot_of(address), way.to.path));
  auto moved = co_await move_files(std::move(address), way);
  if (!moved || way.from.path == way.to.path) co_return moved;
  auto done = co_await move_into(store(), way.from.path, way.to.path, RenameMode::kNoReplace, Durable::kNo);
  if (!done) co_return fail(std::move(done).error());
  co_return true;
}

Task<bool> Accounts::close_unused(EntryRef held, Nanos awaited, long others) {
  std::shared_ptr<Account> account =
      std::exchange(held->account, nullptr);  // so that nobody gets it any more
  if (!account) co_return true;
  const Nanos until = loop().now() + awaited;
  while (account.use_count() > 1 + others && loop().now() < until) co_await loop().sleep(kUseLookedAtAfter);
  held->account = std::move(account);
  if (held->account.use_count() > 1 + others) co_return false;
  co_await close_entry(held);
  co_return true;
}

Task<Result<std::optional<Accounts::Way>>> Accounts::plan_move(EntryRef held, AccountAddress address,
                                                               std::string seen_at) {
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  if (!may_lie_elsewhere(store(), *domain, address)) co_return std::nullopt;
  Way way;
  way.next = place_under(domain->layout, address);
  way.to = store().parts_of(way.next.directory).front();
  way.several_stores = is_on_several_stores(store(), way.next.directory);
  if (may_lie_apart(*domain) || way.several_stores) {
    CANOPY_CO_ASSIGN(FoundPlace found, co_await find_place(store(), domain, address));
    if (!found.exists) co_return std::nullopt;  // removed meanwhile
    for (const std::string& path : found.left) CANOPY_CO_TRY(co_await discard_file(slot_of(address), path));
    way.now = std::move(found.place);
  } else {
    way.now.directory = held->place ? held->place->directory : std::move(seen_at);
    way.now.settings_file = inside(way.now.directory, way.next.settings_file);
    way.now.info_file = inside(way.now.directory, way.next.info_file);
  }
  CANOPY_CO_ASSIGN(way.from, co_await store().site_of(way.now.directory));
  if (!way.several_stores) {
    if (way.now == way.next) co_return std::nullopt;
    co_return way;
  }
  CANOPY_CO_TRY(co_await settle_departure(slot_of(address), way.from.path));
  CANOPY_CO_TRY(co_await clear_departed(domain, address, way.from.path));
  bool moves = !(way.now == way.next) || way.from.path != way.to.path;
  for (const std::string& file : {way.now.settings_file, way.now.info_file}) {
    if (moves || file.starts_with(way.now.directory)) continue;
    CANOPY_CO_ASSIGN(const StoreSite is, co_await store().site_of(file));
    moves = is.path != store().parts_of(file).front().path;
  }
  if (!moves) co_return std::nullopt;
  co_return way;
}

Task<Result<Accounts::Relocated>> Accounts::relocate_entry(EntryRef held, AccountAddress address,
                                                           std::string seen_at, MoveFigures* figures) {
  if (held->leaving) co_return Relocated::kInUse;
  {
    auto gate = co_await held->gate.lock();
    auto guard = co_await held->settings_gate.lock();
    CANOPY_CO_ASSIGN(auto way, co_await plan_move(held, address, std::move(seen_at)));
    if (!way) co_return Relocated::kNothing;
    if (!way->crosses()) {
      if (!co_await close_unused(held, kUseAwaited)) co_return Relocated::kInUse;
      held->place.reset();
      Result<bool> moved;
      {
        const MoveNotice notice(moves_, address);
        moved = co_await move_within(address, std::move(*way));
      }
      if (moved) co_return *moved ? Relocated::kMoved : Relocated::kNothing;
      if (moved.error().code() == Code::kNotFound) co_return Relocated::kNothing;  // removed meanwhile
      co_return fail(std::move(moved).error());
    }
  }
  co_return co_await relocate_across(held, std::move(address), figures);
}

Task<Result<Accounts::Relocated>> Accounts::relocate(AccountAddress address, std::string seen_at,
                                                     MoveFigures* figures) {
  const bool known = entries_.contains(address.to_string());
  EntryRef held = entry_unused(address);
  auto done = co_await relocate_entry(held, std::move(address), std::move(seen_at), figures);
  if (!known && held.use_count() <= 3 && held->watchers == 0 && !held->account)
    erase(held);  // the map, the order and this function hold it
  co_return done;
}

Task<Result<void>> Accounts::remove_files_elsewhere(AccountAddress address) {
  EntryRef held = entry_unused(address);
  auto gate = co_await held->gate.lock();
  auto guard = co_await held->settings_gate.lock();
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  const AccountPlace newest = place_under(domain->layout, address);
  CANOPY_CO_ASSIGN(const FoundPlace found, co_await find_place(store(), domain, address));
  for (const std::string& path : files_apart(*domain, address)) {
    if (path == newest.settings_file || path == newest.info_file) continue;
    if (found.exists && (path == found.place.settings_file || path == found.place.info_file))
      co_return fail(Code::kTryAgain, path, "it has yet to move");
    CANOPY_CO_TRY(co_await discard_file(slot_of(address), path));
  }
  log_event(LogLevel::kInfo, "superseded-files-removed", address.to_string(), {{"exists", found.exists}});
  co_return Result<void>();
}

Task<void> Accounts::settle_places() {
  while (!placing_.empty() && *placing_.begin() < table_number_) co_await loop().sleep(kPlacingLookedAtAfter);
}

}  // namespace canopy
