#include "daemon/wire/services/tree_once.h"

#include <algorithm>

namespace canopy::wire {

Task<std::optional<TreeOnce::Outcome>> TreeOnce::claim(Loop& loop, std::string id) {
  while (true) {
    std::shared_ptr<LoopWaiter> waiter;
    {
      std::lock_guard lock(gate_);
      auto [found, fresh] = entries_.try_emplace(id);
      if (fresh) co_return std::nullopt;
      if (found->second.settled) co_return found->second.outcome;
      waiter = std::make_shared<LoopWaiter>(loop);
      found->second.waiting.push_back(waiter);
    }
    co_await waiter->event.wait();
  }
}

void TreeOnce::settle(const std::string& id, std::optional<Outcome> outcome) {
  std::vector<std::shared_ptr<LoopWaiter>> waiting;
  {
    std::lock_guard lock(gate_);
    auto found = entries_.find(id);
    if (found == entries_.end()) return;
    waiting = std::move(found->second.waiting);
    if (!outcome) {
      entries_.erase(found);
    } else {
      found->second.settled = true;
      found->second.outcome = std::move(*outcome);
      settled_.push_back(id);
      if (settled_.size() > kTreeRequestsRememberedMax) {
        entries_.erase(settled_.front());
        settled_.pop_front();
      }
    }
  }
  for (auto& waiter : waiting) LoopWaiter::wake(std::move(waiter));
}

Task<TreeNames::Hold> TreeNames::hold(Loop& loop, std::vector<std::string> names) {
  std::ranges::sort(names);
  const auto repeated = std::ranges::unique(names);
  names.erase(repeated.begin(), repeated.end());
  for (const std::string& name : names) {
    while (true) {
      std::shared_ptr<LoopWaiter> waiter;
      {
        std::lock_guard lock(gate_);
        auto [found, fresh] = held_.try_emplace(name);
        if (fresh) break;
        waiter = std::make_shared<LoopWaiter>(loop);
        found->second.push_back(waiter);
      }
      co_await waiter->event.wait();
    }
  }
  co_return Hold(*this, std::move(names));
}

void TreeNames::release(const std::vector<std::string>& names) {
  std::vector<std::shared_ptr<LoopWaiter>> waiting;
  {
    std::lock_guard lock(gate_);
    for (const std::string& name : names) {
      auto found = held_.find(name);
      for (auto& waiter : found->second) waiting.push_back(std::move(waiter));
      held_.erase(found);
    }
  }
  for (auto& waiter : waiting) LoopWaiter::wake(std::move(waiter));
}

}  // namespace canopy::wire
