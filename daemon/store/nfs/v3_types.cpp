#include "daemon/store/nfs/v3_types.h"

namespace canopy::nfs::v3 {
namespace {

FileType type_from(ftype3 type) {
  switch (type) {
    case NF3REG: return FileType::kRegular;
    case NF3DIR: return FileType::kDirectory;
    case NF3LNK: return FileType::kSymlink;
    default: return FileType::kOther;
  }
}

FileTime time_from(const nfstime3& time) { return FileTime{time.seconds, time.nseconds}; }

nfstime3 time_of(const FileTime& time) {
  return nfstime3{.seconds = static_cast<u_int>(time.seconds), .nseconds = time.nanoseconds};
}

}  // namespace

nfs_fh3 handle_of(const FileHandle& handle) {
  nfs_fh3 out{};
  out.data.data_len = static_cast<u_int>(handle.bytes().size());
  out.data.data_val = const_cast<char*>(handle.bytes().data());
  return out;
}

diropargs3 name_in(const FileHandle& directory, const std::string& name) {
  return diropargs3{.dir = handle_of(directory), .name = const_cast<char*>(name.c_str())};
}

sattr3 changes_of(const SetAttributes& change) {
  sattr3 out{};
  if (change.mode) out.mode = {.set_it = 1, .set_mode3_u = {.mode = *change.mode}};
  if (change.uid) out.uid = {.set_it = 1, .set_uid3_u = {.uid = *change.uid}};
  if (change.gid) out.gid = {.set_it = 1, .set_gid3_u = {.gid = *change.gid}};
  if (change.size) out.size = {.set_it = 1, .set_size3_u = {.size = *change.size}};
  if (change.accessed)
    out.atime = {.set_it = SET_TO_CLIENT_TIME, .set_atime_u = {.atime = time_of(*change.accessed)}};
  if (change.modified)
    out.mtime = {.set_it = SET_TO_CLIENT_TIME, .set_mtime_u = {.mtime = time_of(*change.modified)}};
  return out;
}

FileHandle handle_from(const nfs_fh3& handle) {
  const size_t size = std::min<size_t>(handle.data.data_len, NFS3_FHSIZE);
  return FileHandle(std::string_view(handle.data.data_val, size));
}

Attributes attributes_from(const fattr3& from) {
  Attributes out;
  out.type = type_from(from.type);
  out.mode = from.mode & 07777;
  out.links = from.nlink;
  out.uid = from.uid;
  out.gid = from.gid;
  out.size = from.size;
  out.allocated = from.used;
  out.file_id = from.fileid;
  out.accessed = time_from(from.atime);
  out.modified = time_from(from.mtime);
  out.changed = time_from(from.ctime);
  return out;
}

std::optional<Attributes> attributes_from(const post_op_attr& from) {
  if (from.attributes_follow == 0) return std::nullopt;
  return attributes_from(from.post_op_attr_u.attributes);
}

std::optional<FileHandle> handle_from(const post_op_fh3& from) {
  if (from.handle_follows == 0) return std::nullopt;
  return handle_from(from.post_op_fh3_u.handle);
}

}  // namespace canopy::nfs::v3
