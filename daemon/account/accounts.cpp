#include "daemon/account/accounts.h"

#include "daemon/account/log_end.h"
#include "daemon/account/suspended_marks.h"
#include "daemon/base/log.h"

namespace canopy {

namespace {

constexpr uint64_t kEntryBytes = 640;  // of an account that nothing but its name is known of

uint64_t bytes_of(const dict::Dict& dict);

uint64_t bytes_of(const dict::Value& value) {
  uint64_t bytes = sizeof(dict::Entry);
  if (value.string() != nullptr) bytes += value.string()->capacity();
  if (value.data() != nullptr) bytes += value.data()->bytes.capacity();
  if (value.dict() != nullptr) bytes += bytes_of(*value.dict());
  if (value.array() != nullptr) {
    for (const dict::Value& element : *value.array()) bytes += bytes_of(element);
  }
  return bytes;
}

uint64_t bytes_of(const dict::Dict& dict) {
  uint64_t bytes = sizeof(dict::Dict);
  for (const dict::Entry& entry : dict) bytes += entry.key.capacity() + bytes_of(entry.value);
  return bytes;
}

uint64_t bytes_of(const dict::VersionedDict& file) {
  return bytes_of(file.dict) + file.requests.capacity() * sizeof(dict::AnsweredRequest);
}

}  // namespace

Accounts::Accounts(LogEnvironment environment, SettingsFiles& files, AccountsOptions options)
    : environment_(std::move(environment)),
      files_(files),
      options_(std::move(options)),
      domains_(std::make_shared<DomainTable>()),
      copy_turns_(*environment_.loop),
      released_(*environment_.loop),
      background_(*environment_.loop) {
  environment_.options = options_.log;
  released_.set();
}

Accounts::~Accounts() = default;

void Accounts::set_domains(std::shared_ptr<const DomainTable> table) {
  domains_ = std::move(table);
  ++table_number_;
}

Accounts::EntryRef Accounts::entry_unused(const AccountAddress& address) {
  std::string name = address.to_string();
  EntryRef& found = entries_[name];
  if (!found) {
    found = std::make_shared<Entry>(loop());
    found->name = std::move(name);
    found->last_used = loop().now();
    found->in_order = order_.insert(order_.begin(), found);
    of_domain_[address.domain].insert(found.get());
    if (is_held(address.domain)) {  // it waits like the others
      hold_->guards.push_back(found->gate.try_lock());
      hold_->guards.push_back(found->settings_gate.try_lock());
      hold_->entries.push_back(found);
    }
    count(*found);
  }
  return found;
}

Accounts::EntryRef Accounts::entry(const AccountAddress& address) {
  EntryRef found = entry_unused(address);
  found->last_used = loop().now();
  order_.splice(order_.begin(), order_, found->in_order);
  return found;
}

void Accounts::erase(const EntryRef& held) {
  auto at = entries_.find(held->name);
  if (at == entries_.end() || at->second != held) return;
  memory_bytes_ -= std::exchange(held->counted_bytes, 0);
  order_.erase(held->in_order);
  entries_.erase(at);
  auto domain = of_domain_.find(held->name.substr(held->name.rfind('@') + 1));
  domain->second.erase(held.get());
  if (domain->second.empty()) of_domain_.erase(domain);
}

void Accounts::forget_unused(const EntryRef& held, bool known) {
  if (known || held.use_count() > 3 || held->watchers != 0 || held->account) return;
  if (held->maildrop_lock != 0 && held->maildrop_until > loop().now()) return;
  erase(held);  // the map, the order and the caller hold it
}

void Accounts::count(Entry& held) {
  auto at = entries_.find(held.name);
  if (at == entries_.end() || at->second.get() != &held) return;  // forgotten: its user's alone
  uint64_t bytes = kEntryBytes;
  if (held.settings) bytes += bytes_of(held.settings->own) + bytes_of(held.settings->effective);
  if (held.info) bytes += bytes_of(*held.info);
  if (held.account) bytes += held.account->memory_bytes();
  memory_bytes_ += bytes - held.counted_bytes;
  held.counted_bytes = bytes;
}

Result<std::shared_ptr<const Domain>> Accounts::domain_of(const AccountAddress& address) const {
  return domains_->get(address.domain);
}

Task<Result<std::shared_ptr<const AccountSettings>>> Accounts::settings(AccountAddress address) {
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  EntryRef held = entry(address);
  if (held->settings && held->settings_under == domains_) co_return held->settings;
  auto guard = co_await held->settings_gate.lock();
  co_return co_await load_settings(held, std::move(address));
}

Task<Result<AccountPlace>> Accounts::place_of(EntryRef held, AccountAddress address,
                                              std::shared_ptr<const Domain> domain) {
  if (!may_lie_elsewhere(store(), *domain, address)) co_return place_under(domain->layout, address);
  if (held->place) co_return *held->place;
  CANOPY_CO_ASSIGN(FoundPlace found, co_await find_place(store(), domain, address));
  if (!found.exists) co_return std::move(found.place);
  if (is_on_several_stores(store(), found.place.directory)) {
    CANOPY_CO_TRY(co_await settle_departure(slot_of(address), found.place.directory));
    // Older copies on other stores, which the newest table may not put behind those that count.
    for (const std::string& path : found.left) CANOPY_CO_TRY(co_await discard_file(slot_of(address), path));
  }
  held->place = found.place;
  co_return std::move(found.place);
}

// The file at the account's place. Where it is not at the place that is remembered, a process that does not
// know yet that it was succeeded may have moved it: it is looked for anew.
Task<Result<dict::VersionedDict>> Accounts::read_at(EntryRef held, AccountAddress address,
                                                    std::shared_ptr<const Domain> domain,
                                                    std::string AccountPlace::* file) {
  CANOPY_CO_ASSIGN(AccountPlace place, co_await place_of(held, address, domain));
  auto read = co_await files_.read(place.*file);
  if (read || read.error().code() != Code::kNotFound || !may_lie_elsewhere(store(), *domain, address))
    co_return read;
  held->place.reset();
  CANOPY_CO_ASSIGN(place, co_await place_of(held, std::move(address), std::move(domain)));
  co_return co_await files_.read(place.*file);
}

Task<Result<AccountPlace>> Accounts::place(AccountAddress address) {
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  if (!may_lie_elsewhere(store(), *domain, address)) co_return place_under(domain->layout, address);
  EntryRef held = entry(address);
  auto guard = co_await held->settings_gate.lock();
  CANOPY_CO_ASSIGN(domain, domain_of(address));
  co_return co_await place_of(held, std::move(address), std::move(domain));
}

// With the settings gate held.
Task<Result<std::shared_ptr<const AccountSettings>>> Accounts::load_settings(EntryRef held,
                                                                             AccountAddress address) {
  if (held->settings && held->settings_under == domains_) co_return held->settings;
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  CANOPY_CO_ASSIGN(AccountPlace place, co_await place_of(held, address, domain));
  dict::VersionedDict own;
  if (held->settings) {
    own = held->settings->own;  // only the defaults have changed
  } else {
    auto read = co_await read_at(held, address, domain, &AccountPlace::settings_file);
    if (!read && read.error().code() != Code::kNotFound) co_return fail(std::move(read).error());
    CANOPY_CO_ASSIGN(place, co_await place_of(held, address, domain));
    if (!read || !place.settings_file.starts_with(place.directory)) {
      // The directory is what makes an account: one without settings was made by hand, and settings apart
      // from it whose directory is gone are what a crash in the middle of a removal left.
      auto directory = co_await store().attributes(place.directory);
      if (!directory) {
        if (directory.error().code() != Code::kNotFound) co_return fail(std::move(directory).error());
        if (held.use_count() <= 4) erase(held);  // the map, the order, the caller and this function hold it
        co_return fail(Code::kNotFound, address.to_string(), "there is no such account");
      }
    }
    if (read) own = std::move(*read);
    // The settings of a suspended account are what other hands have put there: they do not end that.
    auto mark = co_await suspended_mark(store(), address);
    if (!mark) co_return fail(std::move(mark).error());
    if (*mark) {
      own.dict.set(kStateKey, account_use_name(AccountUse::kSuspended));
      if ((*mark)->empty())
        own.dict.erase(kLogEndKey);
      else
        own.dict.set(kLogEndKey, **mark);
    }
  }
  auto table = domains_;
  auto checked = AccountSettings::make(std::move(own), *domain, table->tree);
  if (!checked) {  // no fault of who asks: mail for the account must wait, not bounce
    co_return fail(Code::kDamaged, place.settings_file,
                   "a setting breaks a rule: " + checked.error().to_string());
  }
  auto made = std::move(*checked);
  held->settings = made;
  held->settings_under = table;
  if (held->account) held->account->set_limits(made->limits);
  count(*held);
  co_return made;
}

Task<Result<std::shared_ptr<Account>>> Accounts::open(AccountAddress address, For purpose) {
  EntryRef held = entry(address);
  bool ready = held->account && held->account->usable() && held->settings && held->settings_under == domains_;
  std::optional<Mutex::Guard> guard;
  if (!ready) {
    // The gate comes first: settings that were read before it could be those of an account that is being
    // removed.
    guard.emplace(co_await held->gate.lock());
    auto settings_guard = co_await held->settings_gate.lock();
    auto known = co_await load_settings(held, address);
    if (!known) co_return fail(std::move(known).error());
  }
  if (purpose == For::kUse && held->settings->use == AccountUse::kSuspended) {
    co_return fail(Code::kSuspended, address.to_string(), "the account is suspended; resume it first");
  }
  if (held->account && held->account->usable()) co_return held->account;
  AccountLimits limits = held->settings->limits;
  if (held->account) co_await close_entry(held);
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await place_of(held, address, domain));
  const std::string& directory = place.directory;
  AccountOptions account_options = options_.account;
  CANOPY_CO_ASSIGN(account_options.capacity, co_await capacity_at(directory));
  auto opened = co_await Account::open(environment_, address.to_string(), directory, account_options);
  if (!opened && opened.error().code() == Code::kTryAgain) forget_place(*held);
  if (!opened) co_return fail(std::move(opened).error());
  held->account = *opened;
  held->account->set_limits(held->settings ? held->settings->limits : limits);
  held->account->on_change([this, weak = std::weak_ptr<Entry>(held)] {
    auto still = weak.lock();
    if (!still) return;
    count(*still);
    still->changed.wake_all();
  });
  ++open_count_;
  count(*held);
  // What a failed write may have left was not shown, and must not show after a crash: the slice is sealed.
  const std::shared_ptr<Account> account = held->account;
  if (purpose == For::kUse && environment_.files->has_ends(store(), directory))
    (void)co_await account->hold();
  co_return account;
}

