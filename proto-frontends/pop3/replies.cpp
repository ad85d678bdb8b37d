#include "proto-frontends/pop3/replies.h"

namespace canopy::pop3 {

bool is_wrong_password(const Error& error) {
  switch (error.code()) {
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
    case Code::kNotFound:
    case Code::kInvalidArgument:
    case Code::kNoSpaceForName: return true;
    default: return false;
  }
}

std::string_view login_reply(const Error& error) {
  // One sentence for all of them: nobody learns which names exist.
  if (is_wrong_password(error)) return "-ERR [AUTH] Name or password is wrong";
  switch (error.code()) {
    case Code::kBusy: return "-ERR [IN-USE] Another session has this maildrop open";
    case Code::kSuspended: return "-ERR [SYS/TEMP] The account is not in use at the moment";
    case Code::kUnsupported: return "-ERR Mechanism not known";
    default: return "-ERR [SYS/TEMP] The mail store does not answer at the moment";
  }
}

std::string_view message_reply(const Error& error) {
  switch (error.code()) {
    case Code::kNotFound: return "-ERR The message is no longer there";
    case Code::kDamaged:
      return "-ERR [SYS/PERM] The message is damaged on the store; the administrator knows";
    case Code::kUnauthenticated: return "-ERR [SYS/TEMP] The session is no longer valid, please log in again";
    default: return "-ERR [SYS/TEMP] The mail store does not answer at the moment";
  }
}

}  // namespace canopy::pop3
