// Which addresses the backend took a moment ago. It spares the round trip before the one that delivers, and
// decides nothing: in LMTP each recipient gets its verdict after the content, from the delivery itself. One a
// loop.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "daemon/runtime/loop.h"

namespace canopy::lmtp {

class RecipientCache {
 public:
  static constexpr Nanos kLifetime = 10 * kSecond;
  static constexpr size_t kEntriesMax = 8192;

  bool contains(const std::string& address, Nanos now) const {
    auto at = entries_.find(address);
    return at != entries_.end() && at->second > now;
  }
  void insert(const std::string& address, Nanos now) {
    // Cheaper than an order of use: everything ages out in seconds anyway.
    if (entries_.size() >= kEntriesMax) entries_.clear();
    entries_[address] = now + kLifetime;
  }
  void erase(const std::string& address) { entries_.erase(address); }

 private:
  std::unordered_map<std::string, Nanos> entries_;
};

}  // namespace canopy::lmtp
