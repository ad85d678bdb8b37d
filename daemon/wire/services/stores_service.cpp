#include "daemon/wire/services/stores_service.h"

#include <sys/stat.h>

#include "daemon/base/bytes.h"
#include "daemon/store/marker.h"
#include "daemon/store/store_bench.h"
#include "daemon/store/store_check.h"

namespace canopy::wire {
namespace {

constexpr Nanos kSettledWithin = 5 * kSecond;

Result<StoreSet*> set_of(Shard& shard) {
  if (shard.stores != nullptr) return shard.stores;
  return fail(Code::kUnsupported, "stores", "this daemon serves one store only");
}

// A mount that failed leaves the directory that it would cover, on the file system around it.
Result<void> check_mounted(const StoreConfig& config) {
  if (!config.is_local()) return {};
  struct stat own{}, around{};
  if (stat(config.directory().c_str(), &own) != 0)
    return fail_errno(errno, config.directory(), "opening the directory");
  if (stat((config.directory() + "/..").c_str(), &around) != 0 || own.st_dev != around.st_dev) return {};
  return fail(
      Code::kInvalidArgument, config.directory(),
      "nothing is mounted there: it lies on the same file system as the directory above it; mount the "
      "store, or allow it for a plain directory (--allow-same-device)");
}

Task<Result<void>> check_writable(Store& store, Loop& loop) {
  const std::string path = fmt::format(".canopy/probe.{}", hex64(loop.random()));
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  auto made = co_await store.open(path, options);
  if (!made) co_return fail(std::move(made).error());
  co_return co_await store.remove(path, Durable::kNo);
}

Task<Result<bool>> holds_files(Store& store, std::string path) {
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await store.list(path, cookie);
    if (!page && page.error().code() == Code::kNotFound) co_return false;
    if (!page) co_return fail(std::move(page).error());
    end = page->end;
    cookie = page->next_cookie;
    for (const DirectoryEntry& entry : page->entries) {
      if (entry.type != FileType::kDirectory) co_return true;
      auto inside = co_await holds_files(store, path + "/" + entry.name);
      if (!inside || *inside) co_return inside;
    }
  }
  co_return false;
}

Task<Result<void>> write_settings(Shard& shard, std::string path, dict::Dict dict) {
  auto held = co_await shard.files.read(path);
  if (!held && held.error().code() != Code::kNotFound) co_return fail(std::move(held).error());
  dict::VersionedDict file = held ? std::move(*held) : dict::VersionedDict{};
  file.dict = std::move(dict);
  auto written = co_await shard.files.replace(0, path, std::move(file));
  if (!written) co_return fail(std::move(written).error());
  co_return Result<void>();
}

void put_rows(std::span<const MountRow> rows, google::protobuf::RepeatedPtrField<v1::MountRow>* out) {
  for (const MountRow& row : rows) {
    v1::MountRow* one = out->Add();
    one->set_pattern(row.pattern);
    one->set_store(row.store);
    one->set_prefix(row.prefix);
  }
}

// With these rows in the place of the present ones.
Result<StoresConfig> with_rows(StoresConfig next, std::vector<MountRow> rows) {
  const auto before = next.mounts->table().rows();
  if (std::ranges::equal(before, rows))
    return next;  // what they were before stays what can be turned back to
  next.rows_before.assign(before.begin(), before.end());
  CANOPY_ASSIGN(Mounts changed, next.mounts->changed(std::move(rows)));
  next.mounts = std::make_shared<const Mounts>(std::move(changed));
  return next;
}

v1::MountsResponse describe(const Mounts& mounts, uint64_t version) {
  v1::MountsResponse out;
  put_rows(mounts.table().rows(), out.mutable_rows());
  put_rows(mounts.superseded(), out.mutable_superseded());
  for (std::string& folder : unnamed_folders(mounts.table())) out.add_unnamed_folders(std::move(folder));
  out.set_version(version);
  return out;
}

Task<Result<uint64_t>> version_of_mounts(Shard& shard) {
  auto held = co_await shard.files.read(std::string(kMountsSettingsFile));
  if (held) co_return held->version.number;
  if (held.error().code() == Code::kNotFound) co_return 0;
  co_return fail(std::move(held).error());
}

}  // namespace

