// RelocationSettings: how the accounts of a domain are to be moved, as the domain's settings keep it under
// `Relocation` (docs/formats/tree.md). Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/base/error.h"
#include "daemon/dict/value.h"

namespace canopy {

// A part of each day, in UTC; it may go over midnight.
struct DayWindow {
  uint32_t from_minute = 0, until_minute = 0;  // of the day, below 1440; never equal

  // "01:00-05:00". kInvalidArgument.
  static Result<DayWindow> parse(std::string_view text);
  std::string to_string() const;
  bool contains(int64_t unix_seconds) const;
};

struct RelocationSettings {
  static constexpr uint32_t kConcurrencyDefault = 4, kConcurrencyMax = 256, kRateMax = 1'000'000;

  bool paused = false;
  uint32_t rate = 0;                           // accounts a second at most; 0: as fast as the stores let it
  uint32_t concurrency = kConcurrencyDefault;  // accounts at once on each loop
  std::optional<DayWindow> window;             // none: at any time

  // kInvalidArgument names a key and its rule.
  static Result<RelocationSettings> parse(const dict::Dict& settings);
  dict::Dict to_dict() const;
};

}  // namespace canopy
