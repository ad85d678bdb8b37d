// Moving an account's directory from store to store (docs/architecture/relocation.md, "From store to store").
// It is copied into the stage of the other store while it is in use, held for the last records, and is there
// once the copy has been renamed to its place: that rename decides, and a successor makes it impossible
// before it looks, as it removes older stages first.
#include "daemon/account/account_copy.h"
#include "daemon/account/accounts.h"
#include "daemon/base/log.h"
#include "daemon/dict/dict.h"
#include "daemon/store/departure.h"
#include "daemon/store/store_path.h"

namespace canopy {
namespace {

constexpr uint64_t kTailBytes = 256u << 10;  // no more is left to be copied while the account is held, mostly
constexpr uint64_t kHeldCopyBytesMax = 4u << 20;
constexpr int kFollowsMax = 8;    // of what came meanwhile, before it is held all the same
constexpr int kTriesToHold = 40;  // while somebody goes on using it
constexpr Nanos kEndOfUseAwaited = 80 * kMillisecond;
constexpr Nanos kTryAgainAfter = 50 * kMillisecond;

// `path` of a fixed place, on its store.
std::string on_store(const StoreSite& site) {
  const std::string prefix = ".stores/" + site.name + "/";
  return site.path.starts_with(prefix) ? site.path.substr(prefix.size()) : site.path;
}

uint64_t length_of(const std::vector<SliceInfo>& slices) {
  uint64_t sum = 0;
  for (const SliceInfo& slice : slices) sum += slice.entry.length;
  return sum;
}

class Leaving {
 public:
  explicit Leaving(bool& leaving) : leaving_(leaving) { leaving_ = true; }
  ~Leaving() { leaving_ = false; }
  Leaving(const Leaving&) = delete;

