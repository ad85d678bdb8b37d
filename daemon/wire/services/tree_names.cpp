// The Tree service's changes of names, each carried out once however often its request comes
// (docs/protocol/tree.md, "Once").
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/limits.h"
#include "daemon/store/store_path.h"
#include "daemon/tree/layout.h"
#include "daemon/wire/services/tree_guard.h"
#include "daemon/wire/services/tree_service.h"

namespace canopy::wire {
namespace {

Result<void> check_request_id(const std::string& id) {
  if (id.empty() || id.size() == kRequestIdBytes) return {};
  return fail(Code::kInvalidArgument, "request_id", fmt::format("it has {} bytes", kRequestIdBytes));
}

}  // namespace

Task<Result<bool>> TreeService::claim(Loop& loop, std::string request_id) {
  if (request_id.empty()) co_return false;
  CANOPY_CO_TRY(check_request_id(request_id));
  auto before = co_await once_.claim(loop, std::move(request_id));
  if (!before) co_return false;
  if (before->error) co_return fail(*before->error);
  co_return true;
}

void TreeService::settle(const std::string& request_id, const Result<void>& done) {
  if (request_id.empty()) return;
  if (done)
    once_.settle(request_id, TreeOnce::Outcome{});
  else if (done.error().retryable())
    once_.settle(request_id, std::nullopt);
  else
    once_.settle(request_id, TreeOnce::Outcome{done.error()});
}

Task<std::optional<FileIdentity>> TreeService::named(std::string path) {
  auto found = co_await store().attributes(std::move(path));
  if (!found) co_return std::nullopt;
  co_return identity_of(*found);
}

// What the daemon makes belongs to its own user and group at first, in a set-group-id directory to that one's
// group, which stays.
Task<Result<void>> TreeService::give_to_caller(const NewName& what) {
  SetAttributes change;
  if (what.uid != geteuid()) change.uid = what.uid;
  if (what.gid != getegid()) {
    auto above = co_await store().attributes(std::string(store_parent_of(what.path)));
    if (!above) co_return fail(std::move(above).error());
    if ((above->mode & S_ISGID) == 0) change.gid = what.gid;
  }
  if (!change.uid && !change.gid) co_return Result<void>();
  // A change of the owner takes these bits away.
  if (what.kind == NewName::Kind::kFile && (what.mode & (S_ISUID | S_ISGID)) != 0) change.mode = what.mode;
  co_return co_await store().set_attributes(what.path, change, Durable::kNo);
}

Task<void> TreeService::look_again(Loop& loop, std::string path) {
  const TreePlace place = describe_path(path);
  if (place.kind != TreePlaceKind::kAccount && place.kind != TreePlaceKind::kAccountFile) co_return;
  AccountAddress address{std::string(place.account), std::string(place.domain)};
  co_await node_.look_again(std::move(address));
  co_await loop.switch_to();
}

// ------------------------------------------------------------------------------------------------ making

Task<Result<Attributes>> TreeService::make_now(NewName& what) {
  switch (what.kind) {
    case NewName::Kind::kFile: {
      OpenOptions options{.write = true, .create = true, .exclusive = true, .mode = what.mode};
      CANOPY_CO_ASSIGN(what.file, co_await store().open(what.path, options));
      break;
    }
    case NewName::Kind::kDirectory:
      CANOPY_CO_TRY(co_await store().make_directory(what.path, what.mode, Durable::kNo));
      break;
    case NewName::Kind::kSymlink:
      CANOPY_CO_TRY(co_await store().make_symlink(what.target, what.path, Durable::kNo));
      break;
  }
  CANOPY_CO_TRY(co_await give_to_caller(what));
  if (what.file != nullptr) co_return co_await what.file->attributes();
  co_return co_await store().attributes(what.path);
}

// What an earlier attempt has made, perhaps without getting to its end.
Task<Result<Attributes>> TreeService::find_made(NewName& what, FileIdentity made) {
  auto found = co_await store().attributes(what.path);
  if (!found && found.error().code() != Code::kNotFound) co_return found;
  if (!found || identity_of(*found) != made)
    co_return fail(Code::kNotFound, what.path, "the request has made it, and somebody has removed it since");
  if (what.kind == NewName::Kind::kFile) {
    CANOPY_CO_ASSIGN(what.file, co_await store().open(what.path, OpenOptions{.write = true}));
  }
  if (found->uid == what.uid && found->gid == what.gid) co_return found;
  CANOPY_CO_TRY(co_await give_to_caller(what));
  co_return co_await store().attributes(what.path);
}

Task<Result<Attributes>> TreeService::make_new(Loop& loop, NewName& what) {
  auto held = co_await names_.hold(loop, {what.path});
  if (what.request_id.empty()) co_return co_await make_now(what);
  if (auto made = intents_.made(what.request_id)) co_return co_await find_made(what, *made);
  auto there = co_await store().attributes(what.path);
  if (there) co_return fail(Code::kAlreadyExists, what.path, "the name is taken");
  if (there.error().code() != Code::kNotFound) co_return there;
  CANOPY_CO_ASSIGN(auto under_way, co_await intents_.begin(loop, what.request_id, what.path));
  co_return co_await make_now(what);
}

Task<Result<Attributes>> TreeService::make_once(Loop& loop, NewName& what) {
  CANOPY_CO_TRY(check_request_id(what.request_id));
  if (!what.request_id.empty()) {
    if (auto before = co_await once_.claim(loop, what.request_id)) {
      if (before->error) co_return fail(*before->error);
      auto held = co_await names_.hold(loop, {what.path});
      co_return co_await find_made(what, before->made);
    }
  }
  auto made = co_await make_new(loop, what);
  if (made && !what.request_id.empty())
    once_.settle(what.request_id, TreeOnce::Outcome{{}, identity_of(*made)});
  else if (!made)
    settle(what.request_id, fail(made.error()));
  co_return made;
}

Task<Result<void>> TreeService::link_once(Loop& loop, const v1::TreeMakeRequest& request) {
  auto held = co_await names_.hold(loop, {request.path(), request.target()});
  if (of_another_epoch(request.epoch()) && request.expected().file_id() != 0 &&
      co_await named(request.path()) == identity_of(request.expected()))
    co_return Result<void>();
  co_return co_await store().link(request.target(), request.path(), Durable::kNo);
}

Task<Result<v1::TreeAttributes>> TreeService::make(CallContext& call, const v1::TreeMakeRequest& request) {
  CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.path()));
  NewName what;
  switch (request.kind()) {
    case v1::TreeMakeRequest::DIRECTORY: what.kind = NewName::Kind::kDirectory; break;
    case v1::TreeMakeRequest::SYMLINK: what.kind = NewName::Kind::kSymlink; break;
    case v1::TreeMakeRequest::LINK: {
      // A second name of an account's file would be a way around the account.
      CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.target()));
      CANOPY_CO_TRY(may_have_both_names(request.target(), request.path()));
      CANOPY_CO_ASSIGN(const bool before, co_await claim(call.loop(), request.request_id()));
      if (before) co_return co_await attributes_of(request.path());
      auto linked = co_await link_once(call.loop(), request);
      settle(request.request_id(), linked);
      if (!linked) co_return fail(std::move(linked).error());
      auto found = co_await store().attributes(request.path());
      if (!found) co_return fail(std::move(found).error());
      tell_name(call, request.path(), identity_of(*found));
      tell_content(call, identity_of(*found));  // one link more
      co_return tree_attributes(seen(*found));
    }
    default: co_return fail(Code::kInvalidArgument, "kind", "it is DIRECTORY, SYMLINK or LINK");
  }
  what.path = request.path();
  what.target = request.target();
  what.mode = request.mode() & 07777;
  what.uid = request.uid();
  what.gid = request.gid();
  what.request_id = request.request_id();
  auto made = co_await make_once(call.loop(), what);
  if (!made) co_return fail(std::move(made).error());
  tell_name(call, request.path(), identity_of(*made));
  co_await look_again(call.loop(), request.path());
  co_return tree_attributes(seen(*made));
}

