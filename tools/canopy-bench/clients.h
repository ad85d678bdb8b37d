// Several connections to one backend.
#pragma once

#include <memory>
#include <vector>

#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/client.h"

namespace canopy::bench {

using Clients = std::vector<std::unique_ptr<wire::Client>>;

// Not connected yet. The loop outlives them, and is run by the caller.
inline Clients make_clients(Loop& loop, const Address& to, uint32_t count) {
  wire::ClientOptions options;
  options.addresses = {to};
  options.name = "canopy-bench";
  Clients clients;
  clients.reserve(count);
  for (uint32_t i = 0; i < count; ++i) clients.push_back(std::make_unique<wire::Client>(loop, options));
  return clients;
}

inline void close_clients(UringLoop& loop, Clients& clients) {
  for (auto& client : clients) loop.run_until_done(client->close());
}

}  // namespace canopy::bench