 private:
  bool& leaving_;
};

}  // namespace

struct Accounts::Copying {
  Copying(Store& store, Loop& loop, Way of, std::string at, Mutex* turns)
      : way(std::move(of)), staged(std::move(at)), copy(store, loop, way.from.path, staged, turns) {}
  const Way way;
  const std::string staged;
  AccountCopy copy;
  std::shared_ptr<Account> account;
  Nanos held_for = 0;
  bool committed = false;
};

Task<Result<Accounts::Relocated>> Accounts::relocate_across(EntryRef held, AccountAddress address,
                                                            MoveFigures* figures) {
  const Leaving leaving(held->leaving);
  auto begun = co_await begin_copy(held, address);
  if (!begun) co_return fail(std::move(begun).error());
  if (!*begun) co_return Relocated::kNothing;
  const std::shared_ptr<Copying> copying = std::move(*begun);
  Result<Relocated> done = Relocated::kInUse;
  for (int i = 0; done && *done == Relocated::kInUse && i < kTriesToHold; ++i) {
    if (i > 0) co_await loop().sleep(kTryAgainAfter);
    Result<void> followed;
    for (int round = 0; followed && copying->account->usable() && round < kFollowsMax; ++round) {
      auto bytes = co_await copying->copy.follow(copying->account->slices());
      if (bytes && *bytes < kTailBytes) break;
      if (!bytes) followed = fail(std::move(bytes).error());
    }
    if (followed)
      done = co_await end_copy(held, address, copying);
    else
      done = fail(std::move(followed).error());
  }
  if (figures != nullptr) {
    figures->bytes_copied += copying->copy.bytes();
    figures->held_for = std::max(figures->held_for, copying->held_for);
  }
  if (!copying->committed) {
    auto gone = co_await discard(slot_of(address), copying->staged);
    if (!gone)  // it goes with the stage
      log_event(LogLevel::kWarning, "trash-not-removed", copying->staged,
                {{"error", gone.error().to_string()}});
  }
  co_return done;
}

Task<Result<std::shared_ptr<Accounts::Copying>>> Accounts::begin_copy(EntryRef held, AccountAddress address) {
  auto opened = co_await open(address);
  if (!opened && opened.error().code() == Code::kNotFound) co_return nullptr;
  if (!opened) co_return fail(std::move(opened).error());
  std::shared_ptr<Account> account = std::move(*opened);
  std::optional<Way> way;
  {
    auto gate = co_await held->gate.lock();
    auto guard = co_await held->settings_gate.lock();
    CANOPY_CO_ASSIGN(way, co_await plan_move(held, address, account->directory()));
  }
  if (!way || !way->crosses()) co_return nullptr;
  // Whoever had the account before this process may still write to it until it is taken over.
  if (store().shared_at(way->from.path)) CANOPY_CO_TRY(co_await account->hold());
  CANOPY_CO_ASSIGN(StoreCapacity * capacity, co_await capacity_at(way->to.path));
  if (!capacity->known()) co_await capacity->look();
  CANOPY_CO_TRY(capacity->take(length_of(account->slices())));
  auto staged = co_await files_.stage_path(slot_of(address), way->to.path);
  if (!staged) co_return fail(std::move(staged).error());
  Mutex* const turns = store().shared_at(way->to.path) ? nullptr : &copy_turns_;
  auto copying = std::make_shared<Copying>(store(), loop(), std::move(*way), std::move(*staged), turns);
  auto made = co_await copying->copy.begin();
  if (!made) co_return fail(co_await files_.fenced_if_gone(copying->staged, std::move(made).error()));
  copying->account = std::move(account);
  co_return copying;
}

// Nobody uses the account from here until it is at one of the two places for good.
Task<Result<Accounts::Relocated>> Accounts::end_copy(EntryRef held, AccountAddress address,
                                                     std::shared_ptr<Copying> copying) {
  auto gate = co_await held->gate.lock();
  auto guard = co_await held->settings_gate.lock();
  const Nanos since = loop().now();
  if (held->account != copying->account || !copying->account->usable())
    co_return fail(Code::kTryAgain, address.to_string(), "the account was opened anew while it was copied");
  CANOPY_CO_ASSIGN(auto way, co_await plan_move(held, address, copying->account->directory()));
  if (!way || !(*way == copying->way))
    co_return fail(Code::kTryAgain, address.to_string(), "it has to go elsewhere now");
  if (!co_await await_unused(held, kEndOfUseAwaited, 1)) co_return Relocated::kInUse;
  // Others would wait for all that a compaction has just written anew: it is copied before.
  if (copying->copy.missing(copying->account->slices()) > kHeldCopyBytesMax) co_return Relocated::kInUse;
  co_await close_entry(held);
  const std::vector<SliceInfo> slices = copying->account->slices();
  const bool begun = copying->account->begun();
  copying->account.reset();
  held->place.reset();
  if (!begun && store().shared_at(way->from.path))
    CANOPY_CO_TRY(co_await AccountLog::fence_unbegun(environment_, way->now.directory));
  auto files = co_await move_files(address, *way);
  if (!files) co_return fail(std::move(files).error());
  CANOPY_CO_TRY(co_await copying->copy.finish(slices));
  CANOPY_CO_TRY(co_await settle_disposal(way->to.path));
  const MoveNotice notice(moves_, address);
  auto gone = co_await depart(address, *way, copying->staged);
  copying->held_for = loop().now() - since;
  if (!gone) co_return fail(std::move(gone).error());
  copying->committed = true;
  auto disposed = co_await dispose(slot_of(address), way->from.path);
  if (!disposed) {  // nobody looks at it any more; the next walk removes it
    log_event(LogLevel::kWarning, "account-left-behind", way->from.path,
              {{"error", disposed.error().to_string()}});
  }
  co_return Relocated::kMoved;
}

// Under another name first: a rename of it without an answer, which may happen yet, must find all or nothing.
Task<Result<void>> Accounts::discard(uint32_t slot, std::string staged) {
  auto aside = co_await files_.stage_path(slot, staged);
  if (!aside) co_return fail(std::move(aside).error());
  auto put = co_await store().rename(staged, *aside, RenameMode::kNoReplace, Durable::kYes);
  if (!put && put.error().code() == Code::kNotFound) co_return Result<void>();
  if (put) background_.spawn(empty_trash(*this, *aside));
  co_return put;
}

// The rename of the copy is what moves the account. Before it, what is left behind says where to look.
Task<Result<void>> Accounts::depart(AccountAddress address, const Way& way, std::string staged) {
  const uint32_t slot = slot_of(address);
  CANOPY_CO_ASSIGN(const Attributes copy, co_await store().attributes(staged));
  Departure departure;
  departure.store = way.to.name;
  departure.path = on_store(way.to);
  StoreSite staged_site = way.to;
  staged_site.path = staged;
  departure.staged = on_store(staged_site);
  departure.file_id = copy.file_id;
  dict::VersionedDict file;
  const std::string path = fmt::format("{}/{}", way.from.path, kDepartureFile);
  auto before = co_await files_.read(path);
  if (before) file.version = before->version;
  if (!before && before.error().code() != Code::kNotFound) co_return fail(std::move(before).error());
  file.dict = print_departure(departure);
  auto said = co_await files_.replace(slot, path, std::move(file));
  if (!said) co_return fail(std::move(said).error());
  CANOPY_CO_TRY(
      co_await make_directories(store(), std::string(store_parent_of(way.to.path)), 0700, Durable::kYes));
  auto renamed = co_await move_into(store(), staged, way.to.path, RenameMode::kNoReplace, Durable::kYes);
  if (renamed && environment_.lease_held && !environment_.lease_held())
    co_return fail(Code::kFenced, address.to_string(), "the lease ended before the account was moved");
  if (renamed) co_return renamed;
  (void)co_await settle_departure(slot, way.from.path);  // again before the next use when it fails
  co_return fail(co_await files_.fenced_if_gone(staged, std::move(renamed).error()));
}

Task<Result<void>> Accounts::settle_departure(uint32_t slot, std::string directory) {
  auto departure = co_await read_departure(store(), directory);
  if (!departure) co_return fail(std::move(departure).error());
  if (!*departure) co_return Result<void>();
  // A rename of ours without an answer may happen yet, unless what it renames has gone. Those of processes
  // before us cannot: their stages went before this store was used.
  if ((*departure)->staged.starts_with(fmt::format("{}/{}/", kStageRoot, hex64(files_.epoch())))) {
    CANOPY_CO_TRY(co_await discard(slot, (*departure)->waits_at()));
  }
  CANOPY_CO_ASSIGN(const bool arrived, co_await has_arrived(store(), **departure));
  if (arrived)
    co_return fail(Code::kTryAgain, directory, "the account has just moved to another store; look again");
  const std::string path = fmt::format("{}/{}", directory, kDepartureFile);
  auto file = co_await files_.read(path);
  if (!file) co_return fail(std::move(file).error());
  file->dict = dict::Dict();
  auto called_off = co_await files_.replace(slot, path, std::move(*file));
  if (!called_off) co_return fail(std::move(called_off).error());
  // Where a request may arrive late, the removal could take what a later move has said: there it stays,
  // empty.
  if (!store().shared_at(directory)) CANOPY_CO_TRY(co_await store().remove(path, Durable::kNo));
  co_return Result<void>();
}

Task<Result<void>> Accounts::clear_departed(std::shared_ptr<const Domain> domain, AccountAddress address,
                                            std::string stays) {
  std::set<std::string> places;
  for (const StoreSite& site : store().parts_of(domain->layout.account_directory(address)))
    places.insert(site.path);
  for (const TreeLayout& older : domain->older)
    for (const StoreSite& site : store().parts_of(older.account_directory(address))) places.insert(site.path);
  places.erase(stays);
  for (const std::string& place : places) {
    auto there = co_await store().attributes(place);
    if (!there && there.error().code() == Code::kNotFound) continue;
    if (!there) co_return fail(std::move(there).error());
    CANOPY_CO_ASSIGN(const bool departed, co_await has_departed(store(), place));
    if (!departed)
      co_return fail(
          Code::kConflict, place,
          fmt::format("the account lies there and at {}, and neither says that it was moved to the "
                      "other: one of the two was put there by hand",
                      stays));
    CANOPY_CO_TRY(co_await dispose(slot_of(address), place));
  }
  co_return Result<void>();
}

Task<Result<void>> Accounts::clear_other_places(std::shared_ptr<const Domain> domain, AccountAddress address,
                                                std::string directory) {
  if (!may_lie_elsewhere(store(), *domain, address) || !is_on_several_stores(store(), directory))
    co_return Result<void>();
  CANOPY_CO_ASSIGN(const StoreSite site, co_await store().site_of(std::move(directory)));
  co_return co_await clear_departed(std::move(domain), std::move(address), site.path);
}

// A rename that took something else of this name later would be the end of it: it goes into a directory that
// is for this rename only, and is removed before anything can have the name again.
Task<Result<void>> Accounts::settle_disposal(std::string directory) {
  auto at = disposals_.find(directory);
  if (at == disposals_.end()) co_return Result<void>();
  CANOPY_CO_TRY(co_await remove_tree(store(), std::string(at->second)));
  disposals_.erase(directory);
  co_return Result<void>();
}

Task<Result<void>> Accounts::dispose(uint32_t slot, std::string directory) {
  CANOPY_CO_TRY(co_await settle_disposal(directory));
  auto staged = co_await files_.stage_path(slot, directory);
  if (!staged) co_return fail(std::move(staged).error());
  auto made = co_await store().make_directory(*staged, 0700, Durable::kNo);
  if (!made) co_return fail(co_await files_.fenced_if_gone(*staged, std::move(made).error()));
  disposals_[directory] = *staged;
  auto renamed = co_await store().rename(directory, *staged + "/left", RenameMode::kReplace, Durable::kYes);
  if (!renamed) {
    (void)co_await settle_disposal(directory);  // again before the next use when it fails
    co_return fail(co_await files_.fenced_if_gone(*staged, std::move(renamed).error()));
  }
  disposals_.erase(directory);
  background_.spawn(empty_trash(*this, *staged));
  co_return Result<void>();
}

}  // namespace canopy
