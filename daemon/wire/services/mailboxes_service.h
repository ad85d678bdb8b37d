// The Mailboxes service of canopy.proto. Methods may be called on any loop of the node.
#pragma once

#include "daemon/wire/server/method_table.h"
#include "daemon/wire/services/access.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

class SummarySource;

class MailboxesService {
 public:
  explicit MailboxesService(Node& node) : node_(node) {}
  void add_to(MethodTable& table);  // this must outlive the server

 private:
  Task<Result<v1::ListMailboxesResponse>> list(CallContext& call, const v1::ListMailboxesRequest& request);
  Task<Result<v1::Mailbox>> create(CallContext& call, const v1::CreateMailboxRequest& request);
  Task<Result<v1::Empty>> rename(CallContext& call, const v1::RenameMailboxRequest& request);
  Task<Result<v1::Empty>> remove(CallContext& call, const v1::DeleteMailboxRequest& request);
  Task<Result<v1::Empty>> subscribe(CallContext& call, const v1::SubscribeRequest& request);
  Task<Result<v1::Mailbox>> status(CallContext& call, const v1::MailboxRequest& request);

  Task<Result<v1::OpenUploadResponse>> open_upload(CallContext& call, const v1::OpenUploadRequest& request);
  Task<Result<v1::UploadResponse>> upload(CallContext& call, const v1::UploadRequest& request);
  Task<Result<v1::DeliverResponse>> deliver(CallContext& call, const v1::DeliverRequest& request);
  Task<Result<v1::AppendResponse>> append(CallContext& call, const v1::AppendRequest& request);
  Task<Result<v1::ListMessagesResponse>> list_messages(CallContext& call,
                                                       const v1::ListMessagesRequest& request);
  Task<Result<v1::FetchResponse>> fetch(CallContext& call, const v1::FetchRequest& request);
  Task<Result<v1::FetchManyResponse>> fetch_many(CallContext& call, const v1::FetchManyRequest& request);
  Task<Result<v1::SummariesResponse>> summaries(CallContext& call, const v1::SummariesRequest& request);
  Task<Result<v1::StoreFlagsResponse>> store_flags(CallContext& call, const v1::StoreFlagsRequest& request);
  Task<Result<v1::ExpungeResponse>> expunge(CallContext& call, const v1::ExpungeRequest& request);
  Task<Result<v1::CopyResponse>> copy(CallContext& call, const v1::CopyRequest& request);
  Task<Result<v1::LockMaildropResponse>> lock_maildrop(CallContext& call,
                                                       const v1::LockMaildropRequest& request);
  Task<Result<v1::Empty>> unlock_maildrop(CallContext& call, const v1::UnlockMaildropRequest& request);

  Task<void> deliver_one(Loop& home, const v1::DeliverRequest& request, int index, std::string prefix,
                         struct UploadTarget* uploaded, const std::atomic<bool>* given_up,
                         v1::DeliverResult* out);
  Task<void> deliver_among(std::shared_ptr<class Delivery> delivery, Loop& home, size_t index);
  Task<Result<RequestResult>> deliver_to(const v1::DeliverRequest& request, int index,
                                         std::string_view prefix, struct UploadTarget* uploaded,
                                         const std::atomic<bool>* given_up, v1::DeliverResult* out);

  Node& node_;
};

// The mailbox that a request names by id or by name.
Result<const MailboxState*> find_mailbox(const Account& account, uint32_t id, const std::string& name);

}  // namespace canopy::wire
