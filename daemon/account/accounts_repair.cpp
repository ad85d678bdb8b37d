// Settings and info files that do not parse: kept under another name, and begun anew.
#include "daemon/account/accounts.h"
#include "daemon/base/bytes.h"
#include "daemon/base/log.h"
#include "daemon/store/store_path.h"

namespace canopy {

constexpr uint64_t kDamagedBytesMax = 64u << 20;  // of a file that is copied from store to store

static Task<Result<void>> copy_file(Store& store, std::string from, std::string to) {
  auto bytes = co_await read_file(store, std::move(from), kDamagedBytesMax);
  if (!bytes) co_return fail(std::move(bytes).error());
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  CANOPY_CO_ASSIGN(auto file, co_await store.open(to, options));
  const std::string_view piece = *bytes;
  CANOPY_CO_TRY(co_await file->write(0, std::span(&piece, 1), Durable::kYes));
  co_return co_await store.sync_directory(std::string(store_parent_of(to)));
}

Task<Result<void>> set_damaged_aside(Store& store, Loop& loop, std::string path, std::string directory) {
  std::string aside = directory + "/damaged";
  CANOPY_CO_TRY(co_await make_directories(store, aside, 0700, Durable::kYes));
  std::string name = fmt::format("{}.{}", path.substr(path.rfind('/') + 1), hex64(loop.random()));
  auto linked = co_await store.link(path, aside + "/" + name, Durable::kYes);
  if (!linked && linked.error().code() == Code::kCrossStore)
    linked = co_await copy_file(store, path, aside + "/" + name);
  CANOPY_CO_TRY(std::move(linked));
  log_event(LogLevel::kWarning, "damaged-file-set-aside", path, {{"kept", aside + "/" + name}});
  co_return Result<void>();
}

// Takes the account's own keys that break a rule out of the dictionary; one that only the defaults have
// cannot be mended here.
static Result<std::vector<std::string>> leave_out_broken(dict::VersionedDict& file, const Domain& domain,
                                                         const TreeSettings& tree) {
  std::vector<std::string> left_out;
  for (;;) {
    auto checked = AccountSettings::make(file, domain, tree);
    if (checked) break;
    const std::string key = checked.error().object();
    if (checked.error().code() != Code::kInvalidArgument || !file.dict.erase(key))
      return fail(std::move(checked).error());
    left_out.push_back(checked.error().to_string());
    if (key == kStateKey) file.dict.set(kStateKey, account_use_name(AccountUse::kDisabled));
  }
  return left_out;
}

Task<Result<std::vector<std::string>>> Accounts::replace_damaged_settings(AccountAddress address) {
  CANOPY_CO_TRY(domain_of(address));
  EntryRef held = entry(address);
  auto gate = co_await held->gate.lock();
  auto guard = co_await held->settings_gate.lock();
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await place_of(held, address, domain));
  const std::string& path = place.settings_file;
  auto read = co_await files_.read(path);
  dict::VersionedDict fresh;
  std::vector<std::string> left_out;
  if (read) {
    fresh = std::move(*read);
    CANOPY_CO_ASSIGN(left_out, leave_out_broken(fresh, *domain, domains_->tree));
    if (left_out.empty()) co_return fail(Code::kInvalidArgument, path, "the file is sound");
  } else {
    if (read.error().code() != Code::kDamaged) co_return fail(std::move(read).error());
    fresh.dict.set(kStateKey, account_use_name(AccountUse::kDisabled));
    fresh.dict.set(kSessionGenerationKey, loop().wall_clock_ns() / kSecond);  // above any that was counted up
  }
  CANOPY_CO_TRY(co_await set_damaged_aside(store(), loop(), path, place.directory));
  auto version = co_await files_.replace(slot_of(address), path, std::move(fresh));
  held->settings = nullptr;
  co_await close_entry(held);
  held->changed.wake_all();
  if (!version) co_return fail(std::move(version).error());
  co_return left_out;
}

Task<Result<Account::Repair>> Accounts::repair_manifest(AccountAddress address) {
  CANOPY_CO_TRY(domain_of(address));
  EntryRef held = entry(address);
  auto gate = co_await held->gate.lock();
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  co_await close_entry(held);
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await place_of(held, address, domain));
  LogEnvironment environment = environment_;
  environment.options.reconstruct_manifest = true;
  auto opened = co_await Account::open(environment, address.to_string(), place.directory, options_.account);
  if (!opened) co_return fail(std::move(opened).error());
  std::shared_ptr<Account> account = std::move(*opened);
  auto repaired = co_await account->repair();
  co_await account->close();
  co_return repaired;
}

Task<Result<void>> Accounts::replace_damaged_info(AccountAddress address) {
  CANOPY_CO_TRY(domain_of(address));
  EntryRef held = entry(address);
  auto guard = co_await held->settings_gate.lock();
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await place_of(held, address, domain));
  const std::string& path = place.info_file;
  auto read = co_await files_.read(path);
  if (read) co_return fail(Code::kInvalidArgument, path, "the file is sound");
  if (read.error().code() != Code::kDamaged) co_return fail(std::move(read).error());
  CANOPY_CO_TRY(co_await set_damaged_aside(store(), loop(), path, place.directory));
  held->info.reset();
  auto version = co_await files_.replace(slot_of(address), path, dict::VersionedDict{});
  if (!version) co_return fail(std::move(version).error());
  co_return Result<void>();
}

}  // namespace canopy
