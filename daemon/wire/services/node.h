// Node: one backend process: its shards (a loop each with its own view of the stores and the accounts whose
// slots fall to it) and what they share. Shards are for their loop's thread; Node's own members are constant
// after start().
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "daemon/account/accounts.h"
#include "daemon/account/aliases.h"
#include "daemon/account/credential_cache.h"
#include "daemon/account/directory_requests.h"
#include "daemon/account/tickets.h"
#include "daemon/catalog/account_names.h"
#include "daemon/log/slice_files.h"
#include "daemon/runtime/workers.h"
#include "daemon/wire/services/tree_open_files.h"

namespace canopy {
class StoreSet;
}

namespace canopy::wire {

// Counters of a process since its start; any thread.
struct NodeCounters {
  std::atomic<uint64_t> deliveries{0}, fetches{0}, mutations{0}, logins{0}, login_failures{0},
      cached_logins{0};
};

struct Shard {
  // `set`: the store, when it is one of several stores (store management needs that).
  Shard(Loop& on, std::unique_ptr<Store> files_on, uint64_t epoch, uint32_t index,
        const AccountsOptions& options, std::function<bool()> lease_held, Catalog* catalog = nullptr,
        StoreSet* set = nullptr);

  Loop& loop;
  std::unique_ptr<Store> store;
  StoreSet* const stores;  // null: one store, and no others
  SliceFiles slices;
  SettingsFiles files;
  Accounts accounts;
  Aliases aliases;
  DirectoryRequests requests;
  CredentialCache credentials;
  AccountNames names;  // of the domains whose slot falls to this shard
};

struct NodeOptions {
  std::string cluster = "canopy";
  std::string backend = "canopyd";
  std::string base;  // for people
  std::string version = "0.1.0";
};

class Node {
 public:
  // `workers` run password hashes. The shards' loops must be running before start().
  Node(NodeOptions options, std::vector<std::unique_ptr<Shard>> shards, WorkerPool& workers, uint64_t epoch,
       Catalog* catalog = nullptr);

  // Reads the cluster's key (making it the first time) and the domains. On the first shard's loop.
  Task<Result<void>> start();
  // Closes all accounts. On the first shard's loop.
  Task<void> stop();

  Shard& shard_of(uint32_t slot) { return *shards_[slot % shards_.size()]; }
  Shard& shard_of(const AccountAddress& address) { return shard_of(slot_of(address)); }
  const std::vector<std::unique_ptr<Shard>>& shards() const { return shards_; }
  // The shard whose loop this thread runs.
  Shard& here();

  WorkerPool& workers() { return workers_; }
  const std::string& ticket_key() const { return ticket_key_; }
  Catalog* catalog() { return catalog_; }  // null: none
  const NodeOptions& options() const { return options_; }
  uint64_t epoch() const { return epoch_; }
  NodeCounters& counters() { return counters_; }
  TreeOpenFiles& open_files() { return open_files_; }

  // Finds who an address means: the account of that name, or the one that an alias of that name stands for.
  // Ends on the account's loop, with its settings. kNotFound.
  struct Found {
    Shard* shard = nullptr;
    AccountAddress address;
    std::shared_ptr<const AccountSettings> settings;
  };
  Task<Result<Found>> find(AccountAddress address);

  // The files of an account that is suspended, or of none, were changed by others. Ends on any loop of the
  // node.
  Task<void> look_again(AccountAddress address);

  // A page of the domain's accounts, as AccountNames::list() says. Ends on any loop of the node. kNotFound.
  Task<Result<NamePage>> list_accounts(std::string domain, std::string after, std::string prefix,
                                       size_t limit);

  // What is wrong with the settings of the tree and its domains, a sentence each.
  static std::vector<std::string> problems_of(const DomainTable& table);

  // Changes the table of domains: `change` gets a copy and alters it, one change at a time, then every shard
  // sees the new one. Begins and ends on the caller's loop.
  using TableChange = std::function<Task<Result<void>>(Shard& shard, DomainTable& table)>;
  Task<Result<void>> change_domains(TableChange change);
  // Takes in the domains of stores that did not answer before and do now. On the first shard's loop.
  Task<void> read_more_domains();
  // The same of every store, as after a change of the mount table.
  Task<void> read_domains_again();

 private:
  Task<Result<void>> load_key(Shard& shard);

  const NodeOptions options_;
  std::vector<std::unique_ptr<Shard>> shards_;
  WorkerPool& workers_;
  Catalog* const catalog_;
  const uint64_t epoch_;
  std::string ticket_key_;
  Mutex domains_gate_;  // on the first shard's loop
  NodeCounters counters_;
  TreeOpenFiles open_files_;
};

}  // namespace canopy::wire
