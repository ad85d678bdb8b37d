// Relocations: moves the accounts of domains whose layout has changed, in the background, one run a domain
// (docs/architecture/relocation.md). What is to be moved and how is in the domain's settings; a run keeps
// nothing but figures, so another process goes on from the tree itself. For the first shard's loop, which
// run() keeps.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "daemon/relocate/relocation_pass.h"
#include "daemon/relocate/relocation_settings.h"
#include "daemon/store/set/store_config.h"
#include "daemon/tree/mounts.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

inline constexpr size_t kRelocationsFinishedKept = 64;  // that are shown after they have ended
inline constexpr size_t kRelocationsMovingMax = 64;     // at once; the others wait for their turn
// On a store that others may write to, superseded layouts are still looked at for so long after the last
// move: a rename of a process that has gone, or is not answered, may arrive late, and takes an account back.
inline constexpr Nanos kLateRenamesAwaited = 120 * kSecond;
inline constexpr char kMountsRun[] = "/";  // the run of what the mount table puts elsewhere

class Relocations {
 public:
  enum class State : uint8_t { kMoving, kSettling, kPaused, kWaiting, kRetrying, kFinished };

  struct Run {
    std::string domain;                    // or kMountsRun
    std::shared_ptr<const Mounts> mounts;  // of that: the table that accounts move to
    std::vector<TreeLayout> from;
    TreeLayout to;
    RelocationSettings settings;
    State state = State::kWaiting;
    std::string last_error;
    uint64_t accounts = 0;  // of the domain, counted beside the first walk; 0: not yet
    Nanos started = 0, moving_for = 0, moving_since = 0;
    // Of the walk at hand; added to by all loops.
    std::atomic<uint64_t> seen{0}, failed{0}, in_use{0};
    std::atomic<uint64_t> moved{0};         // since the start of this process
    std::atomic<uint64_t> bytes_copied{0};  // likewise, from store to store
    std::atomic<Nanos> held_max{0};         // the longest that nobody could use an account meanwhile
    std::atomic<uint32_t> rate{0};          // as in `settings`
    std::atomic<Nanos> next_start{0};       // with a rate: when the next account may be moved
    std::atomic<bool> stop{false};
    bool active = false;
    uint64_t arrivals = 0;  // for any loop, when the page at hand began

    Nanos moving_until(Nanos now) const { return moving_for + (moving_since == 0 ? 0 : now - moving_since); }
  };
  using RunRef = std::shared_ptr<Run>;

  // Forgets the rows that are superseded, as nothing lies there any more; false: the configuration is another
  // one than when that was looked at.
  using DropSuperseded = std::function<Task<Result<bool>>(std::shared_ptr<const StoresConfig> as_of)>;
  Relocations(Node& node, DropSuperseded drop, Nanos late_renames_awaited = kLateRenamesAwaited)
      : node_(node),
        drop_superseded_(std::move(drop)),
        late_renames_awaited_(late_renames_awaited),
        runs_on_(node.shards().front()->loop) {}

  // Looks at the table of domains every second until `over`.
  Task<void> run(const std::atomic<bool>& over);

  // Those under way, then those that have ended since the start, newest first.
  std::vector<RunRef> all() const;
  RunRef find(const std::string& domain) const;  // null: none

 private:
  struct Share;  // of one page, of one shard
  void look(const std::atomic<bool>& over);
  void look_at_mounts(const std::atomic<bool>& over);
  void advance(const RunRef& run, std::shared_ptr<const Domain> domain, const dict::Dict* how,
               const std::atomic<bool>& over);
  // `domain`: none for the run of the mount table.
  Task<void> move_all(RunRef run, std::shared_ptr<const Domain> domain);
  Task<void> settle_places();
  Task<Result<bool>> try_mounts(RunRef run);
  Task<Result<void>> sync_moving_domains();
  Task<Result<void>> move_file(std::string path, std::string domain);
  // How many accounts there are to look at; an estimate where they move meanwhile. Ends when `moving` does.
  Task<void> count(RunRef run, std::shared_ptr<const Domain> domain, const bool& moving);
  // True when the domain is done with, false when it is to be tried again.
  Task<Result<bool>> try_once(RunRef run, std::shared_ptr<const Domain> domain);
  Task<bool> move_page(RunRef run, std::shared_ptr<const Domain> domain, std::vector<SeenAccount> page);
  // `at_once` accounts of it; when others turn out to be at work, only those who are `staying` go on, and may
  // leave a part of it.
  Task<void> move_share(RunRef run, Shard& shard, std::shared_ptr<Share> share, uint32_t at_once,
                        uint32_t staying);
  Task<void> move_some(RunRef run, Shard& shard, std::shared_ptr<Share> share, bool while_alone);
  uint64_t arrivals() const;
  bool is_alone(const Run& run) const;  // since the page at hand began; any loop
  Task<void> await_late_renames(RunRef run);
  Task<Result<void>> remove_files_elsewhere(std::shared_ptr<const Domain> domain,
                                            std::vector<AccountAddress> page);
  // False when the domain's settings are others than those of `as_of`, before the last walk: its layout may
  // have changed meanwhile, and changed back.
  Task<Result<bool>> finish(std::shared_ptr<const Domain> domain, dict::Version as_of,
                            const RelocationPass& last);

  Node& node_;
  const DropSuperseded drop_superseded_;
  const Nanos late_renames_awaited_;
  bool some_wait_ = false;            // for their turn
  size_t moving_ = 0;                 // runs that are, at the present look
  NamesRemembered names_remembered_;  // by the passes, which are the first loop's
  TaskGroup runs_on_;
  std::map<std::string, RunRef> runs_;
  std::vector<RunRef> finished_;  // newest last
};

std::string_view relocation_state_name(Relocations::State state);

}  // namespace canopy::wire