void Accounts::forget_place(Entry& held) {
  held.place.reset();
  held.settings = nullptr;
  count(held);
}

Task<Result<StoreCapacity*>> Accounts::capacity_at(std::string path) {
  CANOPY_CO_ASSIGN(StoreSite site, co_await store().site_of(std::move(path)));
  std::unique_ptr<StoreCapacity>& of = capacities_[site.root];
  if (!of) of = std::make_unique<StoreCapacity>(loop(), store(), options_.capacity, site);
  co_return of.get();
}

Task<void> Accounts::close_entry(EntryRef held) {
  std::shared_ptr<Account> account = std::move(held->account);
  held->account = nullptr;
  if (!account) co_return;
  --open_count_;
  count(*held);
  co_await account->close();
}

Task<void> Accounts::close(AccountAddress address) {
  auto at = entries_.find(address.to_string());
  if (at == entries_.end()) co_return;
  EntryRef held = at->second;
  auto guard = co_await held->gate.lock();
  co_await close_entry(held);
}

Task<void> Accounts::close_all() {
  co_await background_.join();
  std::vector<EntryRef> all;
  all.reserve(entries_.size());
  for (const auto& [name, held] : entries_) all.push_back(held);
  for (const EntryRef& held : all) {
    auto guard = co_await held->gate.lock();
    co_await close_entry(held);
  }
}

