// AccountsView: names that are made, removed and renamed.
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>

#include "daemon/base/limits.h"
#include "fuse/accounts_common.h"
#include "fuse/accounts_view.h"

namespace canopy::mount {
namespace {

constexpr std::string_view kInboxName = "INBOX";

}  // namespace

// The name of the mailbox that a folder of that name would be.
Task<Result<std::string>> AccountsView::name_below(Place folder, std::string element) {
  if (folder.kind != Place::Kind::kAccount && folder.kind != Place::Kind::kMailbox)
    co_return refuse(EPERM, element, "accounts and domains are made by canopyctl");
  const std::string level = level_of_element(element);
  if (element.size() > NAME_MAX) co_return refuse(ENAMETOOLONG, element, "a name has at most 255 bytes");
  if (!is_utf8(level)) co_return refuse(EILSEQ, element, "a mailbox's name is UTF-8");
  const bool top = folder.kind == Place::Kind::kAccount;
  if (level.find('/') != std::string::npos || element_of_level(level, top) != element)
    co_return refuse(EINVAL, element,
                     fmt::format("the folder of such a mailbox is called {}", element_of_level(level, top)));
  if (top) co_return level;
  CANOPY_CO_ASSIGN(const std::string above, co_await name_of_mailbox(folder));
  co_return above + "/" + level;
}

Task<Result<Found>> AccountsView::make_directory(NodeRef directory, std::string name, mode_t, Caller) {
  const Place folder = place_of(*directory);
  v1::CreateMailboxRequest request;
  *request.mutable_account() = account_ref(folder.name);
  CANOPY_CO_ASSIGN(*request.mutable_name(), co_await name_below(folder, name));
  request.set_request_id(backend_.new_request_id());
  auto made = co_await backend_.mailboxes().create(request, backend_.options());
  if (!made) co_return fail(std::move(made).error());
  Place mailbox = inside(folder, Place::Kind::kMailbox);
  mailbox.mailbox_id = made->id();
  co_return found(mailbox);
}

Task<Result<void>> AccountsView::remove(NodeRef directory, std::string name, bool is_directory) {
  const Place folder = place_of(*directory);
  CANOPY_CO_ASSIGN(const Found what, co_await lookup(directory, name));
  const Place place = resolve(Place::of_key(what.key));
  if (is_directory != place.is_directory())
    co_return refuse(is_directory ? ENOTDIR : EISDIR, name, "it is of the other kind");
  DraftRef draft = drafts_.find(folder, name, backend_.loop().now());
  switch (place.kind) {
    case Place::Kind::kDraft:
      if (draft != nullptr) drafts_.remove(draft);
      co_return Result<void>();
    case Place::Kind::kLastError: last_errors_.erase(folder.name); co_return Result<void>();
    case Place::Kind::kMessage: {
      v1::ExpungeRequest request;
      *request.mutable_account() = account_ref(place.name);
      request.set_mailbox_id(place.mailbox_id);
      v1::UidRange& uids = *request.add_uids();
      uids.set_first(place.uid);
      uids.set_last(place.uid);
      request.set_request_id(backend_.new_request_id());
      auto done = co_await backend_.mailboxes().expunge(request, backend_.options());
      if (!done) co_return fail(std::move(done).error());
      if (draft != nullptr) drafts_.drop(draft);
      co_return Result<void>();
    }
    case Place::Kind::kMailbox: {
      v1::DeleteMailboxRequest request;
      *request.mutable_account() = account_ref(place.name);
      CANOPY_CO_ASSIGN(*request.mutable_name(), co_await name_of_mailbox(place));
      if (request.name() == kInboxName) co_return refuse(EBUSY, name, "every account has its INBOX");
      request.set_only_empty(true);
      request.set_request_id(backend_.new_request_id());
      auto done = co_await backend_.mailboxes().remove(request, backend_.options());
      if (!done) co_return fail(std::move(done).error());
      co_return Result<void>();
    }
    default: co_return refuse(EPERM, name, "it is there as long as its account is; see canopyctl");
  }
}

Task<Result<void>> AccountsView::rename(NodeRef from, std::string name, NodeRef to, std::string new_name,
                                        unsigned flags) {
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE)) != 0)
    co_return refuse(EINVAL, name, "names are not exchanged here");
  const Place folder = place_of(*from), onto = place_of(*to);
  CANOPY_CO_ASSIGN(const Found what, co_await lookup(from, name));
  const Place place = resolve(Place::of_key(what.key));
  auto there = co_await lookup(to, new_name);
  if (!there && there.error().code() != Code::kNotFound) co_return fail(std::move(there).error());
  if (there && there->key == what.key) co_return Result<void>();
  if (there && (flags & RENAME_NOREPLACE) != 0) co_return refuse(EEXIST, new_name, "it is there already");
  std::optional<Place> target;
  if (there) target = Place::of_key(there->key);
  // With EXDEV mv(1) would remove what bears the name there, and then copy: another message would be
  // expunged.
  const bool mail = place.kind == Place::Kind::kMessage || place.kind == Place::Kind::kDraft;
  if (mail && target && onto.name != folder.name)
    co_return refuse(EEXIST, new_name, "it is there already, in another account");
  switch (place.kind) {
    case Place::Kind::kDraft: {
      DraftRef draft = drafts_.find(place.uid);
      if (draft == nullptr) co_return absent(name);
      co_return co_await rename_draft(std::move(draft), onto, std::move(new_name), target);
    }
    case Place::Kind::kMessage:
      if (target && target->kind != Place::Kind::kMessage && target->kind != Place::Kind::kDraft)
        co_return refuse(EEXIST, new_name, "something else has that name");
      co_return co_await move_message(place, onto, std::move(new_name),
                                      target && target->kind == Place::Kind::kMessage);
    case Place::Kind::kMailbox:
      if (target) co_return refuse(EEXIST, new_name, "there is such a mailbox already");
      co_return co_await rename_mailbox(place, onto, std::move(new_name));
    default: co_return refuse(EPERM, name, "its name does not change");
  }
}

