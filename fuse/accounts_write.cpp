// AccountsView: files that are written.
#include <fcntl.h>

#include <algorithm>

#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "fuse/accounts_common.h"
#include "fuse/accounts_view.h"
#include "fuse/process.h"

namespace canopy::mount {
namespace {

constexpr size_t kLastErrorsMost = 10'000;

}  // namespace

Found AccountsView::found_draft(const Draft& draft) const {
  Found out = found(draft.place(), draft.size());
  if (!draft.delivered()) {
    out.attributes.st_mtim = out.attributes.st_atim = draft.modified;
    out.attributes.st_ctim = draft.changed;
    out.attributes.st_nlink = draft.removed ? 0 : 1;
  }
  return out;
}

// The name that was written leads to the delivered message for a while, as a file of its own: written anew,
// it becomes another message.
Task<Result<Found>> AccountsView::lookup_draft(DraftRef draft) {
  Found out = found_draft(*draft);
  if (!draft->delivered()) co_return out;
  const Place message = resolve(draft->place());
  auto row = co_await row_of(message);
  if (!row) {
    drafts_.drop(draft);
    co_return fail(std::move(row).error());
  }
  const ino_t number = out.attributes.st_ino;
  out.attributes = found_message(message, message.uid_validity, *row).attributes;
  out.attributes.st_ino = number;
  co_return out;
}

Task<Result<std::shared_ptr<AccountsView::File>>> AccountsView::open_draft(DraftRef draft, bool truncate) {
  if (truncate && draft->delivered()) {
    CANOPY_CO_TRY(co_await draft->open());
    draft->request_id = backend_.new_request_id();
  } else if (truncate) {
    CANOPY_CO_TRY(co_await draft->resize(0));
  }
  auto file = std::make_shared<File>();
  file->place = draft->place();
  file->draft = draft;
  file->drafts = &drafts_;
  file->direct = true;
  ++draft->open_files;
  co_return file;
}

Task<Result<Created>> AccountsView::create(NodeRef directory, std::string name, mode_t, int flags, Caller) {
  const Place folder = place_of(*directory);
  const bool of_account = folder.kind == Place::Kind::kAccount;
  if (!of_account && folder.kind != Place::Kind::kMailbox)
    co_return refuse(EPERM, name, "accounts and domains are made by canopyctl");
  // vim tries such a name; refused, it writes `settings` itself instead of putting another file in its place.
  if (of_account && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; }))
    co_return refuse(EACCES, name, "an account's directory has settings, info and mailboxes");
  DraftRef draft = drafts_.find(folder, name, backend_.loop().now());
  if (draft != nullptr && (flags & O_EXCL) != 0)
    co_return refuse(EEXIST, name, "it is being written already");
  if (draft == nullptr) {
    CANOPY_CO_ASSIGN(draft, co_await drafts_.create(folder, name, backend_.loop().now()));
    draft->request_id = backend_.new_request_id();
  }
  CANOPY_CO_ASSIGN(OpenFileRef file, co_await open_draft(draft, (flags & O_TRUNC) != 0));
  co_return Created{found_draft(*draft), std::move(file)};
}

// Nobody else writes to what is open here, so an append is where the kernel says.
Task<Result<View::Written>> AccountsView::write(OpenFileRef file, uint64_t offset, std::string bytes, bool) {
  File& open = static_cast<File&>(*file);
  if (open.draft != nullptr) {
    if (open.draft->delivered() || open.draft->sending)
      co_return refuse(EPERM, open.draft->name, "it has been delivered; messages do not change");
    const size_t size = bytes.size();
    CANOPY_CO_TRY(co_await open.draft->write(offset, std::move(bytes)));
    open.draft->used = backend_.loop().now();
    co_return Written{size};
  }
  if (!open.writes) co_return refuse(EBADF, open.place.name, "it is not open for writing");
  if (offset > kDictBytesMax || bytes.size() > kDictBytesMax - offset)
    co_return refuse(EFBIG, open.place.name, fmt::format("settings have at most {} bytes", kDictBytesMax));
  if (open.text.size() < offset + bytes.size()) open.text.resize(offset + bytes.size());
  open.text.replace(offset, bytes.size(), bytes);
  open.changed = true;
  co_return Written{bytes.size()};
}

