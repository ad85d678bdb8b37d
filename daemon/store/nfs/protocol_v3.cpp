#include "daemon/store/nfs/protocol_v3.h"

#include "daemon/store/nfs/v3_types.h"

namespace canopy::nfs {

using namespace v3;

Task<Reply<ServerLimits>> ProtocolV3::limits(RpcConnection& on, FileHandle root) {
  FSINFO3args arguments{.fsroot = handle_of(root)};
  auto take = [](const FSINFO3res& answer) {
    const FSINFO3resok& ok = answer.FSINFO3res_u.resok;
    return ServerLimits{.read_bytes = ok.rtmax, .write_bytes = ok.wtmax, .file_bytes = ok.maxfilesize};
  };
  co_return co_await ask<FSINFO3res, ServerLimits>(on, rpc_nfs3_fsinfo_async, arguments, take);
}

Task<Reply<StoreSpace>> ProtocolV3::space(RpcConnection& on, FileHandle root) {
  FSSTAT3args arguments{.fsroot = handle_of(root)};
  auto take = [](const FSSTAT3res& answer) {
    const FSSTAT3resok& ok = answer.FSSTAT3res_u.resok;
    return StoreSpace{
        .bytes_total = ok.tbytes, .bytes_free = ok.abytes, .files_total = ok.tfiles, .files_free = ok.afiles};
  };
  co_return co_await ask<FSSTAT3res, StoreSpace>(on, rpc_nfs3_fsstat_async, arguments, take);
}

Task<Reply<Found>> ProtocolV3::lookup(RpcConnection& on, FileHandle directory, std::string name) {
  LOOKUP3args arguments{.what = name_in(directory, name)};
  auto take = [](const LOOKUP3res& answer) {
    const LOOKUP3resok& ok = answer.LOOKUP3res_u.resok;
    return Found{.handle = handle_from(ok.object), .attributes = attributes_from(ok.obj_attributes)};
  };
  co_return co_await ask<LOOKUP3res, Found>(on, rpc_nfs3_lookup_async, arguments, take);
}

Task<Reply<Attributes>> ProtocolV3::attributes(RpcConnection& on, FileHandle file) {
  GETATTR3args arguments{.object = handle_of(file)};
  auto take = [](const GETATTR3res& answer) {
    return attributes_from(answer.GETATTR3res_u.resok.obj_attributes);
  };
  co_return co_await ask<GETATTR3res, Attributes>(on, rpc_nfs3_getattr_async, arguments, take);
}

Task<Reply<void>> ProtocolV3::set_attributes(RpcConnection& on, FileHandle file, SetAttributes change) {
  SETATTR3args arguments{.object = handle_of(file), .new_attributes = changes_of(change), .guard = {}};
  auto take = [](const SETATTR3res&) { return Reply<void>(); };
  co_return co_await ask<SETATTR3res, void>(on, rpc_nfs3_setattr_async, arguments, take);
}

Task<Reply<ReadAnswer>> ProtocolV3::read(RpcConnection& on, FileHandle file, uint64_t offset,
                                         std::span<char> into) {
  READ3args arguments{.file = handle_of(file), .offset = offset, .count = static_cast<count3>(into.size())};
  auto take = [into](const READ3res& answer) -> Reply<ReadAnswer> {
    const READ3resok& ok = answer.READ3res_u.resok;
    if (ok.data.data_len > into.size()) return fault(kServerFault);
    std::memcpy(into.data(), ok.data.data_val, ok.data.data_len);
    return ReadAnswer{
        .count = ok.data.data_len, .end = ok.eof != 0, .attributes = attributes_from(ok.file_attributes)};
  };
  co_return co_await ask<READ3res, ReadAnswer>(on, rpc_nfs3_read_async, arguments, take);
}

Task<Reply<WriteAnswer>> ProtocolV3::write(RpcConnection& on, FileHandle file, uint64_t offset,
                                           std::string_view bytes, Stability stability) {
  WRITE3args arguments{};
  arguments.file = handle_of(file);
  arguments.offset = offset;
  arguments.count = static_cast<count3>(bytes.size());
  arguments.stable = static_cast<stable_how>(stability);
  arguments.data.data_len = static_cast<u_int>(bytes.size());
  arguments.data.data_val = const_cast<char*>(bytes.data());
  auto take = [](const WRITE3res& answer) {
    const WRITE3resok& ok = answer.WRITE3res_u.resok;
    WriteAnswer out;
    out.count = ok.count;
    out.committed = static_cast<Stability>(ok.committed);
    std::memcpy(out.verifier.data(), ok.verf, out.verifier.size());
    out.after = attributes_from(ok.file_wcc.after);
    return out;
  };
  co_return co_await ask<WRITE3res, WriteAnswer>(on, rpc_nfs3_write_async, arguments, take);
}

Task<Reply<CommitAnswer>> ProtocolV3::commit(RpcConnection& on, FileHandle file) {
  COMMIT3args arguments{.file = handle_of(file), .offset = 0, .count = 0};
  auto take = [](const COMMIT3res& answer) {
    const COMMIT3resok& ok = answer.COMMIT3res_u.resok;
    CommitAnswer out;
    std::memcpy(out.verifier.data(), ok.verf, out.verifier.size());
    out.after = attributes_from(ok.file_wcc.after);
    return out;
  };
  co_return co_await ask<COMMIT3res, CommitAnswer>(on, rpc_nfs3_commit_async, arguments, take);
}

}  // namespace canopy::nfs
