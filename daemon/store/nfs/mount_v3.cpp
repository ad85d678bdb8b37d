#include "daemon/store/nfs/mount_v3.h"

#include <netdb.h>
#include <netinet/in.h>

#include "daemon/runtime/sync.h"
#include "daemon/runtime/workers.h"
#include "daemon/store/nfs/libnfs.h"

namespace canopy::nfs {
namespace {

constexpr uint16_t kRpcbindPort = 111;

// A connection that is used for one call.
struct Short : RpcConnection::Owner {
  explicit Short(Loop& loop) : ended(loop) {}
  void connected(RpcConnection&) override { ended.set(); }
  void broken(RpcConnection&, std::string why) override {
    problem = std::move(why);
    is_broken = true;
    ended.set();
  }
  void answered(Nanos) override {}

  Event ended;
  bool is_broken = false;
  std::string problem;
};

// Connects and makes one call; the problem as an error when there is no answer.
template <class Answer, class Queue, class Take>
Task<Result<void>> call_once(Loop& loop, RpcEndpoint endpoint, Queue queue, Take take) {
  Short owner(loop);
  RpcConnection connection(loop, endpoint, owner);
  connection.start();
  co_await owner.ended.wait();
  if (!owner.is_broken) {
    const Outcome outcome = co_await connection.call<Answer>(queue, take);
    if (outcome == Outcome::kAnswered) co_return Result<void>();
  }
  co_return fail(
      Code::kStoreUnavailable, endpoint.address,
      fmt::format("port {}: {}", endpoint.port, owner.problem.empty() ? "no answer" : owner.problem));
}

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

Task<Result<Mounted>> try_mount(Loop& loop, const NfsOptions& options, std::string address) {
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

Task<Result<Mounted>> mount_v3(Loop& loop, const NfsOptions& options, std::string address, Nanos deadline) {
  for (Nanos pause = kReconnectFirst;; pause = std::min(pause * 2, kReconnectMax)) {
    auto mounted = co_await try_mount(loop, options, address);
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
