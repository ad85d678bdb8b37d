#include "daemon/store/nfs/protocol_v4.h"

#include <cstring>

#include "daemon/store/nfs/v4_types.h"

namespace canopy::nfs {

using v4::Compound;
using v4::Encoded;
using v4::Wanted;

namespace {

// A call without room for data takes 4 KiB in libnfs 4.0.0, what a WRITE carries included.
constexpr uint32_t kWriteBytesMax = 3584;
constexpr stateid4 kAnonymous{};

Reply<v4::Decoded> decoded_in(const COMPOUND4res& answer) {
  const auto found = v4::find(answer, OP_GETATTR);
  if (!found) return fault(kServerFault);
  auto decoded = v4::decode(found->nfs_resop4_u.opgetattr.GETATTR4res_u.resok4.obj_attributes);
  if (!decoded) return fault(kServerFault);
  return *decoded;
}

}  // namespace

Task<Reply<ServerLimits>> ProtocolV4::limits(RpcConnection& on, FileHandle root) {
  Compound compound;
  compound.at(root).attributes(Wanted::kLimits);
  auto take = [](const COMPOUND4res& answer) -> Reply<ServerLimits> {
    auto decoded = decoded_in(answer);
    if (!decoded) return fault(decoded.error().status);
    ServerLimits limits = decoded->limits;
    limits.write_bytes =
        limits.write_bytes == 0 ? kWriteBytesMax : std::min(limits.write_bytes, kWriteBytesMax);
    return limits;
  };
  co_return co_await v4::ask<ServerLimits>(on, compound, take);
}

Task<Reply<StoreSpace>> ProtocolV4::space(RpcConnection& on, FileHandle root) {
  Compound compound;
  compound.at(root).attributes(Wanted::kSpace);
  auto take = [](const COMPOUND4res& answer) -> Reply<StoreSpace> {
    auto decoded = decoded_in(answer);
    if (!decoded) return fault(decoded.error().status);
    return decoded->space;
  };
  co_return co_await v4::ask<StoreSpace>(on, compound, take);
}

Task<Reply<Found>> ProtocolV4::lookup(RpcConnection& on, FileHandle directory, std::string name) {
  Compound compound;
  compound.at(directory).lookup(name).plain(OP_GETFH).attributes();
  auto take = [](const COMPOUND4res& answer) -> Reply<Found> {
    auto handle = v4::handle_in(answer);
    if (!handle) return fault(kServerFault);
    return Found{.handle = *handle, .attributes = v4::attributes_in(answer)};
  };
  co_return co_await v4::ask<Found>(on, compound, take);
}

Task<Reply<Attributes>> ProtocolV4::attributes(RpcConnection& on, FileHandle file) {
  Compound compound;
  compound.at(file).attributes();
  auto take = [](const COMPOUND4res& answer) -> Reply<Attributes> {
    auto decoded = decoded_in(answer);
    if (!decoded) return fault(decoded.error().status);
    return decoded->attributes;
  };
  co_return co_await v4::ask<Attributes>(on, compound, take);
}

Task<Reply<void>> ProtocolV4::set_attributes(RpcConnection& on, FileHandle file, SetAttributes change) {
  Encoded encoded(change);
  Compound compound;
  compound.at(file);
  SETATTR4args& arguments = compound.add(OP_SETATTR).nfs_argop4_u.opsetattr;
  arguments.stateid = kAnonymous;
  arguments.obj_attributes = encoded.get();
  co_return co_await v4::ask<void>(on, compound, [](const COMPOUND4res&) { return Reply<void>(); });
}

Task<Reply<ReadAnswer>> ProtocolV4::read(RpcConnection& on, FileHandle file, uint64_t offset,
                                         std::span<char> into) {
  Compound compound;
  compound.at(file);
  compound.add(OP_READ).nfs_argop4_u.opread =
      READ4args{.stateid = kAnonymous, .offset = offset, .count = static_cast<count4>(into.size())};
  compound.attributes();
  auto take = [into](const COMPOUND4res& answer) -> Reply<ReadAnswer> {
    const auto found = v4::find(answer, OP_READ);
    if (!found) return fault(kServerFault);
    const READ4resok& ok = found->nfs_resop4_u.opread.READ4res_u.resok4;
    if (ok.data.data_len > into.size()) return fault(kServerFault);
    std::memcpy(into.data(), ok.data.data_val, ok.data.data_len);
    return ReadAnswer{.count = ok.data.data_len, .end = ok.eof != 0, .attributes = v4::attributes_in(answer)};
  };
  co_return co_await v4::ask<ReadAnswer>(on, compound, take);
}

Task<Reply<WriteAnswer>> ProtocolV4::write(RpcConnection& on, FileHandle file, uint64_t offset,
                                           std::string_view bytes, Stability stability) {
  Compound compound;
  compound.at(file);
  WRITE4args& arguments = compound.add(OP_WRITE).nfs_argop4_u.opwrite;
  arguments.stateid = kAnonymous;
  arguments.offset = offset;
  arguments.stable = static_cast<stable_how4>(stability);
  arguments.data.data_len = static_cast<u_int>(bytes.size());
  arguments.data.data_val = const_cast<char*>(bytes.data());
  compound.attributes();
  auto take = [](const COMPOUND4res& answer) -> Reply<WriteAnswer> {
    const auto found = v4::find(answer, OP_WRITE);
    if (!found) return fault(kServerFault);
    const WRITE4resok& ok = found->nfs_resop4_u.opwrite.WRITE4res_u.resok4;
    WriteAnswer out;
    out.count = ok.count;
    out.committed = static_cast<Stability>(ok.committed);
    std::memcpy(out.verifier.data(), ok.writeverf, out.verifier.size());
    out.after = v4::attributes_in(answer);
    return out;
  };
  co_return co_await v4::ask<WriteAnswer>(on, compound, take);
}

Task<Reply<CommitAnswer>> ProtocolV4::commit(RpcConnection& on, FileHandle file) {
  Compound compound;
  compound.at(file);
  compound.add(OP_COMMIT).nfs_argop4_u.opcommit = COMMIT4args{.offset = 0, .count = 0};
  compound.attributes();
  auto take = [](const COMPOUND4res& answer) -> Reply<CommitAnswer> {
    const auto found = v4::find(answer, OP_COMMIT);
    if (!found) return fault(kServerFault);
    CommitAnswer out;
    std::memcpy(out.verifier.data(), found->nfs_resop4_u.opcommit.COMMIT4res_u.resok4.writeverf,
                out.verifier.size());
    out.after = v4::attributes_in(answer);
    return out;
  };
  co_return co_await v4::ask<CommitAnswer>(on, compound, take);
}

}  // namespace canopy::nfs
