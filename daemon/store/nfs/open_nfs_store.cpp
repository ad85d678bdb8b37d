#include "daemon/store/nfs/libnfs.h"
#include "daemon/store/nfs/mount.h"
#include "daemon/store/nfs/nfs_store.h"
#include "daemon/store/nfs/protocol_v3.h"
#include "daemon/store/nfs/protocol_v4.h"
#include "daemon/store/nfs/short_call.h"

namespace canopy {

using namespace nfs;

Task<Result<std::unique_ptr<Store>>> open_nfs_store(Loop& loop, NfsOptions options) {
  const Nanos deadline = loop.now() + options.hard_limit;
  CANOPY_CO_ASSIGN(const std::string address, co_await resolve_host(loop, options));
  CANOPY_CO_ASSIGN(const Mounted mounted, co_await nfs::mount(loop, options, address, deadline));
  const bool v4 = options.version == 4;
  RpcEndpoint endpoint =
      endpoint_of(options, address, mounted.nfs_port, v4 ? NFS4_PROGRAM : NFS_PROGRAM, v4 ? NFS_V4 : NFS_V3);
  std::unique_ptr<Protocol> protocol;
  if (v4) {
    protocol = std::make_unique<ProtocolV4>(fmt::format("{:016x}.canopy.{}", loop.random(), options.name));
  } else {
    protocol = std::make_unique<ProtocolV3>();
  }
  auto client = std::make_unique<Client>(loop, std::move(options), std::move(endpoint), std::move(protocol),
                                         mounted.root);
  CANOPY_CO_TRY(co_await client->start());
  co_return std::make_unique<NfsStore>(std::move(client));
}

}  // namespace canopy
