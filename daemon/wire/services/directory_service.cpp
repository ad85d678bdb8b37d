// Domains. Accounts are in directory_accounts.cpp.
#include "daemon/wire/services/directory_service.h"

#include "daemon/account/account_listing.h"
#include "daemon/account/suspended_marks.h"
#include "daemon/base/log.h"
#include "daemon/dict/dict.h"
#include "daemon/store/set/store_set.h"
#include "daemon/store/store_path.h"
#include "daemon/wire/services/access.h"
#include "daemon/wire/services/domain_hold.h"

namespace canopy::wire {

void DirectoryService::add_to(MethodTable& table) {
  constexpr std::string_view kName = "canopy.v1.Directory";
  using S = DirectoryService;
  table.add<v1::CreateDomainRequest, v1::Domain>(kName, "CreateDomain", this, &S::create_domain);
  table.add<v1::ListRequest, v1::ListDomainsResponse>(kName, "ListDomains", this, &S::list_domains);
  table.add<v1::DomainRequest, v1::Domain>(kName, "GetDomain", this, &S::get_domain);
  table.add<v1::RenameRequest, v1::Domain>(kName, "RenameDomain", this, &S::rename_domain);
  table.add<v1::DeleteRequest, v1::Empty>(kName, "DeleteDomain", this, &S::delete_domain);
  table.add<v1::CreateAccountsRequest, v1::CreateAccountsResponse>(kName, "CreateAccounts", this,
                                                                   &S::create_accounts);
  table.add<v1::ListRequest, v1::ListAccountsResponse>(kName, "ListAccounts", this, &S::list_accounts);
  table.add<v1::AccountRef, v1::Account>(kName, "GetAccount", this, &S::get_account);
  table.add<v1::RenameRequest, v1::Account>(kName, "RenameAccount", this, &S::rename_account);
  table.add<v1::DeleteRequest, v1::Empty>(kName, "DeleteAccount", this, &S::delete_account);
  table.add<v1::SetPasswordRequest, v1::Empty>(kName, "SetPassword", this, &S::set_password);
  table.add<v1::SetStateRequest, v1::Account>(kName, "SetState", this, &S::set_state);
  table.add<v1::SetAliasRequest, v1::Empty>(kName, "SetAlias", this, &S::set_alias);
  table.add<v1::ListRequest, v1::ListAliasesResponse>(kName, "ListAliases", this, &S::list_aliases);
  table.add<v1::ResolveRequest, v1::ResolveResponse>(kName, "Resolve", this, &S::resolve);
  table.add<v1::AccountRef, v1::Location>(kName, "Locate", this, &S::locate);
}

// So long a domain that gets another name waits for those who use its accounts.
static constexpr Nanos kRenameAwaited = 200 * kMillisecond;
// As canopyctl's users write it in place of a domain (`canopyctl settings get cluster`).
static constexpr std::string_view kClusterTarget = "cluster";

static v1::Domain describe_domain(const Domain& domain) {
  v1::Domain out;
  out.set_name(domain.name);
  out.set_directory(domain.directory());
  out.set_account_foldering(domain.layout.account_foldering().to_string());
  out.set_fast_index(domain.layout.fast_index());
  out.set_settings(dict::print(domain.settings.dict, dict::Style::kPretty));
  out.set_version(domain.settings.version.number);
  return out;
}

Result<std::shared_ptr<const Domain>> DirectoryService::domain_named(const std::string& name) {
  CANOPY_ASSIGN(std::string prepared, prepare_domain(name));
  return node_.here().accounts.domains().get(prepared);
}

// Its name is taken, whatever it holds.
static Result<void> check_not_broken(const DomainTable& table, const std::string& name) {
  if (auto at = table.broken.find(name); at != table.broken.end()) return fail(at->second.error);
  return {};
}

// One that is there already, laid by hand, is served.
static Result<std::string> prepare_new_domain(const std::string& name) {
  CANOPY_ASSIGN(std::string prepared, prepare_domain(name));
  if (prepared != kClusterTarget) return prepared;
  return fail(Code::kInvalidArgument, prepared,
              "no domain may have this name: where settings are named, it stands for the whole cluster");
}

Task<Result<v1::Domain>> DirectoryService::create_domain(CallContext&,
                                                         const v1::CreateDomainRequest& request) {
  CANOPY_CO_ASSIGN(std::string name, prepare_new_domain(request.name()));
  dict::Dict settings;
  settings.set(kAccountFolderingKey,
               request.account_foldering().empty() ? "flat" : request.account_foldering());
  settings.set(kFastIndexKey, request.fast_index());
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  std::shared_ptr<const Domain> made;
  auto create = [&](Shard& shard, DomainTable& table) -> Task<Result<void>> {
    return [](Shard& on, DomainTable& into, std::string domain_name, dict::Dict with, RequestId of,
              std::shared_ptr<const Domain>& out) -> Task<Result<void>> {
      if (auto at = into.domains.find(domain_name); at != into.domains.end()) {
        out = at->second;
        if (!is_none(of) && out->settings.created == mark_of(of, domain_name, on.loop))
          co_return Result<void>();
        co_return fail(Code::kAlreadyExists, domain_name, "there is such a domain already");
      }
      CANOPY_CO_TRY(check_not_broken(into, domain_name));
      dict::VersionedDict file;
      file.dict = std::move(with);
      file.created = mark_of(of, domain_name, on.loop);
      CANOPY_CO_ASSIGN(out, make_domain(into.tree, domain_name, file));
      if (!is_none(of)) {
        auto gone = co_await on.requests.has_gone(DirectoryRequests::of_domain(domain_name), file.created);
        if (!gone) co_return fail(std::move(gone).error());
        if (*gone) co_return Result<void>();  // it was made, and has been removed or renamed since
      }
      CANOPY_CO_TRY(co_await make_directories(*on.store, out->directory(), 0700, Durable::kYes));
      auto written = co_await on.files.replace(out->slot, out->settings_file(), std::move(file));
      if (!written) co_return fail(std::move(written).error());
      CANOPY_CO_ASSIGN(out, make_domain(into.tree, domain_name, std::move(*written)));
      into.domains[domain_name] = out;
      co_return Result<void>();
    }(shard, table, name, settings, id, made);
  };
  CANOPY_CO_TRY(co_await node_.change_domains(create));
  co_return describe_domain(*made);
}

Task<Result<v1::ListDomainsResponse>> DirectoryService::list_domains(CallContext&,
                                                                     const v1::ListRequest& request) {
  v1::ListDomainsResponse out;
  uint32_t limit = request.limit() == 0 ? kPageEntriesMax : std::min(request.limit(), kPageEntriesMax);
  const auto& domains = node_.here().accounts.domains().domains;
  auto at = domains.upper_bound(request.after());
  for (; at != domains.end() && out.names_size() < static_cast<int>(limit); ++at) {
    if (at->first.starts_with(request.prefix())) out.add_names(at->first);
  }
  out.set_end(at == domains.end());
  co_return out;
}

Task<Result<v1::Domain>> DirectoryService::get_domain(CallContext&, const v1::DomainRequest& request) {
  CANOPY_CO_ASSIGN(auto domain, domain_named(request.name()));
  co_return describe_domain(*domain);
}

// Settings that lie apart from the domain's directory, under a `fast` above it, move before the directory
// does. When the daemon ends between the two, the domain still has its old name, nobody can log in, and the
// same command goes on.
static Task<Result<void>> reach(Store& store, std::vector<StoreSite> parts) {
  for (const StoreSite& part : parts) {
    auto there = co_await store.attributes(part.path);
    if (!there && there.error().retryable()) co_return fail(std::move(there).error());
  }
  co_return Result<void>();
}

// Into the stage of its store, and away. kNotFound is none of its errors.
static Task<Result<void>> remove_domain_part(Shard& on, uint32_t slot, std::string path) {
  auto staged = co_await on.files.stage_path(slot, path);
  if (!staged) co_return fail(std::move(staged).error());
  auto renamed = co_await on.store->rename(path, *staged, RenameMode::kReplace, Durable::kYes);
  if (!renamed) {
    Error error = co_await on.files.fenced_if_gone(*staged, std::move(renamed).error());
    if (error.code() == Code::kNotFound) co_return Result<void>();
    co_return fail(std::move(error));
  }
  co_return co_await remove_tree(*on.store, *staged);
}

// Where settings of its accounts lie above the domain's directory.
static std::set<std::string> fast_directories_of(const Domain& domain) {
  std::set<std::string> directories = {domain.layout.domain_fast_directory(domain.name)};
  for (const TreeLayout& older : domain.older) directories.insert(older.domain_fast_directory(domain.name));
  directories.erase("");
  return directories;
}

// The part with the domain's settings goes last: until then the domain is there, and the same request goes
// on. No part goes before every store that holds one has answered.
static Task<Result<void>> remove_domain_directory(Shard& on, std::shared_ptr<const Domain> domain) {
  const std::vector<StoreSite> parts = on.store->parts_of(domain->directory());
  const std::set<std::string> fast_directories = fast_directories_of(*domain);
  CANOPY_CO_TRY(co_await reach(*on.store, parts));
  for (const std::string& fast : fast_directories)
    CANOPY_CO_TRY(co_await reach(*on.store, on.store->parts_of(fast)));
  CANOPY_CO_ASSIGN(const StoreSite settings, co_await on.store->site_of(domain->settings_file()));
  const std::string last(store_parent_of(settings.path));
  for (const StoreSite& part : parts)
    if (part.path != last) CANOPY_CO_TRY(co_await remove_domain_part(on, domain->slot, part.path));
  CANOPY_CO_TRY(co_await remove_domain_part(on, domain->slot, last));
  for (const std::string& fast : fast_directories) {
    auto gone = co_await remove_tree(*on.store, fast);
    if (!gone && gone.error().code() != Code::kNotFound) co_return gone;
  }
  co_return Result<void>();
}

static Task<Result<void>> move_domain(Store& store, const Domain& from, const Domain& to) {
  std::string fast = from.layout.domain_fast_directory(from.name);
  if (!fast.empty()) {
    std::string fast_target = to.layout.domain_fast_directory(to.name);
    CANOPY_CO_TRY(
        co_await make_directories(store, std::string(store_parent_of(fast_target)), 0700, Durable::kYes));
    auto moved = co_await store.rename(fast, fast_target, RenameMode::kNoReplace, Durable::kYes);
    if (!moved && moved.error().code() != Code::kNotFound) co_return moved;  // no account was ever made
  }
  CANOPY_CO_TRY(
      co_await make_directories(store, std::string(store_parent_of(to.directory())), 0700, Durable::kYes));
  co_return co_await store.rename(from.directory(), to.directory(), RenameMode::kNoReplace, Durable::kYes);
}

// Whether the domain that an earlier attempt meant has left its name.
static bool is_done(const std::optional<std::string>& before, const Domain* now) {
  return before && (now == nullptr || now->settings.created != *before);
}

// Those who have waited find what there is under their name now.
Task<void> DirectoryService::end_rename(const Domain& before, const Domain* after, DomainHold& hold) {
  Loop& home = node_.here().loop;
  co_await node_.shards().front()->loop.switch_to();
  if (after == nullptr) {
    co_await hold.release(hold.directory());
    co_return co_await home.switch_to();
  }
  std::set<std::string> renamed = {before.directory(), after->directory()};
  renamed.merge(fast_directories_of(before));
  renamed.merge(fast_directories_of(*after));
  co_await hold.release(hold.directory(), std::move(renamed));
  for (const auto& shard : node_.shards()) {
    co_await shard->loop.switch_to();
    co_await shard->accounts.forget_domain(before.name);
    shard->aliases.forget_domain(hold.directory());
    shard->requests.forget_domain(hold.directory());
  }
  co_await home.switch_to();
}

Task<Result<v1::Domain>> DirectoryService::rename_domain(CallContext&, const v1::RenameRequest& request) {
  CANOPY_CO_ASSIGN(std::string from, prepare_domain(request.from()));
  CANOPY_CO_ASSIGN(std::string to, prepare_new_domain(request.to()));
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  std::shared_ptr<const Domain> made, was;
  std::optional<DomainHold> hold;  // until every loop has the new table
  auto rename = [&](Shard& shard, DomainTable& table) -> Task<Result<void>> {
    return [](Node& node, Shard& on, DomainTable& into, std::string before, std::string after, RequestId of,
              std::shared_ptr<const Domain>& out, std::shared_ptr<const Domain>& was,
              std::optional<DomainHold>& held) -> Task<Result<void>> {
      auto earlier = co_await on.requests.find(DirectoryRequests::of_domain(before), of);
      if (!earlier) co_return fail(std::move(earlier).error());
      auto at = into.domains.find(before);
      CANOPY_CO_TRY(check_not_broken(into, before));
      if (is_done(*earlier, into.find(before))) {
        CANOPY_CO_ASSIGN(out, make_domain(into.tree, after, {}));  // its name, when it has gone since
        auto arrived = into.domains.find(after);
        if (arrived != into.domains.end() && arrived->second->settings.created == *earlier)
          out = arrived->second;
        co_return Result<void>();
      }
      if (at == into.domains.end()) co_return fail(into.get(before).error());
      CANOPY_CO_TRY(check_not_broken(into, after));
      if (into.domains.contains(after)) {
        co_return fail(Code::kAlreadyExists, after, "there is such a domain already");
      }
      std::shared_ptr<const Domain> domain = at->second;
      if (!domain->older.empty() && !fast_directories_of(*domain).empty())
        co_return fail(Code::kBusy, before,
                       fmt::format("settings of its accounts are on the way, and some lie above the domain's "
                                   "directory: canopyctl relocation show {}",
                                   before));
      // What an account has left on another store is known by where it went.
      if (on.stores != nullptr && on.stores->config()->mounts->may_have_led_to(domain->directory()))
        co_return fail(Code::kBusy, before,
                       "accounts are on the way to other stores: canopyctl relocation show /");
      if (!domain->older.empty() && on.stores != nullptr &&
          !on.stores->config()->mounts->table().rows_below(domain->directory()).empty())
        co_return fail(Code::kBusy, before,
                       fmt::format("its accounts are on the way, and some to other stores: canopyctl "
                                   "relocation show {}",
                                   before));
      CANOPY_CO_ASSIGN(out,
                       make_domain(into.tree, after, domain->settings, domain->layout.domain_foldering()));
      // Nobody may have an account of the old name open while its directory moves.
      was = domain;
      held.emplace(node, before, domain->directory());
      auto closed = co_await held->take(kRenameAwaited, DomainHold::Mode::kForce);
      if (!closed) co_return fail(std::move(closed).error());
      CANOPY_CO_TRY(
          co_await on.requests.add(DirectoryRequests::of_domain(before), of, domain->settings.created));
      CANOPY_CO_TRY(co_await copy_suspended_marks(*on.store, before, after));
      CANOPY_CO_TRY(co_await move_domain(*on.store, *domain, *out));
      into.domains.erase(before);
      into.domains[after] = out;
      auto unmarked = co_await remove_suspended_marks(*on.store, before);
      if (!unmarked)  // they say something of a domain that is not there
        log_event(LogLevel::kWarning, "trash-not-removed", before, {{"error", unmarked.error().to_string()}});
      co_return Result<void>();
    }(node_, shard, table, from, to, id, made, was, hold);
  };
  auto renamed = co_await node_.change_domains(rename);
  if (hold) co_await end_rename(*was, renamed ? made.get() : nullptr, *hold);
  if (!renamed) co_return fail(std::move(renamed).error());
  co_return describe_domain(*made);
}

Task<Result<v1::Empty>> DirectoryService::delete_domain(CallContext&, const v1::DeleteRequest& request) {
  CANOPY_CO_ASSIGN(std::string name, prepare_domain(request.name()));
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  bool recursive = request.recursive();
  auto remove = [&](Shard& shard, DomainTable& table) -> Task<Result<void>> {
    return [](Node& node, Shard& on, DomainTable& into, std::string domain_name, bool all,
              RequestId of) -> Task<Result<void>> {
      auto earlier = co_await on.requests.find(DirectoryRequests::of_domain(domain_name), of);
      if (!earlier) co_return fail(std::move(earlier).error());
      CANOPY_CO_TRY(check_not_broken(into, domain_name));
      if (is_done(*earlier, into.find(domain_name))) co_return Result<void>();
      auto at = into.domains.find(domain_name);
      if (at == into.domains.end()) co_return fail(into.get(domain_name).error());
      std::shared_ptr<const Domain> domain = at->second;
      auto any = co_await has_accounts(*on.store, domain);
      if (!any) co_return fail(std::move(any).error());
      if (*any && !all) {
        co_return fail(Code::kNotEmpty, domain_name,
                       "it has accounts; delete them first, or ask for all of it");
      }
      for (const auto& held : node.shards()) {
        co_await held->loop.switch_to();
        co_await held->accounts.forget_domain(domain_name);
        held->aliases.forget_domain(domain->directory());
        held->requests.forget_domain(domain->directory());
      }
      co_await on.loop.switch_to();
      CANOPY_CO_TRY(
          co_await on.requests.add(DirectoryRequests::of_domain(domain_name), of, domain->settings.created));
      CANOPY_CO_TRY(co_await remove_domain_directory(on, domain));
      into.domains.erase(domain_name);
      CANOPY_CO_TRY(co_await remove_suspended_marks(*on.store, domain_name));
      co_return Result<void>();
    }(node_, shard, table, name, recursive, id);
  };
  CANOPY_CO_TRY(co_await node_.change_domains(remove));
  co_return v1::Empty();
}

}  // namespace canopy::wire
