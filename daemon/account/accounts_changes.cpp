// Creating, removing, renaming accounts and changing their settings and info.
#include "daemon/account/accounts.h"
#include "daemon/account/log_end.h"
#include "daemon/account/suspended_marks.h"
#include "daemon/base/log.h"
#include "daemon/dict/dict.h"
#include "daemon/store/store_path.h"

namespace canopy {

Task<Result<void>> Accounts::discard_file(uint32_t slot, std::string path) {
  for (const StoreSite& part : store().parts_of(path)) {
    CANOPY_CO_TRY(co_await settle_disposal(part.path));
    auto there = co_await store().attributes(part.path);
    if (!there && there.error().code() == Code::kNotFound) continue;
    if (!there) co_return fail(std::move(there).error());
    CANOPY_CO_TRY(co_await dispose(slot, part.path));
  }
  co_return Result<void>();
}

Task<Result<void>> Accounts::check_absent(std::shared_ptr<const Domain> domain, AccountAddress address) {
  auto found = co_await find_place(store(), std::move(domain), address);
  if (!found) co_return fail(std::move(found).error());
  if (found->exists)
    co_return fail(Code::kAlreadyExists, address.to_string(), "there is such an account already");
  co_return Result<void>();
}

// With the settings gate held.
Task<Result<void>> Accounts::exists_already(EntryRef held, AccountAddress address, RequestId id) {
  if (!is_none(id)) {
    auto known = co_await load_settings(held, address);
    if (known && (*known)->own.created == mark_of(id, address.to_string(), loop())) co_return Result<void>();
    // Whose it is shows when the store answers.
    if (!known && known.error().retryable()) co_return fail(std::move(known).error());
  }
  co_return fail(Code::kAlreadyExists, address.to_string(), "there is such an account already");
}

static std::unexpected<Error> made_by_another(const AccountAddress& address) {
  return fail(Code::kTryAgain, address.to_string(),
              "another request is about to make an account of this name");
}

// Everything but the rename of the directory, which is the creation.
Task<Result<void>> Accounts::make_ready(uint32_t slot, std::string staged, TreeLayout layout,
                                        AccountAddress address, std::string text) {
  auto begun = co_await store().make_directory(staged, 0700, Durable::kNo);
  if (!begun) co_return fail(co_await files_.fenced_if_gone(staged, std::move(begun).error()));
  if (layout.fast_index() == 0) {
    OpenOptions options;
    options.write = options.create = options.exclusive = true;
    auto made = co_await store().open(staged + "/account.settings", options);
    if (!made) co_return fail(co_await files_.fenced_if_gone(staged, std::move(made).error()));
    std::string_view piece = text;
    auto written = co_await (*made)->write(0, std::span(&piece, 1), Durable::kYes);
    if (!written) co_return fail(std::move(written).error());
    co_return co_await store().sync_directory(staged);
  }
  const std::string settings_path = layout.settings_file(address);
  CANOPY_CO_TRY(
      co_await make_directories(store(), std::string(store_parent_of(settings_path)), 0700, Durable::kYes));
  auto file_staged = co_await files_.stage_file(slot, settings_path, std::move(text));
  if (!file_staged) co_return fail(std::move(file_staged).error());
  co_return co_await move_into(store(), *file_staged, settings_path, RenameMode::kReplace, Durable::kYes);
}

Task<Result<void>> Accounts::create(AccountAddress address, dict::Dict settings, RequestId id) {
  uint32_t slot = slot_of(address);
  EntryRef held = entry(address);
  auto guard = co_await held->settings_gate.lock();
  const Placing placing(*this);
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  std::string directory = domain->layout.account_directory(address);
  if (held->settings) co_return co_await exists_already(held, address, id);
  const NamesBeingMade::Claim name(*options_.being_made, address.to_string());
  if (!name.mine()) co_return made_by_another(address);
  CANOPY_CO_ASSIGN(StoreCapacity * capacity, co_await capacity_at(directory));
  if (!capacity->known()) co_await capacity->look();
  CANOPY_CO_TRY(capacity->take(0));

  dict::Date created;
  created.unix_seconds = loop().wall_clock_ns() / kSecond;
  settings.set(kCreatedKey, created);
  dict::VersionedDict file;
  CANOPY_CO_ASSIGN(file.version, dict::Version{}.next(files_.epoch()));
  file.dict = settings;
  file.created = mark_of(id, address.to_string(), loop());
  CANOPY_CO_ASSIGN(std::string text, dict::print_versioned(file, address.to_string()));
  auto checked = AccountSettings::make(file, *domain, domains_->tree);
  if (!checked) co_return fail(std::move(checked).error());

  // A mark is left of an account of this name whose directory other hands have removed.
  auto mark = co_await suspended_mark(store(), address);
  if (!mark) co_return fail(std::move(mark).error());
  const std::vector<std::string> apart = files_apart(*domain, address);
  if (*mark || !apart.empty() || !domain->older.empty()) {
    auto absent = co_await check_absent(domain, address);
    if (!absent && absent.error().code() == Code::kAlreadyExists)
      co_return co_await exists_already(held, address, id);
    if (!absent) co_return absent;
  }
  if (*mark) CANOPY_CO_TRY(co_await unmark_suspended(store(), address));
  // Settings and info apart from a directory count only with it: these were left by an account that is gone.
  for (const std::string& path : apart) CANOPY_CO_TRY(co_await discard_file(slot, path));

  CANOPY_CO_TRY(co_await settle_disposal(store().parts_of(directory).front().path));
  auto staged = co_await files_.stage_path(slot, directory);
  if (!staged) co_return fail(std::move(staged).error());
  CANOPY_CO_TRY(co_await make_ready(slot, *staged, domain->layout, address, std::move(text)));
  CANOPY_CO_TRY(
      co_await make_directories(store(), std::string(store_parent_of(directory)), 0700, Durable::kYes));
  auto renamed = co_await move_into(store(), *staged, directory, RenameMode::kNoReplace, Durable::kYes);
  if (!renamed) {
    Error error = renamed.error();
    if (error.code() == Code::kAlreadyExists || error.code() == Code::kNotEmpty) {
      (void)co_await remove_tree(store(), *staged);
      co_return co_await exists_already(held, address, id);
    }
    names_changed_(address, std::nullopt);
    // When it is on its way yet it must find nothing: accounts may be made elsewhere by then.
    auto gone = co_await discard(slot, *staged);
    if (!gone)
      log_event(LogLevel::kWarning, "staged-account-left", *staged, {{"error", gone.error().to_string()}});
    co_return fail(co_await files_.fenced_if_gone(*staged, std::move(error)));
  }
  names_changed_(address, true);
  held->settings = *checked;
  held->settings_under = domains_;
  held->info.reset();
  held->place = place_under(domain->layout, address);
  count(*held);
  co_return Result<void>();
}

Task<void> Accounts::empty_trash(Accounts& accounts, std::string path) {
  auto gone = co_await remove_tree(accounts.store(), path);
  if (!gone) log_event(LogLevel::kWarning, "trash-not-removed", path, {{"error", gone.error().to_string()}});
}

Task<Result<void>> Accounts::remove(AccountAddress address) {
  CANOPY_CO_TRY(domain_of(address));
  EntryRef held = entry(address);
  auto gate = co_await held->gate.lock();
  auto guard = co_await held->settings_gate.lock();
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  co_await close_entry(held);
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await place_of(held, address, domain));
  const std::string& directory = place.directory;
  const uint32_t slot = slot_of(address);
  CANOPY_CO_TRY(co_await clear_other_places(domain, address, directory));
  auto staged = co_await files_.stage_path(slot, directory);
  if (!staged) co_return fail(std::move(staged).error());
  // Into the stage, where a successor removes it: a late rename must not take an account that came since.
  std::string trash = *staged;
  auto renamed = co_await store().rename(directory, trash, RenameMode::kReplace, Durable::kYes);
  if (!renamed) {
    // It is the account that was not found, or the stage.
    Error error = co_await files_.fenced_if_gone(trash, std::move(renamed).error());
    if (error.code() == Code::kNotFound) {
      co_return fail(Code::kNotFound, address.to_string(), "there is no such account");
    }
    names_changed_(address, std::nullopt);
    co_return fail(std::move(error));
  }
  names_changed_(address, false);
  for (const std::string& path : files_apart(*domain, address))
    CANOPY_CO_TRY(co_await discard_file(slot, path));
  CANOPY_CO_TRY(co_await unmark_suspended(store(), address));
  held->settings = nullptr;
  held->info.reset();
  held->place.reset();
  held->maildrop_lock = 0;
  count(*held);
  held->changed.wake_all();
  background_.spawn(empty_trash(*this, trash));
  co_return Result<void>();
}

