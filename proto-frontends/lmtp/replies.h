// Which reply a failure of the backend becomes (table in docs/frontends.md). Pure.
#pragma once

#include <string>

#include "daemon/base/error.h"

namespace canopy::lmtp {

// For RCPT and for the replies after the last DATA or BDAT. Whatever may pass is a 4xx: a sender that gets a
// 5xx returns the mail, so only a known fact about this recipient or this message is one.
std::string reply_for(const Error& error, bool quota_is_permanent);

}  // namespace canopy::lmtp
