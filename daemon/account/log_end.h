// Where an account's log ended when the account was suspended, kept in its settings. A log that ends earlier
// when it is resumed was put back from an older copy. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/log/account_log.h"

namespace canopy {

inline constexpr std::string_view kLogEndKey = "LogEnd";

struct LogEnd {
  uint64_t epoch = 0;
  uint32_t number = 0;
  uint64_t length = 0;  // valid bytes of that slice
  auto operator<=>(const LogEnd&) const = default;

  // Of the newest slice; all 0 when there is none.
  static LogEnd of(const std::vector<SliceInfo>& slices);
  // "FILE LENGTH"; nullopt for what was not written by to_text().
  std::string to_text() const;
  static std::optional<LogEnd> parse(std::string_view text);
};

}  // namespace canopy
