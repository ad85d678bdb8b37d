#include "daemon/store/nfs/libnfs.h"
#include "daemon/store/nfs/mount_v3.h"
#include "daemon/store/nfs/nfs_store.h"
#include "daemon/store/nfs/protocol_v3.h"

namespace canopy {

using namespace nfs;

Task<Result<std::unique_ptr<Store>>> open_nfs_store(Loop& loop, NfsOptions options) {
  if (options.version != 3)
    co_return fail(Code::kUnsupported, options.name, "this build speaks NFS version 3");
  const Nanos deadline = loop.now() + options.hard_limit;
  CANOPY_CO_ASSIGN(const std::string address, co_await resolve_host(loop, options));
  CANOPY_CO_ASSIGN(const Mounted mounted, co_await mount_v3(loop, options, address, deadline));
  RpcEndpoint endpoint{.address = address,
                       .port = mounted.nfs_port,
                       .program = NFS_PROGRAM,
                       .version = NFS_V3,
                       .uid = options.uid,
                       .gid = options.gid,
                       .connect_limit = options.connect_limit,
                       .soft_limit = options.soft_limit,
                       .hard_limit = options.hard_limit};
  auto client = std::make_unique<Client>(loop, std::move(options), std::move(endpoint),
                                         std::make_unique<ProtocolV3>(), mounted.root);
  CANOPY_CO_TRY(co_await client->start());
  co_return std::make_unique<NfsStore>(std::move(client));
}

}  // namespace canopy