// Where settings and info lie apart from the directory, or will: copies them to the new name's place.
Task<Result<void>> Accounts::copy_apart(AccountPlace from, const Domain& to_domain,
                                        const AccountAddress& to) {
  struct Copy {
    std::string from, to;
  };
  bool to_stage =
      to_domain.layout.fast_index() == 0;  // then they move with the directory: into it, before it moves
  const std::string& inside = from.directory;
  for (auto [source, target] : {Copy{from.settings_file, to_domain.layout.settings_file(to)},
                                Copy{from.info_file, to_domain.layout.info_file(to)}}) {
    if (to_stage) target.replace(0, target.rfind('/'), inside);
    if (source == target) continue;
    auto text = co_await read_file(store(), source, kDictBytesMax);
    if (!text && text.error().code() != Code::kNotFound) co_return fail(std::move(text).error());
    if (!text) {
      CANOPY_CO_TRY(co_await discard_file(slot_of(to), target));
      continue;
    }
    CANOPY_CO_TRY(co_await settle_disposal(store().parts_of(target).front().path));
    CANOPY_CO_TRY(
        co_await make_directories(store(), std::string(store_parent_of(target)), 0700, Durable::kYes));
    auto staged = co_await files_.stage_file(slot_of(to), target, std::move(*text));
    if (!staged) co_return fail(std::move(staged).error());
    CANOPY_CO_TRY(co_await store().rename(*staged, target, RenameMode::kReplace, Durable::kYes));
  }
  co_return Result<void>();
}

