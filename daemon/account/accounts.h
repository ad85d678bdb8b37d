// Accounts: what one loop holds of the accounts whose slots it owns: open accounts, settings, watchers,
// maildrop locks. Opened on demand; closed when idle for long or when the byte budget is over. For the loop's
// thread only.
#pragma once

#include <list>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "daemon/account/account.h"
#include "daemon/account/account_place.h"
#include "daemon/account/account_settings.h"
#include "daemon/account/domains.h"
#include "daemon/account/names_being_made.h"
#include "daemon/runtime/sync.h"

namespace canopy {

struct AccountsOptions {
  uint64_t memory_bytes_max = 512u << 20;  // of what this loop holds of accounts: open ones, settings, info
  size_t entries_max = 200'000;            // accounts that something is remembered of
  Nanos idle_close = 300 * kSecond;
  CapacityOptions capacity;
  AccountOptions account;
  AccountLogOptions log;
  // One for all loops of a process: copies of the options share it.
  std::shared_ptr<NamesBeingMade> being_made = std::make_shared<NamesBeingMade>();
};

inline constexpr size_t kSweptAtOnceMax = 1024;  // accounts that one sweep looks at

class Accounts {
 public:
  Accounts(LogEnvironment environment, SettingsFiles& files, AccountsOptions options);
  Accounts(const Accounts&) = delete;
  ~Accounts();

  // Called when this process has made (true) or removed (false) an account's directory, or may have
  // (nullopt): before the operation answers, and in the order of the changes of one name.
  using NamesObserver = std::function<void(const AccountAddress& address, std::optional<bool> present)>;
  void on_names_change(NamesObserver observer) { names_changed_ = std::move(observer); }
  // Called before it moves an account's directory within its domain (true), and when it has done so or given
  // it up (false).
  using MoveObserver = std::function<void(const AccountAddress& address, bool begins)>;
  void on_move(MoveObserver observer) { moves_ = std::move(observer); }

  void set_domains(std::shared_ptr<const DomainTable> table);
  const DomainTable& domains() const { return *domains_; }
  std::shared_ptr<const DomainTable> domain_table() const { return domains_; }

  // kNotFound when there is no such domain or account.
  Task<Result<std::shared_ptr<const AccountSettings>>> settings(AccountAddress address);
  // Opens the account; the pointer keeps it open. kSuspended when it is suspended, unless it is opened for
  // its record only (figures for an administrator).
  enum class For : uint8_t { kUse, kRecord };
  Task<Result<std::shared_ptr<Account>>> open(AccountAddress address, For purpose = For::kUse);
  // Closes it when it is open, whoever uses it: their operations end first. New opens wait meanwhile.
  Task<void> close(AccountAddress address);
  Task<void> close_all();
  // Closes and forgets all accounts of a domain, before its directory moves or goes.
  Task<void> forget_domain(std::string domain);

