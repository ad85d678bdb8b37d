// Delivery, appending and uploads.
#include "daemon/account/mailbox_name.h"
#include "daemon/base/log.h"
#include "daemon/wire/framing_status.h"
#include "daemon/wire/services/delivery.h"
#include "daemon/wire/services/directory_service.h"
#include "daemon/wire/services/mailboxes_service.h"
#include "daemon/wire/services/uploads.h"

namespace canopy::wire {

UploadTarget::~UploadTarget() {
  if (!account) return;
  shard->loop.post([held = std::move(account)] { held->upload_end(); });
}

static Result<std::shared_ptr<Upload>> upload_of(CallContext& call, uint64_t id) {
  Uploads& uploads = call.connection().attachment<Uploads>();
  auto at = uploads.by_id.find(id);
  if (at == uploads.by_id.end()) {
    return fail(Code::kNotFound, fmt::format("upload {}", id), "this connection has no such upload");
  }
  return at->second;
}

// A Return-Path field for delivered mail (RFC 5321 section 4.4); the path must be clean enough for a header.
static Result<std::string> return_path_field(const std::string& path) {
  if (path.size() > 1024) return fail(Code::kTooLarge, "return_path", "it has at most 1024 bytes");
  for (char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return fail(Code::kInvalidArgument, "return_path", "it has no control characters");
    }
  }
  return fmt::format("Return-Path: <{}>\r\n", path);
}

static Task<void> open_target(Node& node, Loop& home, AccountAddress address, uint64_t bytes,
                              UploadTarget* target, v1::ResolveResult* out) {
  auto found = co_await node.find(std::move(address));
  Result<void> verdict;
  if (!found) {
    verdict = fail(std::move(found).error());
  } else if (found->settings->use == AccountUse::kSuspended) {
    verdict = fail(Code::kSuspended, found->address.to_string(), "the account is suspended");
  } else {
    auto account = co_await found->shard->accounts.open(found->address);
    verdict = account ? co_await (*account)->may_append(bytes) : fail(account.error());
    if (account && verdict) {
      (*account)->upload_begin();
      target->shard = found->shard;
      target->address = found->address;
      target->account = std::move(*account);
    }
  }
  co_await home.switch_to();
  out->set_account(target->address.to_string());
  if (!verdict) {
    fill_error(verdict.error(), *out->mutable_error());
    target->error = verdict.error();
  }
}

Task<Result<v1::OpenUploadResponse>> MailboxesService::open_upload(CallContext& call,
                                                                   const v1::OpenUploadRequest& request) {
  if (request.recipients_size() > static_cast<int>(kPageEntriesMax)) {
    co_return fail(Code::kTooLarge, "recipients", fmt::format("at most {} at once", kPageEntriesMax));
  }
  if (request.bytes() > kMessageBytesMax) {
    co_return fail(Code::kTooLarge, "bytes", fmt::format("a message has at most {} bytes", kMessageBytesMax));
  }
  Uploads& uploads = call.connection().attachment<Uploads>();
  if (uploads.by_id.size() >= kUploadsPerConnectionMax) {
    co_return fail(Code::kBusy, "uploads",
                   fmt::format("a connection has at most {}", kUploadsPerConnectionMax));
  }
  auto upload = std::make_shared<Upload>();
  v1::OpenUploadResponse out;
  if (request.has_account()) {
    auto found = co_await enter(node_, call, request.account(), Need::kMailboxes);
    co_await call.loop().switch_to();
    if (!found) co_return fail(std::move(found).error());
    upload->targets.push_back(std::make_unique<UploadTarget>());
    co_await open_target(node_, call.loop(), found->address, request.bytes(), upload->targets.back().get(),
                         out.add_results());
  }
  TaskGroup group(call.loop());
  for (const std::string& recipient : request.recipients()) {
    upload->targets.push_back(std::make_unique<UploadTarget>());
    v1::ResolveResult* result = out.add_results();
    auto address = parse_address(recipient);
    if (!address) {
      fill_error(address.error(), *result->mutable_error());
      upload->targets.back()->error = address.error();
      continue;
    }
    group.spawn(open_target(node_, call.loop(), std::move(*address), request.bytes(),
                            upload->targets.back().get(), result));
  }
  co_await group.join();
  if (call.connection().closed()) co_return fail(Code::kConnectionLost, "upload", "its connection has ended");
  // Never one that a client may have from a connection before this one.
  const uint64_t id = call.loop().random() | 1;
  uploads.by_id.emplace(id, std::move(upload));
  out.set_upload_id(id);
  co_return out;
}