Task<Result<void>> Accounts::begin_slice_anew(AccountAddress address, std::string directory) {
  CANOPY_CO_ASSIGN(auto account, co_await Account::open(environment_, address.to_string(),
                                                        std::move(directory), options_.account));
  auto done = co_await account->hold();
  co_await account->close();
  co_return done;
}

// As long as the table may change meanwhile, no account comes to a place that only a superseded row leads to:
// a walk that has passed there would forget the row.
static Task<Result<void>> check_newest_place(Store& store, std::string source, std::string target) {
  CANOPY_CO_ASSIGN(const StoreSite site, co_await store.site_of(source));
  const StoreSite newest = store.parts_of(target).front();
  if (newest.name == site.name) co_return Result<void>();
  co_return fail(
      Code::kCrossStore, std::move(source),
      fmt::format("it lies on store {}, and {} would lie on store {}", site.name, target, newest.name));
}

Task<Result<void>> Accounts::rename(AccountAddress from, AccountAddress to, bool stays) {
  EntryRef held = entry(from);
  auto gate = co_await held->gate.lock();
  auto guard = co_await held->settings_gate.lock();
  // The domain that it goes to must not move meanwhile; its own does not while its gates are held.
  const EntryRef target_domain = entry({"", to.domain});
  std::optional<Mutex::Guard> domain_stays;
  if (to.domain != from.domain) domain_stays.emplace(co_await target_domain->gate.lock());
  const Placing placing(*this);
  const NamesBeingMade::Claim name(*options_.being_made, to.to_string());
  if (!name.mine()) co_return made_by_another(to);
  CANOPY_CO_ASSIGN(auto from_domain, domain_of(from));
  CANOPY_CO_ASSIGN(auto to_domain, domain_of(to));
  auto known = co_await load_settings(held, from);
  if (!known) co_return fail(std::move(known).error());
  co_await close_entry(held);
  CANOPY_CO_ASSIGN(const AccountPlace source, co_await place_of(held, from, from_domain));
  // A write that failed may still arrive; that is remembered under this name, by this loop.
  if (environment_.files->has_ends(store(), source.directory))
    CANOPY_CO_TRY(co_await begin_slice_anew(from, source.directory));
  const std::string target = to_domain->layout.account_directory(to);
  if (!stays) CANOPY_CO_TRY(co_await check_newest_place(store(), source.directory, target));
  CANOPY_CO_TRY(co_await check_absent(to_domain, to));
  for (const std::string& path : files_apart(*to_domain, to))  // of an account that is gone
    CANOPY_CO_TRY(co_await discard_file(slot_of(to), path));
  CANOPY_CO_TRY(co_await clear_other_places(from_domain, from, source.directory));
  for (const StoreSite& part : store().parts_of(target)) CANOPY_CO_TRY(co_await settle_disposal(part.path));
  const bool from_apart =
      !source.settings_file.starts_with(source.directory) || !source.info_file.starts_with(source.directory);
  if (from_apart || to_domain->layout.fast_index() != 0) {
    CANOPY_CO_TRY(co_await copy_apart(source, *to_domain, to));
  }
  CANOPY_CO_TRY(
      co_await make_directories(store(), std::string(store_parent_of(target)), 0700, Durable::kYes));
  CANOPY_CO_TRY(co_await copy_suspended_mark(files_, from, to));
  CANOPY_CO_TRY(co_await files_.check_not_succeeded(slot_of(from), source.directory));
  // The rename of the directory is the renaming of the account: settings without one count for nobody.
  auto moved = co_await move_into(store(), source.directory, target, RenameMode::kNoReplace, Durable::kYes);
  names_changed_(from, moved ? std::optional(false) : std::nullopt);
  names_changed_(to, moved ? std::optional(true) : std::nullopt);
  if (!moved) co_return moved;
  held->settings = nullptr;
  held->info.reset();
  held->place.reset();
  held->maildrop_lock = 0;
  count(*held);
  held->changed.wake_all();
  CANOPY_CO_TRY(co_await unmark_suspended(store(), from));
  // What is left behind counts for nobody.
  std::vector<std::string> left = files_apart(*from_domain, from);
  if (to_domain->layout.fast_index() != 0) {
    for (const std::string& path : {source.settings_file, source.info_file})
      left.push_back(target + path.substr(path.rfind('/')));
  }
  for (const std::string& path : left) {
    auto gone = co_await discard_file(slot_of(from), path);
    if (!gone) {
      log_event(LogLevel::kWarning, "renamed-file-left", path, {{"error", gone.error().to_string()}});
    }
  }
  co_return Result<void>();
}