Task<void> Accounts::forget_domain(std::string domain) {
  std::vector<EntryRef> of_domain;
  for (auto at = entries_.begin(); at != entries_.end();) {
    if (!at->first.ends_with("@" + domain)) {
      ++at;
      continue;
    }
    EntryRef held = at->second;
    of_domain.push_back(held);
    ++at;
    erase(held);
  }
  for (const EntryRef& held : of_domain) {
    auto guard = co_await held->gate.lock();
    co_await close_entry(held);
    held->changed.wake_all();
  }
}

Task<bool> Accounts::wait_for_change(AccountAddress address, Nanos deadline) {
  EntryRef held = entry_unused(address);
  ++held->watchers;
  bool woken = co_await held->changed.wait_until(deadline);
  --held->watchers;
  co_return woken;
}

void Accounts::wake(const AccountAddress& address) {
  auto at = entries_.find(address.to_string());
  if (at != entries_.end()) at->second->changed.wake_all();
}

Result<uint64_t> Accounts::lock_maildrop(const AccountAddress& address, Nanos until) {
  EntryRef held = entry(address);
  if (held->maildrop_lock != 0 && held->maildrop_until > loop().now()) {
    return fail(Code::kBusy, address.to_string(), "another session holds the maildrop");
  }
  held->maildrop_lock = next_lock_++;
  held->maildrop_until = until;
  return held->maildrop_lock;
}

void Accounts::unlock_maildrop(const AccountAddress& address, uint64_t lock_id) {
  auto at = entries_.find(address.to_string());
  if (at != entries_.end() && at->second->maildrop_lock == lock_id) at->second->maildrop_lock = 0;
}

Task<bool> Accounts::sweep() {
  bool freed = false;
  for (size_t looked = 0; looked < kSweptAtOnceMax && !order_.empty(); ++looked) {
    EntryRef held = order_.back();
    Nanos now = loop().now();
    bool idle = now - held->last_used > options_.idle_close;
    if (!idle && !over_budget()) co_return false;
    // What is in use comes round again: meanwhile others are looked at.
    order_.splice(order_.begin(), order_, held->in_order);
    if (held->account) {
      auto guard = held->gate.try_lock();
      if (!guard || held->account.use_count() != 1) continue;
      co_await close_entry(held);
      freed = true;
    }
    bool used = held->account || held.use_count() > 3 || held->watchers > 0 || held->maildrop_until > now;
    if (used) continue;
    erase(held);  // the map, the order and this function hold it
    freed = true;
  }
  co_return freed&& over_budget();
}

}  // namespace canopy
