#include "daemon/wire/services/domain_hold.h"

namespace canopy::wire {

Task<Result<bool>> DomainHold::take(Nanos awaited, Mode mode) {
  Result<bool> taken = true;
  for (const auto& shard : node_.shards()) {
    co_await shard->loop.switch_to();
    taken = co_await take_on(*shard, awaited, mode);
    if (!taken || !*taken) break;
  }
  co_await node_.shards().front()->loop.switch_to();
  co_return taken;
}

Task<Result<bool>> DomainHold::take_on(Shard& shard, Nanos awaited, Mode mode) {
  if (since_ == 0) since_ = shard.loop.now();
  if (!co_await shard.accounts.hold_domain(domain_, awaited, mode == Mode::kForce)) co_return false;
  held_.push_back(&shard);
  co_await shard.aliases.close_domain(directory_);
  co_await shard.requests.close_domain(directory_);
  if (mode == Mode::kForce && shard.slices.has_ends(*shard.store, directory_))
    co_return fail(
        Code::kBusy, domain_,
        "a write to one of its accounts has failed and may still arrive: restart this backend first");
  CANOPY_CO_TRY(co_await shard.accounts.settle_disposals());
  CANOPY_CO_TRY(co_await shard.files.settle_below(directory_));
  co_return true;
}

Task<void> DomainHold::release(std::string now, std::set<std::string> renamed) {
  if (now != directory_) renamed.insert({directory_, now});
  for (Shard* shard : held_) {
    co_await shard->loop.switch_to();
    for (const std::string& directory : renamed) shard->store->forget_names(directory);
    shard->accounts.release_domain();
    shard->aliases.open_domain(directory_, now);
    shard->requests.open_domain(directory_, now);
  }
  held_.clear();
  co_await node_.shards().front()->loop.switch_to();
}

}  // namespace canopy::wire
