// What Stores.Check finds in one account, and Directory.SetState when it takes one back into use: settings,
// info, slices, checkpoints and the catalog's rows of it. Methods may be called on any loop of the node.
#pragma once

#include "daemon/wire/canopy.pb.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

// Adds to `out` what is damaged. With `repair`, what can be mended is; but the slices of a suspended account
// are in other hands. Ends on the account's loop. An error means that the check did not come to its end.
Task<Result<void>> check_account(Node& node, AccountAddress address, bool repair, v1::CheckResponse& out);

// Settings that cannot be used, as damage.
void add_broken(v1::CheckResponse& out, const Error& error);
void add_unchecked(v1::CheckResponse& out, const AccountAddress& address, const Error& error);

}  // namespace canopy::wire
