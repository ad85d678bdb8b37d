#include "proto-frontends/lmtp/replies.h"

namespace canopy::lmtp {

std::string reply_for(const Error& error, bool quota_is_permanent) {
  switch (error.code()) {
    case Code::kNotFound: return "550 5.1.1 No such user here";
    case Code::kInvalidArgument:
    case Code::kNoSpaceForName: return "550 5.1.3 No account can have such a name";
    case Code::kQuotaExceeded: return quota_is_permanent ? "552 5.2.2 Over quota" : "452 4.2.2 Over quota";
    case Code::kTooLarge: return "552 5.3.4 The message is too large";
    case Code::kSuspended: return "450 4.2.1 The account is not in use at the moment";
    case Code::kStoreFull: return "452 4.3.1 Over store capacity";
    default:
      // Says which state it was, but none of the words inside: they name stores and paths.
      return fmt::format("451 4.3.0 Temporary failure ({})", code_name(error.code()));
  }
}

}  // namespace canopy::lmtp
