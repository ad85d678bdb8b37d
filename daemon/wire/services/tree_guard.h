// What may be changed in the raw tree from outside (docs/protocol/tree.md): files that Canopy keeps, and
// works on without asking, are not, except those of a suspended account.
#pragma once

#include <string>

#include "daemon/wire/services/node.h"

namespace canopy::wire {

// Only what lies in SharedDomains and Settings has a raw path. kInvalidArgument, kNoSpaceForName, kNotFound.
Result<void> check_raw_path(const std::string& path);

// Whether the thing at `path` may be made, written, removed or get other attributes. kBusy, with what to do
// first. Begins and ends on `loop`.
Task<Result<void>> may_change(Node& node, Loop& loop, std::string path);

// Whether the thing at `path` may get another name or place: besides, a directory that places accounts must
// be empty.
Task<Result<void>> may_move(Node& node, Loop& loop, std::string path);

// Whether what bears the first name may get the second one besides. kCrossStore, as between file systems: a
// name outside of the account would be a way around it for as long as the file is there, suspended or not.
Result<void> may_have_both_names(const std::string& name, const std::string& other);

// Whether the thing at `from` may become the one at `to`, where it leaves an account or comes into one: a
// file that has no other name, an empty directory. kCrossStore otherwise: mv(1) copies then. Whoever calls it
// holds both names.
Task<Result<void>> may_cross(Store& store, Attributes thing, std::string from, std::string to);

// Files of a resumed account that clients still have open under other names from before they were put there:
// writing to them is changing the account's from now on. On the account's loop.
Task<Result<void>> guard_open_files(Node& node, Shard& shard, AccountAddress address);

// True when what may_change() says can alter while the file is open.
bool depends_on_account(const std::string& path);

}  // namespace canopy::wire