  // Creates the account with these settings (without reserved keys). kAlreadyExists, but not when the same
  // request created it.
  Task<Result<void>> create(AccountAddress address, dict::Dict settings, RequestId id = {});
  // Moves it to the trash at once and removes it from there. kNotFound.
  Task<Result<void>> remove(AccountAddress address);
  // Renames within the same loop's reach; both addresses on this loop's store, `from` on this loop.
  // kAlreadyExists, kNotFound; kCrossStore where the newest row has another store for the new name, unless it
  // `stays` on its own, which the caller sees to that a superseded row leads to.
  Task<Result<void>> rename(AccountAddress from, AccountAddress to, bool stays = false);
  // Replaces settings: `change` is applied to the current dictionary. Answers the new version; that of the
  // first time, and nothing happens, when the request was answered within the hour.
  using Change = std::move_only_function<Result<void>(dict::Dict&)>;
  Task<Result<dict::Version>> change_settings(AccountAddress address, uint64_t expected_version,
                                              Change change, RequestId id = {});
  // For a suspended account, whose files other hands may have changed: closes it, reads its settings anew and
  // forgets its info. It stays suspended, whatever the settings say now. When they are damaged, what was
  // known of them stays.
  Task<Result<void>> read_again(AccountAddress address);
  // Where the account is, while nothing moves it, or would be when there is none.
  Task<Result<AccountPlace>> place(AccountAddress address);
  // Moves what of the account lies under a superseded layout of its domain, or on a store that the mount
  // table no longer names for it, to where the newest has it; `seen_at` is the directory that somebody has
  // seen. Who opens the account meanwhile waits and finds it at its new place; when somebody goes on using
  // it, it stays where it is (kInUse). From store to store it is used while it is copied. kSuspended: other
  // hands may have its files, so that it stays on its store; kStoreFull.
  enum class Relocated : uint8_t { kNothing, kMoved, kInUse };
  struct MoveFigures {
    uint64_t bytes_copied = 0;  // from store to store
    Nanos held_for = 0;         // so long nobody could use the account
  };
  Task<Result<Relocated>> relocate(AccountAddress address, std::string seen_at,
                                   MoveFigures* figures = nullptr);
  // Removes settings and info that a creation without an end, or a late request, has left under a superseded
  // layout of the domain: they count for nobody, but would once their layout is the newest again. Those of
  // accounts that are suspended, and of nobody that was ever made here, stay: other hands may need them.
  // kTryAgain: they are those of an account that has yet to move, or the domain is another one now.
  // Settings or info that lie apart, at a place of `path` that only superseded rows of the mount table lead
  // to, and are no account's: what a crash in a creation or a removal left. They go where the newest row has
  // them, or, where one lies there already, away. False: nothing was to be done, or the account has yet to
  // move, or is suspended.
  Task<Result<bool>> bring_along(AccountAddress address, std::string path);
  Task<Result<void>> remove_files_elsewhere(std::shared_ptr<const Domain> domain, AccountAddress address);
  // Waits until no account is being made or renamed by what the table of domains was before this one.
  Task<void> settle_places();
  // Closes all accounts of the domain and keeps everybody else waiting until release_domain(), as its
  // directory is about to get another name. False, and nobody waits: some account goes on being used after
  // `awaited`. With `force` it is closed all the same, and whoever uses it has to open it again. While
  // another domain is held it waits.
  Task<bool> hold_domain(std::string domain, Nanos awaited, bool force = false);
  void release_domain();
  bool is_held(std::string_view domain) const { return hold_ && hold_->domain == domain; }
  Task<void> wait_until_released();  // whatever is held now
  // Makes sure of directories that were to be removed, without an answer, that they are not any more.
  Task<Result<void>> settle_disposals();

  Task<Result<dict::VersionedDict>> info(AccountAddress address);
  Task<Result<dict::Version>> change_info(AccountAddress address, uint64_t expected_version, Change change,
                                          RequestId id = {});

  // Repair of a settings or info file that does not parse: it stays under another name in `damaged/` of the
  // account's directory. Settings begin anew with the account disabled and its sessions ended (an
  // administrator sets a password and resumes it; mail is taken meanwhile), info begins empty. Of settings
  // that parse, the keys that break a rule are left out, and answered with the rule; without its State the
  // account is disabled. kInvalidArgument when the file is sound.
  Task<Result<std::vector<std::string>>> replace_damaged_settings(AccountAddress address);
  Task<Result<void>> replace_damaged_info(AccountAddress address);

  // Repair of an account that cannot be opened, because the list of slices at the front of its newest one is
  // damaged: made up where it is certain, and written anew. kDamaged says why it is not.
  Task<Result<Account::Repair>> repair_manifest(AccountAddress address);

  // Waits until something changes in the account (true), or the deadline. Holds no open account meanwhile,
  // and does not count as using it.
  Task<bool> wait_for_change(AccountAddress address, Nanos deadline);
  void wake(const AccountAddress& address);  // whoever waits looks again

  // POP3's exclusive maildrop. kBusy while another holds it.
  Result<uint64_t> lock_maildrop(const AccountAddress& address, Nanos until);
  void unlock_maildrop(const AccountAddress& address, uint64_t lock_id);

  // Closes and forgets idle accounts, and those used least recently while the budget is exceeded; called
  // every second or so. True: the budget is still exceeded and more can be forgotten, so call it again soon.
  Task<bool> sweep();

  size_t open_count() const { return open_count_; }
  size_t entries() const { return entries_.size(); }
  uint64_t memory_bytes() const { return memory_bytes_; }  // of what is held of accounts, about
  Loop& loop() const { return *environment_.loop; }
  Store& store() const { return *environment_.store; }
  SettingsFiles& files() const { return files_; }

