#include "proto-frontends/common/wire_backend.h"

namespace canopy::frontend {
namespace {

constexpr std::string_view kInbox = "INBOX";

Error error_of(const v1::Error& from) {
  auto code = from.code() == 0 || from.code() > static_cast<uint32_t>(Code::kLast)
                  ? Code::kInternal
                  : static_cast<Code>(from.code());
  return Error(code, from.object(), from.message());
}

void set_account(v1::AccountRef& ref, const AccountAccess& access) {
  ref.set_name(access.account);
  ref.set_ticket(access.ticket);
}

}  // namespace

WireBackend::WireBackend(Loop& loop, wire::ClientOptions options)
    : loop_(loop), options_(std::move(options)), client_(loop, options_) {}

Task<void> WireBackend::close() {
  uploads_.clear();
  co_await client_.close();
}

Task<Result<std::vector<Result<std::string>>>> WireBackend::resolve(std::vector<std::string> addresses,
                                                                    uint64_t bytes) {
  v1::ResolveRequest request;
  for (std::string& address : addresses) request.add_addresses(std::move(address));
  request.set_bytes(bytes);
  auto response = co_await wire::DirectoryStub(client_).resolve(request);
  if (!response) co_return fail(response.error());
  if (response->results_size() != request.addresses_size())
    co_return fail(Code::kInternal, "Resolve",
                   "the backend answered another number of addresses than it was asked");
  std::vector<Result<std::string>> results;
  results.reserve(response->results_size());
  for (auto& result : *response->mutable_results()) {
    if (result.has_error())
      results.emplace_back(fail(error_of(result.error())));
    else
      results.emplace_back(std::move(*result.mutable_account()));
  }
  co_return results;
}

Task<Result<std::vector<Result<void>>>> WireBackend::deliver(Delivery delivery) {
  v1::DeliverRequest request;
  for (DeliveryRecipient& recipient : delivery.recipients) {
    auto* to = request.add_recipients();
    to->set_address(std::move(recipient.address));
    to->set_request_id(std::move(recipient.request_id));
  }
  request.set_return_path(std::move(delivery.return_path));
  std::shared_ptr<Upload> upload;
  if (delivery.upload_id != 0) {
    auto at = uploads_.find(delivery.upload_id);
    if (at == uploads_.end()) co_return fail(Code::kTryAgain, "Deliver", "the upload was given up");
    upload = at->second;
    uploads_.erase(at);
    request.set_upload_id(upload->remote_id);
  } else {
    request.set_content(std::move(delivery.content));
  }
  auto response = co_await wire::MailboxesStub(upload ? *upload->client : client_).deliver(request);
  if (upload) co_await upload->client->close();
  if (!response) co_return fail(response.error());
  if (response->results_size() != request.recipients_size())
    co_return fail(Code::kInternal, "Deliver",
                   "the backend answered another number of recipients than it was given");
  std::vector<Result<void>> results;
  results.reserve(response->results_size());
  for (const auto& result : response->results()) {
    if (result.has_error())
      results.emplace_back(fail(error_of(result.error())));
    else
      results.emplace_back();
  }
  co_return results;
}

Task<Result<uint64_t>> WireBackend::open_upload(std::vector<std::string> recipients, uint64_t bytes) {
  auto upload = std::make_shared<Upload>();
  upload->client = std::make_unique<wire::Client>(loop_, options_);
  v1::OpenUploadRequest request;
  for (std::string& recipient : recipients) request.add_recipients(std::move(recipient));
  request.set_bytes(bytes);
  auto response = co_await wire::MailboxesStub(*upload->client).open_upload(request);
  if (!response) {
    co_await upload->client->close();
    co_return fail(response.error());
  }
  upload->remote_id = response->upload_id();
  uint64_t id = next_upload_++;
  uploads_.emplace(id, std::move(upload));
  co_return id;
}

Task<Result<void>> WireBackend::upload(uint64_t upload_id, uint64_t offset, std::string data) {
  auto at = uploads_.find(upload_id);
  if (at == uploads_.end()) co_return fail(Code::kTryAgain, "Upload", "the upload was given up");
  std::shared_ptr<Upload> upload = at->second;
  v1::UploadRequest request;
  request.set_upload_id(upload->remote_id);
  request.set_offset(offset);
  request.set_data(std::move(data));
  auto response = co_await wire::MailboxesStub(*upload->client).upload(request, {.retry = false});
  if (!response) co_return fail(response.error());
  co_return Result<void>{};
}

void WireBackend::drop_upload(uint64_t upload_id) { uploads_.erase(upload_id); }

Task<Result<SaslAnswer>> WireBackend::authenticate(SaslRound round) {
  v1::AuthenticateRequest request;
  request.set_mechanism(std::move(round.mechanism));
  request.set_response(std::move(round.response));
  request.set_conversation(std::move(round.conversation));
  request.set_domain(std::move(round.domain));
  request.set_client_address(std::move(round.client_address));
  request.set_protocol(std::move(round.protocol));
  auto response = co_await wire::SessionStub(client_).authenticate(request);
  if (!response) co_return fail(response.error());
  SaslAnswer answer;
  answer.done = response->done();
  answer.challenge = std::move(*response->mutable_challenge());
  answer.conversation = std::move(*response->mutable_conversation());
  answer.access.account = std::move(*response->mutable_account());
  answer.access.ticket = std::move(*response->mutable_ticket());
  co_return answer;
}

Task<Result<uint64_t>> WireBackend::lock_maildrop(const AccountAccess& access, uint32_t seconds) {
  v1::LockMaildropRequest request;
  set_account(*request.mutable_account(), access);
  request.set_seconds(seconds);
  auto response = co_await wire::MailboxesStub(client_).lock_maildrop(request);
  if (!response) co_return fail(response.error());
  co_return response->lock_id();
}

Task<Result<void>> WireBackend::unlock_maildrop(const AccountAccess& access, uint64_t lock_id) {
  v1::UnlockMaildropRequest request;
  set_account(*request.mutable_account(), access);
  request.set_lock_id(lock_id);
  auto response = co_await wire::MailboxesStub(client_).unlock_maildrop(request);
  if (!response) co_return fail(response.error());
  co_return Result<void>{};
}

Task<Result<MessageList>> WireBackend::list_inbox(const AccountAccess& access) {
  MessageList list;
  v1::ListMessagesRequest request;
  set_account(*request.mutable_account(), access);
  request.set_mailbox(std::string(kInbox));
  for (;;) {
    auto page = co_await wire::MailboxesStub(client_).list_messages(request);
    if (!page) co_return fail(page.error());
    if (!list.uids.empty() && page->uid_validity() != list.uid_validity)
      co_return fail(Code::kTryAgain, access.account, "the mailbox was replaced while it was listed");
    list.uid_validity = page->uid_validity();
    list.mailbox_id = page->mailbox_id();
    list.uids.reserve(list.uids.size() + page->messages_size());
    list.sizes.reserve(list.uids.capacity());
    for (const auto& message : page->messages()) {
      list.uids.push_back(message.uid());
      list.sizes.push_back(static_cast<uint32_t>(std::min<uint64_t>(message.size(), UINT32_MAX)));
    }
    if (page->end() || page->messages_size() == 0) break;
    request.set_after_uid(list.uids.back());
  }
  co_return list;
}

Task<Result<std::vector<FetchedContent>>> WireBackend::fetch_many(const AccountAccess& access,
                                                                  uint32_t mailbox_id,
                                                                  std::vector<uint32_t> uids,
                                                                  uint32_t max_bytes) {
  v1::FetchManyRequest request;
  set_account(*request.mutable_account(), access);
  request.set_mailbox_id(mailbox_id);
  request.mutable_uids()->Add(uids.begin(), uids.end());
  request.set_max_bytes(max_bytes);
  auto response = co_await wire::MailboxesStub(client_).fetch_many(request);
  if (!response) co_return fail(response.error());
  std::vector<FetchedContent> contents;
  contents.reserve(response->messages_size());
  for (auto& message : *response->mutable_messages()) {
    if (message.has_error()) {
      // The first one is what is asked for; those ahead get their say when their turn comes.
      if (contents.empty()) co_return fail(error_of(message.error()));
      break;
    }
    contents.push_back({message.uid(), std::move(*message.mutable_content()), message.too_large()});
  }
  co_return contents;
}

Task<Result<FetchedPart>> WireBackend::fetch(const AccountAccess& access, uint32_t mailbox_id, uint32_t uid,
                                             uint64_t offset, uint32_t bytes) {
  v1::FetchRequest request;
  set_account(*request.mutable_account(), access);
  request.set_mailbox_id(mailbox_id);
  request.set_uid(uid);
  request.set_offset(offset);
  request.set_bytes(bytes);
  auto response = co_await wire::MailboxesStub(client_).fetch(request);
  if (!response) co_return fail(response.error());
  FetchedPart part;
  part.data = std::move(*response->mutable_data());
  part.end = response->end();
  co_return part;
}

Task<Result<void>> WireBackend::expunge(const AccountAccess& access, uint32_t mailbox_id,
                                        std::vector<uint32_t> uids, std::string request_id) {
  v1::ExpungeRequest request;
  set_account(*request.mutable_account(), access);
  request.set_mailbox_id(mailbox_id);
  for (size_t i = 0; i < uids.size();) {
    size_t last = i;
    while (last + 1 < uids.size() && uids[last + 1] == uids[last] + 1) ++last;
    auto* range = request.add_uids();
    range->set_first(uids[i]);
    range->set_last(uids[last]);
    i = last + 1;
  }
  request.set_request_id(std::move(request_id));
  auto response = co_await wire::MailboxesStub(client_).expunge(request);
  if (!response) co_return fail(response.error());
  co_return Result<void>{};
}

}  // namespace canopy::frontend
