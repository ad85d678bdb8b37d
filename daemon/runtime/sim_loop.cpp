#include "daemon/runtime/sim_loop.h"

#include "daemon/runtime/sim_net.h"

namespace canopy {

uint64_t SimRandom::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint64_t SimRandom::below(uint64_t bound) {
  CANOPY_CHECK(bound > 0);
  return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
}

Nanos SimRandom::between(Nanos low, Nanos high) {
  return low + static_cast<Nanos>(below(static_cast<uint64_t>(high - low) + 1));
}

// ---- the world

SimWorld::SimWorld(uint64_t seed, const SimOptions& options) : options_(options), random_(seed) {}

SimWorld::~SimWorld() {
  CANOPY_CHECK(running_ == nullptr);
  for (auto& loop : loops_) kill(*loop);
  bury();
  network_.clear();
}

SimLoop& SimWorld::add_loop(std::string name) {
  auto number = static_cast<uint32_t>(loops_.size() + 1);
  loops_.push_back(std::unique_ptr<SimLoop>(new SimLoop(*this, std::move(name), random_.next(), number)));
  return *loops_.back();
}

void SimWorld::kill(SimLoop& loop) {
  if (!loop.alive_) return;
  loop.alive_ = false;
  loop.timers_.clear();
  loop.ready_.clear();
  for (SimStream* stream : loop.streams_) stream->process_died();
  for (SimListener* listener : loop.listeners_) listener->process_died();
  to_bury_.push_back(&loop);
  if (running_ == nullptr) bury();
}

void SimWorld::bury() {
  while (!to_bury_.empty()) {
    SimLoop* loop = to_bury_.back();
    to_bury_.pop_back();
    loop->posted_.clear();
    loop->destroy_spawned();
  }
}

void SimWorld::pause(SimLoop& loop) { loop.paused_ = true; }
void SimWorld::resume(SimLoop& loop) { loop.paused_ = false; }

void SimWorld::partition(SimLoop& a, SimLoop& b) {
  if (!parted(&a, &b)) parted_.emplace_back(&a, &b);
  partition_changed();
}

void SimWorld::heal(SimLoop& a, SimLoop& b) {
  std::erase_if(parted_, [&](const auto& pair) {
    return pair == std::pair<const SimLoop*, const SimLoop*>(&a, &b) ||
           pair == std::pair<const SimLoop*, const SimLoop*>(&b, &a);
  });
  partition_changed();
}

bool SimWorld::parted(const SimLoop* a, const SimLoop* b) const {
  for (const auto& [one, other] : parted_)
    if ((one == a && other == b) || (one == b && other == a)) return true;
  return false;
}

void SimWorld::cut(SimLoop& a, SimLoop& b) {
  for (auto& weak : connections_)
    if (auto connection = weak.lock(); connection && connection->joins(&a, &b)) connection->break_now();
}

void SimWorld::partition_changed() {
  for (auto at = connections_.begin(); at != connections_.end();) {
    if (auto connection = at->lock()) {
      connection->schedule();
      ++at;
    } else {
      at = connections_.erase(at);
    }
  }
}

bool SimWorld::run_one_ready() {
  size_t total = 0;
  for (auto& loop : loops_) total += loop->runnable(now_);
  bool arrival = network_.next() <= now_;
  if (total + (arrival ? 1 : 0) == 0) return false;
  ++steps_;
  size_t pick = random_.below(total + (arrival ? 1 : 0));
  if (pick == total) {
    TimerNode* due = network_.pop_due(now_, UINT64_MAX);
    due->fire(due);
  }
  for (auto& loop : loops_) {
    size_t here = loop->runnable(now_);
    if (pick < here) {
      running_ = loop.get();
      loop->run_runnable(pick);
      running_ = nullptr;
      break;
    }
    pick -= here;
  }
  bury();
  now_ += random_.between(0, options_.step_cost_max);
  return true;
}

bool SimWorld::step() {
  if (now_ >= time_limit_) return false;
  if (run_one_ready()) return true;
  Nanos next = network_.next();
  for (auto& loop : loops_)
    if (!loop->paused_) next = std::min(next, loop->timers_.next());
  if (next == kNever || next > time_limit_) {
    // Nothing happens until then, but time passes.
    if (time_limit_ != kNever) now_ = std::max(now_, time_limit_);
    return false;
  }
  now_ = std::max(now_, next);
  return true;
}

bool SimWorld::run_until(const std::function<bool()>& condition, Nanos time_max) {
  CANOPY_CHECK(running_ == nullptr);
  time_limit_ = time_max;
  while (!condition())
    if (!step()) return condition();
  return true;
}

void SimWorld::run_for(Nanos duration) {
  run_until([] { return false; }, now_ + duration);
}

namespace {
Task<void> run_and_tell(Task<void> task, std::shared_ptr<bool> done) {
  co_await std::move(task);
  *done = true;
}
}  // namespace

bool SimWorld::run_until_done(SimLoop& loop, Task<void> task, Nanos time_max) {
  auto done = std::make_shared<bool>(false);
  loop.spawn(run_and_tell(std::move(task), done));
  return run_until([&] { return *done; }, time_max);
}

// ---- a loop

SimLoop::SimLoop(SimWorld& world, std::string name, uint64_t seed, uint32_t number)
    : world_(world), name_(std::move(name)), number_(number), random_(seed) {
  keep_spawned();
}

SimLoop::~SimLoop() { CANOPY_CHECK(!alive_); }

int64_t SimLoop::wall_clock_ns() const { return world_.options_.wall_clock_start_ns + world_.now_; }

void SimLoop::defer(std::coroutine_handle<> handle) {
  if (alive_) ready_.push_back(handle);
}

void SimLoop::post(std::move_only_function<void()> work) {
  if (alive_) posted_.push_back(std::move(work));
}

void SimLoop::arm(TimerNode& timer, Nanos when) {
  if (alive_)
    timers_.arm(timer, when, world_.random_.next() >> 1);  // equal times come in any order
  else
    timer.when = when;
}

void SimLoop::disarm(TimerNode& timer) { timers_.disarm(timer); }

size_t SimLoop::runnable(Nanos now) const {
  if (!alive_ || paused_) return 0;
  return ready_.size() + (posted_.empty() ? 0 : 1) + (timers_.next() <= now ? 1 : 0);
}

void SimLoop::run_runnable(size_t index) {
  if (index < ready_.size()) {
    std::coroutine_handle<> handle = ready_[index];
    ready_[index] = ready_.back();
    ready_.pop_back();
    handle.resume();
    return;
  }
  if (index == ready_.size() && !posted_.empty()) {
    auto work = std::move(posted_.front());  // what one thread posts arrives in its order
    posted_.pop_front();
    work();
    return;
  }
  TimerNode* due = timers_.pop_due(world_.now_, UINT64_MAX);
  CANOPY_CHECK(due != nullptr);
  due->fire(due);
}

}  // namespace canopy
