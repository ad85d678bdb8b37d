// AccountNames: lists the accounts of a domain page by page at a cost that depends on the page, not on the
// domain. The tree decides what exists: names come from the catalog only while it is known to say the same as
// the tree, otherwise from a walk over the domain's directories, and meanwhile the rows are made anew in the
// background.
//
// What makes rows count: a walk wrote them, every change that this process has made since is in them
// (changed()), and no directory's stamp (identity, time of change) has moved otherwise. Stamps are compared
// when a domain is first listed and at the start of each later listing. What others did to the tree by hand
// shows in the next listing, with two exceptions: a directory that had changed just before it was walked is
// looked at again kNamesSettle later, and where this process has made changes of its own, which hide those of
// others, kNamesRewalkMin later.
//
// One object a loop, for the domains whose slot the loop owns; for the loop's thread only.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "daemon/account/account_listing.h"
#include "daemon/catalog/account_names_rows.h"
#include "daemon/catalog/catalog.h"
#include "daemon/runtime/sync.h"

namespace canopy {

inline constexpr size_t kNamesPendingMax = 65'536;  // changes of one domain on the way to its rows
inline constexpr size_t kNamesFlushedAt = 1024;
inline constexpr size_t kMovesToldTakenAt = 1024;  // that many wait at most, and as many again on the way
// Walks for one page while accounts move. An account escapes as many only by moving in each of them, which
// takes as many changes of the layout.
inline constexpr int kNamesWalksMax = 3;
inline constexpr int64_t kNamesStampSettleSeconds =
    2;  // a younger stamp may hide a change within its granularity
// How long a listing waits for a walk that will serve it: a million accounts on a local disk, and well within
// a call's time.
inline constexpr Nanos kNamesBuildWait = 10 * kSecond;
inline constexpr Nanos kNamesSettle = 5 * kSecond;
inline constexpr Nanos kNamesRewalkMin = 30 * kSecond;  // between walks that no sign of a change asks for,
inline constexpr int64_t kNamesRewalkShare = 20;        // and that many times what the last one took

class AccountNames {
 public:
  // `catalog` may be null: every page is a walk. Catalog and store outlive it; the store is of this loop.
  AccountNames(Loop& loop, Store& store, Catalog* catalog);
  ~AccountNames();
  Task<void> stop();  // ends what runs in the background

  // The first `limit` names greater than `after` that begin with `prefix`. Begins and ends on this loop. What
  // was created or removed before the call is seen.
  Task<Result<NamePage>> list(std::shared_ptr<const Domain> domain, std::string after, std::string prefix,
                              size_t limit);

  // This process has made or removed the account, or (nullopt) may have.
  void changed(const AccountAddress& address, std::optional<bool> present);
  // This process begins (or ends) to move the account's directory within its domain: a walk that is under way
  // meanwhile may see it nowhere. From any thread. It wakes nobody: what was told is looked at whenever it
  // matters. True when so much waits that the caller has to post take_moves() to this loop.
  bool moves(const AccountAddress& address, bool begins);
  void take_moves();
  // Forgets domains that are not there any more.
  void keep_only(const DomainTable& table);

  // Walks the domain and compares: names that the rows had and the tree has not, or the other way round, with
  // the rows made anew when there are any. Empty without rows.
  Task<Result<std::vector<std::string>>> check(std::shared_ptr<const Domain> domain);

 private:
  struct Names {
    explicit Names(Loop& loop) : gate(loop), verifying(loop), built(loop) { built.set(); }
    std::shared_ptr<const Domain> domain;
    Mutex gate;  // one job on its rows at a time, so that changes reach them in order
    Mutex verifying;
    Event built;              // set while no walk is under way
    uint64_t instance = 0;    // of the catalog that the rest speaks of
    uint64_t generation = 0;  // whose rows take the changes, and count when complete; 0: none
    uint64_t building = 0;    // the one that a walk fills; 0: none
    bool loaded = false;      // it was looked whether there are rows from before
    bool complete = false;    // rows and pending say what the tree says
    bool young = false;       // some stamp was too young to tell of a change by others
    bool hidden = false;      // own changes hide others' from the stamps
    bool flushing = false;
    std::map<std::string, bool> pending;  // changes that the rows do not have yet: name, whether it is there
    Nanos built_at = 0, build_took = 0, verified_at = 0, verify_took = 0;
  };
  using NamesRef = std::shared_ptr<Names>;

  NamesRef find(const std::shared_ptr<const Domain>& domain);
  // The rows are of no more use; what is to come starts from the tree.
  static void lose(Names& names);
  void change(const AccountAddress& address, std::optional<bool> present);
  void move(const AccountAddress& address, bool begins);
  Task<void> verify(NamesRef names);
  Task<Result<NamePage>> walk_pages(std::shared_ptr<const Domain> domain, NameWindow window);
  Task<Result<bool>> stamps_hold(NamesRef names, uint64_t generation);
  void start_build(const NamesRef& names, std::vector<std::string>* differences);
  Task<void> build(NamesRef names, std::vector<std::string>* differences);
  Task<Result<void>> fill(NamesRef names, std::vector<std::string>* differences);
  Task<Result<void>> walk(NamesRef names, uint64_t generation, std::string path, uint32_t depth);
  Task<void> flush(NamesRef names);
  Task<void> forget(NamesRef names);
  // Writes what is pending and runs work(AccountNamesRows&, CatalogRows&) on a worker, alone on the domain's
  // rows.
  template <class F>
  auto on_rows(NamesRef names, F work) -> Task<std::invoke_result_t<F&, AccountNamesRows&, CatalogRows&>>;

  Loop& loop_;
  Store& store_;
  Catalog* catalog_;
  std::map<std::string, NamesRef, std::less<>> domains_;
  std::set<AccountAddress> moving_;
  uint64_t moves_begun_ = 0;
  TaskGroup background_;
  bool stopping_ = false;

  std::mutex told_mutex_;
  std::vector<std::pair<AccountAddress, bool>> told_;  // of moves, and not looked at yet
};

}  // namespace canopy
