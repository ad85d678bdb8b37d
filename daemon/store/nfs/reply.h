// What one call to an NFS server came to: its answer, or a fault with the protocol's own number.
#pragma once

#include <expected>
#include <string>

#include "daemon/base/error.h"

namespace canopy::nfs {

// RFC 1813 section 2.6 and RFC 7530 section 13, which agree on those that both have; negative: ours.
enum Status : int {
  kRefused = -4,  // as a call, before it came to the file
  kNotSent = -3,  // larger than libnfs can send
  kLost = -1,     // no answer; it may have been carried out, or may be later
  kGaveUp = -2,   // not within the limit, or the server is down
  kOk = 0,
  kNotOwner = 1,
  kNoEntry = 2,
  kIoError = 5,
  kAccess = 13,
  kExists = 17,
  kCrossDevice = 18,
  kNotDirectory = 20,
  kIsDirectory = 21,
  kInvalid = 22,
  kFileTooLarge = 27,
  kNoSpace = 28,
  kReadOnly = 30,
  kTooManyLinks = 31,
  kNameTooLong = 63,
  kNotEmpty = 66,
  kQuota = 69,
  kStale = 70,
  kBadHandle = 10001,
  kBadCookie = 10003,
  kNotSupported = 10004,
  kServerFault = 10006,
  kBadType = 10007,
  kDelayed = 10008,  // JUKEBOX, DELAY
};

struct Fault {
  int status = kLost;
};

template <class T>
using Reply = std::expected<T, Fault>;

inline std::unexpected<Fault> fault(int status) { return std::unexpected<Fault>(Fault{status}); }

// For statuses >= 0. The object: a path; the operation: "CREATE".
std::unexpected<Error> fail_status(int status, std::string object, std::string_view operation);

}  // namespace canopy::nfs
