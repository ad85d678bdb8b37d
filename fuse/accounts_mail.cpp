// AccountsView: messages that are delivered, moved and marked.
#include <sys/xattr.h>

#include <algorithm>

#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "daemon/wire/framing_status.h"
#include "fuse/accounts_common.h"
#include "fuse/accounts_view.h"

namespace canopy::mount {
namespace {

constexpr size_t kMovedMost = 4096;

// An upload went with its connection, or the account was opened anew: from the start, under the same request
// id.
bool may_send_again(const Error& error) {
  switch (error.code()) {
    case Code::kConnectionLost:
    case Code::kConflict:
    case Code::kTryAgain: return true;
    case Code::kNotFound: return error.object().starts_with("upload ");
    default: return false;
  }
}

Error mark_as(int error_number, const Error& error) {
  return Error(error.code(), error.object(), error.message(), error_number);
}

Result<v1::Flags> flags_of(std::string_view text) {
  v1::Flags flags;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view flag = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (flag.empty()) continue;
    const auto* known = std::ranges::find(kSystemFlags, flag);
    if (known != std::end(kSystemFlags))
      flags.set_system(flags.system() | 1u << (known - std::begin(kSystemFlags)));
    else if (flag.front() == '\\')
      return refuse(EINVAL, std::string(flag), "there is no such flag");
    else if (!is_utf8(flag))
      return refuse(EINVAL, std::string(flag), "a keyword is UTF-8");
    else
      flags.add_keywords(std::string(flag));
  }
  return flags;
}

}  // namespace

Place AccountsView::resolve(Place place) const {
  if (place.kind == Place::Kind::kDraft) {
    const DraftRef draft = drafts_.find(place.uid);
    if (draft == nullptr || !draft->delivered()) return place;
    place = draft->message();
  }
  if (place.kind != Place::Kind::kMessage) return place;
  auto moved = moved_.find(place.key());
  return moved == moved_.end() ? place : moved->second;
}

Task<Result<v1::AppendResponse>> AccountsView::append_once(DraftRef draft, v1::AppendRequest& request) {
  if (draft->size() <= kWireChunkBytesMax) {
    CANOPY_CO_ASSIGN(*request.mutable_content(), co_await draft->read(0, draft->size()));
    co_return co_await backend_.mailboxes().append(request, backend_.options());
  }
  v1::OpenUploadRequest open;
  *open.mutable_account() = request.account();
  open.set_bytes(draft->size());
  auto upload = co_await backend_.mailboxes().open_upload(open, backend_.options());
  if (!upload) co_return fail(std::move(upload).error());
  if (upload->results_size() != 0 && upload->results(0).has_error())
    co_return fail(wire::error_of(upload->results(0).error()));
  v1::UploadRequest piece;
  piece.set_upload_id(upload->upload_id());
  while (piece.offset() < draft->size()) {
    CANOPY_CO_ASSIGN(*piece.mutable_data(), co_await draft->read(piece.offset(), kWireChunkBytesMax));
    auto sent = co_await backend_.mailboxes().upload(piece, backend_.options());
    if (!sent) co_return fail(std::move(sent).error());
    piece.set_offset(piece.offset() + piece.data().size());
  }
  request.set_upload_id(upload->upload_id());
  co_return co_await backend_.mailboxes().append(request, backend_.options());
}

Task<Result<v1::AppendResponse>> AccountsView::append(DraftRef draft) {
  v1::AppendRequest request;
  *request.mutable_account() = account_ref(draft->folder.name);
  CANOPY_CO_ASSIGN(*request.mutable_mailbox(), co_await name_of_mailbox(draft->folder));
  if (draft->dated) request.set_internal_date(draft->modified.tv_sec);
  request.set_request_id(draft->request_id);
  Nanos until = 0;  // counted from the first failure: a large message may take longer than that
  while (true) {
    auto done = co_await append_once(draft, request);
    if (done || !may_send_again(done.error())) co_return done;
    const Nanos now = backend_.loop().now();
    if (until == 0) until = now + backend_.patience();
    if (now >= until) co_return done;
    co_await backend_.loop().sleep(50 * kMillisecond);
  }
}