// ------------------------------------------------------------------------------------------------ removing

Task<Result<void>> TreeService::remove_once(Loop& loop, const v1::TreeRemoveRequest& request) {
  auto held = co_await names_.hold(loop, {request.path()});
  if (of_another_epoch(request.epoch()) && request.expected().file_id() != 0) {
    auto there = co_await store().attributes(request.path());
    if (!there && there.error().code() == Code::kNotFound) co_return Result<void>();
    if (!there) co_return fail(std::move(there).error());
    if (identity_of(*there) != identity_of(request.expected())) co_return Result<void>();
  }
  if (request.directory()) co_return co_await store().remove_directory(request.path(), Durable::kNo);
  co_return co_await remove_file(loop, request.path(), identity_of(request.expected()), request.held());
}

Task<Result<v1::Empty>> TreeService::remove(CallContext& call, const v1::TreeRemoveRequest& request) {
  CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.path()));
  CANOPY_CO_ASSIGN(const bool before, co_await claim(call.loop(), request.request_id()));
  if (before) co_return v1::Empty();
  auto done = co_await remove_once(call.loop(), request);
  settle(request.request_id(), done);
  if (!done) co_return fail(std::move(done).error());
  tell_name(call, request.path(), {});
  tell_content(call, identity_of(request.expected()));  // one link less
  co_await look_again(call.loop(), request.path());
  co_return v1::Empty();
}