Task<Result<void>> AccountsView::rename_mailbox(Place mailbox, Place to, std::string name) {
  if (to.name != mailbox.name && (to.kind == Place::Kind::kAccount || to.kind == Place::Kind::kMailbox))
    co_return refuse(EXDEV, name, "that is another account");
  v1::RenameMailboxRequest request;
  *request.mutable_account() = account_ref(mailbox.name);
  CANOPY_CO_ASSIGN(*request.mutable_from(), co_await name_of_mailbox(mailbox));
  if (request.from() == kInboxName) co_return refuse(EBUSY, name, "every account has its INBOX");
  CANOPY_CO_ASSIGN(*request.mutable_to(), co_await name_below(to, name));
  request.set_request_id(backend_.new_request_id());
  auto done = co_await backend_.mailboxes().rename(request, backend_.options());
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

// What a program has written under a temporary name takes the place that it is meant for.
Task<Result<void>> AccountsView::rename_draft(DraftRef draft, Place to, std::string name,
                                              std::optional<Place> target) {
  if (to.name != draft->folder.name || (to.kind != Place::Kind::kAccount && to.kind != Place::Kind::kMailbox))
    co_return refuse(EXDEV, name, "that is another account");
  if (draft->broken) co_return fail(*draft->broken);
  if (target && (target->kind == Place::Kind::kSettings || target->kind == Place::Kind::kInfo)) {
    if (draft->size() > kDictBytesMax)
      co_return refuse(EFBIG, name, fmt::format("settings have at most {} bytes", kDictBytesMax));
    CANOPY_CO_ASSIGN(std::string text, co_await draft->read(0, draft->size()));
    CANOPY_CO_TRY(co_await apply(*target, std::move(text)));
    drafts_.drop(draft);
    co_return Result<void>();
  }
  if (target && target->kind != Place::Kind::kDraft)
    co_return refuse(EPERM, name, "messages do not change, and the rest is no file to replace");
  const Place folder_before = draft->folder;
  const std::string name_before = draft->name;
  if (DraftRef other = drafts_.find(to, name, backend_.loop().now()); other != nullptr && other != draft)
    drafts_.remove(other);
  drafts_.move(draft, to, name);
  if (draft->is_temporary() || draft->open_files != 0 || draft->size() == 0) co_return Result<void>();
  auto done = co_await deliver(draft);
  if (!done) drafts_.move(draft, folder_before, name_before);
  co_return done;
}

}  // namespace canopy::mount
