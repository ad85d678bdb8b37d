// The Directory service of canopy.proto: domains, accounts, aliases. Methods may be called on any loop of the
// node.
#pragma once

#include "daemon/wire/server/method_table.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

class DomainHold;
class StoresService;

inline constexpr uint32_t kPageEntriesMax = 1000;

class DirectoryService {
 public:
  // Of a request that takes an account away from its name.
  struct Attempt {
    std::optional<std::string> before;  // the mark of the account that an earlier attempt meant
    std::optional<std::string> now;     // of the one that has the name; none: there is no such account
    std::optional<int64_t> created_seconds;
    // The one that was meant is not there any more.
    bool done() const { return before && before != now; }
  };

  // `stores`: for names whose places are on other stores; without it a rename to one is refused. It outlives
  // this.
  explicit DirectoryService(Node& node, StoresService* stores = nullptr) : node_(node), stores_(stores) {}
  void add_to(MethodTable& table);  // this must outlive the server

 private:
  Task<Result<v1::Domain>> create_domain(CallContext& call, const v1::CreateDomainRequest& request);
  Task<Result<v1::ListDomainsResponse>> list_domains(CallContext& call, const v1::ListRequest& request);
  Task<Result<v1::Domain>> get_domain(CallContext& call, const v1::DomainRequest& request);
  Task<Result<v1::Domain>> rename_domain(CallContext& call, const v1::RenameRequest& request);
  // `after`: null when it keeps its name.
  Task<void> end_rename(const Domain& before, const Domain* after, DomainHold& hold);
  Task<Result<v1::Empty>> delete_domain(CallContext& call, const v1::DeleteRequest& request);

  Task<Result<v1::CreateAccountsResponse>> create_accounts(CallContext& call,
                                                           const v1::CreateAccountsRequest& request);
  Task<Result<v1::ListAccountsResponse>> list_accounts(CallContext& call, const v1::ListRequest& request);
  Task<Result<v1::Account>> get_account(CallContext& call, const v1::AccountRef& request);
  Task<Result<v1::Account>> rename_account(CallContext& call, const v1::RenameRequest& request);
  Task<Result<v1::Empty>> delete_account(CallContext& call, const v1::DeleteRequest& request);
  Task<Result<v1::Empty>> set_password(CallContext& call, const v1::SetPasswordRequest& request);
  Task<Result<v1::Account>> set_state(CallContext& call, const v1::SetStateRequest& request);
  Task<Result<v1::Empty>> set_alias(CallContext& call, const v1::SetAliasRequest& request);
  Task<Result<v1::ListAliasesResponse>> list_aliases(CallContext& call, const v1::ListRequest& request);
  Task<Result<v1::ResolveResponse>> resolve(CallContext& call, const v1::ResolveRequest& request);
  Task<Result<v1::Location>> locate(CallContext& call, const v1::AccountRef& request);

  Task<Result<v1::Account>> describe(AccountAddress address);
  // Where its log ends goes into the settings of an account that was just suspended.
  Task<Result<void>> note_log_end(AccountAddress address);
  // Whether the files of a suspended account are those of a copy; its mailboxes have a new UIDVALIDITY then.
  Task<Result<bool>> renew_restored(AccountAddress address, bool said);
  Task<Result<void>> check_resumed(AccountAddress address, v1::Account& out);
  Task<void> create_one(Loop& home, Semaphore::Permit until_it_ends, const v1::NewAccount& row, bool exist_ok,
                        RequestId id, v1::CreateAccountResult* out);
  Task<Result<void>> create_account(const v1::NewAccount& row, RequestId id);
  // What is known of an earlier attempt, and of the account that has the name now. Ends on the account's
  // loop.
  Task<Result<Attempt>> look_at(AccountAddress address, RequestId id);
  Task<Result<void>> begin(AccountAddress address, RequestId id, const Attempt& attempt);
  Task<void> resolve_one(Loop& home, std::string address, uint64_t bytes, v1::ResolveResult* out);
  Result<std::shared_ptr<const Domain>> domain_named(const std::string& name);

  Node& node_;
  StoresService* const stores_;
};

}  // namespace canopy::wire