static Task<void> upload_to(Loop& home, UploadTarget* target, std::string_view bytes) {
  co_await target->shard->loop.switch_to();
  auto part = co_await target->account->upload(bytes);
  co_await home.switch_to();
  if (part) {
    target->parts.push_back(*part);
  } else {
    target->error = part.error();
  }
}

Task<Result<v1::UploadResponse>> MailboxesService::upload(CallContext& call,
                                                          const v1::UploadRequest& request) {
  CANOPY_CO_ASSIGN(std::shared_ptr<Upload> upload, upload_of(call, request.upload_id()));
  if (request.data().size() > kWireChunkBytesMax || request.data().empty()) {
    co_return fail(Code::kInvalidArgument, "data",
                   fmt::format("a chunk has 1 to {} bytes", kWireChunkBytesMax));
  }
  if (upload->busy || request.offset() != upload->bytes) {
    co_return fail(Code::kConflict, "offset",
                   fmt::format("the next chunk begins at {}, one at a time", upload->bytes));
  }
  if (upload->bytes + request.data().size() > kMessageBytesMax) {
    co_return fail(Code::kTooLarge, "data", fmt::format("a message has at most {} bytes", kMessageBytesMax));
  }
  upload->busy = true;
  TaskGroup group(call.loop());
  for (const auto& target : upload->targets) {
    if (!target->error) group.spawn(upload_to(call.loop(), target.get(), request.data()));
  }
  co_await group.join();
  upload->busy = false;
  upload->bytes += request.data().size();
  v1::UploadResponse out;
  out.set_next_offset(upload->bytes);
  co_return out;
}

// Ends on the account's loop. `given_up`: nobody waits for it any more.
Task<Result<RequestResult>> MailboxesService::deliver_to(const v1::DeliverRequest& request, int index,
                                                         std::string_view prefix, UploadTarget* uploaded,
                                                         const std::atomic<bool>* given_up,
                                                         v1::DeliverResult* out) {
  const v1::Recipient& recipient = request.recipients(index);
  NewMessage message;
  CANOPY_CO_ASSIGN(message.request_id, request_id_of(recipient.request_id()));
  if (!recipient.mailbox().empty()) {
    CANOPY_CO_ASSIGN(message.mailbox, canonical_mailbox_name(recipient.mailbox()));
    message.create_mailbox = true;
  }
  std::shared_ptr<Account> account;
  if (uploaded != nullptr) {
    if (uploaded->error) co_return fail(*uploaded->error);
    co_await uploaded->shard->loop.switch_to();
    account = uploaded->account;
    auto first = co_await account->upload(prefix);
    if (!first) co_return fail(std::move(first).error());
    message.parts.push_back(*first);
    message.parts_bytes = prefix.size();
    for (const ContentPart& part : uploaded->parts) {
      message.parts.push_back(part);
      message.parts_bytes += part.length;
    }
  } else {
    CANOPY_CO_ASSIGN(AccountAddress address, parse_address(recipient.address()));
    auto found = co_await node_.find(std::move(address));
    if (!found) co_return fail(std::move(found).error());
    if (found->settings->use == AccountUse::kSuspended) {
      co_return fail(Code::kSuspended, found->address.to_string(), "the account is suspended");
    }
    auto opened = co_await found->shard->accounts.open(found->address);
    if (!opened) co_return fail(std::move(opened).error());
    account = std::move(*opened);
    message.prefix = prefix;
    message.content = request.content();
  }
  out->set_account(account->name());
  if (given_up != nullptr && *given_up)
    co_return fail(Code::kCancelled, account->name(), "the delivery was answered without it");
  co_return co_await account->append(std::move(message));
}

Task<void> MailboxesService::deliver_one(Loop& home, const v1::DeliverRequest& request, int index,
                                         std::string prefix, UploadTarget* uploaded,
                                         const std::atomic<bool>* given_up, v1::DeliverResult* out) {
  auto done = co_await deliver_to(request, index, prefix, uploaded, given_up, out);
  co_await home.switch_to();
  if (!done) {
    fill_error(done.error(), *out->mutable_error());
    co_return;
  }
  node_.counters().deliveries.fetch_add(1, std::memory_order_relaxed);
  if (!done->uids.empty()) out->set_uid(done->uids.front().first);
  out->set_uid_validity(done->uidvalidity);
}

Task<void> MailboxesService::deliver_among(std::shared_ptr<Delivery> delivery, Loop& home, size_t index) {
  v1::DeliverResult& result = delivery->results[index];
  co_await deliver_one(home, delivery->request, static_cast<int>(index), delivery->prefix,
                       delivery->target(index), &delivery->over, &result);
  // Its sender was told that this is not certain, and may send it again.
  if (delivery->over && !result.has_error())
    log_event(LogLevel::kInfo, "delivered-late", result.account(), {{"uid", result.uid()}});
  delivery->done(index);
}

