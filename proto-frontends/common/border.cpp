#include "proto-frontends/common/border.h"

namespace canopy::frontend {

ConnectionLimits::Place ConnectionLimits::enter(const IpAddress& address) {
  IpAddress client = address.client();
  std::lock_guard lock(mutex_);
  if (total_max_ != 0 && total_ >= total_max_) return {};
  if (!client.is_unspecified()) {
    uint32_t& count = clients_[client];
    if (per_address_max_ != 0 && count >= per_address_max_) return {};
    ++count;
  }
  ++total_;
  return Place(this, client);
}

void ConnectionLimits::leave(const IpAddress& client) {
  std::lock_guard lock(mutex_);
  --total_;
  auto at = clients_.find(client);
  if (at != clients_.end() && --at->second == 0) clients_.erase(at);
}

uint32_t ConnectionLimits::total() const {
  std::lock_guard lock(mutex_);
  return total_;
}

std::optional<Nanos> LoginDelays::take_turn(const IpAddress& address, Nanos now) {
  std::lock_guard lock(mutex_);
  auto at = entries_.find(address.client());
  if (at == entries_.end() || now - at->second.last > kForgotten) return 0;
  Entry& entry = at->second;
  Nanos longest = std::min(kLongest, kFirst << std::min<uint32_t>(entry.failures - 1, 10));
  // The wait counts from the failure: whoever stayed away meanwhile has served it.
  Nanos turn = std::max({now, entry.last + longest, entry.turn + longest});
  if (turn - now > kWaitMax) return std::nullopt;
  entry.turn = turn;
  return turn - now;
}

void LoginDelays::failed(const IpAddress& address, Nanos now) {
  if (address.is_unspecified()) return;
  std::lock_guard lock(mutex_);
  IpAddress client = address.client();
  if (!entries_.contains(client) && entries_.size() >= kAddressesMax) make_room(now);
  Entry& entry = entries_[client];
  if (now - entry.last > kForgotten) entry.failures = 0;
  entry.last = now;
  ++entry.failures;
}

void LoginDelays::succeeded(const IpAddress& address) {
  std::lock_guard lock(mutex_);
  entries_.erase(address.client());
}

size_t LoginDelays::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

void LoginDelays::make_room(Nanos now) {
  constexpr size_t kLookedAt = 16;
  auto oldest = entries_.begin();
  size_t looked_at = 0;
  for (auto at = entries_.begin(); at != entries_.end() && looked_at < kLookedAt; ++at, ++looked_at) {
    if (at->second.last < oldest->second.last) oldest = at;
    if (now - at->second.last > kForgotten) break;
  }
  entries_.erase(oldest);
}

}  // namespace canopy::frontend