 private:
  // Tells of a move while it lives.
  class MoveNotice {
   public:
    MoveNotice(const MoveObserver& observer, AccountAddress address)
        : observer_(observer), address_(std::move(address)) {
      observer_(address_, true);
    }
    MoveNotice(const MoveNotice&) = delete;
    ~MoveNotice() { observer_(address_, false); }

   private:
    const MoveObserver& observer_;
    const AccountAddress address_;
  };
  struct Entry {
    explicit Entry(Loop& loop) : gate(loop), settings_gate(loop), changed(loop) {}
    std::string name;
    Mutex gate;           // opening, closing
    Mutex settings_gate;  // loading and replacing settings and info
    Event changed;
    std::shared_ptr<Account> account;
    std::shared_ptr<const AccountSettings> settings;
    std::shared_ptr<const DomainTable> settings_under;  // the table that they were made with
    std::optional<dict::VersionedDict> info;
    std::optional<AccountPlace> place;  // while the domain has superseded layouts
    Nanos last_used = 0;
    uint64_t counted_bytes = 0;
    std::list<std::shared_ptr<Entry>>::iterator in_order;
    uint64_t maildrop_lock = 0;
    Nanos maildrop_until = 0;
    uint32_t watchers = 0;
    bool leaving = false;  // it is being copied to another store
  };
  using EntryRef = std::shared_ptr<Entry>;

  struct Hold {  // of a domain
    std::string domain;
    std::vector<EntryRef> entries;
    std::vector<Mutex::Guard> guards;
  };

