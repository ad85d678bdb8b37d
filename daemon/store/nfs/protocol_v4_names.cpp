#include <cstring>

#include "daemon/store/nfs/protocol_v4.h"
#include "daemon/store/nfs/v4_types.h"

namespace canopy::nfs {

using v4::Compound;
using v4::Encoded;
using v4::Wanted;

namespace {

constexpr auto kNothingTaken = [](const COMPOUND4res&) { return Reply<void>(); };

Reply<Made> made_in(const COMPOUND4res& answer) {
  return Made{.handle = v4::handle_in(answer), .attributes = v4::attributes_in(answer)};
}

}  // namespace

Task<Reply<Made>> ProtocolV4::make_directory(RpcConnection& on, FileHandle directory, std::string name,
                                             SetAttributes attributes) {
  Encoded encoded(attributes);
  Compound compound;
  compound.at(directory);
  CREATE4args& arguments = compound.add(OP_CREATE).nfs_argop4_u.opcreate;
  arguments.objtype.type = NF4DIR;
  arguments.objname = v4::text_of(name);
  arguments.createattrs = encoded.get();
  compound.plain(OP_GETFH).attributes();
  co_return co_await v4::ask<Made>(on, compound, made_in);
}

Task<Reply<Made>> ProtocolV4::make_symlink(RpcConnection& on, FileHandle directory, std::string name,
                                           std::string target) {
  Encoded encoded(SetAttributes{});
  Compound compound;
  compound.at(directory);
  CREATE4args& arguments = compound.add(OP_CREATE).nfs_argop4_u.opcreate;
  arguments.objtype.type = NF4LNK;
  arguments.objtype.createtype4_u.linkdata = v4::text_of(target);
  arguments.objname = v4::text_of(name);
  arguments.createattrs = encoded.get();
  compound.plain(OP_GETFH).attributes();
  co_return co_await v4::ask<Made>(on, compound, made_in);
}

Task<Reply<std::string>> ProtocolV4::read_symlink(RpcConnection& on, FileHandle link) {
  Compound compound;
  compound.at(link).plain(OP_READLINK);
  auto take = [](const COMPOUND4res& answer) -> Reply<std::string> {
    const auto found = v4::find(answer, OP_READLINK);
    if (!found) return fault(kServerFault);
    const linktext4& text = found->nfs_resop4_u.opreadlink.READLINK4res_u.resok4.link;
    return std::string(text.utf8string_val, text.utf8string_len);
  };
  co_return co_await v4::ask<std::string>(on, compound, take);
}

// REMOVE takes files and empty directories alike: the type is checked in the same compound.
Task<Reply<void>> ProtocolV4::remove_typed(RpcConnection& on, FileHandle directory, std::string name,
                                           bool is_directory) {
  Encoded type = Encoded::type_only(NF4DIR);
  Compound compound;
  compound.at(directory).lookup(name);
  if (is_directory) {
    compound.add(OP_VERIFY).nfs_argop4_u.opverify.obj_attributes = type.get();
  } else {
    compound.add(OP_NVERIFY).nfs_argop4_u.opnverify.obj_attributes = type.get();
  }
  compound.at(directory);
  compound.add(OP_REMOVE).nfs_argop4_u.opremove.target = v4::text_of(name);
  Reply<void> removed = co_await v4::ask<void>(on, compound, kNothingTaken);
  if (!removed && removed.error().status == NFS4ERR_SAME) co_return fault(kIsDirectory);
  if (!removed && removed.error().status == NFS4ERR_NOT_SAME) co_return fault(kNotDirectory);
  co_return removed;
}

Task<Reply<void>> ProtocolV4::remove(RpcConnection& on, FileHandle directory, std::string name) {
  return remove_typed(on, directory, std::move(name), false);
}

Task<Reply<void>> ProtocolV4::remove_directory(RpcConnection& on, FileHandle directory, std::string name) {
  return remove_typed(on, directory, std::move(name), true);
}

Task<Reply<void>> ProtocolV4::rename(RpcConnection& on, FileHandle from, std::string from_name, FileHandle to,
                                     std::string to_name) {
  Compound compound;
  compound.at(from).plain(OP_SAVEFH).at(to);
  RENAME4args& arguments = compound.add(OP_RENAME).nfs_argop4_u.oprename;
  arguments.oldname = v4::text_of(from_name);
  arguments.newname = v4::text_of(to_name);
  co_return co_await v4::ask<void>(on, compound, kNothingTaken);
}

Task<Reply<void>> ProtocolV4::link(RpcConnection& on, FileHandle file, FileHandle to, std::string to_name) {
  Compound compound;
  compound.at(file).plain(OP_SAVEFH).at(to);
  compound.add(OP_LINK).nfs_argop4_u.oplink.newname = v4::text_of(to_name);
  co_return co_await v4::ask<void>(on, compound, kNothingTaken);
}

Task<Reply<ListAnswer>> ProtocolV4::list(RpcConnection& on, FileHandle directory, uint64_t cookie,
                                         std::array<char, 8> cookie_verifier) {
  Compound compound;
  compound.at(directory);
  READDIR4args& arguments = compound.add(OP_READDIR).nfs_argop4_u.opreaddir;
  arguments.cookie = cookie;
  std::memcpy(arguments.cookieverf, cookie_verifier.data(), cookie_verifier.size());
  arguments.dircount = arguments.maxcount = kListingBytes;
  arguments.attr_request = v4::bits_of(Wanted::kListing);
  auto take = [](const COMPOUND4res& answer) -> Reply<ListAnswer> {
    const auto found = v4::find(answer, OP_READDIR);
    if (!found) return fault(kServerFault);
    const READDIR4resok& ok = found->nfs_resop4_u.opreaddir.READDIR4res_u.resok4;
    ListAnswer out;
    out.end = ok.reply.eof != 0;
    std::memcpy(out.cookie_verifier.data(), ok.cookieverf, out.cookie_verifier.size());
    for (const entry4* next = ok.reply.entries; next != nullptr;) {
      const auto entry = aligned<entry4>(next);
      next = entry.nextentry;
      ListAnswer::Entry& added = out.entries.emplace_back();
      added.name.assign(entry.name.utf8string_val, entry.name.utf8string_len);
      added.cookie = entry.cookie;
      const auto decoded = v4::decode(entry.attrs);
      if (!decoded || decoded->has_error) continue;
      added.file_id = decoded->attributes.file_id;
      added.attributes = decoded->attributes;
      added.handle = decoded->handle;
    }
    return out;
  };
  co_return co_await v4::ask<ListAnswer>(on, compound, take);
}

}  // namespace canopy::nfs