// ------------------------------------------------------------------------------------------------ renaming

Task<bool> TreeService::was_renamed(const v1::TreeRenameRequest& request) {
  const FileIdentity moved = identity_of(request.expected());
  const auto from = co_await named(request.from());
  const auto to = co_await named(request.to());
  if (request.mode() != v1::TreeRenameRequest::EXCHANGE) co_return to == moved&& from != moved;
  const FileIdentity other = identity_of(request.expected_to());
  co_return moved != other&& to == moved&& from == other;
}

Task<Result<void>> TreeService::rename_once(Loop& loop, const v1::TreeRenameRequest& request,
                                            RenameMode mode) {
  auto held = co_await names_.hold(loop, {request.from(), request.to()});
  if (of_another_epoch(request.epoch()) && request.expected().file_id() != 0 && co_await was_renamed(request))
    co_return Result<void>();
  CANOPY_CO_TRY(co_await may_pass(request.from(), request.to()));
  if (mode == RenameMode::kExchange) CANOPY_CO_TRY(co_await may_pass(request.to(), request.from()));
  co_return co_await replace_file(loop, request, mode);
}

// Across the border of an account. What is not there the renaming itself tells of.
Task<Result<void>> TreeService::may_pass(std::string from, std::string to) {
  if (!depends_on_account(from) && !depends_on_account(to)) co_return Result<void>();
  auto there = co_await store().attributes(from);
  if (!there && there.error().code() == Code::kNotFound) co_return Result<void>();
  if (!there) co_return fail(std::move(there).error());
  co_return co_await may_cross(store(), seen(*there), std::move(from), std::move(to));
}

Task<Result<v1::Empty>> TreeService::rename(CallContext& call, const v1::TreeRenameRequest& request) {
  CANOPY_CO_TRY(co_await may_move(node_, call.loop(), request.from()));
  if (request.mode() == v1::TreeRenameRequest::EXCHANGE)
    CANOPY_CO_TRY(co_await may_move(node_, call.loop(), request.to()));
  else
    CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.to()));
  RenameMode mode = RenameMode::kReplace;
  switch (request.mode()) {
    case v1::TreeRenameRequest::REPLACE: break;
    case v1::TreeRenameRequest::NO_REPLACE: mode = RenameMode::kNoReplace; break;
    case v1::TreeRenameRequest::EXCHANGE: mode = RenameMode::kExchange; break;
    default: co_return fail(Code::kInvalidArgument, "mode", "it is REPLACE, NO_REPLACE or EXCHANGE");
  }
  CANOPY_CO_ASSIGN(const bool before, co_await claim(call.loop(), request.request_id()));
  if (before) co_return v1::Empty();
  auto done = co_await rename_once(call.loop(), request, mode);
  settle(request.request_id(), done);
  if (!done) co_return fail(std::move(done).error());
  if (mode == RenameMode::kExchange) {
    tell_name(call, request.from(), identity_of(request.expected_to()));
    tell_name(call, request.to(), identity_of(request.expected()));
  } else {
    changes_.add(TreeChange{TreeChange::Kind::kMoved, request.from(), request.to(),
                            identity_of(request.expected()), session_of(call)});
  }
  co_await look_again(call.loop(), request.from());
  co_await look_again(call.loop(), request.to());
  co_return v1::Empty();
}

}  // namespace canopy::wire
