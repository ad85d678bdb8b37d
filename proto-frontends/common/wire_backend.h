// The Backend that speaks the wire protocol. For its loop's thread only.
#pragma once

#include <unordered_map>

#include "daemon/wire/client/stubs.h"
#include "proto-frontends/common/backend.h"

namespace canopy::frontend {

class WireBackend final : public Backend {
 public:
  WireBackend(Loop& loop, wire::ClientOptions options);

  // The client, for a first connect() that shows configuration errors early.
  wire::Client& client() { return client_; }
  // Before the loop ends. Calls fail from then on.
  Task<void> close();

  Task<Result<std::vector<Result<std::string>>>> resolve(std::vector<std::string> addresses,
                                                         uint64_t bytes) override;
  Task<Result<std::vector<Result<void>>>> deliver(Delivery delivery) override;
  Task<Result<uint64_t>> open_upload(std::vector<std::string> recipients, uint64_t bytes) override;
  Task<Result<void>> upload(uint64_t upload_id, uint64_t offset, std::string data) override;
  void drop_upload(uint64_t upload_id) override;
  Task<Result<SaslAnswer>> authenticate(SaslRound round) override;
  Task<Result<uint64_t>> lock_maildrop(const AccountAccess& access, uint32_t seconds) override;
  Task<Result<void>> unlock_maildrop(const AccountAccess& access, uint64_t lock_id) override;
  Task<Result<MessageList>> list_inbox(const AccountAccess& access) override;
  Task<Result<std::vector<FetchedContent>>> fetch_many(const AccountAccess& access, uint32_t mailbox_id,
                                                       std::vector<uint32_t> uids,
                                                       uint32_t max_bytes) override;
  Task<Result<FetchedPart>> fetch(const AccountAccess& access, uint32_t mailbox_id, uint32_t uid,
                                  uint64_t offset, uint32_t bytes) override;
  Task<Result<void>> expunge(const AccountAccess& access, uint32_t mailbox_id, std::vector<uint32_t> uids,
                             std::string request_id) override;

 private:
  // The daemon forgets an upload with its connection, so each has a connection of its own: giving it up needs
  // no call, and a frontend that dies leaves nothing behind.
  struct Upload {
    std::unique_ptr<wire::Client> client;
    uint64_t remote_id = 0;
  };

  Loop& loop_;
  wire::ClientOptions options_;
  wire::Client client_;
  uint64_t next_upload_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<Upload>> uploads_;
};

}  // namespace canopy::frontend
