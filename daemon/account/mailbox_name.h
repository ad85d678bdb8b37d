// Names of mailboxes: UTF-8, levels separated by '/', INBOX in any case is INBOX (RFC 9051 section 5.1).
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/error.h"

namespace canopy {

inline constexpr std::string_view kInbox = "INBOX";
inline constexpr uint32_t kInboxId = 1;  // the first mailbox of every account

// The name as it is stored, or kInvalidArgument with the rule: 1 to kMailboxNameBytesMax bytes of UTF-8
// without control characters, at most kMailboxLevelsMax levels, none of them empty, "." or "..".
Result<std::string> canonical_mailbox_name(std::string_view name);

// As the wire shows it: bytes that are no well-formed UTF-8 without control characters, which only a name
// that was not made by canonical_mailbox_name can have, as `\xhh`. Others stay as they are.
std::string shown_mailbox_name(std::string_view name);

}  // namespace canopy