  EntryRef entry(const AccountAddress& address);  // and counts as using it
  EntryRef entry_unused(const AccountAddress& address);
  void erase(const EntryRef& entry);
  // After something that does not count as using it: `known`, whether there was an entry before.
  void forget_unused(const EntryRef& entry, bool known);
  void count(Entry& entry);  // its bytes anew
  bool over_budget() const {
    return memory_bytes_ > options_.memory_bytes_max || entries_.size() > options_.entries_max;
  }
  Result<std::shared_ptr<const Domain>> domain_of(const AccountAddress& address) const;
  // With one of the entry's gates held.
  Task<Result<void>> begin_slice_anew(AccountAddress address, std::string directory);
  void forget_place(Entry& entry);  // where it lies, and what was read there: both are asked for anew
  Task<Result<AccountPlace>> place_of(EntryRef entry, AccountAddress address,
                                      std::shared_ptr<const Domain> domain);
  Task<Result<std::shared_ptr<const AccountSettings>>> load_settings(EntryRef entry, AccountAddress address);
  Task<Result<dict::VersionedDict>> load_info(EntryRef entry, AccountAddress address);
  Task<Result<void>> exists_already(EntryRef entry, AccountAddress address, RequestId id);
  ChangeRequest change_request(RequestId id) const { return {id, loop().wall_clock_ns() / kSecond}; }
  // Removes a file that lies apart from a directory, wherever it lies, if there is one: as dispose() does, so
  // that a removal that comes late finds nothing.
  Task<Result<void>> discard_file(uint32_t slot, std::string path);
  Task<Result<void>> check_absent(std::shared_ptr<const Domain> domain, AccountAddress address);
  Task<Result<void>> copy_apart(AccountPlace from, const Domain& to_domain, const AccountAddress& to);
  // accounts_relocation.cpp. What is to be moved, and between which fixed places.
  struct Way {
    AccountPlace now, next;
    StoreSite from, to;  // of the directory
    bool several_stores = false;
    bool crosses() const { return from.root != to.root; }
    bool operator==(const Way& other) const {
      return now == other.now && next == other.next && from.path == other.from.path &&
             to.path == other.to.path;
    }
  };
  Task<Result<std::string>> directory_of(EntryRef entry, std::shared_ptr<const Domain> domain,
                                         AccountAddress address, std::string seen_at);
  // With both gates held. None: nothing has to move, or there is no such account.
  Task<Result<std::optional<Way>>> plan_move(EntryRef entry, AccountAddress address, std::string seen_at);
  Task<Result<Relocated>> relocate_entry(EntryRef entry, AccountAddress address, std::string seen_at,
                                         MoveFigures* figures);
  Task<Result<bool>> move_files(AccountAddress address, const Way& way);
  // Settings or info, which are known by `path`, between two of their places.
  Task<Result<void>> move_file(uint32_t slot, std::string path, std::string from, std::string to,
                               Durable durable);
  // With both gates held.
  Task<Result<bool>> bring_leftover(EntryRef held, AccountAddress address, std::string path);
  Task<Result<void>> settle_leftover(EntryRef held, uint32_t slot, AccountPlace place, std::string left);
  // Of a file at a superseded place. kTryAgain: it has yet to move.
  Task<Result<bool>> counts_for_nobody(std::shared_ptr<const Domain> domain, AccountAddress address,
                                       std::string path);
  Task<Result<dict::VersionedDict>> read_at(EntryRef held, AccountAddress address,
                                            std::shared_ptr<const Domain> domain,
                                            std::string AccountPlace::* file);
  Task<Result<bool>> move_within(AccountAddress address, Way way);
  Task<Result<void>> make_ready(uint32_t slot, std::string staged, TreeLayout layout, AccountAddress address,
                                std::string text);
  // accounts_store_moves.cpp
  struct Copying;
  Task<Result<Relocated>> relocate_across(EntryRef entry, AccountAddress address, MoveFigures* figures);
  Task<Result<std::shared_ptr<Copying>>> begin_copy(EntryRef entry, AccountAddress address);
  Task<Result<Relocated>> end_copy(EntryRef entry, AccountAddress address, std::shared_ptr<Copying> copying);
  Task<Result<void>> depart(AccountAddress address, const Way& way, std::string staged);
  // Decides by looking what became of a departure that nobody saw the end of. With one of the gates held.
  Task<Result<void>> settle_departure(uint32_t slot, std::string directory);
  // Removes what the account has left at other places than `stays`; all of them must answer.
  Task<Result<void>> clear_departed(std::shared_ptr<const Domain> domain, AccountAddress address,
                                    std::string stays);
  // The same before an account goes or is renamed: what it has left counts for nobody as long as it is there.
  Task<Result<void>> clear_other_places(std::shared_ptr<const Domain> domain, AccountAddress address,
                                        std::string directory);
  Task<Result<void>> discard(uint32_t slot, std::string staged);  // a copy that is not wanted
  Task<Result<void>> dispose(uint32_t slot, std::string directory);
  Task<Result<void>> settle_disposal(std::string directory);
  // An account gets its place by a table of domains that may be another one when it has it.
  struct Placing {
    explicit Placing(Accounts& in) : accounts(in), table(in.table_number_) {
      accounts.placing_.insert(table);
    }
    ~Placing() { accounts.placing_.erase(accounts.placing_.find(table)); }
    Placing(const Placing&) = delete;
    Accounts& accounts;
    const uint64_t table;
  };
  Task<Result<StoreCapacity*>> capacity_at(std::string path);  // of the store that holds it
  Task<void> close_entry(EntryRef entry);
  // Closes it, with the gate held, once nobody uses it but `others`; false: somebody goes on after `awaited`.
  Task<bool> await_unused(EntryRef entry, Nanos awaited, long others);
  Task<bool> close_unused(EntryRef entry, Nanos awaited);
  // Closes those that are open, once nobody uses any of them; false: somebody goes on.
  Task<bool> close_held(std::vector<EntryRef> entries, Nanos awaited, bool force);
  static Task<void> close_one(Accounts& accounts, EntryRef entry, Semaphore::Permit turn);
  static Task<void> empty_trash(Accounts& accounts, std::string path);

  LogEnvironment environment_;
  SettingsFiles& files_;
  const AccountsOptions options_;
  std::map<std::string, std::unique_ptr<StoreCapacity>> capacities_;  // by the stores' roots
  std::shared_ptr<const DomainTable> domains_;
  uint64_t table_number_ = 0;        // of the table of domains
  std::multiset<uint64_t> placing_;  // the tables by which accounts get their places now
  NamesObserver names_changed_ = [](const AccountAddress&, std::optional<bool>) {};
  MoveObserver moves_ = [](const AccountAddress&, bool) {};
  std::map<std::string, std::string> disposals_;  // of directories, not answered: where they were put
  std::unordered_map<std::string, EntryRef> entries_;
  std::list<EntryRef> order_;  // most recently used first
  std::unordered_map<std::string, std::unordered_set<Entry*>> of_domain_;
  std::optional<Hold> hold_;
  Mutex copy_turns_;  // of copies to a disk of this machine
  Event released_;    // set while nothing is held
  TaskGroup background_;
  size_t open_count_ = 0;
  uint64_t memory_bytes_ = 0;
  uint64_t next_lock_ = 1;
};

}  // namespace canopy
