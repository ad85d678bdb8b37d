#include "daemon/store/nfs/mount.h"

#include <netdb.h>
#include <netinet/in.h>

#include "daemon/runtime/sync.h"
#include "daemon/runtime/workers.h"
#include "daemon/store/nfs/libnfs.h"
#include "daemon/store/nfs/short_call.h"
#include "daemon/store/nfs/v4_types.h"

namespace canopy::nfs {
namespace {

constexpr uint16_t kRpcbindPort = 111;
constexpr uint16_t kNfsPort = 2049;  // NFSv4 has it always

Task<Result<uint16_t>> port_of(Loop& loop, const NfsOptions& options, std::string address, int program,
                               int version, std::string_view what) {
  uint32_t port = 0;
  CANOPY_CO_TRY(co_await call_once<uint32_t>(
      loop, endpoint_of(options, address, kRpcbindPort, PMAP_PROGRAM, PMAP_V2),
      [&](rpc_context* context, rpc_cb callback, void* data) {
        return rpc_pmap2_getport_async(context, program, version, IPPROTO_TCP, callback, data);
      },
      [&](const uint32_t& answer) { port = answer; }));
  if (port == 0 || port > UINT16_MAX)
    co_return fail(Code::kStoreUnavailable, options.host,
                   fmt::format("its rpcbind knows no {} of version {} over TCP", what, version));
  co_return static_cast<uint16_t>(port);
}

Result<FileHandle> root_of(const mountres3& answer, const NfsOptions& options) {
  if (answer.fhs_status == MNT3_OK) {
    const auto& handle = answer.mountres3_u.mountinfo.fhandle;
    return FileHandle(
        std::string_view(handle.fhandle3_val, std::min<size_t>(handle.fhandle3_len, NFS3_FHSIZE)));
  }
  const std::string object = options.host + ":" + options.export_path;
  switch (answer.fhs_status) {
    case MNT3ERR_NOENT: return fail(Code::kNotFound, object, "the server has no such export");
    case MNT3ERR_PERM:
    case MNT3ERR_ACCES:
      return fail(Code::kPermissionDenied, object,
                  "the server does not let this host mount it, or has no such export");
    default:
      return fail(Code::kIo, object, fmt::format("MOUNT: status {}", static_cast<int>(answer.fhs_status)));
  }
}

Task<Result<Mounted>> try_mount_v3(Loop& loop, const NfsOptions& options, std::string address) {
  uint16_t mount_port = options.mount_port;
  Mounted mounted{.root = {}, .nfs_port = options.nfs_port};
  if (mount_port == 0) {
    CANOPY_CO_ASSIGN(mount_port, co_await port_of(loop, options, address, MOUNT_PROGRAM, MOUNT_V3, "MOUNT"));
  }
  if (mounted.nfs_port == 0) {
    CANOPY_CO_ASSIGN(mounted.nfs_port, co_await port_of(loop, options, address, NFS_PROGRAM, NFS_V3, "NFS"));
  }
  std::string path = options.export_path;
  Result<FileHandle> root;
  CANOPY_CO_TRY(co_await call_once<mountres3>(
      loop, endpoint_of(options, address, mount_port, MOUNT_PROGRAM, MOUNT_V3),
      [&](rpc_context* context, rpc_cb callback, void* data) {
        return rpc_mount3_mnt_async(context, callback, path.data(), data);
      },
      [&](const mountres3& answer) { root = root_of(answer, options); }));
  if (!root) co_return fail(root.error());
  mounted.root = *root;
  co_return mounted;
}

// NFSv4 has no MOUNT: the export is looked up from the server's root, name by name.
Task<Result<Mounted>> try_mount_v4(Loop& loop, const NfsOptions& options, std::string address) {
  std::vector<std::string> names;
  for (std::string_view rest = options.export_path; !rest.empty();) {
    rest.remove_prefix(1);
    const size_t end = std::min(rest.find('/'), rest.size());
    if (end > 0) names.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end);
  }
  v4::Compound compound;
  compound.plain(OP_PUTROOTFH);
  for (const std::string& name : names) compound.lookup(name);
  compound.plain(OP_GETFH);
  COMPOUND4args arguments = compound.arguments();
  Mounted mounted{.root = {}, .nfs_port = options.nfs_port != 0 ? options.nfs_port : kNfsPort};
  int status = NFS4_OK;
  std::optional<FileHandle> root;
  CANOPY_CO_TRY(co_await call_once<COMPOUND4res>(
      loop, endpoint_of(options, address, mounted.nfs_port, NFS4_PROGRAM, NFS_V4),
      [&](rpc_context* context, rpc_cb callback, void* data) {
        return rpc_nfs4_compound_async(context, callback, &arguments, data);
      },
      [&](const COMPOUND4res& answer) {
        status = answer.status;
        if (status == NFS4_OK) root = v4::handle_in(answer);
      }));
  const std::string object = options.host + ":" + options.export_path;
  if (status != NFS4_OK) co_return fail_status(status, object, "mounting");
  if (!root) co_return fail(Code::kIo, object, "mounting: the server answered no handle");
  mounted.root = *root;
  co_return mounted;
}

Result<std::string> look_up_host(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int problem = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (problem != 0)
    return fail(Code::kStoreUnavailable, host,
                fmt::format("the name of the server cannot be looked up: {}", gai_strerror(problem)));
  char numbers[NI_MAXHOST];
  const int unnamed =
      getnameinfo(found->ai_addr, found->ai_addrlen, numbers, sizeof numbers, nullptr, 0, NI_NUMERICHOST);
  freeaddrinfo(found);
  if (unnamed != 0) return fail(Code::kStoreUnavailable, host, "its address cannot be written in numbers");
  return std::string(numbers);
}

}  // namespace

RpcEndpoint endpoint_of(const NfsOptions& options, const std::string& address, uint16_t port, int program,
                        int version) {
  return RpcEndpoint{.address = address,
                     .port = port,
                     .program = program,
                     .version = version,
                     .uid = options.uid,
                     .gid = options.gid,
                     .connect_limit = options.connect_limit,
                     .soft_limit = options.soft_limit,
                     .hard_limit = options.hard_limit};
}

Task<Result<Mounted>> mount(Loop& loop, const NfsOptions& options, std::string address, Nanos deadline) {
  for (Nanos pause = kReconnectFirst;; pause = std::min(pause * 2, kReconnectMax)) {
    auto mounted = options.version == 4 ? co_await try_mount_v4(loop, options, address)
                                        : co_await try_mount_v3(loop, options, address);
    if (mounted || mounted.error().code() != Code::kStoreUnavailable || loop.now() + pause >= deadline)
      co_return mounted;
    co_await loop.sleep(pause);
  }
}

Task<Result<std::string>> resolve_host(Loop& loop, const NfsOptions& options) {
  if (options.workers == nullptr) co_return look_up_host(options.host);
  co_return co_await options.workers->run(loop, [&] { return look_up_host(options.host); });
}

}  // namespace canopy::nfs
