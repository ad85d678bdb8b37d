#include "tests/sim/simulation.h"

#include <algorithm>

#include "tests/sim/places.h"

namespace canopy::sim {
namespace {

constexpr Nanos kChaosMax = 120 * kSecond;
constexpr Nanos kCalmMax = 1200 * kSecond;
constexpr Nanos kIdleMax = 30 * kSecond;  // in which a process removes what it has put aside

}  // namespace

Simulation::Simulation(const Plan& plan, const SimulationOptions& options)
    : plan_(plan),
      disks_(1 + plan.others.size()),
      world_(plan.seed, plan.network),
      trace_(world_, options.trace),
      chance_(world_.random().next()),
      workers_("sim", 0, 0),
      site_{world_,      world_.add_loop("disk"), disks_, plan_, trace_, workers_,
            options.bug, options.trace_store},
      addresses_{Address{Address::Kind::kUnix, "/sim/a", 0}, Address{Address::Kind::kUnix, "/sim/b", 0}} {
  if (options.hash) trace_.hash_events();
  for (uint32_t i = 0; i < plan_.shared_accounts; ++i) {
    accounts_.push_back(std::make_shared<AccountFacts>(fmt::format("user{}@company.com", i), trace_));
  }
}

Simulation::~Simulation() {
  // First everything that runs, then what it ran on.
  for (auto& client : clients_) world_.kill(client->loop());
  if (admin_) world_.kill(admin_->loop());
  for (auto& backend : backends_) world_.kill(backend->loop());
  world_.kill(site_.outside);
  clients_.clear();
  admin_.reset();
  backends_.clear();
}

Verdict Simulation::run() {
  trace_.event("seed {}: {}", plan_.seed, plan_.to_string());
  set_up();
  if (trace_.violation().empty()) chaos();
  if (trace_.violation().empty()) calm();
  return {trace_.violation(), world_.steps(), trace_.hash(), world_.now()};
}

void Simulation::set_up() {
  site_.calm = true;
  start_backend();
  admin_ = std::make_unique<SimClient>(site_, 0, addresses_, accounts_);
  admin_->loop().spawn(admin_->set_up());
  if (!run_until([this] { return admin_->ended(); }, 100 * kSecond))
    trace_.violation("the tree cannot be set up");
  site_.calm = false;
  for (auto& backend : backends_) backend->draw_on_faults();
  for (uint32_t i = 1; i <= plan_.clients; ++i) {
    clients_.push_back(std::make_unique<SimClient>(site_, i, addresses_, accounts_));
    clients_.back()->loop().spawn(clients_.back()->live());
  }
}

bool Simulation::all_ended() const {
  return std::ranges::all_of(clients_, [](const auto& client) { return client->ended(); });
}

bool Simulation::run_until(const std::function<bool()>& condition, Nanos time_max) {
  while (trace_.violation().empty()) {
    keep_one_alive();
    const Nanos until = std::min(
        {time_max, next_event_at_ == 0 ? kNever : next_event_at_, restart_at_, resume_at_, store_back_at_});
    world_.run_until(
        [&] {
          return condition() || !trace_.violation().empty() || power_cut_due_ ||
                 (lacks_backend() && restart_at_ == kNever);
        },
        until);
    if (power_cut_due_) power_cut(power_cut_of_);
    if (condition()) return true;
    if (world_.now() >= time_max) return false;
    if (world_.now() >= resume_at_) {
      trace_.event("{} goes on", paused_->name());
      world_.resume(*std::exchange(paused_, nullptr));
      resume_at_ = kNever;
    }
    if (world_.now() >= store_back_at_) store_back();
    if (next_event_at_ != 0 && world_.now() >= next_event_at_) next_event();
  }
  return false;
}

// ---- what happens to the processes

void Simulation::chaos() {
  next_event_at_ = world_.now() + chance_.between(0, plan_.calm_max);
  run_until([this] { return all_ended(); }, world_.now() + kChaosMax);
  next_event_at_ = 0;
}

std::vector<Backend*> Simulation::alive() {
  std::vector<Backend*> out;
  for (auto& backend : backends_)
    if (backend->alive()) out.push_back(backend.get());
  return out;
}

Backend* Simulation::newest() {
  auto all = alive();
  return all.empty() ? nullptr : all.back();
}

void Simulation::start_backend() {
  restart_at_ = kNever;
  Address free = addresses_[chance_.below(2)];
  auto all = alive();
  for (Backend* other : all) {
    if (other->address() == free && all.size() == 1) free = addresses_[free == addresses_[0] ? 1 : 0];
  }
  // Two is enough: the oldest makes room.
  if (all.size() >= 2) {
    free = all.front()->address();
    if (paused_ == &all.front()->loop()) {
      paused_ = nullptr;
      resume_at_ = kNever;
    }
    all.front()->kill();
  }
  backends_.push_back(std::make_unique<Backend>(site_, free));
}

bool Simulation::lacks_backend() {
  Backend* now = newest();
  if (now == nullptr) return true;
  return paused_ == &now->loop() && plan_.shared;  // on a local store its lock keeps others out
}

void Simulation::keep_one_alive() {
  if (!lacks_backend()) {
    restart_at_ = kNever;
    return;
  }
  if (restart_at_ == kNever) restart_at_ = world_.now() + chance_.between(0, kSecond);
  if (world_.now() >= restart_at_) start_backend();
}

Simulation::Event Simulation::draw_event() {
  const uint32_t weights[] = {plan_.kills,     plan_.kills,  plan_.power_cuts, plan_.power_cuts,
                              plan_.takeovers, plan_.pauses, plan_.cuts,       plan_.aways};
  uint64_t total = 1;
  for (uint32_t weight : weights) total += weight;
  uint64_t dice = chance_.below(total);
  for (size_t i = 0; i < std::size(weights); ++i) {
    if (dice < weights[i]) return static_cast<Event>(i);
    dice -= weights[i];
  }
  return Event::kCut;
}

void Simulation::next_event() {
  next_event_at_ = world_.now() + chance_.between(0, plan_.calm_max);
  Backend* one = newest();
  if (one == nullptr) return;
  if (auto all = alive(); all.size() > 1 && chance_.one_in(2)) one = all.front();
  switch (draw_event()) {
    case Event::kKill: one->kill(); break;
    case Event::kKillAtOperation: one->die_before_operation(1 + chance_.below(60), nullptr); break;
    case Event::kPowerCut: power_cut(draw_store()); break;
    case Event::kPowerCutAtOperation: {
      power_cut_of_ = draw_store();
      one->die_before_operation(1 + chance_.below(60), [this] {
        for (Backend* each : alive())
          for (size_t i = 0; i < disks_.size(); ++i)
            if (power_cut_of_.value_or(i) == i) each->halt_store(i);
        power_cut_due_ = true;
      });
      break;
    }
    case Event::kTakeover: start_backend(); break;
    case Event::kPause:
      if (paused_ != nullptr) break;
      paused_ = &one->loop();
      trace_.event("{} is paused", one->name());
      world_.pause(*paused_);
      resume_at_ = world_.now() + chance_.between(50 * kMillisecond, 10 * kSecond);
      break;
    case Event::kCut:
      for (auto& client : clients_) world_.cut(client->loop(), one->loop());
      trace_.event("connections of {} are cut", one->name());
      break;
    case Event::kStoreAway: store_away(); break;
  }
}

std::optional<size_t> Simulation::draw_store() {
  if (disks_.size() == 1 || chance_.one_in(2)) return std::nullopt;
  return chance_.below(disks_.size());
}

void Simulation::power_cut(std::optional<size_t> store) {
  power_cut_due_ = false;
  for (auto& backend : backends_) {
    for (size_t i = 0; i < disks_.size(); ++i)
      if (store.value_or(i) == i) backend->halt_store(i);
    backend->kill();
  }
  paused_ = nullptr;
  resume_at_ = kNever;
  for (size_t i = 0; i < disks_.size(); ++i) {
    if (store.value_or(i) != i) continue;
    const uint64_t lost = disks_[i].unsynced_changes();
    disks_[i].crash(chance_.next());
    trace_.event("the power of {} failed with {} unsynced changes", kStoreNames[i], lost);
  }
}

void Simulation::store_away() {
  if (site_.away || disks_.size() == 1) return;
  site_.away = chance_.below(disks_.size());
  store_back_at_ = world_.now() + chance_.between(50 * kMillisecond, 10 * kSecond);
  trace_.event("{} does not answer", kStoreNames[*site_.away]);
  for (Backend* each : alive()) each->draw_on_faults();
}

void Simulation::store_back() {
  store_back_at_ = kNever;
  trace_.event("{} answers again", kStoreNames[*site_.away]);
  site_.away.reset();
  for (auto& backend : backends_) backend->draw_on_faults();
}

// ---- the end: no more faults; everybody gets answers; what is read twice, with a power cut between, is the
// same

void Simulation::calm() {
  trace_.event("calm");
  site_.calm = true;
  if (paused_ != nullptr) resume_at_ = world_.now();
  if (site_.away) store_back();
  for (auto& backend : backends_) backend->draw_on_faults();
  if (!run_until([this] { return all_ended(); }, world_.now() + kCalmMax)) {
    trace_.violation("clients get no answers although nothing fails any more");
  }
  // What was given up may still be on its way.
  run_until([] { return false; }, world_.now() + plan_.late_max() + 30 * kSecond);
  settle_layout();
  if (!trace_.violation().empty()) return;
  Everything first, second;
  read_all(first);
  if (!trace_.violation().empty()) return;
  verify(first);
  if (!trace_.violation().empty()) return;  // or what follows from it would be told as well
  power_cut(std::nullopt);
  read_all(second);
  if (!trace_.violation().empty()) return;
  verify(second);
  compare(first, second);
  check_stages();
}

namespace {
Task<void> look_into(SimClient& client, size_t account, std::map<size_t, Seen>& into, bool& ended) {
  auto seen = co_await client.look(account);
  if (seen) into[account] = std::move(*seen);
  ended = true;
}
Task<void> settle(SimClient& client, std::optional<SimClient::Settled>& into, bool& ended) {
  into = co_await client.settle_layout();
  ended = true;
}
Task<void> look_into_own(SimClient& client, size_t index, std::map<size_t, SeenAccounts>& into, bool& ended) {
  auto seen = co_await client.look_at_own();
  if (seen) into[index] = std::move(*seen);
  ended = true;
}
}  // namespace

void Simulation::settle_layout() {
  std::optional<SimClient::Settled> settled;
  bool ended = false;
  admin_->loop().spawn(settle(*admin_, settled, ended));
  run_until([&] { return ended; }, world_.now() + kCalmMax);
  if (!trace_.violation().empty()) return;
  if (settled)
    check_places(disks_, settled->mounts, settled->layout, kSimDomain, trace_);
  else
    trace_.violation("accounts still move although nothing fails any more");
}

void Simulation::check_stages() {
  run_until([] { return false; }, world_.now() + kIdleMax);
  for (size_t i = 0; i < disks_.size(); ++i) check_stage(disks_[i], kStoreNames[i], trace_);
}

void Simulation::read_all(Everything& seen) {
  for (size_t i = 0; i < accounts_.size(); ++i) {
    bool ended = false;
    admin_->loop().spawn(look_into(*admin_, i, seen.accounts, ended));
    run_until([&] { return ended; }, world_.now() + kCalmMax);
    if (!seen.accounts.contains(i))
      trace_.violation("{} cannot be read although nothing fails any more", accounts_[i]->name);
  }
  for (size_t i = 0; i < clients_.size(); ++i) {
    bool ended = false;
    clients_[i]->loop().spawn(look_into_own(*clients_[i], i, seen.own, ended));
    run_until([&] { return ended; }, world_.now() + kCalmMax);
    if (!seen.own.contains(i))
      trace_.violation("the accounts of {} cannot be read although nothing fails any more",
                       clients_[i]->name());
  }
}

void Simulation::verify(const Everything& seen) {
  for (const auto& [index, own] : seen.own)
    check_own_accounts(clients_[index]->own_accounts(), own, true, trace_);
  for (const auto& [index, account] : seen.accounts) {
    Explained explained;
    std::set<uint32_t> boxes{accounts_[index]->inbox->id};
    const std::string& name = accounts_[index]->name;
    for (auto& client : clients_) check_facts(client->facts(index), name, account, trace_, explained, boxes);
    for (const auto& [id, box] : account.mailboxes) {
      if (!boxes.contains(id))
        trace_.violation("{}: nobody asked for mailbox {} (id {})", name, box.name, id);
      for (const auto& [uid, message] : box.messages) {
        if (!explained.contains({id, uid})) {
          trace_.violation("{}: {} is once too often there (UID {} of {})", name, message.token, uid,
                           box.name);
        }
      }
    }
  }
}

void Simulation::compare(const Everything& before, const Everything& after) {
  for (const auto& [index, was] : before.own) {
    if (was != after.own.at(index))
      trace_.violation("the accounts of {} changed through a power cut", clients_[index]->name());
  }
  for (const auto& [index, was] : before.accounts) {
    const Seen& is = after.accounts.at(index);
    const std::string& name = accounts_[index]->name;
    if (was.settings != is.settings || was.info != is.info) {
      trace_.violation("{}: settings or info changed through a power cut", name);
    }
    if (was.mailboxes == is.mailboxes) continue;
    for (const auto& [id, box] : was.mailboxes) {
      auto at = is.mailboxes.find(id);
      if (at != is.mailboxes.end() && at->second == box) continue;
      trace_.violation("{}: mailbox {} changed through a power cut", name, box.name);
    }
    trace_.violation("{}: there are other mailboxes after a power cut", name);
  }
}

Verdict simulate(uint64_t seed, const SimulationOptions& options) {
  const Plan plan = Plan::draw(seed);
  Simulation simulation(plan, options);
  return simulation.run();
}

}  // namespace canopy::sim