Task<Result<v1::DeliverResponse>> MailboxesService::deliver(CallContext& call,
                                                            const v1::DeliverRequest& request) {
  if (request.recipients_size() == 0 || request.recipients_size() > static_cast<int>(kPageEntriesMax)) {
    co_return fail(Code::kInvalidArgument, "recipients", fmt::format("1 to {} at once", kPageEntriesMax));
  }
  if (request.content().size() > kWireChunkBytesMax) {
    co_return fail(Code::kTooLarge, "content", "use OpenUpload for more than a chunk");
  }
  CANOPY_CO_ASSIGN(std::string prefix, return_path_field(request.return_path()));
  std::shared_ptr<Upload> upload;
  if (request.upload_id() != 0) {
    CANOPY_CO_ASSIGN(upload, upload_of(call, request.upload_id()));
    if (upload->busy) co_return fail(Code::kConflict, "upload_id", "a chunk is still on its way");
    if (upload->targets.size() != static_cast<size_t>(request.recipients_size())) {
      co_return fail(Code::kInvalidArgument, "recipients", "they are those that the upload was opened for");
    }
  }
  v1::DeliverResponse out;
  if (request.recipients_size() == 1) {
    UploadTarget* target = upload ? upload->targets.front().get() : nullptr;
    co_await deliver_one(call.loop(), request, 0, std::move(prefix), target, nullptr, out.add_results());
  } else {
    auto delivery = std::make_shared<Delivery>(call.loop(), request, std::move(prefix), upload);
    for (size_t i = 0; i < delivery->results.size(); ++i)
      call.loop().spawn(deliver_among(delivery, call.loop(), i));
    co_await delivery->wait();
    out = delivery->answer();
  }
  // The upload stays for a resend of this request until all of it has arrived.
  bool all_done = true;
  for (const v1::DeliverResult& result : out.results()) all_done = all_done && !result.has_error();
  if (upload && all_done) call.connection().attachment<Uploads>().by_id.erase(request.upload_id());
  co_return out;
}

Task<Result<v1::AppendResponse>> MailboxesService::append(CallContext& call,
                                                          const v1::AppendRequest& request) {
  NewMessage message;
  CANOPY_CO_ASSIGN(message.request_id, request_id_of(request.request_id()));
  CANOPY_CO_ASSIGN(
      message.mailbox,
      canonical_mailbox_name(request.mailbox().empty() ? kInbox : std::string_view(request.mailbox())));
  if (request.content().size() > kWireChunkBytesMax) {
    co_return fail(Code::kTooLarge, "content", "use OpenUpload for more than a chunk");
  }
  if (request.zone_minutes() < -24 * 60 || request.zone_minutes() > 24 * 60) {
    co_return fail(Code::kInvalidArgument, "zone_minutes", "it lies within a day");
  }
  const bool flagged = request.flags().system() != 0 || request.flags().keywords_size() != 0;
  if (flagged && call.role() == Role::kMount)
    co_return fail(Code::kPermissionDenied, "flags", "the role mount sets no flags; admin does");
  std::shared_ptr<Upload> upload;
  if (request.upload_id() != 0) {
    CANOPY_CO_ASSIGN(upload, upload_of(call, request.upload_id()));
    if (upload->targets.size() != 1 || upload->busy) {
      co_return fail(Code::kInvalidArgument, "upload_id",
                     "the upload was opened for something else, or is not complete");
    }
    if (upload->targets[0]->error) co_return fail(*upload->targets[0]->error);
    message.parts = upload->targets[0]->parts;
    message.parts_bytes = upload->bytes;
  }
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  if (upload && upload->targets[0]->account != open->account) {
    co_return fail(Code::kTryAgain, open->account->name(), "the account was opened again; upload once more");
  }
  message.content = request.content();
  message.date_seconds = request.internal_date();
  message.zone_minutes = static_cast<int16_t>(request.zone_minutes());
  message.flags = static_cast<uint16_t>(request.flags().system());
  message.keywords.assign(request.flags().keywords().begin(), request.flags().keywords().end());
  auto done = co_await open->account->append(std::move(message));
  co_await call.loop().switch_to();
  if (!done) co_return fail(std::move(done).error());
  if (upload) call.connection().attachment<Uploads>().by_id.erase(request.upload_id());
  node_.counters().mutations.fetch_add(1, std::memory_order_relaxed);
  v1::AppendResponse out;
  if (!done->uids.empty()) out.set_uid(done->uids.front().first);
  out.set_uid_validity(done->uidvalidity);
  out.set_modseq(done->modseq);
  co_return out;
}

}  // namespace canopy::wire
