// Getting an export's root handle: over NFSv3 by rpcbind (where ports are not given) and MOUNT, over NFSv4 by
// looking it up.
#pragma once

#include "daemon/store/nfs/nfs_options.h"
#include "daemon/store/nfs/protocol.h"

namespace canopy::nfs {

struct Mounted {
  FileHandle root;
  uint16_t nfs_port = 0;
};

// `address`: the host's, numeric. Tries again until the deadline when the server does not answer;
// kPermissionDenied and kNotFound are the server's own refusals.
Task<Result<Mounted>> mount(Loop& loop, const NfsOptions& options, std::string address, Nanos deadline);

// The host as an address in numbers.
Task<Result<std::string>> resolve_host(Loop& loop, const NfsOptions& options);

}  // namespace canopy::nfs
