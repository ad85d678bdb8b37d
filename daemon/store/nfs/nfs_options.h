// Where an NFS store is and how patiently it is used.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/runtime/loop.h"

namespace canopy {

class WorkerPool;

struct NfsOptions {
  std::string name = "nfs";  // as the mount table calls it
  std::string host;          // a name or an address
  std::string export_path;   // "/export", as the server's exports say
  uint32_t version = 3;      // 3 or 4
  // 0: NFSv3 asks the server's rpcbind; NFSv4 uses 2049 and needs no mount port.
  uint16_t nfs_port = 0, mount_port = 0;
  uint32_t uid = 0, gid = 0;  // AUTH_SYS credentials of every call
  uint32_t connections = 2;

  // A connection on which nothing came for this long although calls wait is given up; a call that may be
  // repeated is sent again on another.
  Nanos soft_limit = 5 * kSecond;
  // An operation fails with kStoreUnavailable after this long, whatever happened, and a second more for each
  // MiB that it carries.
  Nanos hard_limit = 20 * kSecond;
  Nanos connect_limit = 2 * kSecond;
  // How long a name that was looked up is believed without asking again. What this store itself changes it
  // knows at once; what other machines rename it may see this much later.
  Nanos names_trusted = 30 * kSecond;
  size_t names_max = 65'536;
  // Files with writes that no sync() has covered; of more that are open all at once, all writes are durable.
  size_t unsynced_max = 16'384;
  // For looking up `host`, which may wait for a name server; null: on the loop. It must outlive the store.
  WorkerPool* workers = nullptr;
};

// nfs://HOST/EXPORT?version=3&nfsport=2049&mountport=20048&uid=0&gid=0&connections=2, IPv6 addresses in [ ],
// %XX in EXPORT. What is absent has its default; uid and gid: this process's. kInvalidArgument names the
// part.
Result<NfsOptions> parse_nfs_address(std::string_view address);

}  // namespace canopy
