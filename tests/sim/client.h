// SimClient: one client process: the real wire client, and a program of random operations on a few accounts.
// It asks again with the same request id until it gets an answer, or gives up for good; what it learns goes
// into the facts.
#pragma once

#include "daemon/tree/layout.h"
#include "daemon/tree/mount_table.h"
#include "daemon/wire/client/stubs.h"
#include "tests/sim/backend.h"
#include "tests/sim/facts.h"
#include "tests/sim/own_accounts.h"

namespace canopy::sim {

inline constexpr std::string_view kSimDomain = "company.com";
inline constexpr std::string_view kAllMounts = wire::kMountsRun;  // the relocation of the mount table
inline constexpr int kLooksMax = 20;                              // before a reader gives up

template <class Resp>
struct Answer {
  enum class Is { kDone, kRefused, kUnknown } is = Is::kUnknown;
  Resp response;
  std::optional<Error> error;
  uint64_t epoch = 0;  // of the process that gave it
  int attempts = 0;
  bool done() const { return is == Is::kDone; }
};

class SimClient {
 public:
  SimClient(Site& site, uint32_t number, std::vector<Address> backends,
            std::vector<std::shared_ptr<AccountFacts>> accounts);

  Task<void> set_up();  // the stores, the domain and the accounts
  Task<void> live();    // the program
  bool ended() const { return ended_; }
  SimLoop& loop() { return loop_; }
  const std::string& name() const { return loop_.name(); }

  // Has everything moved to the newest layout and mount table, and waits until it is there. Empty when that
  // did not work out.
  struct Settled {
    TreeLayout layout;
    MountTable mounts;
  };
  Task<std::optional<Settled>> settle_layout();

  // Reads all of an account from a process that owns it, whole; empty when that did not work out.
  Task<std::optional<Seen>> look(size_t account);
  ClientFacts& facts(size_t account) { return facts_[account]; }
  // The same for the accounts that are its own.
  Task<std::optional<SeenAccounts>> look_at_own();
  const std::list<OwnAccount>& own_accounts() const { return own_accounts_; }

 private:
  using Is = RowFact::Is;
  AccountFacts& account(size_t index) { return *accounts_[index]; }
  v1::AccountRef ref(size_t index) const;

  // Asks until there is an answer. A refusal counts when the rightful owner of the account gave it twice.
  template <class Req, class Resp>
  Task<Answer<Resp>> ask(size_t account, wire::MethodInfo method, Req request, std::string what,
                         bool may_give_up = true);
  template <class Resp>
  bool expect_done(const Answer<Resp>& answer, const std::string& what);
  void reconnect();
  uint64_t connected_epoch() const { return client_->hello().epoch(); }
  std::string new_id() { return client_->new_request_id(); }
  // A change that the process which answers must own the account for.
  Task<uint64_t> barrier(size_t account);

  Task<void> one_operation();
  Task<void> deliver(size_t account);
  Task<void> deliver_one(size_t account, std::shared_ptr<RowFact> row);
  Task<void> append(size_t account);
  Task<void> store_flags(size_t account);
  Task<void> expunge(size_t account);
  Task<void> copy(size_t account, bool move);
  Task<void> create_mailbox(size_t account);
  Task<void> rename_mailbox(size_t account);
  Task<void> delete_mailbox(size_t account);
  Task<void> count_up(size_t account, bool settings);
  Task<void> compact(size_t account);
  Task<void> close(size_t account);
  Task<void> check(size_t account);

  // client_layout.cpp
  Task<void> change_layout();
  Task<void> set_layout();
  Task<void> change_domain_foldering();
  Task<void> turn_or_pause(std::string relocation);
  Task<void> go_on(std::string relocation);
  // Until the relocation of that name has ended; empty when it does not.
  Task<std::optional<v1::RelocationInfo>> settle(std::string relocation);

  // client_mounts.cpp
  Task<void> add_stores();
  Task<void> change_mounts();
  Task<void> set_mounts();
  std::vector<MountRow> draw_mounts();
  std::string draw_store();
  Task<std::optional<MountTable>> settle_mounts();

  Task<Result<void>> see_mailboxes(v1::AccountRef account, Seen& seen);
  Task<Result<void>> see_contents(v1::AccountRef account, SeenMailbox& box);
  Task<Result<void>> see_dict(size_t account, v1::InfoKind kind, SeenDict& dict);

  // What could not be read is a violation when the one owner said so for good; else it is tried again later.
  Task<void> cannot_read(std::string what, Error error, bool one_owner);

  // client_accounts.cpp
  Task<void> one_own_account();
  Task<void> create_own_account();
  Task<void> rename_own_account();
  Task<void> delete_own_account();
  Task<void> deliver_to_own_account();
  Task<void> check_own();
  Task<Result<void>> see_own(SeenAccounts& seen);
  std::string new_account_name();
  OwnAccount* pick_own_account();  // not marked busy; null: there is none
  template <class Resp>
  void settle(OwnAccount& account, const Answer<Resp>& answer);

  std::shared_ptr<RowFact> new_row(size_t account, std::shared_ptr<BoxFact> box);
  // A message or mailbox of its own that nothing is known against, marked busy; null: there is none.
  std::shared_ptr<RowFact> pick_row(size_t account);
  std::shared_ptr<BoxFact> pick_box(size_t account, bool or_inbox);
  // What was given up may still happen to a mailbox of that name.
  void leave_alone(size_t account, BoxFact& box);
  std::string new_box_name();
  RowFact::Flags draw_flags();

  Site& site_;
  SimLoop& loop_;
  SimRandom random_;
  std::vector<Address> backends_;
  std::vector<std::shared_ptr<AccountFacts>> accounts_;
  std::vector<ClientFacts> facts_;
  std::shared_ptr<wire::Client> client_;
  uint32_t number_;
  std::list<OwnAccount> own_accounts_;
  uint32_t next_token_ = 1, next_box_ = 1, next_account_ = 1;
  std::vector<bool> subscribed_;
  bool ended_ = false;
};

}  // namespace canopy::sim
