// The Mailboxes service's methods on messages that are there: listing, fetching, flags, expunging, copying.
#include "daemon/account/mailbox_name.h"
#include "daemon/wire/framing_status.h"
#include "daemon/wire/services/directory_service.h"
#include "daemon/wire/services/mailboxes_service.h"

namespace canopy::wire {
namespace {

constexpr size_t kListBytesMax = kWireMessageBytesMax / 2;  // rows with many keywords are large

std::vector<UidRange> ranges_of(const google::protobuf::RepeatedPtrField<v1::UidRange>& in) {
  std::vector<UidRange> out;
  for (const v1::UidRange& range : in) {
    uint32_t first = std::max<uint32_t>(range.first(), 1);
    if (first <= range.last()) out.push_back({first, range.last()});
  }
  return out;
}

void put_ranges(const std::vector<UidRange>& in, google::protobuf::RepeatedPtrField<v1::UidRange>* out) {
  for (const UidRange& range : in) {
    v1::UidRange* added = out->Add();
    added->set_first(range.first);
    added->set_last(range.last);
  }
}

constexpr size_t kExpungedAnswered = 200'000;  // ranges: with 14 bytes at most each they fit into an answer

void put_message(const Account& account, const MessageRow& row, v1::Message& out) {
  out.set_uid(row.uid);
  out.set_size(row.size);
  out.set_modseq(row.modseq);
  out.set_internal_date(row.date_seconds);
  out.set_zone_minutes(row.zone_minutes);
  out.set_system_flags(row.flags & kSystemFlagsMask);
  for (uint16_t id : account.state().keyword_sets().get(row.keyword_set)) {
    if (const std::string* name = account.state().keyword_name(id)) out.add_keywords(*name);
  }
}

// What was expunged after `since`, or false when the mailbox no longer knows.
bool put_vanished(const MailboxState& box, uint64_t since, v1::ListMessagesResponse& out) {
  if (since < box.floor) return false;
  for (auto at = box.expunged.rbegin(); at != box.expunged.rend() && at->modseq > since; ++at) {
    v1::UidRange* range = out.add_vanished();
    range->set_first(at->first);
    range->set_last(at->last);
  }
  return true;
}

}  // namespace

Task<Result<v1::ListMessagesResponse>> MailboxesService::list_messages(
    CallContext& call, const v1::ListMessagesRequest& request) {
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  const Account& account = *open->account;
  CANOPY_CO_ASSIGN(const MailboxState* box, find_mailbox(account, request.mailbox_id(), request.mailbox()));
  v1::ListMessagesResponse out;
  out.set_mailbox_id(box->id);
  out.set_uid_validity(box->uidvalidity);
  out.set_uid_next(box->uidnext);
  out.set_highest_modseq(box->highest_modseq);
  size_t limit = request.limit() == 0 ? kPageEntriesMax : std::min(request.limit(), 10 * kPageEntriesMax);
  size_t bytes = 0;
  out.set_end(true);
  if (request.changed_since() != 0 && request.after_uid() == 0) {
    out.set_all_expunged_unknown(!put_vanished(*box, request.changed_since(), out));
  }
  if (request.after_uid() == UINT32_MAX) co_return out;
  for (const MessageRow& row : box->between(request.after_uid() + 1, UINT32_MAX)) {
    if (row.modseq <= request.changed_since()) continue;
    if (out.messages_size() == static_cast<int>(limit) || bytes > kListBytesMax) {
      out.set_end(false);
      break;
    }
    v1::Message* message = out.add_messages();
    put_message(account, row, *message);
    bytes += message->ByteSizeLong();
  }
  co_return out;
}

Task<Result<v1::FetchResponse>> MailboxesService::fetch(CallContext& call, const v1::FetchRequest& request) {
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  CANOPY_CO_ASSIGN(const MailboxState* box,
                   find_mailbox(*open->account, request.mailbox_id(), request.mailbox()));
  const MessageRow* row = box->find(request.uid());
  if (row == nullptr) {
    co_return fail(Code::kNotFound, open->account->name(),
                   fmt::format("{} has no UID {}", box->name, request.uid()));
  }
  uint64_t size = row->size;
  uint64_t wanted = request.bytes() == 0 ? kWireChunkBytesMax : std::min(request.bytes(), kWireChunkBytesMax);
  auto bytes = co_await open->account->fetch(box->id, request.uid(), request.offset(), wanted);
  if (!bytes) co_return fail(std::move(bytes).error());
  node_.counters().fetches.fetch_add(1, std::memory_order_relaxed);
  v1::FetchResponse out;
  out.set_size(size);
  out.set_end(request.offset() + bytes->size() >= size);
  out.set_data(std::move(*bytes));
  co_return out;
}

Task<Result<v1::FetchManyResponse>> MailboxesService::fetch_many(CallContext& call,
                                                                 const v1::FetchManyRequest& request) {
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  Account& account = *open->account;
  CANOPY_CO_ASSIGN(const MailboxState* box, find_mailbox(account, request.mailbox_id(), request.mailbox()));
  uint32_t mailbox_id = box->id;
  uint64_t budget =
      request.max_bytes() == 0 ? kWireChunkBytesMax : std::min(request.max_bytes(), kWireChunkBytesMax);
  v1::FetchManyResponse out;
  uint64_t used = 0;
  for (uint32_t uid : request.uids()) {
    const MailboxState* still = account.state().mailbox(mailbox_id);
    const MessageRow* row = still == nullptr ? nullptr : still->find(uid);
    if (row == nullptr) continue;
    if (row->size > kWireChunkBytesMax) {
      v1::FetchedMessage* message = out.add_messages();
      message->set_uid(uid);
      message->set_too_large(true);
      continue;
    }
    if (used != 0 && used + row->size > budget) break;
    used += row->size;
    auto bytes = co_await account.fetch(mailbox_id, uid, 0, row->size);
    v1::FetchedMessage* message = out.add_messages();
    message->set_uid(uid);
    if (bytes) {
      message->set_content(std::move(*bytes));
    } else {
      fill_error(bytes.error(), *message->mutable_error());
    }
    node_.counters().fetches.fetch_add(1, std::memory_order_relaxed);
  }
  co_return out;
}

Task<Result<v1::StoreFlagsResponse>> MailboxesService::store_flags(CallContext& call,
                                                                   const v1::StoreFlagsRequest& request) {
  StoreFlags change;
  CANOPY_CO_ASSIGN(change.request_id, request_id_of(request.request_id()));
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  CANOPY_CO_ASSIGN(const MailboxState* box,
                   find_mailbox(*open->account, request.mailbox_id(), request.mailbox()));
  change.mailbox_id = box->id;
  change.uids = ranges_of(request.uids());
  change.mode = request.mode() == v1::StoreFlagsRequest::ADD      ? FlagsMode::kAdd
                : request.mode() == v1::StoreFlagsRequest::REMOVE ? FlagsMode::kRemove
                                                                  : FlagsMode::kReplace;
  change.flags = static_cast<uint16_t>(request.flags().system());
  change.keywords.assign(request.flags().keywords().begin(), request.flags().keywords().end());
  change.unchanged_since = request.unchanged_since();
  auto done = co_await open->account->store_flags(std::move(change));
  if (!done) co_return fail(std::move(done).error());
  node_.counters().mutations.fetch_add(1, std::memory_order_relaxed);
  v1::StoreFlagsResponse out;
  out.set_modseq(done->modseq);
  for (uint32_t uid : done->modified) out.add_modified(uid);
  co_return out;
}

Task<Result<v1::ExpungeResponse>> MailboxesService::expunge(CallContext& call,
                                                            const v1::ExpungeRequest& request) {
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  if (request.uids().empty() && !request.only_deleted()) {
    co_return fail(Code::kInvalidArgument, "uids", "name the UIDs, or only_deleted for all that are marked");
  }
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  CANOPY_CO_ASSIGN(const MailboxState* box,
                   find_mailbox(*open->account, request.mailbox_id(), request.mailbox()));
  auto done = co_await open->account->expunge(box->id, ranges_of(request.uids()), request.only_deleted(), id);
  if (!done) co_return fail(std::move(done).error());
  node_.counters().mutations.fetch_add(1, std::memory_order_relaxed);
  v1::ExpungeResponse out;
  out.set_modseq(done->modseq);
  if (done->uids.size() <= kExpungedAnswered)
    put_ranges(done->uids, out.mutable_expunged());
  else
    out.set_expunged_left_out(true);
  co_return out;
}

Task<Result<v1::CopyResponse>> MailboxesService::copy(CallContext& call, const v1::CopyRequest& request) {
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  CANOPY_CO_ASSIGN(std::string to, canonical_mailbox_name(request.to()));
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  CANOPY_CO_ASSIGN(const MailboxState* box, find_mailbox(*open->account, 0, request.from()));
  auto done = co_await open->account->copy(box->id, to, ranges_of(request.uids()), request.move(), id);
  if (!done) co_return fail(std::move(done).error());
  node_.counters().mutations.fetch_add(1, std::memory_order_relaxed);
  v1::CopyResponse out;
  out.set_uid_validity(done->uidvalidity);
  for (const UidRange& range : done->source_uids) {
    for (uint64_t uid = range.first; uid <= range.last; ++uid)
      out.add_source_uids(static_cast<uint32_t>(uid));
  }
  for (const UidRange& range : done->uids) {
    for (uint64_t uid = range.first; uid <= range.last; ++uid)
      out.add_target_uids(static_cast<uint32_t>(uid));
  }
  co_return out;
}

}  // namespace canopy::wire
