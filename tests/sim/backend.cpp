#include "tests/sim/backend.h"

#include "daemon/account/older_stages.h"
#include "daemon/store/marker.h"
#include "daemon/tree/layout.h"

namespace canopy::sim {
namespace {

constexpr Nanos kStoresAwaitedAtStart = 2 * kSecond;

FaultPlan faults_of(const Site& site, size_t number) {
  FaultPlan faults = number == 0 ? site.plan.faults : site.plan.others[number - 1].faults;
  if (site.calm) {
    faults = FaultPlan{};
    faults.check_unclosed = false;
  }
  if (site.away == number) {
    faults.error = 1;
    faults.error_code = Code::kStoreUnavailable;
  }
  return faults;
}

// Small, so that its files take turns.
JournalOptions small_journal() {
  JournalOptions options;
  options.file_bytes = 128 << 10;
  options.records_max = 20;
  options.bytes_free_min = 0;
  options.checkpoint_after = kSecond;
  return options;
}

Task<void> empty_trash_of(std::shared_ptr<Store> store, std::vector<std::string> names) {
  co_await empty_trash(*store, std::move(names));
}

uint64_t epoch_of(uint32_t generation) { return static_cast<uint64_t>(generation) << 32 | 1; }

}  // namespace

Backend::Backend(Site& site, Address address)
    : site_(site),
      address_(std::move(address)),
      loop_(site.world.add_loop(fmt::format("canopyd-{}", ++site.processes))),
      views_(site.disks.size()),
      store_(view_of(0)),
      heartbeat_(loop_, *store_, loop_.name(), lease_) {
  for (size_t i = 1; i < views_.size(); ++i) (void)view_of(i);
  site_.trace.event("{} starts on {}", name(), address_.to_string());
  loop_.spawn(run(*this));
}

bool Backend::shared(size_t number) const {
  return number == 0 ? site_.plan.shared : site_.plan.others[number - 1].shared;
}

std::unique_ptr<Store> Backend::view_of(size_t number) {
  View& view = views_[number];
  if (!view.faulty) {
    view.inner = std::make_unique<MemoryStore>(
        &site_.outside, site_.disks[number],
        MemoryStoreOptions{.name = std::string(kStoreNames[number]), .shared = shared(number)});
    view.faulty = std::make_unique<FaultyStore>(*view.inner, loop_, faults_of(site_, number),
                                                site_.world.random().next(), &site_.outside);
    if (site_.plan.journal && !shared(number))
      view.journal = std::make_shared<ReplaceJournal>(loop_, std::make_shared<BorrowedStore>(*view.faulty),
                                                      small_journal());
    view.faulty->on_operation([this, number](uint64_t, StoreOperation operation, std::string_view object) {
      before_operation(number, operation, object);
    });
  }
  auto store = std::make_unique<BorrowedStore>(*view.faulty);
  if (!view.journal) return store;
  return std::make_unique<JournaledStore>(loop_, std::move(store), view.journal);
}

void Backend::before_operation(size_t number, StoreOperation operation, std::string_view object) {
  const uint64_t index = ++operations_;
  if (site_.trace_store) {
    site_.trace.event("  {} {} {}: {} {}", name(), index, kStoreNames[number],
                      store_operation_name(operation), object);
  }
  if (dies_before_ == 0 || index < dies_before_ || !alive()) return;
  dies_before_ = 0;
  site_.trace.event("{} dies before its operation {} on {}: {} {}", name(), index, kStoreNames[number],
                    store_operation_name(operation), object);
  kill();
  if (after_death_) std::exchange(after_death_, {})();
}

void Backend::die_before_operation(uint64_t after, std::function<void()> then) {
  dies_before_ = operations_ + after;
  after_death_ = std::move(then);
}

void Backend::kill() {
  if (!alive()) return;
  site_.trace.event("{} is killed", name());
  for (size_t i = 0; i < views_.size(); ++i)
    if (!shared(i)) halt_store(i);
  site_.world.kill(loop_);
}

void Backend::draw_on_faults() {
  for (size_t i = 0; i < views_.size(); ++i) views_[i].faulty->set_plan(faults_of(site_, i));
}

Task<void> Backend::run(Backend& self) {
  auto started = co_await self.start();
  if (started) {
    self.serving_ = true;
    self.site_.trace.event("{} serves, epoch {:x}", self.name(), self.epoch_);
    co_return;
  }
  self.site_.trace.event("{} cannot start: {}", self.name(), started.error().to_string());
  if (started.error().code() == Code::kDamaged || started.error().code() == Code::kInternal) {
    self.site_.trace.violation("{} cannot start: {}", self.name(), started.error().to_string());
  }
  self.site_.world.kill(self.loop_);
}

// As canopyd does (daemon/main.cpp).
Task<Result<void>> Backend::start() {
  auto marker = co_await check_marker(*store_, "", "");
  if (!marker) {
    if (marker.error().code() != Code::kStoreUnavailable) co_return fail(std::move(marker).error());
    auto made = co_await create_marker(*store_, loop_, std::string(kStoreNames[0]), "SharedDomains, Settings",
                                       StoreContent::kIsKept);
    if (!made) co_return fail(std::move(made).error());
  }
  CANOPY_CO_TRY(co_await make_directories(*store_, std::string(kTreeRoot), 0700, Durable::kYes));
  // The simulator asks for no waiting: the successor begins while its predecessor still works.
  auto generation = co_await heartbeat_.claim(true);
  if (!generation) co_return fail(std::move(generation).error());
  epoch_ = epoch_of(*generation);
  site_.highest_epoch = std::max(site_.highest_epoch, epoch_);
  CANOPY_CO_TRY(co_await begin_journal(*this, 0));
  store_ = with_bug(site_.bug, std::move(store_), epoch_);
  CANOPY_CO_ASSIGN(auto trash, co_await retire_older_stages(*store_, epoch_));
  if (views_.size() > 1) CANOPY_CO_TRY(co_await open_set());
  build_node();
  CANOPY_CO_TRY(co_await node_->start());
  auto listener = loop_.listen(address_, {});
  if (!listener) co_return fail(std::move(listener).error());
  server_->serve(std::move(*listener));
  loop_.spawn(beat_on(*this));
  loop_.spawn(sweep_on(*this));
  if (set_ != nullptr) loop_.spawn(read_domains_on(*this));
  loop_.spawn(relocations_->run(never_over_));
  loop_.spawn(domain_moves_->run(never_over_));
  loop_.spawn(empty_trash(*node_->shards().front()->store, std::move(trash)));
  co_return Result<void>();
}

Task<Result<std::unique_ptr<Store>>> Backend::open_member(Backend& self, StoreConfig config) {
  const auto number = store_at(config.address);
  if (!number || *number >= self.views_.size())
    co_return fail(Code::kNotFound, config.address, "there is no such disk");
  co_return with_bug(self.site_.bug, self.view_of(*number), self.epoch_);
}

Task<Result<void>> Backend::prepare_member(Backend& self, std::shared_ptr<Store> store) {
  auto trash = co_await retire_older_stages(*store, self.epoch_);
  if (!trash) co_return fail(std::move(trash).error());
  self.loop_.spawn(empty_trash_of(std::move(store), std::move(*trash)));
  co_return Result<void>();
}

Task<Result<void>> Backend::begin_journal(Backend& self, size_t number) {
  if (const auto journal = self.views_[number].journal) co_return co_await journal->begin();
  co_return Result<void>();
}

Task<Result<void>> Backend::open_set() {
  CANOPY_CO_ASSIGN(const auto config, co_await load_stores(*store_));
  StoreSetOptions options;
  options.open = [this](StoreConfig of) { return open_member(*this, std::move(of)); };
  options.prepare = [this](std::shared_ptr<Store> store) { return prepare_member(*this, std::move(store)); };
  options.begin = [this](const StoreConfig& of, Store&) {
    return begin_journal(*this, store_at(of.address).value_or(0));
  };
  auto set = std::make_unique<StoreSet>(loop_, std::move(store_), std::move(options));
  set_ = set.get();
  store_ = std::move(set);
  set_->apply(config);
  co_await set_->settle(loop_.now() + kStoresAwaitedAtStart);
  co_return Result<void>();
}

void Backend::build_node() {
  std::vector<std::unique_ptr<wire::Shard>> shards;
  shards.push_back(std::make_unique<wire::Shard>(loop_, std::move(store_), epoch_, 0, site_.plan.accounts,
                                                 std::function<bool()>(), nullptr, set_));
  wire::NodeOptions options;
  options.backend = name();
  node_ = std::make_unique<wire::Node>(options, std::move(shards), site_.workers, epoch_);
  wire::SessionMethods::Options session;
  session.server = name();
  session.epoch = [this] { return epoch_; };
  session_ = std::make_unique<wire::SessionMethods>(session);
  stores_ = std::make_unique<wire::StoresService>(*node_, site_.plan.late_max() + kSecond);
  directory_ = std::make_unique<wire::DirectoryService>(*node_, stores_.get());
  mailboxes_ = std::make_unique<wire::MailboxesService>(*node_);
  info_ = std::make_unique<wire::InfoService>(*node_);
  status_ = std::make_unique<wire::StatusService>(*node_);
  relocations_ = std::make_unique<wire::Relocations>(
      *node_,
      [this](std::shared_ptr<const StoresConfig> as_of) {
        return stores_->drop_superseded(std::move(as_of));
      },
      site_.plan.late_max() + kSecond);
  domain_moves_ = std::make_unique<wire::DomainMoves>(*node_);
  relocation_ = std::make_unique<wire::RelocationService>(*node_, *relocations_, *domain_moves_, *stores_);
  session_->add_to(table_);
  relocation_->add_to(table_);
  info_->add_to(table_);
  status_->add_to(table_);
  stores_->add_to(table_);
  mailboxes_->add_to(site_.bug == Bug::kRequestForgotten ? remembering_ : table_);
  directory_->add_to(site_.bug == Bug::kAccountRequestForgotten ? remembering_ : table_);
  forgetful_ = forget_request_ids(site_.bug, remembering_, table_);
  server_ = std::make_unique<wire::RpcServer>(loop_, table_, wire::RpcServerOptions{});
  status_->watch({server_.get()});
}

Task<void> Backend::beat_on(Backend& self) {
  for (;;) {
    co_await self.loop_.sleep(kBeatNanos);
    auto done = co_await self.heartbeat_.beat();
    if (done || done.error().code() != Code::kFenced) continue;
    self.site_.trace.event("{} ends: {}", self.name(), done.error().to_string());
    self.site_.world.kill(self.loop_);
    co_return;
  }
}

Task<void> Backend::sweep_on(Backend& self) {
  for (;;) {
    co_await self.loop_.sleep(kSecond);
    (void)co_await self.node_->shards().front()->accounts.sweep();
  }
}

// Of stores that did not answer at the start.
Task<void> Backend::read_domains_on(Backend& self) {
  for (;;) {
    co_await self.loop_.sleep(kSecond);
    co_await self.node_->read_more_domains();
  }
}

}  // namespace canopy::sim