void StoresService::add_to(MethodTable& table) {
  using S = StoresService;
  table.add<v1::AddStoreRequest, v1::StoreInfo>("canopy.v1.Stores", "Add", this, &S::add);
  table.add<v1::SetStoreRequest, v1::StoreInfo>("canopy.v1.Stores", "Set", this, &S::set);
  table.add<v1::StoreRequest, v1::Empty>("canopy.v1.Stores", "Remove", this, &S::remove);
  table.add<v1::StoreRequest, v1::TestStoreResponse>("canopy.v1.Stores", "Test", this, &S::test);
  table.add<v1::MeasureStoreRequest, v1::MeasureStoreResponse>("canopy.v1.Stores", "Measure", this,
                                                               &S::measure);
  table.add<v1::Empty, v1::MountsResponse>("canopy.v1.Stores", "GetMounts", this, &S::get_mounts);
  table.add<v1::SetMountsRequest, v1::MountsResponse>("canopy.v1.Stores", "SetMounts", this, &S::set_mounts);
  table.add<v1::ListMovesRequest, v1::ListMovesResponse>("canopy.v1.Stores", "ListMoves", this,
                                                         &S::list_moves);
}

// Durable first: a daemon that ends in between starts with what every loop will see. No row may name a store
// that is not there, also between the two files: a store comes before its rows, and goes after them.
Task<Result<void>> StoresService::switch_to(StoresConfig next) {
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(next.check());
  const auto now = first.stores->config();
  const bool stores = next.stores != now->stores;
  const bool goes =
      std::ranges::any_of(now->stores, [&](const auto& of) { return !next.stores.contains(of.first); });
  if (stores && !goes)
    CANOPY_CO_TRY(
        co_await write_settings(first, std::string(kStoresSettingsFile), print_stores(next.stores)));
  if (print_mounts(next) != print_mounts(*now))
    CANOPY_CO_TRY(co_await write_settings(first, std::string(kMountsSettingsFile), print_mounts(next)));
  if (stores && goes)
    CANOPY_CO_TRY(
        co_await write_settings(first, std::string(kStoresSettingsFile), print_stores(next.stores)));
  auto config = std::make_shared<const StoresConfig>(std::move(next));
  const Nanos deadline = first.loop.now() + kSettledWithin;
  for (const auto& shard : node_.shards()) {
    co_await shard->loop.switch_to();
    shard->stores->apply(config);
  }
  for (const auto& shard : node_.shards()) {
    co_await shard->loop.switch_to();
    co_await shard->stores->settle(deadline);
  }
  co_await first.loop.switch_to();
  co_return Result<void>();
}

Task<Result<v1::StoreInfo>> StoresService::info_of(std::string name) {
  GatheredStores gathered = co_await gather_stores(node_);
  for (v1::StoreInfo& info : gathered.infos)
    if (info.name() == name) co_return std::move(info);
  co_return fail(Code::kNotFound, std::move(name), "there is no such store");
}

