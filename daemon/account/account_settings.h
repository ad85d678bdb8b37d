// The settings of an account as the daemon uses them: the account's own dictionary over the domain's
// AccountDefaults over the cluster's Defaults. Immutable; any thread.
#pragma once

#include <memory>

#include "daemon/account/account.h"
#include "daemon/account/domains.h"

namespace canopy {

enum class AccountUse : uint8_t {
  kActive,
  kSuspended,  // nobody reads, changes or delivers: its files may be worked on
  kDisabled,   // nobody logs in; mail is still taken
};
std::string_view account_use_name(AccountUse use);
Result<AccountUse> parse_account_use(std::string_view name);

inline constexpr std::string_view kStateKey = "State";
inline constexpr std::string_view kStorageLimitKey = "StorageLimit";  // bytes, #n; #0 or absent: none
inline constexpr std::string_view kMessageLimitKey = "MessageLimit";  // messages
inline constexpr std::string_view kPasswordKey = "Password";          // dictionary, see passwords.h
inline constexpr std::string_view kCreatedKey = "Created";            // date
inline constexpr std::string_view kSessionGenerationKey = "SessionGeneration";  // rises when tickets must end

struct AccountSettings {
  dict::VersionedDict own;
  dict::Dict effective;
  AccountUse use = AccountUse::kActive;
  AccountLimits limits;
  uint32_t session_generation = 0;

  // kInvalidArgument names the setting that is wrong.
  static Result<std::shared_ptr<const AccountSettings>> make(dict::VersionedDict own, const Domain& domain,
                                                             const TreeSettings& tree);
};

// Whether every account could live with these defaults (a class of service); kInvalidArgument names the
// setting and the rule. They hold no secrets and nothing that only one account can have.
Result<void> check_account_defaults(const dict::Dict& defaults);

}  // namespace canopy
