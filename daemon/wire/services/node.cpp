#include "daemon/wire/services/node.h"

#include "daemon/base/log.h"
#include "daemon/dict/dict.h"
#include "daemon/store/set/store_set.h"

namespace canopy::wire {
namespace {

constexpr std::string_view kClusterSettingsFile = "Settings/Cluster.settings";
constexpr size_t kCredentialsCachedMax = 100'000;
constexpr int64_t kCredentialsCachedSeconds = 600;

LogEnvironment environment_of(Store& store, Loop& loop, SliceFiles& files, uint64_t epoch,
                              std::function<bool()> lease_held) {
  LogEnvironment environment;
  environment.store = &store;
  environment.loop = &loop;
  environment.files = &files;
  environment.epoch = epoch;
  environment.lease_held = std::move(lease_held);
  return environment;
}

}  // namespace

Shard::Shard(Loop& on, std::unique_ptr<Store> files_on, uint64_t epoch, uint32_t index,
             const AccountsOptions& options, std::function<bool()> lease_held, Catalog* catalog,
             StoreSet* set)
    : loop(on),
      store(std::move(files_on)),
      stores(set),
      files(*store, epoch, index, lease_held),
      accounts(environment_of(*store, on, slices, epoch, std::move(lease_held)), files, options),
      aliases(on, files),
      requests(on, files),
      credentials(kCredentialsCachedMax, kCredentialsCachedSeconds),
      names(on, *store, catalog) {}

Node::Node(NodeOptions options, std::vector<std::unique_ptr<Shard>> shards, WorkerPool& workers,
           uint64_t epoch, Catalog* catalog)
    : options_(std::move(options)),
      shards_(std::move(shards)),
      workers_(workers),
      catalog_(catalog),
      epoch_(epoch),
      domains_gate_(shards_.front()->loop) {
  for (const auto& shard : shards_) {
    shard->accounts.on_names_change(
        [this, on = shard.get()](const AccountAddress& address, std::optional<bool> present) {
          Shard* owner = &shard_of(slot_of("", address.domain));
          if (owner == on) return owner->names.changed(address, present);
          owner->loop.post([owner, address, present] { owner->names.changed(address, present); });
        });
    shard->accounts.on_move([this](const AccountAddress& address, bool begins) {
      Shard* owner = &shard_of(slot_of("", address.domain));
      if (owner->names.moves(address, begins)) owner->loop.post([owner] { owner->names.take_moves(); });
    });
  }
}

Shard& Node::here() {
  for (const auto& shard : shards_) {
    if (shard->loop.on_this_thread()) return *shard;
  }
  CANOPY_CHECK(false && "a service runs on a loop of its node");
}

Task<Result<void>> Node::load_key(Shard& shard) {
  auto held = co_await shard.files.read(std::string(kClusterSettingsFile));
  if (!held && held.error().code() != Code::kNotFound) co_return fail(std::move(held).error());
  dict::VersionedDict file = held ? std::move(*held) : dict::VersionedDict{};
  if (const dict::Value* key = file.dict.find("TicketKey"); key != nullptr && key->data() != nullptr) {
    ticket_key_ = key->data()->bytes;
    if (ticket_key_.size() == kTicketKeyBytes) co_return Result<void>();
    co_return fail(Code::kDamaged, std::string(kClusterSettingsFile),
                   fmt::format("TicketKey is a data block of {} bytes", kTicketKeyBytes));
  }
  for (size_t i = 0; i < kTicketKeyBytes; i += 8) {
    uint64_t word = shard.loop.random();
    ticket_key_.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  file.dict.set("TicketKey", dict::Data{ticket_key_});
  auto written = co_await shard.files.replace(0, std::string(kClusterSettingsFile), std::move(file));
  if (!written) co_return fail(std::move(written).error());
  co_return Result<void>();
}

Task<Result<void>> Node::start() {
  Shard& first = *shards_.front();
  CANOPY_CO_TRY(co_await make_directories(*first.store, std::string(kSettingsRoot), 0700, Durable::kYes));
  CANOPY_CO_TRY(co_await load_key(first));
  auto table = co_await load_domains(first.files);
  if (!table) co_return fail(std::move(table).error());
  for (const std::string& problem : problems_of(**table))
    log_event(LogLevel::kError, "settings-damaged", problem);
  for (const auto& shard : shards_) {
    co_await shard->loop.switch_to();
    shard->accounts.set_domains(*table);
  }
  co_await first.loop.switch_to();
  co_return Result<void>();
}

std::vector<std::string> Node::problems_of(const DomainTable& table) {
  std::vector<std::string> problems;
  if (table.tree.defaults_error) {
    problems.push_back(fmt::format(
        "{}: accounts whose limits neither they nor their domain state take no mail until it is repaired",
        table.tree.defaults_error->to_string()));
  }
  for (const auto& [name, broken] : table.broken)
    problems.push_back(fmt::format("domain {} is not served: {}", name, broken.error.to_string()));
  return problems;
}

Task<void> Node::read_more_domains() {
  Shard& first = *shards_.front();
  if (first.stores == nullptr) co_return;
  const auto table = first.accounts.domain_table();
  const bool wanted = std::ranges::any_of(table->unread, [&](const auto& of) {
    const MemberRef member = first.stores->member(of.first);
    return !member || member->usable();
  });
  if (wanted) co_await read_domains_again();
}

Task<void> Node::read_domains_again() {
  auto read = co_await change_domains([](Shard& shard, DomainTable& into) -> Task<Result<void>> {
    return canopy::read_more_domains(shard.files, into);
  });
  if (!read)
    log_event(LogLevel::kWarning, "domains-not-read", "SharedDomains", {{"error", read.error().to_string()}});
}

Task<void> Node::stop() {
  for (const auto& shard : shards_) {
    co_await shard->loop.switch_to();
    co_await shard->accounts.close_all();
    co_await shard->names.stop();
  }
  co_await shards_.front()->loop.switch_to();
}

Task<Result<Node::Found>> Node::find(AccountAddress address) {
  for (int hop = 0; hop < 2; ++hop) {
    Shard& shard = shard_of(address);
    co_await shard.loop.switch_to();
    auto settings = co_await shard.accounts.settings(address);
    if (settings) {
      Found found;
      found.shard = &shard;
      found.address = std::move(address);
      found.settings = std::move(*settings);
      co_return found;
    }
    if (settings.error().code() != Code::kNotFound || hop == 1) co_return fail(std::move(settings).error());
    CANOPY_CO_ASSIGN(auto domain, shard.accounts.domains().get(address.domain));
    Shard& owner = shard_of(domain->slot);
    co_await owner.loop.switch_to();
    auto target = co_await owner.aliases.find(domain, address.account);
    if (!target) co_return fail(std::move(target).error());
    CANOPY_CO_ASSIGN(address, parse_address(*target));
  }
  co_return fail(Code::kNotFound, address.to_string(), "there is no such account");
}

Task<void> Node::look_again(AccountAddress address) {
  Shard& shard = shard_of(address);
  co_await shard.loop.switch_to();
  auto known = co_await shard.accounts.settings(address);
  if (known && (*known)->use == AccountUse::kSuspended) (void)co_await shard.accounts.read_again(address);
  Shard& owner = shard_of(slot_of("", address.domain));
  co_await owner.loop.switch_to();
  owner.names.changed(address, std::nullopt);
}

Task<Result<NamePage>> Node::list_accounts(std::string domain, std::string after, std::string prefix,
                                           size_t limit) {
  Shard& owner = shard_of(slot_of("", domain));
  co_await owner.loop.switch_to();
  for (;;) {
    while (owner.accounts.is_held(domain)) co_await owner.accounts.wait_until_released();
    CANOPY_CO_ASSIGN(auto found, owner.accounts.domains().get(domain));
    const std::string directory = found->directory();
    auto page = co_await owner.names.list(std::move(found), after, prefix, limit);
    // What was seen while its directory moved away is nothing.
    const Domain* now = owner.accounts.domains().find(domain);
    if (!owner.accounts.is_held(domain) && (now == nullptr || now->directory() == directory)) co_return page;
  }
}

Task<Result<void>> Node::change_domains(TableChange change) {
  Loop& home = here().loop;
  Shard& first = *shards_.front();
  co_await first.loop.switch_to();
  Result<void> result;
  {
    auto guard = co_await domains_gate_.lock();
    auto table = std::make_shared<DomainTable>(first.accounts.domains());
    result = co_await change(first, *table);
    if (result) {
      for (const auto& shard : shards_) {
        co_await shard->loop.switch_to();
        shard->accounts.set_domains(table);
        shard->names.keep_only(*table);
      }
      co_await first.loop.switch_to();
    }
  }
  co_await home.switch_to();
  co_return result;
}

}  // namespace canopy::wire
