#include "daemon/store/nfs/server_health.h"

#include <bit>

#include "daemon/store/nfs/nfs_limits.h"

namespace canopy {

std::string_view server_state_name(ServerState state) {
  switch (state) {
    case ServerState::kUp: return "up";
    case ServerState::kSlow: return "slow";
    case ServerState::kDown: return "down";
  }
  return "?";
}

void LatencyHistogram::add(Nanos latency) {
  const auto micros = static_cast<uint64_t>(std::max<Nanos>(0, latency) / kMicrosecond);
  ++buckets[std::min<size_t>(static_cast<size_t>(std::bit_width(micros)), buckets.size() - 1)];
}

uint64_t LatencyHistogram::count() const {
  uint64_t sum = 0;
  for (uint64_t bucket : buckets) sum += bucket;
  return sum;
}

Nanos LatencyHistogram::at_most(double share) const {
  const auto wanted = share * static_cast<double>(count());
  uint64_t sum = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    sum += buckets[i];
    if (sum > 0 && static_cast<double>(sum) >= wanted) return (Nanos{1} << i) * kMicrosecond;
  }
  return 0;
}

namespace nfs {

void ServerHealth::answered(Nanos now, Nanos latency) {
  latency_.add(latency);
  trouble_since_ = kNever;
  if (latency >= kSlowAfter) late_until_ = now + kSlowAfter;
}

void ServerHealth::failed(Nanos now, std::string why) {
  if (trouble_since_ == kNever) trouble_since_ = now;
  last_problem_ = std::move(why);
}

bool ServerHealth::update(Nanos now, Nanos oldest_sent_at) {
  ServerState next = ServerState::kUp;
  if (trouble_since_ != kNever) {
    next = now - trouble_since_ >= hard_limit_ ? ServerState::kDown : ServerState::kSlow;
  } else if (now < late_until_ || (oldest_sent_at != kNever && now - oldest_sent_at >= kSlowAfter)) {
    next = ServerState::kSlow;
  }
  if (next == state_) return false;
  state_ = next;
  since_ = now;
  return true;
}

}  // namespace nfs
}  // namespace canopy
