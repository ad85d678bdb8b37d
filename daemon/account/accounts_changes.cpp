// Creating, removing, renaming accounts and changing their settings and info.
#include "daemon/account/accounts.h"
#include "daemon/base/log.h"
#include "daemon/dict/dict.h"

namespace canopy {

static std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

Task<Result<void>> Accounts::create(AccountAddress address, dict::Dict settings) {
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  uint32_t slot = slot_of(address);
  EntryRef held = entry(address);
  auto guard = co_await held->settings_gate.lock();
  std::string directory = domain->layout.account_directory(address);
  if (held->settings)
    co_return fail(Code::kAlreadyExists, address.to_string(), "there is such an account already");

  dict::Date created;
  created.unix_seconds = loop().wall_clock_ns() / kSecond;
  settings.set(kCreatedKey, created);
  dict::VersionedDict file;
  CANOPY_CO_ASSIGN(file.version, dict::Version{}.next(files_.epoch()));
  file.dict = settings;
  CANOPY_CO_ASSIGN(std::string text, dict::print_versioned(file, address.to_string()));
  auto checked = AccountSettings::make(file, *domain, domains_->tree);
  if (!checked) co_return fail(std::move(checked).error());

  // Everything is made ready in the stage; the rename of the directory is the creation.
  auto staged = co_await files_.stage_path(slot);
  if (!staged) co_return fail(std::move(staged).error());
  CANOPY_CO_TRY(co_await store().make_directory(*staged, 0700, Durable::kNo));
  std::string settings_path = domain->layout.settings_file(address);
  if (domain->layout.fast_index() == 0) {
    OpenOptions options;
    options.write = options.create = options.exclusive = true;
    auto made = co_await store().open(*staged + "/account.settings", options);
    if (!made) co_return fail(std::move(made).error());
    std::string_view piece = text;
    auto written = co_await (*made)->write(0, std::span(&piece, 1), Durable::kYes);
    if (!written) co_return fail(std::move(written).error());
    CANOPY_CO_TRY(co_await store().sync_directory(*staged));
  } else {
    auto exists = co_await store().attributes(directory);
    if (exists) co_return fail(Code::kAlreadyExists, address.to_string(), "there is such an account already");
    CANOPY_CO_TRY(co_await make_directories(store(), parent_of(settings_path), 0700, Durable::kYes));
    auto file_staged = co_await files_.stage_file(slot, text);
    if (!file_staged) co_return fail(std::move(file_staged).error());
    CANOPY_CO_TRY(co_await store().rename(*file_staged, settings_path, RenameMode::kReplace, Durable::kYes));
  }
  CANOPY_CO_TRY(co_await make_directories(store(), parent_of(directory), 0700, Durable::kYes));
  auto renamed = co_await store().rename(*staged, directory, RenameMode::kNoReplace, Durable::kYes);
  if (!renamed) {
    Error error = renamed.error();
    if (error.code() == Code::kAlreadyExists || error.code() == Code::kNotEmpty) {
      (void)co_await remove_tree(store(), *staged);
      co_return fail(Code::kAlreadyExists, address.to_string(), "there is such an account already");
    }
    co_return fail(std::move(error));
  }
  held->settings = *checked;
  held->settings_under = domains_;
  co_return Result<void>();
}

Task<void> Accounts::empty_trash(Accounts& accounts, std::string path) {
  auto gone = co_await remove_tree(accounts.store(), path);
  if (!gone) log_event(LogLevel::kWarning, "trash-not-removed", path, {{"error", gone.error().to_string()}});
}

Task<Result<void>> Accounts::remove(AccountAddress address) {
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  EntryRef held = entry(address);
  auto gate = co_await held->gate.lock();
  auto guard = co_await held->settings_gate.lock();
  co_await close_entry(held);
  std::string directory = domain->layout.account_directory(address);
  auto staged = co_await files_.stage_path(slot_of(address));
  if (!staged) co_return fail(std::move(staged).error());
  std::string trash = fmt::format("{}/{}", kTrashRoot, staged->substr(kStageRoot.size() + 1));
  CANOPY_CO_TRY(co_await make_directories(store(), parent_of(trash), 0700, Durable::kNo));
  auto renamed = co_await store().rename(directory, trash, RenameMode::kReplace, Durable::kYes);
  if (!renamed) {
    if (renamed.error().code() == Code::kNotFound) {
      co_return fail(Code::kNotFound, address.to_string(), "there is no such account");
    }
    co_return fail(std::move(renamed).error());
  }
  if (domain->layout.fast_index() != 0) {
    for (std::string path : {domain->layout.settings_file(address), domain->layout.info_file(address)}) {
      auto gone = co_await store().remove(path, Durable::kYes);
      if (!gone && gone.error().code() != Code::kNotFound) co_return gone;
    }
  }
  held->settings = nullptr;
  held->info.reset();
  held->changed.wake_all();
  background_.spawn(empty_trash(*this, trash));
  co_return Result<void>();
}

Task<Result<void>> Accounts::rename(AccountAddress from, AccountAddress to) {
  CANOPY_CO_ASSIGN(auto from_domain, domain_of(from));
  CANOPY_CO_ASSIGN(auto to_domain, domain_of(to));
  EntryRef held = entry(from);
  auto gate = co_await held->gate.lock();
  auto guard = co_await held->settings_gate.lock();
  auto known = co_await load_settings(held, from);
  if (!known) co_return fail(std::move(known).error());
  co_await close_entry(held);
  std::string source = from_domain->layout.account_directory(from);
  std::string target = to_domain->layout.account_directory(to);
  auto taken = co_await store().attributes(target);
  if (taken) co_return fail(Code::kAlreadyExists, to.to_string(), "there is such an account already");
  if (taken.error().code() != Code::kNotFound) co_return fail(std::move(taken).error());
  std::string from_settings = from_domain->layout.settings_file(from);
  std::string to_settings = to_domain->layout.settings_file(to);
  bool settings_apart = from_domain->layout.fast_index() != 0 || to_domain->layout.fast_index() != 0;
  if (settings_apart) {
    co_return fail(Code::kUnsupported, from.to_string(),
                   "an account whose settings lie under a fast index cannot be renamed yet");
  }
  CANOPY_CO_TRY(co_await make_directories(store(), parent_of(target), 0700, Durable::kYes));
  CANOPY_CO_TRY(co_await store().rename(source, target, RenameMode::kNoReplace, Durable::kYes));
  held->settings = nullptr;
  held->info.reset();
  held->changed.wake_all();
  co_return Result<void>();
}

static Result<void> expect(const dict::Version& is, uint64_t expected, const AccountAddress& address) {
  if (expected == 0 || is.number == expected) return {};
  return fail(Code::kConflict, address.to_string(),
              fmt::format("its version is {}, not {}: read it again", is.number, expected));
}

Task<Result<dict::Version>> Accounts::change_settings(AccountAddress address, uint64_t expected_version,
                                                      Change change) {
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  EntryRef held = entry(address);
  auto guard = co_await held->settings_gate.lock();
  auto known = co_await load_settings(held, address);
  if (!known) co_return fail(std::move(known).error());
  dict::VersionedDict file = (*known)->own;
  CANOPY_CO_TRY(expect(file.version, expected_version, address));
  CANOPY_CO_TRY(change(file.dict));
  CANOPY_CO_TRY(dict::refuse_reserved_keys(file.dict, address.to_string()));
  auto checked = AccountSettings::make(file, *domain, domains_->tree);
  if (!checked) co_return fail(std::move(checked).error());
  auto version = co_await files_.replace(slot_of(address), domain->layout.settings_file(address), file.dict,
                                         file.version);
  held->settings = nullptr;  // after an error nobody knows which of the two is there
  if (!version) co_return fail(std::move(version).error());
  file.version = *version;
  CANOPY_CO_ASSIGN(held->settings, AccountSettings::make(std::move(file), *domain, domains_->tree));
  held->settings_under = domains_;
  if (held->account) held->account->set_limits(held->settings->limits);
  held->changed.wake_all();
  co_return *version;
}

Task<Result<dict::VersionedDict>> Accounts::info(AccountAddress address) {
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  EntryRef held = entry(address);
  if (held->info) co_return *held->info;
  auto known = co_await settings(address);
  if (!known) co_return fail(std::move(known).error());
  auto guard = co_await held->settings_gate.lock();
  if (held->info) co_return *held->info;
  auto read = co_await files_.read(domain->layout.info_file(address));
  if (!read && read.error().code() != Code::kNotFound) co_return fail(std::move(read).error());
  held->info = read ? std::move(*read) : dict::VersionedDict{};
  co_return *held->info;
}

Task<Result<dict::Version>> Accounts::change_info(AccountAddress address, uint64_t expected_version,
                                                  Change change) {
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  auto before = co_await info(address);
  if (!before) co_return fail(std::move(before).error());
  EntryRef held = entry(address);
  auto guard = co_await held->settings_gate.lock();
  dict::VersionedDict file = held->info ? *held->info : *before;
  CANOPY_CO_TRY(expect(file.version, expected_version, address));
  CANOPY_CO_TRY(change(file.dict));
  CANOPY_CO_TRY(dict::refuse_reserved_keys(file.dict, address.to_string()));
  auto version =
      co_await files_.replace(slot_of(address), domain->layout.info_file(address), file.dict, file.version);
  held->info.reset();
  if (!version) co_return fail(std::move(version).error());
  file.version = *version;
  held->info = std::move(file);
  co_return *version;
}

}  // namespace canopy