// Whether it is what it shall be; makes its marker when it is new.
Task<Result<StoreConfig>> StoresService::examine(const v1::AddStoreRequest& request) {
  Shard& first = *node_.shards().front();
  StoreConfig config;
  config.name = request.name();
  config.address = request.address();
  config.fast = request.fast();
  config.shared = request.shared();
  if (request.has_reserve()) config.reserve_bytes = request.reserve().bytes();
  CANOPY_CO_TRY(check_store_config(config));
  if (!request.allow_same_device()) CANOPY_CO_TRY(check_mounted(config));
  auto opened = co_await first.stores->open_other(config);
  if (!opened) co_return fail(std::move(opened).error());
  Store& store = **opened;
  auto tree = co_await check_marker(*first.stores, "", "");  // the root store's
  if (!tree) co_return fail(std::move(tree).error());
  auto marker = co_await check_marker(store, "", "");
  if (marker) {
    if (!marker->tree.empty() && marker->tree != tree->id)
      co_return fail(
          Code::kConflict, config.address,
          fmt::format("it belongs to another tree, that of the root store with the id {}; when that "
                      "tree is gone, remove Tree from .canopy/store",
                      marker->tree));
    if (marker->name != config.name)
      co_return fail(Code::kConflict, config.address,
                     fmt::format("it is marked as store {}, not {}", marker->name, config.name));
    if (request.new_store())
      co_return fail(Code::kAlreadyExists, config.address, "it is a store already; add it without --new");
    CANOPY_CO_TRY(co_await check_writable(store, first.loop));
    CANOPY_CO_TRY(co_await claim_store(store, first.loop, tree->id));
  } else if (marker.error().code() != Code::kStoreUnavailable) {
    co_return fail(std::move(marker).error());
  } else if (!request.new_store()) {
    auto entries = co_await list_all(store, "", 1000);
    const bool empty = entries && entries->empty();
    co_return fail(
        Code::kInvalidArgument, config.address,
        empty ? "it is empty: is it mounted? A new store is added with --new"
              : "it has no marker (.canopy/store), so it is no store; an empty one is added with --new");
  } else {
    marker = co_await create_marker(store, first.loop, config.name, "SharedDomains",
                                    StoreContent::kMustBeEmpty, tree->id);
    if (!marker && marker.error().code() == Code::kNotEmpty)
      co_return fail(Code::kConflict, config.address, marker.error().message());
    if (!marker) co_return fail(std::move(marker).error());
  }
  config.id = marker->id;
  for (const auto& [name, other] : first.stores->config()->stores)
    if (other.id == config.id)
      co_return fail(Code::kAlreadyExists, config.address, fmt::format("it is the store {} already", name));
  co_return config;
}

Task<Result<v1::StoreInfo>> StoresService::add(CallContext& call, const v1::AddStoreRequest& request) {
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(set_of(first));
  co_await first.loop.switch_to();
  Result<v1::StoreInfo> info = v1::StoreInfo();
  {
    auto guard = co_await gate_.lock();
    if (first.stores->config()->stores.contains(request.name())) {
      info = fail(Code::kAlreadyExists, request.name(), "there is such a store already");
    } else if (auto config = co_await examine(request); !config) {
      info = fail(std::move(config).error());
    } else {
      StoresConfig next = *first.stores->config();
      next.stores[config->name] = *config;
      auto switched = co_await switch_to(std::move(next));
      info = switched ? co_await info_of(config->name)
                      : Result<v1::StoreInfo>(fail(std::move(switched).error()));
    }
  }
  co_await call.loop().switch_to();
  co_return info;
}

Task<Result<v1::StoreInfo>> StoresService::set(CallContext& call, const v1::SetStoreRequest& request) {
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(set_of(first));
  co_await first.loop.switch_to();
  auto change = [&]() -> Result<StoresConfig> {
    StoresConfig next = *first.stores->config();
    const auto at = next.stores.find(request.name());
    if (at == next.stores.end()) return fail(Code::kNotFound, request.name(), "there is no such store");
    if (!request.address().empty()) at->second.address = request.address();
    if (request.role() != v1::SetStoreRequest::STAYS)
      at->second.fast = request.role() == v1::SetStoreRequest::FAST;
    if (request.has_reserve()) at->second.reserve_bytes = request.reserve().bytes();
    if (request.default_reserve()) at->second.reserve_bytes.reset();
    CANOPY_TRY(check_store_config(at->second));
    return next;
  };
  Result<v1::StoreInfo> info = v1::StoreInfo();
  {
    auto guard = co_await gate_.lock();
    auto next = change();
    Result<void> done;
    if (next && !request.address().empty()) {
      const StoreConfig& config = next->stores.at(request.name());
      auto opened = co_await first.stores->open_other(config);
      if (opened) {
        auto marker = co_await check_marker(**opened, config.id, config.name);
        if (!marker) done = fail(std::move(marker).error());
      } else {
        done = fail(std::move(opened).error());
      }
    }
    if (!next)
      done = fail(std::move(next).error());
    else if (done)
      done = co_await switch_to(std::move(*next));
    info = done ? co_await info_of(request.name()) : Result<v1::StoreInfo>(fail(std::move(done).error()));
  }
  co_await call.loop().switch_to();
  co_return info;
}

