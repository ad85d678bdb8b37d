#include "daemon/store/nfs/reply.h"

#include <cerrno>

#include <fmt/format.h>

namespace canopy::nfs {
namespace {

struct Row {
  int status;
  Code code;
  int error_number;
  std::string_view words;
};

constexpr Row kRows[] = {
    {kNotOwner, Code::kPermissionDenied, EPERM, "only the owner may"},
    {kNoEntry, Code::kNotFound, ENOENT, "no such file or directory"},
    {kIoError, Code::kIo, EIO, "the server met an input/output error"},
    {kAccess, Code::kPermissionDenied, EACCES, "permission denied"},
    {kExists, Code::kAlreadyExists, EEXIST, "the name is taken"},
    {kCrossDevice, Code::kCrossStore, EXDEV, "both names must lie in one file system of the server"},
    {kNotDirectory, Code::kNotDirectory, ENOTDIR, "not a directory"},
    {kIsDirectory, Code::kIsDirectory, EISDIR, "it is a directory"},
    {kInvalid, Code::kInvalidArgument, EINVAL, "the server calls it invalid"},
    {kFileTooLarge, Code::kTooLarge, EFBIG, "beyond the largest file"},
    {kNoSpace, Code::kStoreFull, ENOSPC, "no space left on the store"},
    {kReadOnly, Code::kReadOnly, EROFS, "the store is read-only"},
    {kTooManyLinks, Code::kTooManyLinks, EMLINK, "too many links"},
    {kNameTooLong, Code::kNoSpaceForName, ENAMETOOLONG, "the server does not take so long a name"},
    {kNotEmpty, Code::kNotEmpty, ENOTEMPTY, "the directory is not empty"},
    {kQuota, Code::kStoreFull, EDQUOT, "over the quota on the store"},
    {kStale, Code::kNotFound, ESTALE, "the file is no longer there"},
    {kBadHandle, Code::kNotFound, ESTALE, "the server no longer knows the file"},
    {kBadCookie, Code::kTryAgain, EAGAIN, "the listing must begin anew"},
    {kNotSupported, Code::kUnsupported, EOPNOTSUPP, "the server cannot do this"},
    {kBadType, Code::kUnsupported, EOPNOTSUPP, "the server has no such kind of file"},
};

}  // namespace

std::unexpected<Error> fail_status(int status, std::string object, std::string_view operation) {
  for (const Row& row : kRows) {
    if (row.status != status) continue;
    return std::unexpected<Error>(
        Error(row.code, std::move(object), fmt::format("{}: {}", operation, row.words), row.error_number));
  }
  return std::unexpected<Error>(
      Error(Code::kIo, std::move(object), fmt::format("{}: NFS status {}", operation, status), EIO));
}

}  // namespace canopy::nfs
