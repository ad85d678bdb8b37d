// Names of domains and accounts: preparation, addresses, slots (docs/formats/tree.md, "Names"). Pure; any
// thread.
//
// Everything behind this header works on prepared names: two spellings are the same domain or account exactly
// when their prepared names are the same bytes. A prepared name is a fixed point: preparing it again changes
// nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/error.h"

namespace canopy {

// The Unicode versions that decide about names; tests/tree pins a table of decisions. Another version may
// prepare a name differently, so an upgrade of ICU or libidn2 goes with a check of all stored names.
inline constexpr std::string_view kAccountUnicodeVersion = "15.0";  // ICU 72

// What a caller may hand in before preparation: far more than any name that could shrink to kNameBytesMax.
inline constexpr uint32_t kRawNameBytesMax = 1024;

// A domain name in UTF-8 or A-labels to lower-case A-labels: UTS #46, non-transitional, STD3 rules, labels of
// at most 63 and a whole of at most kNameBytesMax bytes. kInvalidArgument or kNoSpaceForName names the rule
// that `raw` breaks.
Result<std::string> prepare_domain(std::string_view raw);

// An account name in UTF-8 by RFC 8265 section 3.3 (UsernameCaseMapped), applied until nothing changes.
// kInvalidArgument or kNoSpaceForName names the rule that `raw` breaks.
Result<std::string> prepare_account(std::string_view raw);

// A prepared account in a prepared domain. An empty account is the domain's own pseudo-account, `@domain`.
struct AccountAddress {
  std::string account;
  std::string domain;

  bool is_domain() const { return account.empty(); }
  std::string to_string() const { return account + "@" + domain; }
  auto operator<=>(const AccountAddress&) const = default;
};

// "user@domain", cut at its last '@', both parts prepared. An empty user is refused.
Result<AccountAddress> parse_address(std::string_view raw);
// The same, and "@domain" is the domain's pseudo-account.
Result<AccountAddress> parse_address_or_domain(std::string_view raw);

// XXH64 (seed 0) of "account@domain" modulo kSlots. The pseudo-account's is that of "@domain".
uint32_t slot_of(std::string_view account, std::string_view domain);
inline uint32_t slot_of(const AccountAddress& address) { return slot_of(address.account, address.domain); }

}  // namespace canopy
