// What lies elsewhere than the newest mount table says, and how many accounts each store holds.
#include "daemon/wire/services/stores_service.h"

namespace canopy::wire {
namespace {

constexpr size_t kLookedAtOnce = 256;  // accounts in one answer

// The folder below the domain that the account lies in: what a row of the mount table can name.
std::string leaf_of(const Domain& domain, const std::string& directory) {
  const size_t from = domain.directory().size() + 1;
  const size_t slash = directory.find('/', from);
  return slash == std::string::npos ? domain.directory() : directory.substr(0, slash);
}

void put(const std::map<std::string, uint64_t>& counts,
         google::protobuf::RepeatedPtrField<v1::AccountsOfStore>* out) {
  for (const auto& [name, count] : counts) {
    v1::AccountsOfStore* one = out->Add();
    one->set_store(name);
    one->set_accounts(count);
  }
}

std::string root_address(const Node& node) {
  const std::string& base = node.options().base;
  return base.starts_with("nfs://") ? base : "dir:" + base;
}

}  // namespace

Task<GatheredStores> gather_stores(Node& node) {
  Loop& home = node.here().loop;
  GatheredStores gathered;
  auto& [out, figures] = gathered;
  for (const auto& shard : node.shards()) {
    if (shard->stores == nullptr) continue;
    co_await shard->loop.switch_to();
    const auto config = shard->stores->config();
    for (const MemberRef& member : shard->stores->members()) {
      figures[member->name()] += member->figures();
      auto at =
          std::ranges::find_if(out, [&](const v1::StoreInfo& of) { return of.name() == member->name(); });
      const bool known = at != out.end();
      if (known && (member->usable() || !at->reason().empty())) continue;  // the worst of the loops counts
      v1::StoreInfo& info = known ? *at : out.emplace_back();
      info.set_name(member->name());
      const std::string address = member->is_root() ? root_address(node) : member->config().address;
      info.set_address(address);
      info.set_kind(address.starts_with("dir:") ? "local" : "nfs");
      info.set_id(member->config().id);
      info.set_state(std::string(store_state_name(member->state())));
      info.set_fast(member->config().fast);
      info.set_shared(member->shared());
      if (member->reason()) info.set_reason(member->reason()->to_string());
      uint32_t rows = 0;
      for (const MountRow& row : config->mounts->table().rows()) rows += row.store == member->name() ? 1 : 0;
      info.set_rows(rows);
      if (!member->space()) continue;
      info.set_bytes_total(member->space()->bytes_total);
      info.set_bytes_free(member->space()->bytes_free);
      info.set_files_total(member->space()->files_total);
      info.set_files_free(member->space()->files_free);
      info.set_reserve_bytes(member->reserve_bytes());
    }
  }
  co_await home.switch_to();
  for (v1::StoreInfo& info : out) {
    const StoreFigures& of = figures[info.name()];
    info.set_operations(of.operations);
    info.set_errors(of.errors);
    info.set_in_flight(of.in_flight);
    info.set_latency_p50_us(static_cast<uint64_t>(of.quantile(0.5) / kMicrosecond));
    info.set_latency_p99_us(static_cast<uint64_t>(of.quantile(0.99) / kMicrosecond));
    for (uint64_t count : of.latency) info.add_latency(count);
  }
  co_return gathered;
}

Task<Result<void>> add_moves(Shard& shard, AccountAddress address, v1::ListMovesResponse& out,
                             std::map<std::string, uint64_t>& by_store,
                             std::map<std::string, uint64_t>& by_leaf) {
  co_await shard.loop.switch_to();
  CANOPY_CO_ASSIGN(auto domain, shard.accounts.domains().get(address.domain));
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await shard.accounts.place(address));
  const std::string& directory = place.directory;
  std::vector<std::string> paths{directory};
  for (const std::string& path : {place.settings_file, place.info_file})
    if (!path.starts_with(directory + "/")) paths.push_back(path);
  for (const std::string& path : paths) {
    auto found = co_await shard.stores->find(path);
    if (!found) co_return fail(std::move(found).error());
    if (!found->exists) continue;
    if (path == directory) {
      ++by_store[found->member->name()];
      ++by_leaf[leaf_of(*domain, directory)];
    }
    if (found->newest) continue;
    v1::AccountMove* move = out.add_moves();
    move->set_account(address.to_string());
    move->set_path(path);
    move->set_from(found->member->name());
    move->set_to(found->mounts->table().row_for(object_of(path)).store);
  }
  co_return Result<void>();
}

// The cursor is "DOMAIN/ACCOUNT": the account that was looked at last.
Task<Result<v1::ListMovesResponse>> StoresService::list_moves(CallContext& call,
                                                              const v1::ListMovesRequest& request) {
  v1::ListMovesResponse out;
  if (node_.shards().front()->stores == nullptr)
    co_return fail(Code::kUnsupported, "stores", "this daemon serves one store only");
  std::map<std::string, uint64_t> by_store, by_leaf;
  const size_t slash = request.cursor().find('/');
  const std::string at_domain = request.cursor().substr(0, slash);
  std::string after = slash == std::string::npos ? "" : request.cursor().substr(slash + 1);
  const auto table = node_.here().accounts.domain_table();
  for (auto at = table->domains.lower_bound(at_domain); at != table->domains.end(); ++at) {
    if (at->first != at_domain) after.clear();
    auto page = co_await node_.list_accounts(at->first, after, "", kLookedAtOnce);
    co_await call.loop().switch_to();
    if (!page) co_return fail(std::move(page).error());
    for (const std::string& name : page->names) {
      const AccountAddress address{name, at->first};
      auto done = co_await add_moves(node_.shard_of(address), address, out, by_store, by_leaf);
      co_await call.loop().switch_to();
      if (!done) co_return fail(std::move(done).error());
      out.set_cursor(at->first + "/" + name);
    }
    if (page->names.empty()) continue;
    put(by_store, out.mutable_accounts());
    put(by_leaf, out.mutable_leaves());
    co_return out;
  }
  out.set_end(true);
  co_return out;
}

}  // namespace canopy::wire
