// Moving many accounts of a domain on one store: those that nobody uses need no opening and no closing, and
// their renames go to the store together (docs/architecture/relocation.md, "Many at once").
#include <algorithm>
#include <deque>

#include "daemon/account/accounts.h"

namespace canopy {

bool Accounts::moves_together(const Domain& domain) const {
  const std::string directory = domain.directory();
  return !may_lie_apart(domain) && !store().shared_at(directory) && !is_on_several_stores(store(), directory);
}

std::optional<Accounts::Held> Accounts::hold_unused(Moving& moving, Renaming& renaming) {
  auto domain = domain_of(moving.address);
  if (!domain || !moves_together(**domain) || !may_lie_elsewhere(store(), **domain, moving.address))
    return {};
  renaming.to = (*domain)->layout.account_directory(moving.address);
  if (is_on_several_stores(store(), renaming.to)) return {};
  const bool known = entries_.contains(moving.address.to_string());
  Held held{&moving, entry_unused(moving.address), known, {}, {}};
  if (held.entry->account || held.entry->leaving) return {};
  held.gate = held.entry->gate.try_lock();
  held.settings_gate = held.entry->settings_gate.try_lock();
  if (!held.gate || !held.settings_gate) return {};
  renaming.from = held.entry->place ? held.entry->place->directory : moving.seen_at;
  if (renaming.from == renaming.to) renaming.from.clear();
  return held;
}

void Accounts::let_go(Held held) {
  held.gate.release();
  held.settings_gate.release();
  forget_unused(held.entry, held.known);
}

// Each gate is taken only where nobody has it, so that nothing waits for one of these while it holds another.
// Answers those that the store has not come to.
Task<std::vector<Accounts::Moving*>> Accounts::rename_held(std::vector<Moving*> all) {
  std::vector<Held> together;
  std::vector<Renaming> renamings;
  std::vector<Moving*> left;
  std::deque<MoveNotice> notices;
  // One that was frozen and does not know it yet must not send a rename now.
  if (environment_.lease_held && !environment_.lease_held()) co_return left;
  for (Moving* moving : all) {
    Renaming renaming;
    auto held = hold_unused(*moving, renaming);
    if (!held) continue;
    if (renaming.from.empty()) {
      moving->became = Relocated::kNothing;
      let_go(std::move(*held));
      continue;
    }
    together.push_back(std::move(*held));
    renamings.push_back(std::move(renaming));
    notices.emplace_back(moves_, moving->address);
  }
  if (renamings.empty()) co_return left;
  const Nanos since = loop().now();
  std::vector<Result<void>> renamed;
  {
    auto turn = co_await renaming_together_.lock();
    renamed = co_await store().rename_all(std::move(renamings), RenameMode::kNoReplace);
  }
  CANOPY_CHECK(!renamed.empty());
  notices.clear();
  for (size_t i = 0; i < together.size(); ++i) {
    Moving& moving = *together[i].moving;
    moving.figures.held_for = std::max(moving.figures.held_for, loop().now() - since);
    together[i].entry->place.reset();
    if (i >= renamed.size())
      left.push_back(&moving);
    else if (renamed[i])
      moving.became = Relocated::kMoved;
    else if (renamed[i].error().code() != Code::kNotFound)  // a folder is missing, or the account was removed
      moving.became = fail(renamed[i].error());
    let_go(std::move(together[i]));
  }
  co_return left;
}

Task<void> Accounts::relocate_together(std::span<Moving> all) {
  std::vector<Moving*> left;
  for (Moving& moving : all) left.push_back(&moving);
  while (!left.empty()) left = co_await rename_held(std::move(left));
}

}  // namespace canopy