static Result<void> expect(const dict::Version& is, uint64_t expected, const AccountAddress& address) {
  if (expected == 0 || is.number == expected) return {};
  return fail(Code::kConflict, address.to_string(),
              fmt::format("its version is {}, not {}: read it again", is.number, expected));
}

Task<Result<dict::Version>> Accounts::change_settings(AccountAddress address, uint64_t expected_version,
                                                      Change change, RequestId id) {
  CANOPY_CO_TRY(domain_of(address));
  EntryRef held = entry(address);
  auto guard = co_await held->settings_gate.lock();
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  auto known = co_await load_settings(held, address);
  if (!known) co_return fail(std::move(known).error());
  dict::VersionedDict file = (*known)->own;
  const ChangeRequest request = change_request(id);
  if (const dict::AnsweredRequest* before = file.answered(request.key())) co_return before->version;
  CANOPY_CO_TRY(expect(file.version, expected_version, address));
  CANOPY_CO_TRY(change(file.dict));
  CANOPY_CO_TRY(dict::refuse_reserved_keys(file.dict, address.to_string()));
  auto checked = AccountSettings::make(file, *domain, domains_->tree);
  if (!checked) co_return fail(std::move(checked).error());
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await place_of(held, address, domain));
  auto replaced = co_await files_.replace(slot_of(address), place.settings_file, std::move(file), request);
  held->settings = nullptr;  // after an error nobody knows which of the two is there
  if (!replaced) co_return fail(std::move(replaced).error());
  const dict::Version version = replaced->version;
  CANOPY_CO_ASSIGN(held->settings, AccountSettings::make(std::move(*replaced), *domain, domains_->tree));
  held->settings_under = domains_;
  if (held->account) held->account->set_limits(held->settings->limits);
  held->changed.wake_all();
  co_return version;
}

