#include "tools/canopy-bench/latencies.h"

namespace canopy::bench {

void Latencies::add(int64_t nanoseconds) {
  uint64_t value = nanoseconds > 0 ? static_cast<uint64_t>(nanoseconds) : 1;
  uint32_t shift = std::bit_width(value) > kStepBits + 1 ? std::bit_width(value) - (kStepBits + 1) : 0;
  uint64_t bucket = (static_cast<uint64_t>(shift) << kStepBits) + (value >> shift);
  ++buckets_[std::min<uint64_t>(bucket, kBuckets - 1)];
  ++count_;
}

void Latencies::merge(const Latencies& other) {
  for (uint32_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
}

double Latencies::percentile_us(double fraction) const {
  uint64_t wanted = static_cast<uint64_t>(fraction * static_cast<double>(count_));
  uint64_t seen = 0;
  for (uint32_t bucket = 0; bucket < kBuckets && count_ > 0; ++bucket) {
    seen += buckets_[bucket];
    if (seen <= wanted && seen < count_) continue;
    // The inverse of add(): values of 2^7 ns and more lie in [64, 128) << shift.
    uint32_t shift = bucket < (2u << kStepBits) ? 0 : (bucket >> kStepBits) - 1;
    uint64_t value = static_cast<uint64_t>(bucket - (shift << kStepBits)) << shift;
    return static_cast<double>(value) / 1000;
  }
  return 0;
}

void Latencies::put(Json& row) const {
  row["p50_us"] = rounded(percentile_us(0.50));
  row["p95_us"] = rounded(percentile_us(0.95));
  row["p99_us"] = rounded(percentile_us(0.99));
}

}  // namespace canopy::bench
