// Open files of the Tree service.
#include "daemon/base/limits.h"
#include "daemon/wire/services/tree_guard.h"
#include "daemon/wire/services/tree_service.h"

namespace canopy::wire {

Result<TreeService::OpenFileRef> TreeService::file_of(CallContext& call, uint64_t handle) {
  const auto& open = call.connection().attachment<OpenFiles>().by_handle;
  auto found = open.find(handle);
  if (found != open.end()) return found->second;
  return fail(Code::kConflict, fmt::format("handle {}", handle),
              "it is not open on this connection; open it again");
}

Task<Result<void>> TreeService::may_write(CallContext& call, const OpenFile& file) {
  if (!file.guarded) co_return Result<void>();
  co_return co_await may_change(node_, call.loop(), file.path);
}

Task<Result<v1::TreeAttributes>> TreeService::open(CallContext& call, const v1::TreeOpenRequest& request) {
  auto& handles = call.connection().attachment<OpenFiles>().by_handle;
  if (request.handle() == 0 || handles.contains(request.handle()))
    co_return fail(Code::kInvalidArgument, "handle", "it is 0 or in use on this connection");
  if (handles.size() >= kTreeHandlesPerConnectionMax) {
    co_return std::unexpected<Error>(Error(
        Code::kTooLarge, request.path(),
        fmt::format("this connection has {} files open; close some", kTreeHandlesPerConnectionMax), ENFILE));
  }
  if (request.write())
    CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.path()));
  else
    CANOPY_CO_TRY(check_raw_path(request.path()));
  OpenOptions options;
  options.write = request.write();
  options.create = request.create();
  options.exclusive = request.exclusive();
  options.truncate = request.truncate() && request.file_id() == 0;
  options.mode = request.mode() & 07777;
  auto file = co_await store().open(request.path(), options);
  if (!file) co_return fail(std::move(file).error());
  auto found = co_await (*file)->attributes();
  if (!found) co_return fail(std::move(found).error());
  if (request.file_id() != 0 && found->file_id != request.file_id())
    co_return fail(Code::kNotFound, request.path(), "another file has taken its name");
  if (request.create() && found->size == 0 && (found->uid != request.uid() || found->gid != request.gid()) &&
      options.exclusive) {
    CANOPY_CO_TRY(co_await (*file)->set_attributes(SetAttributes{.uid = request.uid(), .gid = request.gid()},
                                                   Durable::kNo));
    found->uid = request.uid();
    found->gid = request.gid();
  }
  auto opened = std::make_shared<OpenFile>(
      OpenFile{request.path(), std::move(*file), request.write() && depends_on_account(request.path())});
  if (!handles.emplace(request.handle(), std::move(opened)).second)
    co_return fail(Code::kInvalidArgument, "handle", "it is in use on this connection");
  co_return tree_attributes(*found);
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
  const std::string_view piece = request.data();
  auto done = co_await open->file->write(request.offset(), {&piece, 1}, Durable::kNo);
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
  CANOPY_CO_TRY(co_await open->file->allocate(mode, request.offset(), request.bytes()));
  auto after = co_await open->file->attributes();
  if (!after) co_return fail(std::move(after).error());
  co_return tree_attributes(*after);
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
  call.connection().attachment<OpenFiles>().by_handle.erase(request.handle());
  return v1::Empty();
}

}  // namespace canopy::wire
