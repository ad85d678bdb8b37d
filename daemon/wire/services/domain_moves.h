// DomainMoves: gives the tree's domains their places under another domain foldering, in the background, one
// after the other (docs/architecture/relocation.md, "Domains"). What is to be done stands in the tree's own
// settings, and where a domain lies says how far it is; nothing else is kept but figures. For the first
// shard's loop, which run() keeps.
#pragma once

#include <atomic>
#include <string>

#include "daemon/account/domain_move.h"
#include "daemon/relocate/relocation_settings.h"
#include "daemon/wire/services/node.h"
#include "daemon/wire/services/relocations.h"

namespace canopy::wire {

// From now on domains are made under this foldering, and the others move there. Begins and ends on any loop
// of the node. kInvalidArgument names a domain that would have no place under it.
Task<Result<void>> set_domain_foldering(Node& node, Foldering to);

inline constexpr std::string_view kAllDomains =
    "*";  // in place of a domain's name, where relocations are named

class DomainMoves {
 public:
  struct Figures {
    Foldering to;
    std::vector<Foldering> from;  // that domains may still lie under, newest first
    RelocationSettings settings;
    Relocations::State state = Relocations::State::kWaiting;
    std::string last_error;
    uint64_t domains = 0, seen = 0, moved = 0, failed = 0;  // seen, failed: in the pass at hand
    Nanos moving_for = 0, moving_since = 0;
    Nanos held_max = 0;  // the longest that nobody could use a domain meanwhile
    bool any = false;    // something has moved since the start of this process, or is about to

    Nanos moving_until(Nanos now) const { return moving_for + (moving_since == 0 ? 0 : now - moving_since); }
  };

  explicit DomainMoves(Node& node) : node_(node) {}

  // Looks at the tree's settings every second until `over`.
  Task<void> run(const std::atomic<bool>& over);
  const Figures& figures() const { return figures_; }

  // Back to the foldering before the newest; kNotFound: nothing moves. Begins and ends on any loop of the
  // node, as the next one.
  Task<Result<void>> cancel();
  using Change = std::function<Result<void>(RelocationSettings& settings)>;
  Task<Result<void>> change_settings(Change change);

 private:
  enum class Moved : uint8_t { kNothing, kMoved, kInUse, kNotYet };
  struct Attempt;
  void follow();
  Task<void> pass(const std::atomic<bool>& over);
  Task<void> read_half_moved();
  Task<Result<Moved>> move(std::string domain, Nanos awaited);
  static Task<Result<void>> move_held(Node& node, Shard& on, DomainTable& table, Attempt& attempt);
  static Task<Result<void>> move_now(Shard& on, DomainTable& table, std::shared_ptr<const Domain> domain,
                                     DomainMove planned, Attempt& attempt);
  Task<Result<void>> finish();
  void hold_up(const std::string& error);

  Node& node_;
  Figures figures_;
  Nanos next_pass_ = 0;  // not before, after something has failed
  Nanos next_look_ = 0;  // for domains that lie at no place
};

}  // namespace canopy::wire
