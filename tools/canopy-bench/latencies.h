// Durations of many operations, for percentiles within 1 %. Fixed memory (about 24 KiB), whatever the count.
#pragma once

#include <array>
#include <cstdint>

#include "tools/canopy-bench/report.h"

namespace canopy::bench {

class Latencies {
 public:
  void add(int64_t nanoseconds);
  void merge(const Latencies& other);
  uint64_t count() const { return count_; }
  // In microseconds: the value that `fraction` of the durations do not exceed; 0 when there are none.
  double percentile_us(double fraction) const;
  // Adds "p50_us", "p95_us" and "p99_us" to the row.
  void put(Json& row) const;

 private:
  // Powers of two of nanoseconds, each in 64 steps.
  static constexpr uint32_t kStepBits = 6;
  static constexpr uint32_t kBuckets = (48 - kStepBits) << kStepBits;
  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
};

}  // namespace canopy::bench