Task<Result<void>> AccountsView::flush(OpenFileRef file, Closer closer) {
  auto open = std::static_pointer_cast<File>(file);
  // A process that was forked meanwhile closes its copy of the descriptor long before the writer is done.
  if (open->writer != 0 && closer.owner != open->writer) co_return Result<void>();
  if (DraftRef draft = open->draft) {
    // The shell closes its own handle of what it redirects to before anything has been written.
    if (draft->removed || draft->is_temporary() || draft->size() == 0) co_return Result<void>();
    if (!draft->delivered() && was_killed(closer.thread)) {
      draft->broken = Error(Code::kIo, draft->name, "a program was killed while it wrote it", EIO);
      log_event(LogLevel::kWarning, "delivery-dropped", draft->folder.name,
                {{"file", draft->name}, {"bytes", draft->size()}});
    }
    if (draft->broken) co_return fail(*draft->broken);
    co_return co_await deliver(std::move(draft));
  }
  if (!open->changed || open->text.empty()) co_return Result<void>();
  open->changed = false;
  if (was_killed(closer.thread)) {
    log_event(LogLevel::kWarning, "settings-dropped", open->place.name,
              {{"file", open->place.kind == Place::Kind::kInfo ? "info" : "settings"}});
    co_return Result<void>();
  }
  auto done = co_await apply(open->place, open->text);
  if (!done) open->changed = true;
  co_return done;
}

// Nothing is kept before it is whole, which close() says.
Task<Result<void>> AccountsView::sync(OpenFileRef file) {
  const DraftRef& draft = static_cast<File&>(*file).draft;
  if (draft != nullptr && draft->broken) co_return fail(*draft->broken);
  co_return Result<void>();
}

Task<Result<Found>> AccountsView::set_attributes(NodeRef node, OpenFileRef file, AttributeChange change) {
  const Place place = Place::of_key(node->key);
  if (place.kind == Place::Kind::kDraft) {
    DraftRef draft = drafts_.find(place.uid);
    if (draft == nullptr) co_return absent("draft");
    if (draft->delivered() && (change.size || change.modified))
      co_return refuse(EPERM, draft->name, "it has been delivered; messages do not change");
    if (draft->delivered()) co_return co_await attributes(node, file);
    if (change.size) CANOPY_CO_TRY(co_await draft->resize(*change.size));
    if (change.modified) {
      draft->modified = *change.modified;
      draft->dated = true;
    }
    co_return found_draft(*draft);
  }
  if (place.kind == Place::Kind::kMailbox || place.kind == Place::Kind::kMessage)
    co_return co_await pass_over(std::move(node), std::move(file), change);
  File* open = static_cast<File*>(file.get());
  const Found now = found(place);
  if ((change.mode && (*change.mode & 07777) != (now.attributes.st_mode & 07777)) ||
      (change.uid && *change.uid != owner_.uid) || (change.gid && *change.gid != owner_.gid))
    co_return refuse(EPERM, place.name, "owner and mode are those of the mount (uid=, gid=)");
  const bool settable = place.kind == Place::Kind::kSettings || place.kind == Place::Kind::kInfo;
  if (!settable && (change.size || change.modified))
    co_return refuse(EPERM, place.name, "this does not change");
  if (change.size) {
    if (open == nullptr || !open->writes)
      co_return refuse(EPERM, place.name, "open it and write what it shall be");
    if (*change.size > kDictBytesMax) co_return refuse(EFBIG, place.name, "settings are not that large");
    open->text.resize(*change.size);
    open->changed = true;
  }
  co_return co_await attributes(node, file);
}

// Mail has neither mode nor owner, and folders have no times. Programs that keep what they copy as it was (cp
// -a, rsync -a) set them all the same, and are let go on.
Task<Result<Found>> AccountsView::pass_over(NodeRef node, OpenFileRef file, AttributeChange change) {
  const Place place = place_of(*node);
  auto known = co_await attributes(node, file);
  if (!known) co_return known;
  const bool message = place.kind == Place::Kind::kMessage;
  if (change.size ||
      (message && change.modified && change.modified->tv_sec != known->attributes.st_mtim.tv_sec))
    co_return refuse(EPERM, place.name, "messages do not change");
  co_return known;
}

// The whole text in place of what there was, or nothing.
Task<Result<void>> AccountsView::apply(Place file, std::string text) {
  v1::SetInfoRequest request;
  *request.mutable_account() = account_ref(file.name);
  const bool info = file.kind == Place::Kind::kInfo;
  request.set_kind(info ? v1::INFO : v1::SETTINGS);
  request.set_text(std::move(text));
  request.set_replace(true);
  request.set_request_id(backend_.new_request_id());
  Result<v1::InfoResponse> done = refuse(EINVAL, file.name, "the text is no UTF-8");
  if (is_utf8(request.text())) done = co_await backend_.info().set(request, backend_.options());
  if (done) {
    last_errors_.erase(file.name);
    co_return Result<void>();
  }
  if (last_errors_.size() >= kLastErrorsMost) last_errors_.clear();
  last_errors_[file.name] = fmt::format("{}: {}\n", info ? "info" : "settings", done.error().to_string());
  log_event(LogLevel::kWarning, "settings-refused", file.name,
            {{"file", info ? "info" : "settings"}, {"error", done.error().to_string()}});
  co_return fail(std::move(done).error());
}

}  // namespace canopy::mount
