// Moving an account to where the newest layout of its domain has it (docs/architecture/relocation.md).
#include <algorithm>

#include "daemon/account/accounts.h"
#include "daemon/account/suspended_marks.h"
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
    if (!source && source.error().code() == Code::kNotFound) co_return moved;
    if (!source) co_return fail(std::move(source).error());  // nobody knows whether it is there
    CANOPY_CO_TRY(co_await make_directories(store, std::string(store_parent_of(to)), 0700, durable));
  }
}

namespace {

// What goes to another place on its store because of the mount table is durable there at once, as nobody
// makes it so before the superseded rows are dropped. Folders of superseded layouts are synced before those
// are.
Durable durable_from(Store& store, const std::string& path, const std::string& lies_at) {
  return Durable{store.parts_of(path).front().path != lies_at};
}

std::string inside(const std::string& directory, const std::string& file) {
  return directory + file.substr(file.rfind('/'));
}

}  // namespace

// Never over another one: a rename that comes late must not put back what has been written since. A store
// that others write to has no such rename of one step, so that there, as from store to store, the file is
// copied.
Task<Result<void>> Accounts::move_file(uint32_t slot, std::string path, std::string from, std::string to,
                                       Durable durable) {
  CANOPY_CO_TRY(co_await settle_disposal(to));
  if (!store().shared_at(to)) {
    auto done = co_await move_into(store(), from, to, RenameMode::kNoReplace, durable);
    if (done || done.error().code() != Code::kCrossStore) co_return done;
  }
  CANOPY_CO_TRY(co_await files_.copy(slot, std::move(path), from, std::move(to)));
  co_return co_await discard_file(slot, std::move(from));
}

