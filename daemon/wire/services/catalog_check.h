// What Stores.Check says of the catalog: rows that were not the tree's, which are dropped by looking
// (docs/formats/catalog.md).
#pragma once

#include "daemon/wire/canopy.pb.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

// The list of a domain's accounts. Ends on any loop of the node.
Task<Result<void>> check_catalog_names(Node& node, std::string domain, v1::CheckResponse& out);
// The summaries of an open account; on its loop.
Task<Result<void>> check_catalog_summaries(Node& node, Shard& shard, std::shared_ptr<Account> account,
                                           v1::CheckResponse& out);

}  // namespace canopy::wire
