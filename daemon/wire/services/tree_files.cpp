// Open files of the Tree service.
#include <sys/resource.h>

#include "daemon/base/limits.h"
#include "daemon/wire/services/tree_guard.h"
#include "daemon/wire/services/tree_service.h"

namespace canopy::wire {
namespace {

// A client that was made before `born` was gives the number alone.
bool is_expected(const Attributes& found, const v1::TreeOpenRequest& request) {
  if (found.file_id != request.file_id()) return false;
  return !request.has_born() || identity_of(found) == identity_of(request.file_id(), request.born());
}

}  // namespace

Result<TreeService::OpenFileRef> TreeService::file_of(CallContext& call, uint64_t handle) {
  const auto& open = call.connection().attachment<OpenFiles>().by_handle;
  auto found = open.find(handle);
  if (found != open.end()) return found->second;
  return fail(Code::kConflict, fmt::format("handle {}", handle),
              "it is not open on this connection; open it again");
}

Task<Result<void>> TreeService::may_write(CallContext& call, const OpenFile& file) {
  if (auto path = open_files_.account_path(file.identity))
    co_return co_await may_change(node_, call.loop(), std::move(*path));
  if (!file.guarded) co_return Result<void>();
  co_return co_await may_change(node_, call.loop(), file.path);
}

Task<Result<Attributes>> TreeService::create_file(Loop& loop, const v1::TreeOpenRequest& request,
                                                  std::unique_ptr<File>& into) {
  NewName what;
  what.path = request.path();
  what.mode = request.mode() & 07777;
  what.uid = request.uid();
  what.gid = request.gid();
  what.request_id = request.request_id();
  auto made = co_await make_once(loop, what);
  into = std::move(what.file);
  co_return made;
}

Task<Result<Attributes>> TreeService::open_file(Loop& loop, const v1::TreeOpenRequest& request,
                                                std::unique_ptr<File>& into) {
  OpenOptions options;
  options.write = request.write();
  options.create = request.create();
  options.truncate = request.truncate() && request.file_id() == 0;
  options.mode = request.mode() & 07777;
  std::optional<TreeNames::Hold> held;
  if (request.create()) held.emplace(co_await names_.hold(loop, {request.path()}));
  const FileIdentity expected = identity_of(request.file_id(), request.born());
  if (!request.path().empty()) {
    auto opened = co_await store().open(request.path(), options);
    if (!opened && (!expected || opened.error().code() != Code::kNotFound))
      co_return fail(std::move(opened).error());
    if (opened) {
      CANOPY_CO_ASSIGN(const Attributes found, co_await (*opened)->attributes());
      if (!expected || is_expected(found, request)) {
        into = std::move(*opened);
        if (!expected || !request.truncate()) co_return found;
        CANOPY_CO_TRY(co_await into->set_attributes(SetAttributes{.size = 0}, Durable::kNo));
        co_return co_await into->attributes();
      }
    }
  }
  // Its last name may be gone.
  auto kept = co_await store().open(unlinked_path(expected), OpenOptions{.write = request.write()});
  if (!kept) co_return fail(Code::kNotFound, request.path(), "another file has taken its name");
  into = std::move(*kept);
  co_return co_await into->attributes();
}

Result<void> TreeService::may_open_more(const std::string& path, size_t on_connection) const {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  const size_t in_all = handles_;
  if (on_connection < limit.rlim_cur / kTreeHandlesPerConnectionShare &&
      in_all < limit.rlim_cur / kTreeHandlesShare)
    return {};
  return std::unexpected<Error>(Error(
      Code::kTooLarge, path,
      fmt::format("this connection has {} files open, all have {}, which is what LimitNOFILE={} has room "
                  "for; close some, or raise it",
                  on_connection, in_all, limit.rlim_cur),
      ENFILE));
}

Task<Result<v1::TreeAttributes>> TreeService::open(CallContext& call, const v1::TreeOpenRequest& request) {
  auto& handles = call.connection().attachment<OpenFiles>().by_handle;
  if (request.handle() == 0 || handles.contains(request.handle()))
    co_return fail(Code::kInvalidArgument, "handle", "it is 0 or in use on this connection");
  CANOPY_CO_TRY(may_open_more(request.path(), handles.size()));
  const bool nameless = request.path().empty() && request.file_id() != 0;
  if (request.write() && !nameless)
    CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.path()));
  else if (!nameless)
    CANOPY_CO_TRY(check_raw_path(request.path()));
  std::unique_ptr<File> file;
  CANOPY_CO_ASSIGN(const Attributes found, co_await (request.create() && request.exclusive()
                                                         ? create_file(call.loop(), request, file)
                                                         : open_file(call.loop(), request, file)));
  // A file without a name belongs to no account any more.
  std::string path = request.path().empty() ? unlinked_path(identity_of(found)) : request.path();
  // Opened for writing it has just been asked for; attributes are changed through other handles, too.
  const bool guarded = !request.path().empty() && (!request.write() || depends_on_account(request.path()));
  auto opened = std::make_shared<OpenFile>(std::move(path), std::move(file), guarded, identity_of(found),
                                           call.loop(), open_files_, handles_);
  if (!handles.emplace(request.handle(), std::move(opened)).second)
    co_return fail(Code::kInvalidArgument, "handle", "it is in use on this connection");
  if (request.create())
    tell_name(call, request.path(), identity_of(found));
  else if (request.truncate() && request.file_id() == 0)
    tell_content(call, identity_of(found));
  co_return tree_attributes(seen(found));
}

