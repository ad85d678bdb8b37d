// What a socket of this machine gives without any protocol: a ping-pong against a thread that answers.
#pragma once

#include "daemon/base/error.h"
#include "tools/canopy-bench/latencies.h"

namespace canopy::bench {

struct PingSizes {
  uint32_t request = 0, answer = 0;  // bytes
};

struct RawPing {
  Latencies round_trips;  // of `depth` requests each
  double requests_per_s = 0;
};

// `depth` requests are written at once and their answers read, over and over; blocking sockets, one thread at
// each end.
Result<RawPing> raw_ping(bool tcp, PingSizes sizes, uint32_t depth, double seconds);

}  // namespace canopy::bench
