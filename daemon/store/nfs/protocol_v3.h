// ProtocolV3: NFS version 3 (RFC 1813). It has no state of its own.
#pragma once

#include "daemon/store/nfs/protocol.h"

namespace canopy::nfs {

class ProtocolV3 final : public Protocol {
 public:
  bool has_early_times() const override { return false; }
  Task<Reply<ServerLimits>> limits(RpcConnection& on, FileHandle root) override;
  Task<Reply<StoreSpace>> space(RpcConnection& on, FileHandle root) override;
  Task<Reply<Found>> lookup(RpcConnection& on, FileHandle directory, std::string name) override;
  Task<Reply<Attributes>> attributes(RpcConnection& on, FileHandle file) override;
  Task<Reply<void>> set_attributes(RpcConnection& on, FileHandle file, SetAttributes change) override;
  Task<Reply<ReadAnswer>> read(RpcConnection& on, FileHandle file, uint64_t offset,
                               std::span<char> into) override;
  Task<Reply<WriteAnswer>> write(RpcConnection& on, FileHandle file, uint64_t offset, std::string_view bytes,
                                 Stability stability) override;
  Task<Reply<CommitAnswer>> commit(RpcConnection& on, FileHandle file) override;
  Task<Reply<Made>> create(RpcConnection& on, FileHandle directory, std::string name,
                           SetAttributes attributes) override;
  Task<Reply<Made>> make_directory(RpcConnection& on, FileHandle directory, std::string name,
                                   SetAttributes attributes) override;
  Task<Reply<Made>> make_symlink(RpcConnection& on, FileHandle directory, std::string name,
                                 std::string target) override;
  Task<Reply<std::string>> read_symlink(RpcConnection& on, FileHandle link) override;
  Task<Reply<void>> remove(RpcConnection& on, FileHandle directory, std::string name) override;
  Task<Reply<void>> remove_directory(RpcConnection& on, FileHandle directory, std::string name) override;
  Task<Reply<void>> rename(RpcConnection& on, FileHandle from, std::string from_name, FileHandle to,
                           std::string to_name) override;
  Task<Reply<void>> link(RpcConnection& on, FileHandle file, FileHandle to, std::string to_name) override;
  Task<Reply<ListAnswer>> list(RpcConnection& on, FileHandle directory, uint64_t cookie,
                               std::array<char, 8> cookie_verifier) override;
};

}  // namespace canopy::nfs
