#include "daemon/store/nfs/nfs_file.h"

namespace canopy::nfs {
namespace {

// NFSv3 counts the seconds of a time from 1970 in 32 bits without a sign.
Result<void> check_time(Client& client, const std::optional<FileTime>& time, const std::string& path) {
  if (!time || client.protocol().has_early_times() || (time->seconds >= 0 && time->seconds <= UINT32_MAX))
    return {};
  return fail(Code::kUnsupported, path, "the store has no times before 1970 or after 2106");
}

}  // namespace

Result<void> NfsFile::check_writable() const {
  if (!writable_) return fail(Code::kPermissionDenied, path_, "the file is open for reading only");
  return {};
}

Task<Result<size_t>> NfsFile::read(uint64_t offset, std::span<char> into) {
  if (offset > INT64_MAX) co_return fail(Code::kInvalidArgument, path_, "the offset is beyond any file");
  co_return co_await read_range(client_, handle_, path_, offset, into, client_.deadline(into.size()));
}

Task<Result<WriteOutcome>> NfsFile::write(uint64_t offset, std::span<const std::string_view> pieces,
                                          Durable durable) {
  if (pieces.size() > kStoreWritePiecesMax)
    co_return fail(Code::kInvalidArgument, path_, "too many pieces in one write");
  CANOPY_CO_TRY(check_writable());
  size_t total = 0;
  for (std::string_view piece : pieces) total += piece.size();
  const uint64_t file_max = client_.limits().file_bytes;
  if (offset > file_max || total > file_max - offset)
    co_return fail(Code::kTooLarge, path_, "beyond the largest file");
  if (total == 0) {
    CANOPY_CO_ASSIGN(const Attributes now, co_await attributes());
    co_return WriteOutcome{.written = 0, .after = now};
  }
  co_return co_await write_pieces(client_, handle_, path_, offset, pieces, total, durable,
                                  client_.deadline(total));
}

Task<Result<Attributes>> NfsFile::attributes() {
  co_return co_await client_.attributes(handle_, path_, client_.deadline());
}

Task<Result<void>> NfsFile::set_attributes(SetAttributes change, Durable) {
  if (change.size) CANOPY_CO_TRY(check_writable());
  Node node;
  node.file = {.handle = handle_, .type = FileType::kRegular};
  co_return co_await change_attributes(client_, node, path_, change, client_.deadline());
}

Task<Result<void>> NfsFile::sync() {
  co_return co_await sync_file(client_, handle_, path_, client_.deadline());
}

Task<Result<void>> NfsFile::allocate(AllocateMode, uint64_t, uint64_t size) {
  CANOPY_CO_TRY(check_writable());
  if (size == 0) co_return fail(Code::kInvalidArgument, path_, "a range has at least one byte");
  co_return fail(Code::kUnsupported, path_, "NFS before 4.2 cannot reserve or free room in a file");
}

// NFS before 4.2 does not say where holes are: a file without any, as POSIX allows (lseek, SEEK_HOLE).
Task<Result<uint64_t>> NfsFile::seek_data(uint64_t offset) {
  CANOPY_CO_TRY(co_await seek_end(offset));
  co_return offset;
}
Task<Result<uint64_t>> NfsFile::seek_hole(uint64_t offset) { return seek_end(offset); }

Task<Result<uint64_t>> NfsFile::seek_end(uint64_t from) {
  CANOPY_CO_ASSIGN(const Attributes now, co_await attributes());
  if (from >= now.size) co_return fail(Code::kNotFound, path_, "nothing lies there or behind it");
  co_return now.size;
}

// RFC 1813 has the server make it durable before it answers.
static Task<Result<void>> send_attributes(Client& client, FileHandle file, std::string path,
                                          SetAttributes change, Nanos deadline) {
  auto changed = co_await client.server().insist<void>(
      deadline, [&](RpcConnection& on) { return client.protocol().set_attributes(on, file, change); });
  if (!changed) co_return client.fail(changed.error(), path, "SETATTR");
  co_return Result<void>();
}

Task<Result<void>> change_attributes(Client& client, Node node, std::string path, SetAttributes change,
                                     Nanos deadline) {
  if (node.file.type == FileType::kSymlink) {
    if (change.size) co_return fail(Code::kLoop, path, "a symbolic link, and none is followed");
    if (change.mode) co_return fail(Code::kUnsupported, path, "a symbolic link has no mode of its own");
  }
  if (node.file.type == FileType::kDirectory && change.size)
    co_return fail(Code::kIsDirectory, path, "a directory has no size to set");
  CANOPY_CO_TRY(check_time(client, change.accessed, path));
  CANOPY_CO_TRY(check_time(client, change.modified, path));
  if (change.size && *change.size > client.limits().file_bytes)
    co_return fail(Code::kTooLarge, path, "beyond the largest file");
  CANOPY_CO_TRY(co_await send_attributes(client, node.file.handle, path, change, deadline));
  // Another owner takes the set-id bits away, in the same call too where the server does that last.
  if ((!change.uid && !change.gid) || (change.mode.value_or(0) & 06000) == 0) co_return Result<void>();
  SetAttributes mode_again;
  mode_again.mode = change.mode;
  co_return co_await send_attributes(client, node.file.handle, path, mode_again, deadline);
}

}  // namespace canopy::nfs
