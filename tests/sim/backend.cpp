#include "tests/sim/backend.h"

#include "daemon/account/older_stages.h"
#include "daemon/store/marker.h"
#include "daemon/tree/layout.h"

namespace canopy::sim {
namespace {

constexpr std::string_view kStore = "root";

FaultPlan faults_of(const Site& site) {
  FaultPlan faults = site.plan.faults;
  if (site.calm) {
    faults = FaultPlan{};
    faults.check_unclosed = false;
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

uint64_t epoch_of(uint32_t generation) { return static_cast<uint64_t>(generation) << 32 | 1; }

}  // namespace

Backend::Backend(Site& site, Address address)
    : site_(site),
      address_(std::move(address)),
      loop_(site.world.add_loop(fmt::format("canopyd-{}", ++site.processes))),
      inner_(&site.outside, site.disk, {.name = std::string(kStore), .shared = site.plan.shared}),
      store_(make_store()),
      heartbeat_(loop_, *store_, loop_.name(), lease_) {
  faulty_->on_operation([this](uint64_t index, StoreOperation operation, std::string_view object) {
    before_operation(index, operation, object);
  });
  site_.trace.event("{} starts on {}", name(), address_.to_string());
  loop_.spawn(run(*this));
}

std::unique_ptr<Store> Backend::make_store() {
  auto store = std::make_unique<FaultyStore>(inner_, loop_, faults_of(site_), site_.world.random().next(),
                                             &site_.outside);
  faulty_ = store.get();
  if (!site_.plan.journal) return store;
  std::shared_ptr<Store> shared = std::move(store);
  journal_ = std::make_shared<ReplaceJournal>(loop_, shared, small_journal());
  return std::make_unique<JournaledStore>(loop_, std::move(shared), journal_);
}

void Backend::before_operation(uint64_t index, StoreOperation operation, std::string_view object) {
  if (site_.trace_store) {
    site_.trace.event("  {} {} {} {}", name(), index, store_operation_name(operation), object);
  }
  if (dies_before_ == 0 || index < dies_before_ || !alive()) return;
  dies_before_ = 0;
  site_.trace.event("{} dies before its operation {}: {} {}", name(), index, store_operation_name(operation),
                    object);
  kill();
  if (after_death_) std::exchange(after_death_, {})();
}

void Backend::die_before_operation(uint64_t after, std::function<void()> then) {
  dies_before_ = faulty_->operations() + after;
  after_death_ = std::move(then);
}

void Backend::kill() {
  if (!alive()) return;
  site_.trace.event("{} is killed", name());
  if (!site_.plan.shared) faulty_->halt();
  site_.world.kill(loop_);
}

void Backend::calm_down() { faulty_->set_plan(faults_of(site_)); }

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
    auto made = co_await create_marker(*store_, loop_, std::string(kStore), "SharedDomains, Settings",
                                       StoreContent::kIsKept);
    if (!made) co_return fail(std::move(made).error());
  }
  CANOPY_CO_TRY(co_await make_directories(*store_, std::string(kTreeRoot), 0700, Durable::kYes));
  // The simulator asks for no waiting: the successor begins while its predecessor still works.
  auto generation = co_await heartbeat_.claim(true);
  if (!generation) co_return fail(std::move(generation).error());
  epoch_ = epoch_of(*generation);
  site_.highest_epoch = std::max(site_.highest_epoch, epoch_);
  if (journal_) CANOPY_CO_TRY(co_await journal_->begin());
  store_ = with_bug(site_.bug, std::move(store_), epoch_);
  CANOPY_CO_ASSIGN(auto trash, co_await retire_older_stages(*store_, epoch_));
  build_node();
  CANOPY_CO_TRY(co_await node_->start());
  auto listener = loop_.listen(address_, {});
  if (!listener) co_return fail(std::move(listener).error());
  server_->serve(std::move(*listener));
  loop_.spawn(beat_on(*this));
  loop_.spawn(sweep_on(*this));
  loop_.spawn(relocations_->run(never_over_));
  loop_.spawn(domain_moves_->run(never_over_));
  loop_.spawn(empty_trash(*node_->shards().front()->store, std::move(trash)));
  co_return Result<void>();
}

void Backend::build_node() {
  std::vector<std::unique_ptr<wire::Shard>> shards;
  shards.push_back(std::make_unique<wire::Shard>(loop_, std::move(store_), epoch_, 0, site_.plan.accounts,
                                                 std::function<bool()>()));
  wire::NodeOptions options;
  options.backend = name();
  node_ = std::make_unique<wire::Node>(options, std::move(shards), site_.workers, epoch_);
  wire::SessionMethods::Options session;
  session.server = name();
  session.epoch = [this] { return epoch_; };
  session_ = std::make_unique<wire::SessionMethods>(session);
  directory_ = std::make_unique<wire::DirectoryService>(*node_);
  mailboxes_ = std::make_unique<wire::MailboxesService>(*node_);
  info_ = std::make_unique<wire::InfoService>(*node_);
  status_ = std::make_unique<wire::StatusService>(*node_);
  stores_ = std::make_unique<wire::StoresService>(*node_);
  relocations_ = std::make_unique<wire::Relocations>(
      *node_, [](std::shared_ptr<const Mounts>) -> Task<Result<bool>> { co_return true; },
      site_.plan.faults.late_max + kSecond);
  domain_moves_ = std::make_unique<wire::DomainMoves>(*node_);
  relocation_ = std::make_unique<wire::RelocationService>(*node_, *relocations_, *domain_moves_, *stores_);
  session_->add_to(table_);
  relocation_->add_to(table_);
  info_->add_to(table_);
  status_->add_to(table_);
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

}  // namespace canopy::sim
