// The run of the mount table: what lies where only superseded rows lead goes to where the newest ones have
// it.
#include "daemon/base/log.h"
#include "daemon/relocate/folders.h"
#include "daemon/relocate/mount_walk.h"
#include "daemon/store/set/store_set.h"
#include "daemon/wire/services/relocations.h"

namespace canopy::wire {

constexpr Nanos kUsedAgainAfter = 200 * kMillisecond;

Task<Result<bool>> Relocations::try_mounts(RunRef run) {
  Shard& first = *node_.shards().front();
  co_await settle_places();
  for (bool again = false;;) {
    run->seen = run->failed = run->in_use = 0;
    uint64_t files = 0;
    const uint64_t before = run->moved;
    const auto as_of = first.stores->config();
    if (!(*as_of->mounts == *run->mounts)) co_return false;  // another run's
    MountWalk walk(
        *first.store, run->mounts,
        [this, run](std::vector<SeenAccount> page) { return move_page(run, nullptr, std::move(page)); },
        [this, &files](std::string path, std::string domain) {
          ++files;
          return move_file(std::move(path), std::move(domain));
        });
    auto whole = co_await walk.run();
    if (!whole) co_return fail(std::move(whole).error());
    if (!*whole || run->failed != 0) co_return false;
    if (run->in_use != 0) {
      co_await first.loop.sleep(kUsedAgainAfter);
      continue;
    }
    if (run->moved != before || files != 0) {  // until a walk has found nothing
      again = false;
      continue;
    }
    if (run->seen != 0 && !std::exchange(again, true)) continue;  // only what had been left behind, perhaps
    if (walk.others() != 0 || run->seen != 0)
      co_return fail(Code::kNotEmpty, kMountsRun,
                     fmt::format("{} files that belong to no account or domain lie where the mount table no "
                                 "longer leads, {} among them: move or remove them",
                                 walk.others() + run->seen,
                                 walk.others() != 0 ? walk.other() : "settings of accounts that have gone"));
    if (first.stores->config() != as_of) continue;  // the table may have changed, and changed back
    CANOPY_CO_TRY(co_await sync_moving_domains());
    auto removed = co_await walk.remove_empty_folders();
    if (!removed)  // they are in nobody's way
      log_event(LogLevel::kWarning, "folders-not-removed", kMountsRun,
                {{"error", removed.error().to_string()}});
    co_return co_await drop_superseded_(as_of);
  }
}

// What has moved to another layout meanwhile lay where superseded rows lead, and a crash could take it back
// there as long as its folders are not synced (seed 470).
Task<Result<void>> Relocations::sync_moving_domains() {
  Shard& first = *node_.shards().front();
  const auto table = first.accounts.domain_table();
  for (const auto& [name, domain] : table->domains)
    if (!domain->older.empty())
      CANOPY_CO_TRY(co_await sync_folders(*first.store, domain, kSyncedOneByOneMax));
  co_return Result<void>();
}

// Each where it is read and replaced, so that nobody does meanwhile.
Task<Result<void>> Relocations::move_file(std::string path, std::string domain) {
  Shard& first = *node_.shards().front();
  auto known = first.accounts.domains().get(domain);
  if (!known || !path.starts_with((*known)->directory() + "/")) {
    if (!known && known.error().code() != Code::kNotFound) co_return fail(std::move(known).error());
    co_return fail(Code::kNotFound, std::move(path), "a file of a domain that there is not: remove it");
  }
  const uint32_t slot = (*known)->slot;
  Result<void> done;
  if (path.ends_with("/domain.settings")) {
    auto move = [path, slot](Shard& on, DomainTable&) { return on.files.move_to_newest_store(slot, path); };
    done = co_await node_.change_domains(move);
  } else {
    Shard& owner = node_.shard_of(slot);
    co_await owner.loop.switch_to();
    if (path.find("/aliases/") != std::string::npos)
      done = co_await owner.aliases.move_to_newest_store(slot, path);
    else
      done = co_await owner.requests.move_to_newest_store(slot, path);
  }
  co_await first.loop.switch_to();
  co_return done;
}

}  // namespace canopy::wire
