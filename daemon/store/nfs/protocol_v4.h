// ProtocolV4: NFS version 4.0 (RFC 7530), each call a compound. Files are read and written with the anonymous
// state id, so that only making a file needs state on the server: it is opened, and closed at once. The
// client id is asked for when it is needed, and again when the server has forgotten it; nothing is renewed.
#pragma once

#include "daemon/store/nfs/protocol.h"

namespace canopy::nfs {

class ProtocolV4 final : public Protocol {
 public:
  // `owner`: bytes that no other client of the server has.
  explicit ProtocolV4(std::string owner) : owner_(std::move(owner)) {}

  bool has_early_times() const override { return true; }
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

 private:
  Task<Reply<void>> remove_typed(RpcConnection& on, FileHandle directory, std::string name,
                                 bool is_directory);
  Task<Reply<uint64_t>> client_id(RpcConnection& on);

  const std::string owner_;
  uint64_t client_id_ = 0;  // 0: none
  uint64_t opened_ = 0;     // files so far: each open is of an open owner of its own
};

}  // namespace canopy::nfs
