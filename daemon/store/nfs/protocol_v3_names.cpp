#include "daemon/store/nfs/protocol_v3.h"
#include "daemon/store/nfs/v3_types.h"

namespace canopy::nfs {

using namespace v3;

namespace {

constexpr auto kNothing = [](const auto&) { return Reply<void>(); };

}  // namespace

Task<Reply<Made>> ProtocolV3::create(RpcConnection& on, FileHandle directory, std::string name,
                                     SetAttributes attributes) {
  CREATE3args arguments{};
  arguments.where = name_in(directory, name);
  arguments.how.mode = GUARDED;
  arguments.how.createhow3_u.g_obj_attributes = changes_of(attributes);
  auto take = [](const CREATE3res& answer) {
    const CREATE3resok& ok = answer.CREATE3res_u.resok;
    return Made{.handle = handle_from(ok.obj), .attributes = attributes_from(ok.obj_attributes)};
  };
  co_return co_await ask<CREATE3res, Made>(on, rpc_nfs3_create_async, arguments, take);
}

Task<Reply<Made>> ProtocolV3::make_directory(RpcConnection& on, FileHandle directory, std::string name,
                                             SetAttributes attributes) {
  MKDIR3args arguments{.where = name_in(directory, name), .attributes = changes_of(attributes)};
  auto take = [](const MKDIR3res& answer) {
    const MKDIR3resok& ok = answer.MKDIR3res_u.resok;
    return Made{.handle = handle_from(ok.obj), .attributes = attributes_from(ok.obj_attributes)};
  };
  co_return co_await ask<MKDIR3res, Made>(on, rpc_nfs3_mkdir_async, arguments, take);
}

Task<Reply<Made>> ProtocolV3::make_symlink(RpcConnection& on, FileHandle directory, std::string name,
                                           std::string target) {
  SYMLINK3args arguments{};
  arguments.where = name_in(directory, name);
  arguments.symlink.symlink_attributes = changes_of({.mode = 0777});
  arguments.symlink.symlink_data = target.data();
  auto take = [](const SYMLINK3res& answer) {
    const SYMLINK3resok& ok = answer.SYMLINK3res_u.resok;
    return Made{.handle = handle_from(ok.obj), .attributes = attributes_from(ok.obj_attributes)};
  };
  co_return co_await ask<SYMLINK3res, Made>(on, rpc_nfs3_symlink_async, arguments, take);
}

Task<Reply<std::string>> ProtocolV3::read_symlink(RpcConnection& on, FileHandle link) {
  READLINK3args arguments{.symlink = handle_of(link)};
  auto take = [](const READLINK3res& answer) { return std::string(answer.READLINK3res_u.resok.data); };
  co_return co_await ask<READLINK3res, std::string>(on, rpc_nfs3_readlink_async, arguments, take);
}

Task<Reply<void>> ProtocolV3::remove(RpcConnection& on, FileHandle directory, std::string name) {
  REMOVE3args arguments{.object = name_in(directory, name)};
  co_return co_await ask<REMOVE3res, void>(on, rpc_nfs3_remove_async, arguments, kNothing);
}

Task<Reply<void>> ProtocolV3::remove_directory(RpcConnection& on, FileHandle directory, std::string name) {
  RMDIR3args arguments{.object = name_in(directory, name)};
  co_return co_await ask<RMDIR3res, void>(on, rpc_nfs3_rmdir_async, arguments, kNothing);
}

Task<Reply<void>> ProtocolV3::rename(RpcConnection& on, FileHandle from, std::string from_name, FileHandle to,
                                     std::string to_name) {
  RENAME3args arguments{.from = name_in(from, from_name), .to = name_in(to, to_name)};
  co_return co_await ask<RENAME3res, void>(on, rpc_nfs3_rename_async, arguments, kNothing);
}

Task<Reply<void>> ProtocolV3::link(RpcConnection& on, FileHandle file, FileHandle to, std::string to_name) {
  LINK3args arguments{.file = handle_of(file), .link = name_in(to, to_name)};
  co_return co_await ask<LINK3res, void>(on, rpc_nfs3_link_async, arguments, kNothing);
}

Task<Reply<ListAnswer>> ProtocolV3::list(RpcConnection& on, FileHandle directory, uint64_t cookie,
                                         std::array<char, 8> cookie_verifier) {
  READDIRPLUS3args arguments{};
  arguments.dir = handle_of(directory);
  arguments.cookie = cookie;
  std::memcpy(arguments.cookieverf, cookie_verifier.data(), cookie_verifier.size());
  arguments.dircount = arguments.maxcount = kListingBytes;
  auto take = [](const READDIRPLUS3res& answer) {
    const READDIRPLUS3resok& ok = answer.READDIRPLUS3res_u.resok;
    ListAnswer out;
    out.end = ok.reply.eof != 0;
    std::memcpy(out.cookie_verifier.data(), ok.cookieverf, out.cookie_verifier.size());
    for (const entryplus3* next = ok.reply.entries; next != nullptr;) {
      const auto entry = aligned<entryplus3>(next);
      next = entry.nextentry;
      out.entries.push_back({.name = entry.name,
                             .file_id = entry.fileid,
                             .cookie = entry.cookie,
                             .attributes = attributes_from(entry.name_attributes),
                             .handle = handle_from(entry.name_handle)});
    }
    return out;
  };
  co_return co_await ask<READDIRPLUS3res, ListAnswer>(on, rpc_nfs3_readdirplus_async, arguments, take);
}

}  // namespace canopy::nfs
