// Mail messages of the sizes that people send: log-uniform between two bounds, the same in every run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"

namespace canopy::bench {

struct SizeRange {
  uint32_t least = 2048, most = 76800;  // bytes of a message
  // "2048-76800" or "4096".
  static Result<SizeRange> parse(std::string_view text);
};

struct Mail {
  std::vector<std::string> messages;  // RFC 5322, lines end in CRLF, no line begins with a dot
  static Mail generate(SizeRange sizes, uint32_t count = 256, uint64_t seed = 1);
};

// A small generator of random numbers: the same sequence from the same seed everywhere (splitmix64).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(next() % bound); }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // [0, 1)

 private:
  uint64_t state_;
};

}  // namespace canopy::bench
