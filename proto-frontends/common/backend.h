// What protocol code asks of the storage layer. WireBackend speaks the wire protocol; tests have one in
// memory. One a loop; every member is for that loop's thread. Every call ends by itself within the backend's
// own deadline.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/runtime/task.h"

namespace canopy::frontend {

// An account that somebody logged in to.
struct AccountAccess {
  std::string account;  // canonical: "jsmith@company.com"
  std::string ticket;
};

struct SaslRound {
  std::string mechanism;
  std::string response;
  std::string conversation;  // empty in the first round
  std::string client_address;
  std::string protocol;
  std::string domain;  // appended to a name without '@'
};
struct SaslAnswer {
  bool done = false;
  std::string challenge;  // also the server's last word, when done
  std::string conversation;
  AccountAccess access;  // when done
};

struct DeliveryRecipient {
  std::string address;
  std::string request_id;  // 16 bytes; a resend with it does not deliver again
};
struct Delivery {
  std::vector<DeliveryRecipient> recipients;
  std::string return_path;
  std::string content;     // at most kWireChunkBytesMax, or
  uint64_t upload_id = 0;  // what was uploaded
};

struct MessageList {
  uint32_t uid_validity = 0;
  uint32_t mailbox_id = 0;
  std::vector<uint32_t> uids;
  std::vector<uint32_t> sizes;  // bytes, in step with uids
};

struct FetchedContent {
  uint32_t uid = 0;
  std::string content;
  bool too_large = false;  // ask for it with fetch()
};
struct FetchedPart {
  std::string data;
  bool end = false;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // One result for each address, in their order: the account, or why mail for it is not taken now. `bytes`:
  // the size of the message if known, or 0.
  virtual Task<Result<std::vector<Result<std::string>>>> resolve(std::vector<std::string> addresses,
                                                                 uint64_t bytes) = 0;
  // One result for each recipient, in their order. Success means durable.
  virtual Task<Result<std::vector<Result<void>>>> deliver(Delivery delivery) = 0;
  // For content over kWireChunkBytesMax: open, upload() in order, deliver() with the id. drop_upload() gives
  // one up.
  virtual Task<Result<uint64_t>> open_upload(std::vector<std::string> recipients, uint64_t bytes) = 0;
  virtual Task<Result<void>> upload(uint64_t upload_id, uint64_t offset, std::string data) = 0;
  virtual void drop_upload(uint64_t upload_id) = 0;

  virtual Task<Result<SaslAnswer>> authenticate(SaslRound round) = 0;
  // kBusy when another session holds it.
  virtual Task<Result<uint64_t>> lock_maildrop(const AccountAccess& access, uint32_t seconds) = 0;
  virtual Task<Result<void>> unlock_maildrop(const AccountAccess& access, uint64_t lock_id) = 0;
  virtual Task<Result<MessageList>> list_inbox(const AccountAccess& access) = 0;
  // As many of the first `uids` as fit into max_bytes, at least one; those that are no longer there are left
  // out.
  virtual Task<Result<std::vector<FetchedContent>>> fetch_many(const AccountAccess& access,
                                                               uint32_t mailbox_id,
                                                               std::vector<uint32_t> uids,
                                                               uint32_t max_bytes) = 0;
  virtual Task<Result<FetchedPart>> fetch(const AccountAccess& access, uint32_t mailbox_id, uint32_t uid,
                                          uint64_t offset, uint32_t bytes) = 0;
  // `uids`: ascending. Uids that are not there any more count as removed.
  virtual Task<Result<void>> expunge(const AccountAccess& access, uint32_t mailbox_id,
                                     std::vector<uint32_t> uids, std::string request_id) = 0;
};

}  // namespace canopy::frontend