Task<Result<void>> Accounts::read_again(AccountAddress address) {
  CANOPY_CO_TRY(domain_of(address));
  EntryRef held = entry(address);
  auto gate = co_await held->gate.lock();
  co_await close_entry(held);
  auto guard = co_await held->settings_gate.lock();
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  held->info.reset();
  held->place.reset();
  auto known = std::exchange(held->settings, nullptr);
  auto read = co_await load_settings(held, address);
  if (!read) {
    if (read.error().code() != Code::kNotFound) held->settings = std::move(known);
    co_return fail(std::move(read).error());
  }
  dict::VersionedDict own = (*read)->own;
  own.dict.set(kStateKey, account_use_name(AccountUse::kSuspended));
  // Nor does it count what those that were put there say of the log.
  if (known) {
    if (const dict::Value* end = known->own.dict.find(kLogEndKey)) own.dict.set(kLogEndKey, *end);
  }
  CANOPY_CO_ASSIGN(held->settings, AccountSettings::make(std::move(own), *domain, domains_->tree));
  held->settings_under = domains_;
  count(*held);
  co_return Result<void>();
}

Task<Result<dict::VersionedDict>> Accounts::info(AccountAddress address) {
  EntryRef held = entry(address);
  auto guard = co_await held->settings_gate.lock();
  // Of a name without an account nothing may be remembered: it may be another account's by the next change.
  auto known = co_await load_settings(held, address);
  if (!known) co_return fail(std::move(known).error());
  co_return co_await load_info(held, std::move(address));
}

// With the settings gate held.
Task<Result<dict::VersionedDict>> Accounts::load_info(EntryRef held, AccountAddress address) {
  if (held->info) co_return *held->info;
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  auto read = co_await read_at(held, address, std::move(domain), &AccountPlace::info_file);
  if (!read && read.error().code() != Code::kNotFound) co_return fail(std::move(read).error());
  held->info = read ? std::move(*read) : dict::VersionedDict{};
  count(*held);
  co_return *held->info;
}

Task<Result<dict::Version>> Accounts::change_info(AccountAddress address, uint64_t expected_version,
                                                  Change change, RequestId id) {
  CANOPY_CO_TRY(domain_of(address));
  EntryRef held = entry(address);
  auto guard = co_await held->settings_gate.lock();
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  // Info lies beside an account, not instead of one.
  auto known = co_await load_settings(held, address);
  if (!known) co_return fail(std::move(known).error());
  auto before = co_await load_info(held, address);
  if (!before) co_return fail(std::move(before).error());
  dict::VersionedDict file = std::move(*before);
  const ChangeRequest request = change_request(id);
  if (const dict::AnsweredRequest* answered = file.answered(request.key())) co_return answered->version;
  CANOPY_CO_TRY(expect(file.version, expected_version, address));
  CANOPY_CO_TRY(change(file.dict));
  CANOPY_CO_TRY(dict::refuse_reserved_keys(file.dict, address.to_string()));
  file.forget_all_but(kRequestsRememberedPerInfoMax - 1);
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await place_of(held, address, domain));
  // Of a suspended account somebody may have the file open through the mount.
  const bool in_place = (*known)->use != AccountUse::kSuspended;
  auto replaced =
      co_await files_.replace(slot_of(address), place.info_file, std::move(file), request, in_place);
  held->info.reset();
  if (!replaced) co_return fail(std::move(replaced).error());
  held->info = std::move(*replaced);
  count(*held);
  co_return held->info->version;
}

}  // namespace canopy
