// Keeping everybody from the accounts of a domain while its directory moves.
#include <algorithm>

#include "daemon/account/accounts.h"

namespace canopy {

constexpr Nanos kHeldLookedAtAfter = kMillisecond;
constexpr uint64_t kClosedAtOnce = 32;

Task<void> Accounts::close_one(Accounts& accounts, EntryRef entry, Semaphore::Permit) {
  co_await accounts.close_entry(std::move(entry));
}

Task<bool> Accounts::close_held(std::vector<EntryRef> entries, Nanos awaited, bool force) {
  std::vector<std::pair<EntryRef, std::shared_ptr<Account>>> open;
  for (const EntryRef& held : entries)
    if (held->account) open.emplace_back(held, std::exchange(held->account, nullptr));
  const auto used = [&] {
    return std::ranges::any_of(open, [](const auto& each) { return each.second.use_count() > 1; });
  };
  const Nanos until = loop().now() + awaited;
  while (used() && loop().now() < until) co_await loop().sleep(kHeldLookedAtAfter);
  const bool in_use = used();
  for (auto& [held, account] : open) held->account = std::move(account);
  if (in_use && !force) co_return false;
  Semaphore turns(loop(), kClosedAtOnce);
  TaskGroup closing(loop());
  for (auto& [held, account] : open) closing.spawn(close_one(*this, held, co_await turns.acquire(1)));
  co_await closing.join();
  co_return true;
}

Task<bool> Accounts::hold_domain(std::string domain, Nanos awaited, bool force) {
  while (hold_) co_await released_.wait();
  std::vector<EntryRef> there;
  if (auto at = of_domain_.find(domain); at != of_domain_.end()) {
    for (Entry* each : at->second) there.push_back(entries_.at(each->name));
    std::ranges::sort(there, {}, [](const EntryRef& each) -> const std::string& { return each->name; });
  }
  hold_.emplace();
  hold_->domain = std::move(domain);
  hold_->entries = there;
  released_.reset();
  // What comes from now on finds its gates locked (entry_unused()).
  for (const EntryRef& held : there) {
    auto gate = co_await held->gate.lock();
    hold_->guards.push_back(std::move(gate));
    auto settings_gate = co_await held->settings_gate.lock();
    hold_->guards.push_back(std::move(settings_gate));
  }
  if (!co_await close_held(there, awaited, force)) {
    release_domain();
    co_return false;
  }
  co_return true;
}

void Accounts::release_domain() {
  if (!hold_) return;
  for (const EntryRef& held : hold_->entries) held->place.reset();
  hold_.reset();
  released_.set();
}

Task<Result<void>> Accounts::settle_disposals() {
  const std::map<std::string, std::string> pending = disposals_;
  for (const auto& [directory, put] : pending) CANOPY_CO_TRY(co_await settle_disposal(directory));
  co_return Result<void>();
}

Task<void> Accounts::wait_until_released() { co_await released_.wait(); }

}  // namespace canopy