// What nothing leads to any more, and holds nothing that an older table led to.
static Task<Result<StoresConfig>> without_store(StoreSet& set, std::string name) {
  StoresConfig next = *set.config();
  if (!next.stores.contains(name)) co_return fail(Code::kNotFound, name, "there is no such store");
  for (const MountRow& row : next.mounts->table().rows())
    if (row.store == name)
      co_return fail(Code::kConflict, name, fmt::format("the mount table's row {} leads to it", row.pattern));
  std::vector<MountRow> drained;
  for (const MountRow& row : next.mounts->superseded()) {
    if (row.store != name) continue;
    const MemberRef member = set.member(name);
    const std::shared_ptr<Store> store = member->store();
    if (!member->usable()) co_return fail(member->unavailable());
    auto any = co_await holds_files(*store, path_on_store(row, "SharedDomains"));
    if (!any) co_return fail(std::move(any).error());
    if (*any)
      co_return fail(Code::kConflict, name,
                     "accounts or files of them still lie on it (canopyctl mounts show --moves names them): "
                     "they are on their way (canopyctl relocation show /)");
    drained.push_back(row);
  }
  next.mounts = std::make_shared<const Mounts>(next.mounts->without(drained));
  next.stores.erase(name);
  co_return next;
}

Task<Result<v1::Empty>> StoresService::remove(CallContext& call, const v1::StoreRequest& request) {
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(set_of(first));
  co_await first.loop.switch_to();
  Result<void> done;
  {
    auto guard = co_await gate_.lock();
    auto next = co_await without_store(*first.stores, request.name());
    done = next ? co_await switch_to(std::move(*next)) : Result<void>(fail(std::move(next).error()));
  }
  co_await call.loop().switch_to();
  if (!done) co_return fail(std::move(done).error());
  co_return v1::Empty();
}

Task<Result<v1::MountsResponse>> StoresService::get_mounts(CallContext& call, const v1::Empty&) {
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(set_of(first));
  co_await first.loop.switch_to();
  auto version = co_await version_of_mounts(first);
  Result<v1::MountsResponse> out = v1::MountsResponse();
  if (version)
    out = describe(*first.stores->config()->mounts, *version);
  else
    out = fail(std::move(version).error());
  co_await call.loop().switch_to();
  co_return out;
}

Task<Result<v1::MountsResponse>> StoresService::set_mounts(CallContext& call,
                                                           const v1::SetMountsRequest& request) {
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(set_of(first));
  std::vector<MountRow> rows;
  for (const v1::MountRow& row : request.rows()) rows.push_back({row.pattern(), row.store(), row.prefix()});
  co_await first.loop.switch_to();
  auto change = [](Shard& on, Node& node, StoresService& self, std::vector<MountRow> wanted,
                   uint64_t expected, bool dry) -> Task<Result<v1::MountsResponse>> {
    auto version = co_await version_of_mounts(on);
    if (!version) co_return fail(std::move(version).error());
    if (expected != 0 && expected != *version)
      co_return fail(Code::kConflict, std::string(kMountsSettingsFile),
                     fmt::format("its version is {}, not {}: read it again", *version, expected));
    CANOPY_CO_ASSIGN(StoresConfig next, with_rows(*on.stores->config(), std::move(wanted)));
    CANOPY_CO_TRY(next.check());
    const auto mounts = next.mounts;
    if (!dry) {
      CANOPY_CO_TRY(co_await self.switch_to(std::move(next)));
      co_await node.read_domains_again();
      version = co_await version_of_mounts(on);
      if (!version) co_return fail(std::move(version).error());
    }
    co_return describe(*mounts, *version);
  };
  Result<v1::MountsResponse> out = v1::MountsResponse();
  {
    auto guard = co_await gate_.lock();
    out =
        co_await change(first, node_, *this, std::move(rows), request.expected_version(), request.dry_run());
  }
  co_await call.loop().switch_to();
  co_return out;
}

Task<Result<bool>> StoresService::drop_superseded(std::shared_ptr<const StoresConfig> as_of) {
  Shard& first = *node_.shards().front();
  auto guard = co_await gate_.lock();
  if (first.stores->config() != as_of) co_return false;
  if (late_until_ != 0 && as_of->mounts->superseded_of_one_account() != 0 && first.stores->shared()) {
    if (first.loop.now() < late_until_) co_return false;
    // What begins when nothing can arrive any more decides.
    late_until_ = 0;
    CANOPY_CO_TRY(co_await switch_to(StoresConfig(*as_of)));
    co_return false;
  }
  StoresConfig next = *as_of;
  const auto superseded = as_of->mounts->superseded();
  next.mounts =
      std::make_shared<const Mounts>(as_of->mounts->without({superseded.begin(), superseded.end()}));
  next.rows_before.clear();
  CANOPY_CO_TRY(co_await switch_to(std::move(next)));
  co_return true;
}

