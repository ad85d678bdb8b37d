// Moving an account to where the newest layout of its domain has it (docs/architecture/relocation.md).
#include "daemon/account/accounts.h"
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
  co_return co_await files.store().remove(from, Durable::kYes);
}

}  // namespace

// The files go first: wherever this ends, each of the three is at one place, and is found there.
Task<Result<bool>> Accounts::move_to(AccountAddress address, AccountPlace now, AccountPlace next) {
  const bool with_directory = next.settings_file.starts_with(next.directory);
  bool moved = false;
  for (auto [from, to] :
       {std::pair(now.settings_file, next.settings_file), std::pair(now.info_file, next.info_file)}) {
    if (with_directory) to = inside(now.directory, to);
    if (from == to) continue;
    // What is written there next is durable only with the folder's own name.
    if (!with_directory)
      CANOPY_CO_TRY(
          co_await make_directories(store(), std::string(store_parent_of(to)), 0700, Durable::kYes));
    auto done = co_await move_into(store(), from, to, RenameMode::kReplace, Durable::kNo);
    if (!done && done.error().code() == Code::kCrossStore)
      done = co_await copy_to(files_, slot_of(address), from, to);
    if (!done && done.error().code() == Code::kNotFound) continue;  // not every account has info
    if (!done) co_return fail(std::move(done).error());
    moved = true;
  }
  if (now.directory == next.directory) co_return moved;
  auto done =
      co_await move_into(store(), now.directory, next.directory, RenameMode::kNoReplace, Durable::kNo);
  if (!done && done.error().code() == Code::kCrossStore)
    co_return fail(
        Code::kUnsupported, address.to_string(),
        fmt::format("{} would have to go to another store, which this version does not do", next.directory));
  if (!done) co_return fail(std::move(done).error());
  co_return true;
}

Task<bool> Accounts::close_unused(EntryRef held) {
  std::shared_ptr<Account> account =
      std::exchange(held->account, nullptr);  // so that nobody gets it any more
  if (!account) co_return true;
  const Nanos until = loop().now() + kUseAwaited;
  while (account.use_count() > 1 && loop().now() < until) co_await loop().sleep(kUseLookedAtAfter);
  held->account = std::move(account);
  if (held->account.use_count() > 1) co_return false;
  co_await close_entry(held);
  co_return true;
}

Task<Result<Accounts::Relocated>> Accounts::relocate(AccountAddress address, std::string seen_at) {
  const bool known = entries_.contains(address.to_string());
  EntryRef held = entry_unused(address);
  auto gate = co_await held->gate.lock();
  auto guard = co_await held->settings_gate.lock();
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  if (domain->older.empty()) co_return Relocated::kNothing;
  const AccountPlace next = place_under(domain->layout, address);
  AccountPlace now;
  if (may_lie_apart(*domain)) {
    CANOPY_CO_ASSIGN(FoundPlace found, co_await find_place(store(), domain, address));
    if (!found.exists) co_return Relocated::kNothing;  // removed meanwhile
    for (const std::string& path : found.left) CANOPY_CO_TRY(co_await store().remove(path, Durable::kYes));
    now = std::move(found.place);
  } else {
    now.directory = held->place ? held->place->directory : std::move(seen_at);
    now.settings_file = inside(now.directory, next.settings_file);
    now.info_file = inside(now.directory, next.info_file);
  }
  if (now == next) co_return Relocated::kNothing;
  if (!co_await close_unused(held)) co_return Relocated::kInUse;
  held->place.reset();
  auto moved = co_await move_to(address, std::move(now), next);
  moved_(address);
  if (!known && held.use_count() <= 3 && held->watchers == 0)
    erase(held);  // the map, the order and this function hold it
  if (moved) co_return *moved ? Relocated::kMoved : Relocated::kNothing;
  if (moved.error().code() == Code::kNotFound) co_return Relocated::kNothing;  // removed meanwhile
  co_return fail(std::move(moved).error());
}

Task<void> Accounts::settle_places() {
  while (!placing_.empty() && *placing_.begin() < table_number_) co_await loop().sleep(kPlacingLookedAtAfter);
}

}  // namespace canopy