Task<Result<v1::TreeReadResponse>> TreeService::read(CallContext& call, const v1::TreeReadRequest& request) {
  CANOPY_CO_ASSIGN(OpenFileRef open, file_of(call, request.handle()));
  if (request.bytes() > kWireChunkBytesMax)
    co_return fail(Code::kTooLarge, "bytes", fmt::format("at most {} at once", kWireChunkBytesMax));
  v1::TreeReadResponse out;
  std::string& data = *out.mutable_data();
  data.resize(request.bytes());
  auto got = co_await open->file->read(request.offset(), data);
  if (!got) co_return fail(std::move(got).error());
  data.resize(*got);
  co_return out;
}

Task<Result<v1::TreeWriteResponse>> TreeService::write(CallContext& call,
                                                       const v1::TreeWriteRequest& request) {
  CANOPY_CO_ASSIGN(OpenFileRef open, file_of(call, request.handle()));
  CANOPY_CO_TRY(co_await may_write(call, *open));
  std::optional<TreeNames::Hold> held;
  if (request.append()) {
    held.emplace(co_await names_.hold(call.loop(), {"append:" + unlinked_path(open->identity)}));
    CANOPY_CO_ASSIGN(const Attributes now, co_await open->file->attributes());
    if (now.size != request.offset()) {
      v1::TreeWriteResponse elsewhere;
      elsewhere.set_end(now.size);
      co_return elsewhere;
    }
  }
  const std::string_view piece = request.data();
  auto done = co_await open->file->write(request.offset(), {&piece, 1}, Durable::kNo);
  tell_written(call, *open);  // also after an error: a part may have been written
  if (!done) co_return fail(std::move(done).error());
  v1::TreeWriteResponse out;
  out.set_bytes(static_cast<uint32_t>(done->written));
  co_return out;
}

Task<Result<v1::TreeAttributes>> TreeService::allocate(CallContext& call,
                                                       const v1::TreeAllocateRequest& request) {
  CANOPY_CO_ASSIGN(OpenFileRef open, file_of(call, request.handle()));
  CANOPY_CO_TRY(co_await may_write(call, *open));
  AllocateMode mode = AllocateMode::kReserve;
  switch (request.mode()) {
    case v1::TreeAllocateRequest::RESERVE: break;
    case v1::TreeAllocateRequest::RESERVE_KEEP_SIZE: mode = AllocateMode::kReserveKeepSize; break;
    case v1::TreeAllocateRequest::PUNCH_HOLE: mode = AllocateMode::kPunchHole; break;
    case v1::TreeAllocateRequest::ZERO: mode = AllocateMode::kZero; break;
    default: co_return fail(Code::kInvalidArgument, "mode", "it is none that this server knows");
  }
  auto done = co_await open->file->allocate(mode, request.offset(), request.bytes());
  tell_written(call, *open);
  if (!done) co_return fail(std::move(done).error());
  auto after = co_await open->file->attributes();
  if (!after) co_return fail(std::move(after).error());
  co_return tree_attributes(seen(*after));
}

Task<Result<v1::TreeSeekResponse>> TreeService::seek(CallContext& call, const v1::TreeSeekRequest& request) {
  CANOPY_CO_ASSIGN(OpenFileRef open, file_of(call, request.handle()));
  auto found = request.hole() ? co_await open->file->seek_hole(request.offset())
                              : co_await open->file->seek_data(request.offset());
  if (!found) co_return fail(std::move(found).error());
  v1::TreeSeekResponse out;
  out.set_offset(*found);
  co_return out;
}

Task<Result<v1::Empty>> TreeService::sync(CallContext& call, const v1::TreeSyncRequest& request) {
  if (request.handle() == 0) {
    CANOPY_CO_TRY(check_raw_path(request.path()));
    CANOPY_CO_TRY(co_await store().sync_directory(request.path()));
    co_return v1::Empty();
  }
  CANOPY_CO_ASSIGN(OpenFileRef open, file_of(call, request.handle()));
  CANOPY_CO_TRY(co_await open->file->sync());
  co_return v1::Empty();
}

Result<v1::Empty> TreeService::close(CallContext& call, const v1::TreeCloseRequest& request) {
  auto& open = call.connection().attachment<OpenFiles>().by_handle;
  if (auto found = open.find(request.handle()); found != open.end()) {
    found->second->closed = true;
    open.erase(found);
  }
  return v1::Empty();
}

}  // namespace canopy::wire
