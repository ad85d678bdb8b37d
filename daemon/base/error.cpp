#include "daemon/base/error.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace canopy {
namespace {

struct Row {
  Code code;
  std::string_view name;
  bool retryable;
  int error_number;
};

constexpr Row kRows[] = {
    {Code::kOk, "ok", false, 0},
    {Code::kInvalidArgument, "invalid-argument", false, EINVAL},
    {Code::kNotFound, "not-found", false, ENOENT},
    {Code::kAlreadyExists, "already-exists", false, EEXIST},
    {Code::kPermissionDenied, "permission-denied", false, EACCES},
    {Code::kUnauthenticated, "unauthenticated", false, EPERM},
    {Code::kNotEmpty, "not-empty", false, ENOTEMPTY},
    {Code::kNotDirectory, "not-directory", false, ENOTDIR},
    {Code::kIsDirectory, "is-directory", false, EISDIR},
    {Code::kBusy, "busy", true, EBUSY},
    {Code::kStoreUnavailable, "store-unavailable", true, EIO},
    {Code::kStoreFull, "store-full", true, ENOSPC},
    {Code::kQuotaExceeded, "quota-exceeded", true, EDQUOT},
    {Code::kTooLarge, "too-large", false, EFBIG},
    {Code::kFenced, "fenced", true, ESTALE},
    {Code::kWrongBackend, "wrong-backend", true, ESTALE},
    {Code::kDeadlineExceeded, "deadline-exceeded", true, ETIMEDOUT},
    {Code::kCancelled, "cancelled", true, EINTR},
    {Code::kConnectionLost, "connection-lost", true, ECONNRESET},
    {Code::kDamaged, "damaged", false, EIO},
    {Code::kUnsupported, "unsupported", false, EOPNOTSUPP},
    {Code::kSuspended, "suspended", false, EPERM},
    {Code::kTryAgain, "try-again", true, EAGAIN},
    {Code::kIo, "io", true, EIO},
    {Code::kInternal, "internal", false, EIO},
    {Code::kConflict, "conflict", false, ESTALE},
    {Code::kNoSpaceForName, "name-too-long", false, ENAMETOOLONG},
    {Code::kCrossStore, "cross-store", false, EXDEV},
    {Code::kLoop, "link-loop", false, ELOOP},
    {Code::kTooManyLinks, "too-many-links", false, EMLINK},
    {Code::kReadOnly, "read-only", false, EROFS},
};
static_assert(std::size(kRows) == static_cast<size_t>(Code::kLast) + 1);

const Row& row_of(Code code) {
  auto index = static_cast<size_t>(code);
  return index < std::size(kRows) ? kRows[index] : kRows[static_cast<size_t>(Code::kInternal)];
}

}  // namespace

std::string_view code_name(Code code) { return row_of(code).name; }
bool code_is_retryable(Code code) { return row_of(code).retryable; }
int code_to_errno(Code code) { return row_of(code).error_number; }

Code code_from_errno(int error_number) {
  switch (error_number) {
    case 0: return Code::kOk;
    case EINVAL: return Code::kInvalidArgument;
    case ENOENT: return Code::kNotFound;
    case EEXIST: return Code::kAlreadyExists;
    case EACCES:
    case EPERM: return Code::kPermissionDenied;
    case ENOTEMPTY: return Code::kNotEmpty;
    case ENOTDIR: return Code::kNotDirectory;
    case EISDIR: return Code::kIsDirectory;
    case EBUSY: return Code::kBusy;
    case ENOSPC:
    case EDQUOT: return Code::kStoreFull;
    case EFBIG: return Code::kTooLarge;
    case ETIMEDOUT: return Code::kDeadlineExceeded;
    case ECANCELED: return Code::kCancelled;
    case ECONNRESET:
    case EPIPE:
    case ECONNREFUSED:
    case ENOTCONN: return Code::kConnectionLost;
    case EOPNOTSUPP:
    case ENOSYS: return Code::kUnsupported;
    case EAGAIN:
    case EINTR: return Code::kTryAgain;
    case ENAMETOOLONG: return Code::kNoSpaceForName;
    case EXDEV: return Code::kCrossStore;
    case ELOOP: return Code::kLoop;
    case EMLINK: return Code::kTooManyLinks;
    case EROFS: return Code::kReadOnly;
    case ESTALE: return Code::kStoreUnavailable;
    default: return Code::kIo;
  }
}

Error::Error(Code code, std::string object, std::string message, int error_number)
    : code_(code),
      detail_(std::make_shared<const Detail>(Detail{std::move(object), std::move(message), error_number})) {}

int Error::error_number() const {
  return detail_->error_number != 0 ? detail_->error_number : code_to_errno(code_);
}

std::string Error::to_string() const {
  return fmt::format("{}: {} ({})", detail_->object, detail_->message, code_name(code_));
}

std::unexpected<Error> fail_errno(int error_number, std::string object, std::string_view operation) {
  char words[128];
  const char* text = strerror_r(error_number, words, sizeof words);
  return std::unexpected<Error>(Error(code_from_errno(error_number), std::move(object),
                                      fmt::format("{}: {}", operation, text), error_number));
}

}  // namespace canopy
