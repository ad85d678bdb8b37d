// Tickets: what an authenticated session shows with each request. A ticket says which account, until when,
// for which frontend and under which session generation of the account; a MAC under the cluster's key covers
// it, so that every backend accepts it and none keeps state. Pure; any thread.
//
// Layout: "T1", expiry u64 (Unix seconds), generation u32, account length u16, account, peer length u16,
// peer, MAC (BLAKE2b-256 keyed, 32 bytes). The peer is the name that the connection authenticated as.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/error.h"

namespace canopy {

inline constexpr size_t kTicketBytesMax = 1024;
inline constexpr size_t kTicketKeyBytes = 32;
inline constexpr int64_t kTicketSeconds = 24 * 3600;

struct Ticket {
  std::string account;  // "jsmith@company.com"
  std::string peer;
  int64_t expires = 0;  // Unix seconds
  uint32_t generation = 0;
};

std::string seal_ticket(const Ticket& ticket, std::string_view key);
// kUnauthenticated: not ours, altered or expired.
Result<Ticket> open_ticket(std::string_view bytes, std::string_view key, int64_t now_seconds);

}  // namespace canopy
