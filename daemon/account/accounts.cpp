#include "daemon/account/accounts.h"

#include "daemon/base/log.h"

namespace canopy {

Accounts::Accounts(LogEnvironment environment, SettingsFiles& files, AccountsOptions options)
    : environment_(std::move(environment)),
      files_(files),
      options_(options),
      domains_(std::make_shared<DomainTable>()),
      background_(*environment_.loop) {}

Accounts::~Accounts() = default;

void Accounts::set_domains(std::shared_ptr<const DomainTable> table) { domains_ = std::move(table); }

Accounts::EntryRef Accounts::entry(const AccountAddress& address) {
  EntryRef& found = entries_[address.to_string()];
  if (!found) found = std::make_shared<Entry>(loop());
  found->last_used = loop().now();
  return found;
}

Result<std::shared_ptr<const Domain>> Accounts::domain_of(const AccountAddress& address) const {
  auto at = domains_->domains.find(address.domain);
  if (at == domains_->domains.end()) return fail(Code::kNotFound, address.domain, "there is no such domain");
  return at->second;
}

Task<Result<std::shared_ptr<const AccountSettings>>> Accounts::settings(AccountAddress address) {
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  EntryRef held = entry(address);
  if (held->settings && held->settings_under == domains_) co_return held->settings;
  auto guard = co_await held->settings_gate.lock();
  co_return co_await load_settings(held, std::move(address));
}

// With the settings gate held.
Task<Result<std::shared_ptr<const AccountSettings>>> Accounts::load_settings(EntryRef held,
                                                                             AccountAddress address) {
  if (held->settings && held->settings_under == domains_) co_return held->settings;
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  dict::VersionedDict own;
  if (held->settings) {
    own = held->settings->own;  // only the defaults have changed
  } else {
    auto read = co_await files_.read(domain->layout.settings_file(address));
    if (!read && read.error().code() == Code::kNotFound) {
      // The directory is what makes an account; one without settings was made by hand.
      auto directory = co_await store().attributes(domain->layout.account_directory(address));
      if (!directory) {
        if (directory.error().code() != Code::kNotFound) co_return fail(std::move(directory).error());
        if (held.use_count() <= 2) entries_.erase(address.to_string());
        co_return fail(Code::kNotFound, address.to_string(), "there is no such account");
      }
    } else if (!read) {
      co_return fail(std::move(read).error());
    } else {
      own = std::move(*read);
    }
  }
  auto table = domains_;
  CANOPY_CO_ASSIGN(auto made, AccountSettings::make(std::move(own), *domain, table->tree));
  held->settings = made;
  held->settings_under = table;
  if (held->account) held->account->set_limits(made->limits);
  co_return made;
}

Task<Result<std::shared_ptr<Account>>> Accounts::open(AccountAddress address) {
  EntryRef held = entry(address);
  if (held->account && held->account->usable() && held->settings_under == domains_) co_return held->account;
  auto known = co_await settings(address);
  if (!known) co_return fail(std::move(known).error());
  auto guard = co_await held->gate.lock();
  if (held->account && held->account->usable()) co_return held->account;
  if (held->account) co_await close_entry(held);
  CANOPY_CO_ASSIGN(auto domain, domain_of(address));
  auto opened = co_await Account::open(environment_, address.to_string(),
                                       domain->layout.account_directory(address), options_.account);
  if (!opened) co_return fail(std::move(opened).error());
  held->account = *opened;
  held->account->set_limits((*known)->limits);
  held->account->on_change([held = std::weak_ptr<Entry>(held)] {
    if (auto still = held.lock()) still->changed.wake_all();
  });
  ++open_count_;
  co_return held->account;
}

Task<void> Accounts::close_entry(EntryRef held) {
  std::shared_ptr<Account> account = std::move(held->account);
  held->account = nullptr;
  if (!account) co_return;
  --open_count_;
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
    of_domain.push_back(at->second);
    at = entries_.erase(at);
  }
  for (const EntryRef& held : of_domain) {
    auto guard = co_await held->gate.lock();
    co_await close_entry(held);
    held->changed.wake_all();
  }
}

Task<bool> Accounts::wait_for_change(AccountAddress address, Nanos deadline) {
  EntryRef held = entry(address);
  ++held->watchers;
  bool woken = co_await held->changed.wait_until(deadline);
  --held->watchers;
  co_return woken;
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

Task<void> Accounts::sweep() {
  struct Candidate {
    Nanos last_used;
    EntryRef entry;
    size_t bytes;
  };
  std::vector<Candidate> open;
  Nanos now = loop().now();
  memory_bytes_ = 0;
  for (auto at = entries_.begin(); at != entries_.end();) {
    EntryRef& held = at->second;
    if (held->account) {
      memory_bytes_ += held->account->memory_bytes();
      // Used by somebody: the entry's own pointer is one.
      if (held->account.use_count() == 1)
        open.push_back({held->last_used, held, held->account->memory_bytes()});
    } else if (held.use_count() == 1 && held->watchers == 0 && held->maildrop_until < now &&
               (now - held->last_used > options_.idle_close || entries_.size() > options_.entries_max)) {
      at = entries_.erase(at);
      continue;
    }
    ++at;
  }
  std::sort(open.begin(), open.end(),
            [](const Candidate& a, const Candidate& b) { return a.last_used < b.last_used; });
  for (Candidate& candidate : open) {
    bool idle = now - candidate.last_used > options_.idle_close;
    if (!idle && memory_bytes_ <= options_.memory_bytes_max) break;
    auto guard = candidate.entry->gate.try_lock();
    if (!guard || !candidate.entry->account || candidate.entry->account.use_count() != 1) continue;
    memory_bytes_ -= std::min<uint64_t>(memory_bytes_, candidate.bytes);
    co_await close_entry(candidate.entry);
  }
}

}  // namespace canopy
