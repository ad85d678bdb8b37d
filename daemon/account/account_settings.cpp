#include "daemon/account/account_settings.h"

namespace canopy {

std::string_view account_use_name(AccountUse use) {
  switch (use) {
    case AccountUse::kActive: return "active";
    case AccountUse::kSuspended: return "suspended";
    case AccountUse::kDisabled: return "disabled";
  }
  return "active";
}

Result<AccountUse> parse_account_use(std::string_view name) {
  for (AccountUse use : {AccountUse::kActive, AccountUse::kSuspended, AccountUse::kDisabled}) {
    if (account_use_name(use) == name) return use;
  }
  return fail(Code::kInvalidArgument, std::string(kStateKey), "a state is active, suspended or disabled");
}

static void overlay(dict::Dict& onto, const dict::Dict& from) {
  for (const dict::Entry& entry : from) onto.set(entry.key, entry.value);
}

static Result<uint64_t> limit_of(const dict::Dict& dict, std::string_view key) {
  const dict::Value* value = dict.find(key);
  if (value == nullptr || value->is_null()) return 0;
  if (value->number() == nullptr || *value->number() < 0) {
    return fail(Code::kInvalidArgument, std::string(key), "a limit is a number, #0 for none");
  }
  return static_cast<uint64_t>(*value->number());
}

static Result<AccountUse> use_of(const dict::Dict& dict) {
  const dict::Value* value = dict.find(kStateKey);
  if (value == nullptr) return AccountUse::kActive;
  return parse_account_use(value->string() == nullptr ? "" : *value->string());
}

Result<void> check_account_defaults(const dict::Dict& defaults) {
  for (std::string_view key : {kPasswordKey, kCreatedKey, kSessionGenerationKey}) {
    if (defaults.contains(key))
      return fail(Code::kInvalidArgument, std::string(key), "it is an account's own, no default");
  }
  CANOPY_TRY(dict::refuse_reserved_keys(defaults, "defaults"));
  CANOPY_TRY(use_of(defaults));
  CANOPY_TRY(limit_of(defaults, kStorageLimitKey));
  CANOPY_TRY(limit_of(defaults, kMessageLimitKey));
  return {};
}

Result<std::shared_ptr<const AccountSettings>> AccountSettings::make(dict::VersionedDict own,
                                                                     const Domain& domain,
                                                                     const TreeSettings& tree) {
  auto made = std::make_shared<AccountSettings>();
  overlay(made->effective, tree.defaults.dict);
  if (const dict::Value* defaults = domain.settings.dict.find(kAccountDefaultsKey)) {
    if (defaults->dict() != nullptr) overlay(made->effective, *defaults->dict());
  }
  overlay(made->effective, own.dict);
  CANOPY_ASSIGN(made->use, use_of(made->effective));
  CANOPY_ASSIGN(made->limits.bytes_max, limit_of(made->effective, kStorageLimitKey));
  CANOPY_ASSIGN(made->limits.messages_max, limit_of(made->effective, kMessageLimitKey));
  if (tree.defaults_error) {
    made->limits.known =
        made->effective.contains(kStorageLimitKey) && made->effective.contains(kMessageLimitKey);
  }
  made->session_generation = static_cast<uint32_t>(own.dict.number_or(kSessionGenerationKey, 0));
  made->own = std::move(own);
  return made;
}

}  // namespace canopy