Task<Result<void>> StoresService::change_relocation(CallContext& call, bool beforehand, ChangeHow change) {
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(set_of(first));
  co_await first.loop.switch_to();
  Result<void> done;
  {
    auto guard = co_await gate_.lock();
    StoresConfig next = *first.stores->config();
    if (!beforehand && next.mounts->superseded().empty())
      done = fail(Code::kNotFound, "/", "nothing has to move: canopyctl mounts set FILE begins a relocation");
    if (done) done = change(next.relocation);
    if (done) done = co_await switch_to(std::move(next));
  }
  co_await call.loop().switch_to();
  co_return done;
}

Task<Result<void>> StoresService::put_back_mounts(CallContext& call) {
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(set_of(first));
  co_await first.loop.switch_to();
  Result<void> done;
  {
    auto guard = co_await gate_.lock();
    const StoresConfig now = *first.stores->config();
    auto next = with_rows(now, now.rows_before);
    if (now.mounts->superseded().empty() || now.rows_before.empty()) {
      done = fail(Code::kNotFound, "/", "nothing is on its way to another store");
    } else if (!next) {
      done = fail(std::move(next).error());
    } else {
      next->relocation.erase("Paused");
      done = co_await switch_to(std::move(*next));
    }
    if (done) co_await node_.read_domains_again();
  }
  co_await call.loop().switch_to();
  co_return done;
}

Task<Result<std::shared_ptr<Store>>> StoresService::store_named(std::string name) {
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(set_of(first));
  co_await first.loop.switch_to();
  const MemberRef member = first.stores->member(name);
  if (!member) co_return fail(Code::kNotFound, std::move(name), "there is no such store");
  if (!member->usable()) co_return fail(member->unavailable());
  co_return member->store();
}

Task<Result<v1::TestStoreResponse>> StoresService::test(CallContext& call, const v1::StoreRequest& request) {
  auto store = co_await store_named(request.name());
  Result<v1::TestStoreResponse> out = v1::TestStoreResponse();
  if (store) {
    for (StoreFinding& finding : co_await check_store(**store, node_.shards().front()->loop)) {
      v1::StoreVerdict* verdict = out->add_verdicts();
      verdict->set_requirement(std::move(finding.requirement));
      verdict->set_good(finding.good);
      verdict->set_found(std::move(finding.found));
      verdict->set_advice(std::move(finding.advice));
    }
  } else {
    out = fail(std::move(store).error());
  }
  co_await call.loop().switch_to();
  co_return out;
}

Task<Result<v1::MeasureStoreResponse>> StoresService::measure(CallContext& call,
                                                              const v1::MeasureStoreRequest& request) {
  constexpr uint32_t kSecondsMax = 10;
  if (request.seconds() > kSecondsMax)
    co_return fail(Code::kInvalidArgument, "seconds", fmt::format("at most {} a row", kSecondsMax));
  auto store = co_await store_named(request.name());
  Result<v1::MeasureStoreResponse> out = v1::MeasureStoreResponse();
  if (store) {
    const Nanos each = std::max(1u, request.seconds()) * kSecond;
    auto rows = co_await measure_store(**store, node_.shards().front()->loop, each);
    const auto measured = rows.value_or(std::vector<StoreMeasurement>());
    for (const StoreMeasurement& row : measured) {
      v1::StoreMeasurement* one = out->add_rows();
      one->set_operation(row.operation);
      one->set_depth(row.depth);
      one->set_operations(row.operations);
      one->set_bytes(row.bytes);
      one->set_seconds(static_cast<double>(row.took) / kSecond);
      one->set_latency_p50_us(static_cast<uint64_t>(row.p50 / kMicrosecond));
      one->set_latency_p99_us(static_cast<uint64_t>(row.p99 / kMicrosecond));
    }
    if (!rows) out = fail(std::move(rows).error());
  } else {
    out = fail(std::move(store).error());
  }
  co_await call.loop().switch_to();
  co_return out;
}

}  // namespace canopy::wire