Task<Result<void>> AccountsView::deliver(DraftRef draft) {
  while (draft->sending) co_await backend_.loop().sleep(5 * kMillisecond);  // another handle is being closed
  if (draft->delivered()) co_return Result<void>();
  draft->sending = true;
  auto done = co_await append(draft);
  draft->sending = false;
  if (!done) {
    log_event(LogLevel::kWarning, "delivery-refused", draft->folder.name,
              {{"file", draft->name}, {"error", done.error().to_string()}});
    co_return fail(std::move(done).error());
  }
  Place message = draft->folder;
  message.kind = Place::Kind::kMessage;
  message.uid_validity = done->uid_validity();
  message.uid = done->uid();
  draft->become(std::move(message));
  draft->used = backend_.loop().now();
  co_return Result<void>();
}

// `taken`: a message is there under the new name already. It stays; what is moved in gets a UID of its own.
Task<Result<void>> AccountsView::move_message(Place message, Place to, std::string name, bool taken) {
  if (to.kind != Place::Kind::kMailbox) co_return refuse(EPERM, name, "messages lie in mailboxes");
  if (to.name != message.name) co_return refuse(EXDEV, name, "that is another account");
  if (to.mailbox_id == message.mailbox_id)
    co_return refuse(EPERM, name, "a message's name is its UID, which does not change");
  v1::CopyRequest request;
  *request.mutable_account() = account_ref(message.name);
  CANOPY_CO_ASSIGN(*request.mutable_from(), co_await name_of_mailbox(message));
  CANOPY_CO_ASSIGN(*request.mutable_to(), co_await name_of_mailbox(to));
  v1::UidRange& uids = *request.add_uids();
  uids.set_first(message.uid);
  uids.set_last(message.uid);
  request.set_move(true);
  request.set_request_id(backend_.new_request_id());
  auto done = co_await backend_.mailboxes().copy(request, backend_.options());
  if (!done) co_return fail(std::move(done).error());
  if (done->target_uids_size() == 0) co_return absent(element_of_uid(message.uid));
  Place now = to;
  now.kind = Place::Kind::kMessage;
  now.uid_validity = done->uid_validity();
  now.uid = done->target_uids(0);
  if (moved_.size() >= kMovedMost) moved_.clear();
  moved_[message.key()] = now;
  if (!taken && name != element_of_uid(now.uid)) drafts_.alias(to, name, now, backend_.loop().now());
  co_return Result<void>();
}

// ------------------------------------------------------------------------------------------------ flags

Task<Result<void>> AccountsView::store_flags(Place message, v1::Flags flags) {
  v1::StoreFlagsRequest request;
  *request.mutable_account() = account_ref(message.name);
  request.set_mailbox_id(message.mailbox_id);
  v1::UidRange& uids = *request.add_uids();
  uids.set_first(message.uid);
  uids.set_last(message.uid);
  request.set_mode(v1::StoreFlagsRequest::REPLACE);
  *request.mutable_flags() = std::move(flags);
  request.set_request_id(backend_.new_request_id());
  auto done = co_await backend_.mailboxes().store_flags(request, backend_.options());
  if (done) co_return Result<void>();
  if (done.error().code() == Code::kPermissionDenied) co_return fail(mark_as(EPERM, done.error()));
  co_return fail(std::move(done).error());
}

Task<Result<void>> AccountsView::set_xattr(NodeRef node, std::string name, std::string value, int flags) {
  const Place place = place_of(*node);
  if (place.kind != Place::Kind::kMessage || name != kFlagsAttribute)
    co_return refuse(EOPNOTSUPP, name,
                     "messages have the attribute user.canopy.flags, and nothing else has any");
  if ((flags & XATTR_CREATE) != 0) co_return refuse(EEXIST, name, "every message has it");
  CANOPY_CO_ASSIGN(v1::Flags wanted, flags_of(value));
  CANOPY_CO_TRY(co_await row_of(place));
  co_return co_await store_flags(place, std::move(wanted));
}

Task<Result<void>> AccountsView::remove_xattr(NodeRef node, std::string name) {
  const Place place = place_of(*node);
  if (place.kind != Place::Kind::kMessage || name != kFlagsAttribute)
    co_return refuse(ENODATA, name, "it has no such attribute");
  CANOPY_CO_TRY(co_await row_of(place));
  co_return co_await store_flags(place, v1::Flags());
}

}  // namespace canopy::mount
