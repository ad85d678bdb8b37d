// Accounts that get a name whose place is on another store.
#include <algorithm>

#include "daemon/wire/services/stores_service.h"

namespace canopy::wire {

constexpr size_t kRenamedAtOnceMax = 256;

namespace {

// What leads to where an account of the name `to` lies when its directory does not leave its store; none: the
// table does. On the owner's loop.
Task<Result<std::optional<MountRow>>> row_missing(Shard& owner, const AccountAddress& from,
                                                  const AccountAddress& to) {
  std::optional<MountRow> none;
  if (owner.stores == nullptr) co_return none;
  CANOPY_CO_ASSIGN(auto domain, owner.accounts.domains().get(to.domain));
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await owner.accounts.place(from));
  CANOPY_CO_ASSIGN(const auto source, co_await owner.stores->find(place.directory));
  if (!source.exists || source.row == nullptr) co_return none;
  const std::string target = domain->layout.account_directory(to);
  if (source.mounts->table().row_for(target).store == source.member->name()) co_return none;
  auto pattern = MountPattern::parse(target);
  if (!pattern || !std::ranges::all_of(pattern->elements(), &PatternElement::all_literal))
    co_return fail(
        Code::kCrossStore, from.to_string(),
        fmt::format("{} would lie on another store, and its name has characters that patterns of the mount "
                    "table have another meaning for",
                    to.to_string()));
  co_return MountRow{pattern->to_string(), source.row->store, source.row->prefix};
}

}  // namespace

Task<Result<void>> StoresService::lead_to(MountRow row) {
  StoresConfig next = *node_.shards().front()->stores->config();
  if (std::ranges::find(next.mounts->superseded(), row) != next.mounts->superseded().end())
    co_return Result<void>();
  // Each is one more that every path is held against.
  if (next.mounts->superseded_of_one_account() >= kRenamedAtOnceMax)
    co_return fail(
        Code::kTryAgain, row.pattern,
        fmt::format(
            "{} accounts that were renamed are on the way to their stores: canopyctl relocation show /",
            kRenamedAtOnceMax));
  std::vector<MountRow> superseded{row};
  superseded.insert(superseded.end(), next.mounts->superseded().begin(), next.mounts->superseded().end());
  const auto rows = next.mounts->table().rows();
  CANOPY_CO_ASSIGN(Mounts mounts, Mounts::make({rows.begin(), rows.end()}, std::move(superseded)));
  next.mounts = std::make_shared<const Mounts>(std::move(mounts));
  co_return co_await switch_to(std::move(next));
}

Task<Result<void>> StoresService::rename_account(Shard& owner, AccountAddress from, AccountAddress to) {
  constexpr int kTries = 3;  // it may go to yet another store between the look and the rename
  for (int i = 1;; ++i) {
    auto row = co_await row_missing(owner, from, to);
    if (!row) co_return fail(std::move(row).error());
    auto renamed =
        *row ? co_await rename_beyond(owner, from, to, **row) : co_await owner.accounts.rename(from, to);
    if (renamed || renamed.error().code() != Code::kCrossStore || i == kTries) co_return renamed;
  }
}

Task<Result<void>> StoresService::rename_beyond(Shard& owner, AccountAddress from, AccountAddress to,
                                                MountRow row) {
  Shard& first = *node_.shards().front();
  co_await first.loop.switch_to();
  Result<void> done;
  {
    auto guard = co_await gate_.lock();
    done = co_await lead_to(row);
    if (done) {
      co_await owner.loop.switch_to();
      done = co_await owner.accounts.rename(from, to, true);
      co_await first.loop.switch_to();
      if (!done) late_until_ = std::max(late_until_, first.loop.now() + late_renames_awaited_);
      // Another configuration of the same content: a walk that began before has seen nothing of the account,
      // and must not be what the row is dropped upon.
      auto renewed = co_await switch_to(StoresConfig(*first.stores->config()));
      if (!renewed) done = fail(std::move(renewed).error());
    }
  }
  co_await owner.loop.switch_to();
  co_return done;
}

}  // namespace canopy::wire
