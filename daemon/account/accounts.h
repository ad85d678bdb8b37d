// Accounts: what one loop holds of the accounts whose slots it owns: open accounts, settings, watchers,
// maildrop locks. Opened on demand; closed when idle for long or when the byte budget is over. For the loop's
// thread only.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "daemon/account/account.h"
#include "daemon/account/account_settings.h"
#include "daemon/account/domains.h"
#include "daemon/runtime/sync.h"

namespace canopy {

struct AccountsOptions {
  uint64_t memory_bytes_max = 512u << 20;  // of open accounts of this loop
  size_t entries_max = 200'000;            // accounts that something is remembered of
  Nanos idle_close = 300 * kSecond;
  AccountOptions account;
};

class Accounts {
 public:
  Accounts(LogEnvironment environment, SettingsFiles& files, AccountsOptions options);
  Accounts(const Accounts&) = delete;
  ~Accounts();

  void set_domains(std::shared_ptr<const DomainTable> table);
  const DomainTable& domains() const { return *domains_; }
  std::shared_ptr<const DomainTable> domain_table() const { return domains_; }

  // kNotFound when there is no such domain or account.
  Task<Result<std::shared_ptr<const AccountSettings>>> settings(AccountAddress address);
  // Opens the account (its settings' state is the caller's to judge). The pointer keeps it open.
  Task<Result<std::shared_ptr<Account>>> open(AccountAddress address);
  // Closes it when it is open, whoever uses it: their operations end first. New opens wait meanwhile.
  Task<void> close(AccountAddress address);
  Task<void> close_all();
  // Closes and forgets all accounts of a domain, before its directory moves or goes.
  Task<void> forget_domain(std::string domain);

  // Creates the account with these settings (without reserved keys). kAlreadyExists.
  Task<Result<void>> create(AccountAddress address, dict::Dict settings);
  // Moves it to the trash at once and removes it from there. kNotFound.
  Task<Result<void>> remove(AccountAddress address);
  // Renames within the same loop's reach; both addresses on this loop's store. kAlreadyExists, kNotFound.
  Task<Result<void>> rename(AccountAddress from, AccountAddress to);
  // Replaces settings: `change` is applied to the current dictionary. Answers the new version.
  using Change = std::move_only_function<Result<void>(dict::Dict&)>;
  Task<Result<dict::Version>> change_settings(AccountAddress address, uint64_t expected_version,
                                              Change change);
  Task<Result<dict::VersionedDict>> info(AccountAddress address);
  Task<Result<dict::Version>> change_info(AccountAddress address, uint64_t expected_version, Change change);

  // Waits until something changed in the account since `modseq`, or the deadline. Holds no open account
  // meanwhile.
  Task<bool> wait_for_change(AccountAddress address, Nanos deadline);

  // POP3's exclusive maildrop. kBusy while another holds it.
  Result<uint64_t> lock_maildrop(const AccountAddress& address, Nanos until);
  void unlock_maildrop(const AccountAddress& address, uint64_t lock_id);

  // Closes idle accounts and those over the budget; called every second or so.
  Task<void> sweep();

  size_t open_count() const { return open_count_; }
  uint64_t memory_bytes() const { return memory_bytes_; }  // of open accounts, as of the last sweep
  Loop& loop() const { return *environment_.loop; }
  Store& store() const { return *environment_.store; }
  SettingsFiles& files() const { return files_; }

 private:
  struct Entry {
    explicit Entry(Loop& loop) : gate(loop), settings_gate(loop), changed(loop) {}
    Mutex gate;           // opening, closing
    Mutex settings_gate;  // loading and replacing settings and info
    Event changed;
    std::shared_ptr<Account> account;
    std::shared_ptr<const AccountSettings> settings;
    std::shared_ptr<const DomainTable> settings_under;  // the table that they were made with
    std::optional<dict::VersionedDict> info;
    Nanos last_used = 0;
    uint64_t maildrop_lock = 0;
    Nanos maildrop_until = 0;
    uint32_t watchers = 0;
  };
  using EntryRef = std::shared_ptr<Entry>;

  EntryRef entry(const AccountAddress& address);
  Result<std::shared_ptr<const Domain>> domain_of(const AccountAddress& address) const;
  Task<Result<std::shared_ptr<const AccountSettings>>> load_settings(EntryRef entry, AccountAddress address);
  Task<void> close_entry(EntryRef entry);
  static Task<void> empty_trash(Accounts& accounts, std::string path);

  LogEnvironment environment_;
  SettingsFiles& files_;
  const AccountsOptions options_;
  std::shared_ptr<const DomainTable> domains_;
  std::unordered_map<std::string, EntryRef> entries_;
  TaskGroup background_;
  size_t open_count_ = 0;
  uint64_t memory_bytes_ = 0;
  uint64_t next_lock_ = 1;
};

}  // namespace canopy
