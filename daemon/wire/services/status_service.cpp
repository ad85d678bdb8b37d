#include "daemon/wire/services/status_service.h"

#include <unistd.h>

#include <fstream>

#include "daemon/account/account_listing.h"
#include "daemon/log/compaction.h"
#include "daemon/store/marker.h"
#include "daemon/wire/services/access.h"
#include "daemon/wire/services/account_check.h"
#include "daemon/wire/services/catalog_check.h"
#include "daemon/wire/services/stores_service.h"

namespace canopy::wire {
namespace {

constexpr size_t kCheckedAtOnce = 64;  // accounts in one answer

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

std::string store_metrics(const GatheredStores& gathered) {
  const std::vector<v1::StoreInfo>& stores = gathered.infos;
  std::string text;
  auto add = [&](std::string_view name, std::string_view kind, std::string_view help, auto value_of) {
    if (stores.empty()) return;
    text += fmt::format("# HELP canopy_store_{0} {1}\n# TYPE canopy_store_{0} {2}\n", name, help, kind);
    for (const v1::StoreInfo& of : stores)
      text += fmt::format("canopy_store_{}{{store=\"{}\"}} {}\n", name, of.name(), value_of(of));
  };
  add("up", "gauge", "Whether the store answers with the right marker.",
      [](const v1::StoreInfo& of) { return of.reason().empty() ? 1 : 0; });
  add("bytes_total", "gauge", "Size of the store.", [](const v1::StoreInfo& of) { return of.bytes_total(); });
  add("bytes_free", "gauge", "Free space of the store.",
      [](const v1::StoreInfo& of) { return of.bytes_free(); });
  add("in_flight", "gauge", "Operations that were asked for and not answered.",
      [](const v1::StoreInfo& of) { return of.in_flight(); });
  add("errors_total", "counter", "Operations and probes that the store failed.",
      [](const v1::StoreInfo& of) { return of.errors(); });
  if (stores.empty()) return text;
  text +=
      "# HELP canopy_store_seconds Time of the store's operations.\n# TYPE canopy_store_seconds histogram\n";
  for (const v1::StoreInfo& of : stores) {
    uint64_t below = 0;
    for (int i = 0; i < of.latency_size(); ++i) {
      below += of.latency(i);
      text += fmt::format("canopy_store_seconds_bucket{{store=\"{}\",le=\"{:g}\"}} {}\n", of.name(),
                          static_cast<double>(1ull << i) * 1e-6, below);
    }
    text += fmt::format(
        "canopy_store_seconds_bucket{{store=\"{0}\",le=\"+Inf\"}} {1}\n"
        "canopy_store_seconds_sum{{store=\"{0}\"}} {2}\n"
        "canopy_store_seconds_count{{store=\"{0}\"}} {1}\n",
        of.name(), below, static_cast<double>(gathered.figures.at(of.name()).spent) / kSecond);
  }
  return text;
}

}  // namespace

void StatusService::add_to(MethodTable& table) {
  using S = StatusService;
  table.add<v1::Empty, v1::ListStoresResponse>("canopy.v1.Stores", "List", this, &S::list_stores);
  table.add<v1::CheckRequest, v1::CheckResponse>("canopy.v1.Stores", "Check", this, &S::check);
  table.add<v1::Empty, v1::ClusterStatus>("canopy.v1.Cluster", "GetStatus", this, &S::status);
  table.add<v1::Empty, v1::MetricsResponse>("canopy.v1.Cluster", "Metrics", this, &S::metrics);
  table.add<v1::AccountRef, v1::Empty>("canopy.v1.Cluster", "CompactAccount", this, &S::compact);
  table.add<v1::AccountRef, v1::Empty>("canopy.v1.Cluster", "CloseAccount", this, &S::close);
}

Task<Result<v1::ListStoresResponse>> StatusService::list_stores(CallContext&, const v1::Empty&) {
  v1::ListStoresResponse out;
  if (node_.here().stores != nullptr) {
    GatheredStores gathered = co_await gather_stores(node_);
    for (v1::StoreInfo& info : gathered.infos) *out.add_stores() = std::move(info);
    auto marker = co_await check_marker(*node_.here().store, "", "");
    if (marker) out.mutable_stores(0)->set_id(marker->id);
    co_return out;
  }
  Store& store = *node_.here().store;
  v1::StoreInfo* info = out.add_stores();
  info->set_name(std::string(store.name()));
  info->set_kind(store.shared() ? "shared" : "local");
  auto marker = co_await check_marker(store, "", "");
  auto space = co_await store.space();
  if (marker) info->set_id(marker->id);
  info->set_state(!marker  ? (marker.error().code() == Code::kConflict ? "wrong" : "down")
                  : !space ? "down"
                           : "up");
  if (space) {
    info->set_bytes_total(space->bytes_total);
    info->set_bytes_free(space->bytes_free);
    info->set_files_total(space->files_total);
    info->set_files_free(space->files_free);
    if (space->bytes_free < store_reserve_bytes(space->bytes_total)) info->set_state("full");
  }
  co_return out;
}

// Of the cluster and its domains. What was repaired by hand is served from now on.
Task<Result<void>> StatusService::check_settings(const std::string& only, v1::CheckResponse& out) {
  auto table = node_.here().accounts.domain_table();
  if (table->broken.empty() && !table->tree.defaults_error) co_return Result<void>();
  CANOPY_CO_TRY(co_await node_.change_domains([](Shard& shard, DomainTable& into) -> Task<Result<void>> {
    return read_broken_again(shard.files, into);
  }));
  table = node_.here().accounts.domain_table();
  if (only.empty() && table->tree.defaults_error) add_broken(out, *table->tree.defaults_error);
  for (const auto& [name, broken] : table->broken) {
    if (only.empty() || only == name) add_broken(out, broken.error);
  }
  co_return Result<void>();
}

// The cursor is "DOMAIN/ACCOUNT": the account that was checked last.
Task<Result<v1::CheckResponse>> StatusService::check(CallContext& call, const v1::CheckRequest& request) {
  v1::CheckResponse out;
  if (!request.scope().empty() && request.scope().front() != '@') {
    CANOPY_CO_ASSIGN(AccountAddress address, parse_address(request.scope()));
    v1::CheckResponse others;  // only what repairs by hand have changed counts here
    CANOPY_CO_TRY(co_await check_settings(address.domain, others));
    auto found = co_await node_.find(address);
    if (!found && found.error().code() == Code::kNotFound) co_return fail(std::move(found).error());
    CANOPY_CO_TRY(co_await check_account(node_, found ? found->address : address, request.repair(), out));
    out.set_end(true);
    co_return out;
  }
  if (request.scope() == "@")
    co_return fail(Code::kInvalidArgument, "scope", "\"@\" names no domain; everything is the empty scope");
  std::string only = request.scope().empty() ? "" : request.scope().substr(1);
  size_t slash = request.cursor().find('/');
  std::string at_domain = request.cursor().substr(0, slash);
  std::string after = slash == std::string::npos ? "" : request.cursor().substr(slash + 1);
  if (request.cursor().empty()) CANOPY_CO_TRY(co_await check_settings(only, out));
  auto table = node_.here().accounts.domain_table();
  if (!only.empty() && !table->broken.contains(only)) {
    auto known = table->get(only);
    if (!known) co_return fail(std::move(known).error());
  }
  for (auto at = table->domains.lower_bound(at_domain); at != table->domains.end(); ++at) {
    if (!only.empty() && at->first != only) continue;
    if (at->first != at_domain) after.clear();
    if (after.empty()) CANOPY_CO_TRY(co_await check_catalog_names(node_, at->first, out));
    co_await call.loop().switch_to();
    auto page = co_await node_.list_accounts(at->first, after, "", kCheckedAtOnce);
    if (!page) co_return fail(std::move(page).error());
    for (const std::string& name : page->names) {
      const AccountAddress address{name, at->first};
      auto done = co_await check_account(node_, address, request.repair(), out);
      if (!done && done.error().retryable()) co_return fail(std::move(done).error());
      if (!done) add_unchecked(out, address, done.error());  // the others shall be looked at all the same
      out.set_cursor(at->first + "/" + name);
    }
    if (!page->names.empty()) co_return out;
  }
  out.set_end(true);
  co_return out;
}

Task<v1::ClusterStatus> StatusService::gather() {
  v1::ClusterStatus out;
  out.set_cluster(node_.options().cluster);
  out.set_backend(node_.options().backend);
  out.set_version(node_.options().version);
  out.set_base(node_.options().base);
  out.set_epoch(node_.epoch());
  out.set_slots_owned(kSlots);
  out.set_loops(static_cast<uint32_t>(node_.shards().size()));
  out.set_memory_bytes(resident_bytes());
  const NodeCounters& counters = node_.counters();
  out.set_deliveries(counters.deliveries.load(std::memory_order_relaxed));
  out.set_fetches(counters.fetches.load(std::memory_order_relaxed));
  out.set_mutations(counters.mutations.load(std::memory_order_relaxed));
  out.set_logins(counters.logins.load(std::memory_order_relaxed));
  uint64_t open = 0;
  for (const auto& shard : node_.shards()) {
    co_await shard->loop.switch_to();
    open += shard->accounts.open_count();
    for (RpcServer* server : servers_) {
      if (&server->loop() != &shard->loop) continue;
      out.set_connections(out.connections() + server->stats().connections);
      out.set_requests(out.requests() + server->stats().requests);
      out.set_errors(out.errors() + server->stats().refused);
    }
  }
  out.set_accounts_open(open);
  for (std::string& problem : Node::problems_of(node_.shards().back()->accounts.domains()))
    out.add_problems(std::move(problem));
  int64_t now = node_.shards().front()->loop.wall_clock_ns();
  out.set_uptime_seconds(static_cast<double>(now - started_ns_) / kSecond);
  co_return out;
}

Task<Result<v1::ClusterStatus>> StatusService::status(CallContext&, const v1::Empty&) {
  co_return co_await gather();
}

Task<Result<v1::MetricsResponse>> StatusService::metrics(CallContext&, const v1::Empty&) {
  v1::ClusterStatus status = co_await gather();
  const NodeCounters& counters = node_.counters();
  std::string text;
  auto add = [&text](std::string_view name, std::string_view kind, std::string_view help, uint64_t value) {
    text += fmt::format("# HELP canopy_{0} {1}\n# TYPE canopy_{0} {2}\ncanopy_{0} {3}\n", name, help, kind,
                        value);
  };
  add("accounts_open", "gauge", "Accounts open in memory.", status.accounts_open());
  uint64_t known = 0, held_bytes = 0;
  for (const auto& shard : node_.shards()) {
    co_await shard->loop.switch_to();
    known += shard->accounts.entries();
    held_bytes += shard->accounts.memory_bytes();
  }
  add("accounts_known", "gauge", "Accounts of which something is remembered.", known);
  add("accounts_memory_bytes", "gauge", "What is held of accounts, as counted against --memory-mib.",
      held_bytes);
  add("connections", "gauge", "Wire connections.", status.connections());
  add("resident_bytes", "gauge", "Resident memory of the process.", status.memory_bytes());
  add("requests_total", "counter", "Wire requests.", status.requests());
  add("errors_total", "counter", "Wire requests answered with a failure.", status.errors());
  add("deliveries_total", "counter", "Messages delivered.", status.deliveries());
  add("fetches_total", "counter", "Message contents read.", status.fetches());
  add("mutations_total", "counter", "Other changes of mailboxes.", status.mutations());
  add("logins_total", "counter", "Sessions that were authenticated.", status.logins());
  add("logins_cached_total", "counter", "Logins whose password was verified before.",
      counters.cached_logins.load());
  add("login_failures_total", "counter", "Logins with a wrong name or password.",
      counters.login_failures.load());
  if (Catalog* catalog = node_.catalog()) {
    auto bytes = co_await catalog->compute(node_.here().loop, [catalog] { return catalog->memory_bytes(); });
    const Catalog::Counters& of = catalog->counters();
    add("catalog_memory_bytes", "gauge", "Caches and buffers of the catalog.", bytes ? *bytes : 0);
    add("catalog_pages_total", "counter", "Pages of accounts from the catalog.", of.pages_from_rows.load());
    add("catalog_pages_walked_total", "counter", "Pages of accounts by a walk.", of.pages_walked.load());
    add("catalog_domains_walked_total", "counter", "Walks over a domain.", of.domains_walked.load());
    add("catalog_summaries_total", "counter", "Summaries from the catalog.", of.summaries_cached.load());
    add("catalog_summaries_derived_total", "counter", "Summaries derived.", of.summaries_derived.load());
    add("catalog_rows_dropped_total", "counter", "Rows dropped by checks.", of.rows_dropped.load());
    add("catalog_renewed_total", "counter", "Times that the catalog was made anew.", of.renewed.load());
  }
  text += store_metrics(co_await gather_stores(node_));
  v1::MetricsResponse out;
  out.set_text(std::move(text));
  co_return out;
}

Task<Result<v1::Empty>> StatusService::compact(CallContext& call, const v1::AccountRef& request) {
  auto open = co_await open_account(node_, call, request);
  if (!open) co_return fail(std::move(open).error());
  CANOPY_CO_TRY(co_await open->account->compact());
  co_return v1::Empty();
}

Task<Result<v1::Empty>> StatusService::close(CallContext& call, const v1::AccountRef& request) {
  auto found = co_await enter(node_, call, request, Need::kRecord);
  if (!found) co_return fail(std::move(found).error());
  co_await found->shard->accounts.close(found->address);
  co_return v1::Empty();
}

}  // namespace canopy::wire
