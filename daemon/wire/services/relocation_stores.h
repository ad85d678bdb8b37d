// The stores that a relocation reads from and writes to, and how much they have to do.
#pragma once

#include <span>

#include "daemon/wire/services/node.h"

namespace canopy::wire {

// Fills in `stores` of those that have something to move. Begins and ends on the caller's loop.
Task<void> put_stores(Node& node, std::span<v1::RelocationInfo* const> relocations);

}  // namespace canopy::wire
