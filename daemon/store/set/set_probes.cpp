// Opening the stores of a set, and looking whether they are still there.
#include <cerrno>

#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "daemon/dict/versioned.h"
#include "daemon/store/marker.h"
#include "daemon/store/set/store_set.h"

namespace canopy {
namespace {

constexpr Nanos kProbesApart = 100 * kMillisecond;  // at least, whatever fails meanwhile
constexpr Nanos kPreparationAwaited = 50 * kMillisecond;

Error not_prepared(const std::string& name) { return Error(Code::kTryAgain, name, "it is being made ready"); }

// The store has answered, and has not this store's marker.
bool answered_otherwise(const Error& error) {
  return error.code() == Code::kConflict || error.code() == Code::kDamaged ||
         (error.code() == Code::kStoreUnavailable && error.is_of_system() && error.error_number() == ENOENT);
}

}  // namespace

Task<void> StoreSet::watch(MemberRef member) {
  while (!member->retired_ && !stopping_) {
    const Nanos begun = loop_.now();
    member->look_.reset();
    co_await probe(member);
    const bool soon = member->reason_ && member->reason_->code() == Code::kTryAgain;
    if (!soon) member->looked_.set();
    if (member->retired_ || stopping_) break;
    const bool well = member->usable_ && member->state() != StoreState::kFull;
    Nanos pause = well ? options_.probe_every : options_.probe_again_after;
    if (soon) pause = kPreparationAwaited;
    (void)co_await member->look_.wait_until(loop_.now() + pause);
    const Nanos apart = begun + std::min(kProbesApart, pause);
    if (!stopping_ && loop_.now() < apart) co_await loop_.sleep_until(apart);
  }
}

// Opened, with the right marker, and prepared by this process.
Task<Result<void>> StoreSet::probe_store(MemberRef member) {
  const StoreConfig& config = member->config_;
  std::shared_ptr<Store> store = member->store_;
  bool is_new = false;
  // A directory that was not mounted is another one when it is: it must be opened anew. So must an export of
  // a server that answered, but not as this store.
  if (!store || (!member->is_root() && !member->usable_ &&
                 (config.is_local() || std::exchange(member->open_anew_, false)))) {
    auto opened = co_await options_.open(config);
    if (!opened) co_return fail(std::move(opened).error());
    store = std::move(*opened);
    is_new = true;
  }
  SetMember::Timing timing(*member);
  if (member->is_root()) {
    auto there = co_await store->attributes(std::string(kStoreMarkerPath));
    if (!there && there.error().code() != Code::kNotFound) co_return fail(std::move(there).error());
  } else {
    auto marker = co_await check_marker(*store, config.id, config.name);
    if (!marker) {
      member->open_anew_ = answered_otherwise(marker.error());
      co_return fail(std::move(marker).error());
    }
    if (!options_.board->is_prepared(config.id)) {
      if (!options_.leads) co_return fail(not_prepared(config.name));
      if (options_.prepare) CANOPY_CO_TRY(co_await options_.prepare(store));
      options_.board->prepared(config.id);
    }
    if (is_new && options_.begin) CANOPY_CO_TRY(co_await options_.begin(config, *store));
  }
  auto space = co_await store->space();
  if (!space) co_return fail(std::move(space).error());
  member->space_ = *space;
  member->store_ = std::move(store);
  co_return Result<void>();
}

Task<void> StoreSet::probe(MemberRef member) {
  const Nanos begun = loop_.now();
  const StoreState before = member->state();
  const bool first = !member->looked_.is_set();
  auto found = co_await probe_store(member);
  if (member->retired_) co_return;
  const bool well = found.has_value();
  if (well) {
    member->usable_ = true;
    member->reason_.reset();
    member->state_ = loop_.now() - begun > kStoreSlow ? StoreState::kSlow : StoreState::kUp;
  } else {
    const Code code = found.error().code();
    if (code != Code::kTryAgain) ++member->figures_.errors;
    if (!member->is_root()) member->usable_ = false;
    member->state_ =
        code == Code::kConflict || code == Code::kDamaged ? StoreState::kWrong : StoreState::kDown;
    member->reason_ = std::move(found).error();
    if (code == Code::kTryAgain) co_return;
  }
  const StoreState now = member->state();
  if (!options_.leads || (now == before && !first) || (first && member->is_root() && well)) co_return;
  const bool good = now == StoreState::kUp || now == StoreState::kSlow;
  log_event(good                        ? LogLevel::kInfo
            : now == StoreState::kWrong ? LogLevel::kError
                                        : LogLevel::kWarning,
            "store-state", member->name(),
            {{"state", store_state_name(now)},
             {"error", member->reason_ ? member->reason_->to_string() : std::string("none")}});
}

static Task<Result<dict::Dict>> read_settings(Store& root, std::string path) {
  auto text = co_await read_file(root, path, kDictBytesMax);
  if (!text && text.error().code() == Code::kNotFound) co_return dict::Dict();
  if (!text) co_return fail(std::move(text).error());
  auto file = dict::parse_versioned(*text, path);
  if (!file) co_return fail(std::move(file).error());
  co_return std::move(file->dict);
}

Task<Result<std::shared_ptr<const StoresConfig>>> load_stores(Store& root) {
  auto config = std::make_shared<StoresConfig>();
  CANOPY_CO_ASSIGN(const dict::Dict stores, co_await read_settings(root, std::string(kStoresSettingsFile)));
  CANOPY_CO_ASSIGN(config->stores, parse_stores(stores));
  CANOPY_CO_ASSIGN(const dict::Dict rows, co_await read_settings(root, std::string(kMountsSettingsFile)));
  CANOPY_CO_TRY(parse_mounts(rows, *config));
  CANOPY_CO_TRY(config->check());
  co_return std::shared_ptr<const StoresConfig>(std::move(config));
}

Task<void> StoreSet::settle(Nanos deadline) {
  for (const MemberRef& member : members()) (void)co_await member->looked_.wait_until(deadline);
}

Task<void> StoreSet::stop() {
  stopping_ = true;
  for (const auto& [name, member] : members_) member->look_.set();
  co_await probes_.join();
  co_await asked_.join();
}

}  // namespace canopy
