// The Directory service's methods on accounts and aliases.
#include "daemon/account/log_end.h"
#include "daemon/account/passwords.h"
#include "daemon/account/suspended_marks.h"
#include "daemon/base/log.h"
#include "daemon/dict/dict.h"
#include "daemon/wire/framing_status.h"
#include "daemon/wire/services/access.h"
#include "daemon/wire/services/account_check.h"
#include "daemon/wire/services/directory_service.h"
#include "daemon/wire/services/stores_service.h"
#include "daemon/wire/services/tree_guard.h"

namespace canopy::wire {

static constexpr size_t kCreatedAtOnce = 64;  // of one call

// Settings that cannot be read leave the mark unknown: then an earlier attempt decides nothing.
Task<Result<DirectoryService::Attempt>> DirectoryService::look_at(AccountAddress address, RequestId id) {
  Attempt attempt;
  CANOPY_CO_ASSIGN(auto domain, domain_named(address.domain));
  Shard& owner = node_.shard_of(domain->slot);
  co_await owner.loop.switch_to();
  auto before = co_await owner.requests.find(DirectoryRequests::of_account(*domain, address.account), id);
  if (!before) co_return fail(std::move(before).error());
  attempt.before = std::move(*before);
  Shard& shard = node_.shard_of(address);
  co_await shard.loop.switch_to();
  auto settings = co_await shard.accounts.settings(address);
  if (settings) {
    const dict::VersionedDict& own = (*settings)->own;
    attempt.now = own.created;
    const dict::Value* created = own.dict.find(kCreatedKey);
    if (created != nullptr && created->date() != nullptr)
      attempt.created_seconds = created->date()->unix_seconds;
    co_return attempt;
  }
  const Code code = settings.error().code();
  if (code == Code::kNotFound) co_return attempt;
  bool unreadable = code == Code::kDamaged || code == Code::kInvalidArgument;
  if (!unreadable || !attempt.before.value_or("").empty()) co_return fail(std::move(settings).error());
  attempt.now = std::string();
  co_return attempt;
}

// Written down before it goes. Only a creation within the hour can still be asked for again.
Task<Result<void>> DirectoryService::begin(AccountAddress address, RequestId id, const Attempt& attempt) {
  CANOPY_CO_ASSIGN(auto domain, domain_named(address.domain));
  Shard& owner = node_.shard_of(domain->slot);
  const int64_t hour_ago = owner.loop.wall_clock_ns() / kSecond - kRequestIdRememberedSeconds;
  bool young = attempt.created_seconds.value_or(0) >= hour_ago;
  if (is_none(id) && !young) co_return Result<void>();
  co_await owner.loop.switch_to();
  CANOPY_CO_TRY(co_await owner.requests.add(DirectoryRequests::of_account(*domain, address.account), id,
                                            attempt.now.value_or("")));
  co_await node_.shard_of(address).loop.switch_to();
  co_return Result<void>();
}

Task<Result<void>> DirectoryService::create_account(const v1::NewAccount& row, RequestId id) {
  Loop& home = node_.here().loop;
  CANOPY_CO_ASSIGN(AccountAddress address, parse_address(row.name()));
  dict::Dict settings;
  if (!row.settings().empty()) {
    CANOPY_CO_ASSIGN(settings, dict::parse_dict(row.settings(), "settings"));
    CANOPY_CO_TRY(dict::refuse_reserved_keys(settings, "settings"));
  }
  if (!row.password().empty()) {
    auto record = co_await node_.workers().run(home, [&row] { return make_password(row.password()); });
    if (!record) co_return fail(std::move(record).error());
    settings.set(kPasswordKey, record->to_dict());
  }
  // An alias of that name would hide behind the account.
  Shard& shard = node_.shard_of(address);
  co_await shard.loop.switch_to();
  CANOPY_CO_ASSIGN(auto domain, shard.accounts.domains().get(address.domain));
  Shard& owner = node_.shard_of(domain->slot);
  co_await owner.loop.switch_to();
  if (!is_none(id)) {
    auto gone = co_await owner.requests.has_gone(DirectoryRequests::of_account(*domain, address.account),
                                                 mark_of(id, address.to_string(), owner.loop));
    if (!gone) co_return fail(std::move(gone).error());
    if (*gone) co_return Result<void>();  // it was made, and has been removed or renamed since
  }
  auto alias = co_await owner.aliases.find(domain, address.account);
  if (alias)
    co_return fail(Code::kAlreadyExists, address.to_string(), fmt::format("it is an alias of {}", *alias));
  if (alias.error().code() != Code::kNotFound) co_return fail(std::move(alias).error());
  co_await shard.loop.switch_to();
  co_return co_await shard.accounts.create(address, std::move(settings), id);
}

Task<void> DirectoryService::create_one(Loop& home, Semaphore::Permit, const v1::NewAccount& row,
                                        bool exist_ok, RequestId id, v1::CreateAccountResult* out) {
  auto made = co_await create_account(row, id);
  co_await home.switch_to();
  auto prepared = parse_address(row.name());
  out->set_name(prepared ? prepared->to_string() : row.name());
  if (made) co_return;
  if (made.error().code() == Code::kAlreadyExists) out->set_existed(true);
  if (!out->existed() || !exist_ok) fill_error(made.error(), *out->mutable_error());
}

Task<Result<v1::CreateAccountsResponse>> DirectoryService::create_accounts(
    CallContext& call, const v1::CreateAccountsRequest& request) {
  if (request.accounts_size() > static_cast<int>(kPageEntriesMax)) {
    co_return fail(Code::kTooLarge, "accounts", fmt::format("at most {} at once", kPageEntriesMax));
  }
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  v1::CreateAccountsResponse response;
  for (int i = 0; i < request.accounts_size(); ++i) response.add_results();
  Semaphore at_once(call.loop(), kCreatedAtOnce);
  TaskGroup group(call.loop());
  for (int i = 0; i < request.accounts_size(); ++i) {
    auto permit = co_await at_once.acquire(1);
    group.spawn(create_one(call.loop(), std::move(permit), request.accounts(i), request.exist_ok(), id,
                           response.mutable_results(i)));
  }
  co_await group.join();
  co_return response;
}

Task<Result<v1::ListAccountsResponse>> DirectoryService::list_accounts(CallContext&,
                                                                       const v1::ListRequest& request) {
  CANOPY_CO_ASSIGN(std::string domain, prepare_domain(request.domain()));
  uint32_t limit = request.limit() == 0 ? kPageEntriesMax : std::min(request.limit(), kPageEntriesMax);
  auto page = co_await node_.list_accounts(std::move(domain), request.after(), request.prefix(), limit);
  if (!page) co_return fail(std::move(page).error());
  v1::ListAccountsResponse out;
  for (std::string& name : page->names) out.add_names(std::move(name));
  out.set_end(page->end);
  co_return out;
}

// On the account's loop.
Task<Result<v1::Account>> DirectoryService::describe(AccountAddress address) {
  Shard& shard = node_.here();
  auto settings = co_await shard.accounts.settings(address);
  if (!settings) co_return fail(std::move(settings).error());
  v1::Account out;
  out.set_name(address.account);
  out.set_domain(address.domain);
  out.set_state(std::string(account_use_name((*settings)->use)));
  out.set_quota_bytes((*settings)->limits.bytes_max);
  out.set_quota_messages((*settings)->limits.messages_max);
  out.set_settings_version((*settings)->own.version.number);
  auto account = co_await shard.accounts.open(address, Accounts::For::kRecord);
  if (!account) co_return fail(std::move(account).error());
  out.set_messages((*account)->state().messages());
  out.set_bytes((*account)->state().bytes());
  out.set_mailboxes(static_cast<uint32_t>((*account)->state().mailboxes().size()));
  co_return out;
}

Task<Result<v1::Account>> DirectoryService::get_account(CallContext& call, const v1::AccountRef& request) {
  auto found = co_await enter(node_, call, request, Need::kRecord);
  if (!found) co_return fail(std::move(found).error());
  co_return co_await describe(found->address);
}

// Whether the account that `attempt` meant has come to `to`.
static bool arrived(const DirectoryService::Attempt& attempt,
                    const std::optional<std::string>& mark_at_target) {
  return attempt.before && mark_at_target == attempt.before;
}

Task<Result<v1::Account>> DirectoryService::rename_account(CallContext&, const v1::RenameRequest& request) {
  CANOPY_CO_ASSIGN(AccountAddress from, parse_address(request.from()));
  CANOPY_CO_ASSIGN(AccountAddress to, parse_address(request.to()));
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  auto attempt = co_await look_at(from, id);
  if (!attempt) co_return fail(std::move(attempt).error());
  auto target_now = co_await look_at(to, {});
  if (!target_now) co_return fail(std::move(target_now).error());
  if (!arrived(*attempt, target_now->now)) {
    if (attempt->done()) {  // it came to the new name, and has gone from there since
      v1::Account out;
      out.set_name(to.account);
      out.set_domain(to.domain);
      co_return out;
    }
    auto taken = co_await node_.find(to);
    if (taken)
      co_return fail(Code::kAlreadyExists, to.to_string(), "there is such an account or alias already");
    if (taken.error().code() != Code::kNotFound) co_return fail(std::move(taken).error());
    if (!attempt->now) co_return fail(Code::kNotFound, from.to_string(), "there is no such account");
    CANOPY_CO_TRY(co_await begin(from, id, *attempt));
    Shard& shard = node_.shard_of(from);
    co_await shard.loop.switch_to();
    auto renamed = stores_ == nullptr ? co_await shard.accounts.rename(from, to)
                                      : co_await stores_->rename_account(shard, from, to);
    if (!renamed) {
      // Two attempts at the same time: was the other one quicker?
      auto again = co_await look_at(to, {});
      if (!attempt->before || !again || !arrived(*attempt, again->now)) co_return fail(renamed.error());
    }
    shard.credentials.forget(from.to_string());
  }
  CANOPY_CO_ASSIGN(auto domain, domain_named(from.domain));
  Shard& owner = node_.shard_of(domain->slot);
  co_await owner.loop.switch_to();
  CANOPY_CO_TRY(co_await owner.aliases.retarget(domain, from.to_string(), to.to_string()));
  Shard& target = node_.shard_of(to);
  co_await target.loop.switch_to();
  co_return co_await describe(to);
}

Task<Result<v1::Empty>> DirectoryService::delete_account(CallContext&, const v1::DeleteRequest& request) {
  CANOPY_CO_ASSIGN(AccountAddress address, parse_address(request.name()));
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  auto attempt = co_await look_at(address, id);
  if (!attempt) co_return fail(std::move(attempt).error());
  if (attempt->done()) co_return v1::Empty();
  if (!attempt->now) co_return fail(Code::kNotFound, address.to_string(), "there is no such account");
  CANOPY_CO_TRY(co_await begin(address, id, *attempt));
  Shard& shard = node_.shard_of(address);
  co_await shard.loop.switch_to();
  auto removed = co_await shard.accounts.remove(address);
  // Two attempts at the same time: the other one was quicker.
  bool gone = attempt->before && !removed && removed.error().code() == Code::kNotFound;
  if (!removed && !gone) co_return fail(std::move(removed).error());
  shard.credentials.forget(address.to_string());
  co_return v1::Empty();
}

// An admin may take the password away with an empty one: nobody can log in then.
Task<Result<v1::Empty>> DirectoryService::set_password(CallContext& call,
                                                       const v1::SetPasswordRequest& request) {
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  std::optional<dict::Dict> password;
  if (!request.password().empty() || call.role() == Role::kFrontend) {
    auto record =
        co_await node_.workers().run(call.loop(), [&request] { return make_password(request.password()); });
    if (!record) co_return fail(std::move(record).error());
    password = record->to_dict();
  }
  auto found = co_await enter(node_, call, request.account(), Need::kRecord);
  if (!found) co_return fail(std::move(found).error());
  auto changed = co_await found->shard->accounts.change_settings(
      found->address, 0,
      [&password](dict::Dict& settings) -> Result<void> {
        if (password) {
          settings.set(kPasswordKey, std::move(*password));
        } else {
          settings.erase(kPasswordKey);
        }
        settings.set(kSessionGenerationKey, settings.number_or(kSessionGenerationKey, 0) + 1);
        return {};
      },
      id);
  if (!changed) co_return fail(std::move(changed).error());
  found->shard->credentials.forget(found->address.to_string());
  co_return v1::Empty();
}

// An account that other hands could change is checked when it is back in use: only from then on nobody but
// the daemon changes it, and an administrator can repair it.
Task<Result<void>> DirectoryService::check_resumed(AccountAddress address, v1::Account& out) {
  v1::CheckResponse found;
  auto checked = co_await check_account(node_, address, false, found);
  if (!checked) {
    co_return fail(checked.error().code(), checked.error().object(),
                   fmt::format("{} is {} now, but its check failed: {}", address.to_string(), out.state(),
                               checked.error().message()));
  }
  out.set_checked(true);
  for (v1::Damage& damage : *found.mutable_damages()) {
    log_event(LogLevel::kError, "resumed-damaged", address.to_string(),
              {{"file", damage.file()}, {"offset", damage.offset()}, {"what", damage.what()}});
    *out.add_damages() = std::move(damage);
  }
  co_return Result<void>();
}

Task<Result<void>> DirectoryService::note_log_end(AccountAddress address) {
  Accounts& accounts = node_.here().accounts;
  auto account = co_await accounts.open(address, Accounts::For::kRecord);
  if (!account && account.error().code() == Code::kDamaged) co_return Result<void>();
  if (!account) co_return fail(std::move(account).error());
  const std::string end = LogEnd::of((*account)->slices()).to_text();
  account->reset();
  co_await accounts.close(address);
  CANOPY_CO_TRY(co_await mark_suspended(accounts.files(), address, end));
  co_return co_await accounts.read_again(address);  // where it is known from the mark
}

Task<Result<bool>> DirectoryService::renew_restored(AccountAddress address, bool said) {
  Accounts& accounts = node_.here().accounts;
  auto settings = co_await accounts.settings(address);
  if (!settings) co_return fail(std::move(settings).error());
  const std::optional<LogEnd> known = LogEnd::parse((*settings)->own.dict.string_or(kLogEndKey, ""));
  auto account = co_await accounts.open(address, Accounts::For::kRecord);
  if (!account && account.error().code() == Code::kDamaged) co_return false;  // the check will say so
  if (!account) co_return fail(std::move(account).error());
  const bool earlier = known && LogEnd::of((*account)->slices()) < *known;
  if (!said && !earlier) co_return false;
  CANOPY_CO_TRY(co_await (*account)->renew_uidvalidity());
  log_event(LogLevel::kWarning, "account-restored", address.to_string(),
            {{"log_ended", known ? known->to_text() : "unknown"}, {"found_out", earlier}});
  co_return true;
}

// The mark of an account that is about to be suspended. False: where its log ends is still to be noted.
static Task<Result<bool>> mark_first(Accounts& accounts, AccountAddress address) {
  auto settings = co_await accounts.settings(address);
  if (!settings) co_return fail(std::move(settings).error());
  auto mark = co_await suspended_mark(accounts.store(), address);
  if (!mark) co_return fail(std::move(mark).error());
  if (*mark) co_return !(*mark)->empty();
  std::string known;
  if ((*settings)->use == AccountUse::kSuspended) known = (*settings)->own.dict.string_or(kLogEndKey, "");
  CANOPY_CO_TRY(co_await mark_suspended(accounts.files(), address, known));
  co_return !known.empty();
}

// Nothing of it is in a store's journal any more, which knows nothing of what other hands do.
static Task<Result<void>> settle_info(Accounts& accounts, AccountAddress address) {
  auto place = co_await accounts.place(address);
  if (!place) co_return fail(std::move(place).error());
  if (accounts.store().shared_at(place->info_file)) co_return Result<void>();
  auto settled = co_await accounts.store().set_attributes(place->info_file, {}, Durable::kYes);
  if (!settled && settled.error().code() != Code::kNotFound) co_return settled;
  co_return Result<void>();
}

Task<Result<v1::Account>> DirectoryService::set_state(CallContext&, const v1::SetStateRequest& request) {
  CANOPY_CO_ASSIGN(AccountUse use, parse_account_use(request.state()));
  CANOPY_CO_ASSIGN(AccountAddress address, parse_address(request.name()));
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  auto found = co_await node_.find(address);
  if (!found) co_return fail(std::move(found).error());
  Accounts& accounts = found->shard->accounts;
  const bool was_suspended = found->settings->use == AccountUse::kSuspended;
  bool restored = false;
  if (was_suspended) {
    CANOPY_CO_TRY(co_await accounts.read_again(found->address));
    if (use != AccountUse::kSuspended) {
      CANOPY_CO_ASSIGN(restored, co_await renew_restored(found->address, request.restored()));
    }
  }
  bool log_end_noted = was_suspended;
  const std::string request_key = ChangeRequest{.id = id}.key();
  if (use == AccountUse::kSuspended && found->settings->own.answered(request_key) == nullptr) {
    CANOPY_CO_ASSIGN(log_end_noted, co_await mark_first(accounts, found->address));
  }
  bool first = false;  // otherwise the request was answered before, and perhaps not checked
  auto changed = co_await accounts.change_settings(
      found->address, 0,
      [&, use](dict::Dict& settings) -> Result<void> {
        if (request.restored() && !was_suspended) {
          return fail(Code::kInvalidArgument, request.name(),
                      "only a suspended account is resumed as restored: suspend it, put its files back");
        }
        first = true;
        if (use != AccountUse::kSuspended) settings.erase(kLogEndKey);
        if (use == AccountUse::kActive) {
          settings.erase(kStateKey);
        } else {
          settings.set(kStateKey, account_use_name(use));
        }
        return {};
      },
      id);
  if (!changed) co_return fail(std::move(changed).error());
  // A suspended account's files are for other hands now, and a resumed one's may have been changed by them.
  co_await accounts.close(found->address);
  if (use != AccountUse::kActive) found->shard->credentials.forget(found->address.to_string());
  if (use == AccountUse::kSuspended) CANOPY_CO_TRY(co_await settle_info(accounts, found->address));
  if (use == AccountUse::kSuspended && !log_end_noted) CANOPY_CO_TRY(co_await note_log_end(found->address));
  auto now = co_await accounts.settings(found->address);
  if (!now) co_return fail(std::move(now).error());
  if ((*now)->use != AccountUse::kSuspended) {
    CANOPY_CO_TRY(co_await guard_open_files(node_, *found->shard, found->address));
    CANOPY_CO_TRY(co_await unmark_suspended(accounts.store(), found->address));
  }
  v1::Account out;
  out.set_state(std::string(account_use_name((*now)->use)));
  if ((*now)->use != AccountUse::kSuspended && (was_suspended || !first))
    CANOPY_CO_TRY(co_await check_resumed(found->address, out));
  auto described = co_await describe(found->address);
  if (!described) {
    if (described.error().code() != Code::kDamaged) co_return described;
    out.set_name(found->address.account);
    out.set_domain(found->address.domain);
    out.set_cannot_open(true);
    out.set_restored(restored);
    co_return out;
  }
  described->set_checked(out.checked());
  described->set_restored(restored);
  *described->mutable_damages() = std::move(*out.mutable_damages());
  co_return described;
}

Task<Result<v1::Empty>> DirectoryService::set_alias(CallContext&, const v1::SetAliasRequest& request) {
  CANOPY_CO_ASSIGN(AccountAddress alias, parse_address(request.alias()));
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  CANOPY_CO_ASSIGN(auto domain, domain_named(alias.domain));
  Shard& owner = node_.shard_of(domain->slot);
  co_await owner.loop.switch_to();
  auto answered = co_await owner.aliases.answered(domain, alias.account, id);
  if (!answered) co_return fail(std::move(answered).error());
  if (*answered) co_return v1::Empty();  // whatever became of the account since
  std::string target;
  if (!request.account().empty()) {
    CANOPY_CO_ASSIGN(AccountAddress account, parse_address(request.account()));
    auto found = co_await node_.find(account);
    if (!found) co_return fail(std::move(found).error());
    target = found->address.to_string();
    Shard& shard = node_.shard_of(alias);
    co_await shard.loop.switch_to();
    auto taken = co_await shard.accounts.settings(alias);
    if (taken) co_return fail(Code::kAlreadyExists, alias.to_string(), "an account has that name");
    if (taken.error().code() != Code::kNotFound) co_return fail(std::move(taken).error());
  }
  co_await owner.loop.switch_to();
  CANOPY_CO_TRY(co_await owner.aliases.set(domain, alias.account, target, id));
  co_return v1::Empty();
}

Task<Result<v1::ListAliasesResponse>> DirectoryService::list_aliases(CallContext&,
                                                                     const v1::ListRequest& request) {
  CANOPY_CO_ASSIGN(auto domain, domain_named(request.domain()));
  uint32_t limit = request.limit() == 0 ? kPageEntriesMax : std::min(request.limit(), kPageEntriesMax);
  Shard& owner = node_.shard_of(domain->slot);
  co_await owner.loop.switch_to();
  auto page = co_await owner.aliases.list(domain, request.after(), request.prefix(), limit);
  if (!page) co_return fail(std::move(page).error());
  v1::ListAliasesResponse out;
  for (auto& [name, account] : page->aliases) {
    v1::Alias* alias = out.add_aliases();
    alias->set_name(name);
    alias->set_account(account);
  }
  out.set_end(page->end);
  co_return out;
}

Task<void> DirectoryService::resolve_one(Loop& home, std::string address, uint64_t bytes,
                                         v1::ResolveResult* out) {
  std::string name;
  Result<void> verdict;
  auto parsed = parse_address(address);
  if (!parsed) {
    // For a recipient a name that cannot exist is one that does not.
    verdict = fail(Code::kNotFound, address, parsed.error().message());
  } else {
    auto found = co_await node_.find(*parsed);
    if (!found) {
      verdict = fail(std::move(found).error());
    } else {
      name = found->address.to_string();
      if (found->settings->use == AccountUse::kSuspended) {
        verdict = fail(Code::kSuspended, name, "the account is suspended");
      } else if (!found->settings->limits.known) {
        verdict = fail(limits_unknown(name));
      } else if (found->settings->limits.bytes_max != 0 || found->settings->limits.messages_max != 0) {
        auto account = co_await found->shard->accounts.open(found->address);
        if (!account) {
          verdict = fail(std::move(account).error());
        } else {
          const AccountLimits& limits = found->settings->limits;
          const AccountState& state = (*account)->state();
          bool full = (limits.bytes_max != 0 && state.bytes() + bytes > limits.bytes_max) ||
                      (limits.messages_max != 0 && state.messages() + 1 > limits.messages_max);
          if (full) verdict = fail(Code::kQuotaExceeded, name, "the account is over its quota");
        }
      }
    }
  }
  co_await home.switch_to();
  out->set_account(name);
  if (!verdict) fill_error(verdict.error(), *out->mutable_error());
}

Task<Result<v1::ResolveResponse>> DirectoryService::resolve(CallContext& call,
                                                            const v1::ResolveRequest& request) {
  if (request.addresses_size() > static_cast<int>(kPageEntriesMax)) {
    co_return fail(Code::kTooLarge, "addresses", fmt::format("at most {} at once", kPageEntriesMax));
  }
  v1::ResolveResponse response;
  for (int i = 0; i < request.addresses_size(); ++i) response.add_results();
  TaskGroup group(call.loop());
  for (int i = 0; i < request.addresses_size(); ++i) {
    group.spawn(resolve_one(call.loop(), request.addresses(i), request.bytes(), response.mutable_results(i)));
  }
  co_await group.join();
  co_return response;
}

Task<Result<v1::Location>> DirectoryService::locate(CallContext& call, const v1::AccountRef& request) {
  auto found = co_await enter(node_, call, request, Need::kRecord);
  if (!found) co_return fail(std::move(found).error());
  Shard& shard = *found->shard;
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await shard.accounts.place(found->address));
  v1::Location out;
  const std::string& directory = place.directory;
  CANOPY_CO_ASSIGN(const StoreSite site, co_await shard.store->site_of(directory));
  CANOPY_CO_ASSIGN(const StoreSite settings_site, co_await shard.store->site_of(place.settings_file));
  out.set_store(site.name);
  out.set_settings_store(settings_site.name);
  out.set_account_directory(directory);
  out.set_settings_file(place.settings_file);
  out.set_info_file(place.info_file);
  out.set_slot(slot_of(found->address));
  out.set_backend(node_.options().backend);
  auto entries = co_await list_all(*shard.store, directory, kAccountDirectoryEntriesMax);
  if (!entries) co_return fail(std::move(entries).error());
  for (const DirectoryEntry& entry : *entries) {
    auto attributes = co_await shard.store->attributes(directory + "/" + entry.name);
    if (!attributes) continue;  // removed meanwhile
    v1::LocatedFile* file = out.add_files();
    file->set_path(directory + "/" + entry.name);
    file->set_bytes(attributes->size);
    file->set_store(site.name);
    file->set_kind(entry.name.substr(entry.name.rfind('.') + 1));
  }
  co_return out;
}

}  // namespace canopy::wire