// The files go first: wherever this ends, each of the three is at one place, and is found there.
Task<Result<bool>> Accounts::move_files(AccountAddress address, const Way& way) {
  const bool with_directory = way.next.settings_file.starts_with(way.next.directory);
  bool moved = false;
  for (auto [from, to] : {std::pair(way.now.settings_file, way.next.settings_file),
                          std::pair(way.now.info_file, way.next.info_file)}) {
    if (with_directory) to = inside(way.now.directory, to);
    const std::string path = to;
    Durable durable = Durable::kNo;
    if (way.several_stores) {
      CANOPY_CO_ASSIGN(const StoreSite is, co_await store().site_of(from));
      to = with_directory ? inside(way.from.path, to) : store().parts_of(to).front().path;
      durable = durable_from(store(), from, is.path);
      from = is.path;
    }
    if (from == to) continue;
    // What is written there next is durable only with the folder's own name.
    if (!with_directory)
      CANOPY_CO_TRY(
          co_await make_directories(store(), std::string(store_parent_of(to)), 0700, Durable::kYes));
    auto done = co_await move_file(slot_of(address), path, from, to, durable);
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
  const Durable durable =
      way.several_stores ? durable_from(store(), way.now.directory, way.from.path) : Durable::kNo;
  auto done = co_await move_into(store(), way.from.path, way.to.path, RenameMode::kNoReplace, durable);
  if (!done) co_return fail(std::move(done).error());
  co_return true;
}

// Whether nobody but the caller and `others` uses it; from then on nobody else does before the caller waits.
Task<bool> Accounts::await_unused(EntryRef held, Nanos awaited, long others) {
  std::shared_ptr<Account> account =
      std::exchange(held->account, nullptr);  // so that nobody gets it any more
  if (!account) co_return true;
  const Nanos until = loop().now() + awaited;
  while (account.use_count() > 1 + others && loop().now() < until) co_await loop().sleep(kUseLookedAtAfter);
  held->account = std::move(account);
  co_return held->account.use_count() <= 1 + others;
}

Task<bool> Accounts::close_unused(EntryRef held, Nanos awaited) {
  if (!co_await await_unused(held, awaited, 0)) co_return false;
  co_await close_entry(held);
  co_return true;
}

// Of a name's directories the one that counts; "": it is not where it was seen any more.
Task<Result<std::string>> Accounts::directory_of(EntryRef held, std::shared_ptr<const Domain> domain,
                                                 AccountAddress address, std::string seen_at) {
  if (held->place) co_return held->place->directory;
  // Nowhere else but under the newest, where it cannot be renamed over another one.
  if (domain->older.size() == 1 && seen_at == domain->older.front().account_directory(address))
    co_return seen_at;
  CANOPY_CO_ASSIGN(FoundPlace found, co_await find_place(store(), std::move(domain), address));
  if (!found.exists || found.place.directory == seen_at) co_return seen_at;
  auto second = co_await store().attributes(seen_at);
  if (!second && second.error().code() == Code::kNotFound) co_return std::string();  // it has just moved
  if (!second) co_return fail(std::move(second).error());
  co_return fail(Code::kConflict, seen_at,
                 fmt::format("the account lies at {}, and this directory of its name does not count: move it "
                             "away or remove it",
                             found.place.directory));
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
    CANOPY_CO_ASSIGN(way.now.directory, co_await directory_of(held, domain, address, std::move(seen_at)));
    if (way.now.directory.empty()) co_return std::nullopt;
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
    const Nanos since = loop().now();
    CANOPY_CO_ASSIGN(auto way, co_await plan_move(held, address, std::move(seen_at)));
    if (!way) co_return Relocated::kNothing;
    if (!way->crosses()) {
      const bool unused = co_await close_unused(held, kUseAwaited);
      if (figures != nullptr) figures->held_for = std::max(figures->held_for, loop().now() - since);
      if (!unused) co_return Relocated::kInUse;
      held->place.reset();
      Result<bool> moved;
      {
        const MoveNotice notice(moves_, address);
        moved = co_await move_within(address, std::move(*way));
      }
      if (figures != nullptr) figures->held_for = std::max(figures->held_for, loop().now() - since);
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
  forget_unused(held, known);
  co_return done;
}

// What a creation leaves that has not come to its end says which request it was.
static Task<Result<bool>> was_to_be_made(SettingsFiles& files, std::string settings_file) {
  auto file = co_await files.read(std::move(settings_file));
  if (!file && file.error().retryable()) co_return fail(std::move(file).error());
  co_return file && !file->created.empty();
}

Task<Result<bool>> Accounts::counts_for_nobody(std::shared_ptr<const Domain> domain, AccountAddress address,
                                               std::string path) {
  CANOPY_CO_ASSIGN(const FoundPlace found, co_await find_place(store(), domain, address));
  if (found.exists) {
    if (path == found.place.settings_file || path == found.place.info_file)
      co_return fail(Code::kTryAgain, path, "it has yet to move");
    co_return true;
  }
  CANOPY_CO_ASSIGN(const auto mark, co_await suspended_mark(store(), address));
  if (mark)
    co_return fail(Code::kBusy, address.to_string(),
                   fmt::format("it is suspended, its directory is not there, and {} is looked for only while "
                               "accounts move: resume or delete the account",
                               path));
  co_return path.ends_with(kSettingsSuffix) ? co_await was_to_be_made(files_, path) : Result<bool>(false);
}

// Where no layout leads to `left` although the account is there: it becomes the account's own when that has
// none; otherwise it goes, unless it is the newer one.
Task<Result<void>> Accounts::settle_leftover(EntryRef held, uint32_t slot, AccountPlace place,
                                             std::string left) {
  const std::string& counts = left.ends_with(kSettingsSuffix) ? place.settings_file : place.info_file;
  CANOPY_CO_ASSIGN(const dict::Version old, co_await version_at(store(), left));
  const auto own = co_await version_at(store(), counts);
  if (!own && own.error().code() != Code::kNotFound) co_return fail(own.error());
  if (own && *own < old)
    co_return fail(
        Code::kConflict, left,
        fmt::format("no layout leads to this file, which is newer than {}: move it away or remove it",
                    counts));
  if (own) {
    CANOPY_CO_TRY(co_await discard_file(slot, left));
    log_event(LogLevel::kInfo, "superseded-file-removed", left, {});
    co_return Result<void>();
  }
  if (!co_await close_unused(held, kUseAwaited))
    co_return fail(Code::kTryAgain, left, "the account is in use");
  forget_place(*held);
  held->info.reset();
  std::string to = store().parts_of(counts).front().path;
  if (counts.starts_with(place.directory)) {
    CANOPY_CO_ASSIGN(const StoreSite directory, co_await store().site_of(place.directory));
    to = inside(directory.path, counts);
  } else {
    CANOPY_CO_TRY(co_await make_directories(store(), std::string(store_parent_of(to)), 0700, Durable::kYes));
  }
  CANOPY_CO_TRY(co_await move_file(slot, counts, left, to, Durable::kYes));
  log_event(LogLevel::kInfo, "superseded-file-moved", left, {{"to", to}});
  co_return Result<void>();
}

Task<Result<bool>> Accounts::bring_leftover(EntryRef held, AccountAddress address, std::string path) {
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  CANOPY_CO_ASSIGN(const FoundPlace found, co_await find_place(store(), domain, address));
  const std::vector<std::string> looked_at = files_apart(*domain, address);
  if (found.exists && std::ranges::find(looked_at, path) != looked_at.end()) co_return false;
  CANOPY_CO_ASSIGN(const auto mark, co_await suspended_mark(store(), address));
  if (mark) co_return false;
  const uint32_t slot = slot_of(address);
  const std::vector<StoreSite> places = store().parts_of(path);
  const std::string& newest = places.front().path;
  bool moved = false;
  for (size_t i = 1; i < places.size(); ++i) {
    const std::string& place = places[i].path;
    auto there = co_await store().attributes(place);
    if (!there && there.error().code() == Code::kNotFound) continue;
    if (!there) co_return fail(std::move(there).error());
    moved = true;
    // A table shows it again that leads to its store after the layout was dropped.
    if (found.exists) {
      CANOPY_CO_TRY(co_await settle_leftover(held, slot, found.place, place));
      continue;
    }
    auto taken = co_await store().attributes(newest);
    if (!taken && taken.error().code() != Code::kNotFound) co_return fail(std::move(taken).error());
    if (taken) {
      CANOPY_CO_TRY(co_await discard_file(slot, place));
    } else {
      CANOPY_CO_TRY(
          co_await make_directories(store(), std::string(store_parent_of(newest)), 0700, Durable::kYes));
      CANOPY_CO_TRY(co_await move_file(slot, path, place, newest, Durable::kYes));
    }
    log_event(LogLevel::kInfo, "superseded-file-moved", place, {{"to", newest}});
  }
  co_return moved;
}

Task<Result<bool>> Accounts::bring_along(AccountAddress address, std::string path) {
  const bool known = entries_.contains(address.to_string());
  EntryRef held = entry_unused(address);
  auto gate = co_await held->gate.lock();
  auto guard = co_await held->settings_gate.lock();
  auto done = co_await bring_leftover(held, std::move(address), std::move(path));
  gate.release();
  guard.release();
  forget_unused(held, known);
  co_return done;
}

Task<Result<void>> Accounts::remove_files_elsewhere(std::shared_ptr<const Domain> domain,
                                                    AccountAddress address) {
  const bool known = entries_.contains(address.to_string());
  EntryRef held = entry_unused(address);
  auto gate = co_await held->gate.lock();
  auto guard = co_await held->settings_gate.lock();
  CANOPY_CO_ASSIGN(auto now, domain_of(address));
  if (now->layout != domain->layout || now->older != domain->older)
    co_return fail(Code::kTryAgain, domain->name, "its layout has changed meanwhile");
  const AccountPlace newest = place_under(domain->layout, address);
  for (const std::string& path : files_apart(*domain, address)) {
    if (path == newest.settings_file || path == newest.info_file) continue;
    auto there = co_await store().attributes(path);
    if (!there && there.error().code() == Code::kNotFound) continue;
    if (!there) co_return fail(std::move(there).error());
    CANOPY_CO_ASSIGN(const bool nobodys, co_await counts_for_nobody(domain, address, path));
    if (nobodys) CANOPY_CO_TRY(co_await discard_file(slot_of(address), path));
    log_event(LogLevel::kInfo, nobodys ? "superseded-file-removed" : "superseded-file-left", path, {});
  }
  gate.release();
  guard.release();
  forget_unused(held, known);
  co_return Result<void>();
}

Task<void> Accounts::settle_places() {
  while (!placing_.empty() && *placing_.begin() < table_number_) co_await loop().sleep(kPlacingLookedAtAfter);
}

}  // namespace canopy
