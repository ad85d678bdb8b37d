// Which reply a failure of the backend becomes (table in docs/frontends.md; RFC 2449 and RFC 3206 response
// codes). Pure.
#pragma once

#include <string_view>

#include "daemon/base/error.h"

namespace canopy::pop3 {

// True when the credentials were wrong: the one kind of failure that a client should ask its user about.
bool is_wrong_password(const Error& error);
std::string_view login_reply(const Error& error);
std::string_view message_reply(const Error& error);

}  // namespace canopy::pop3
