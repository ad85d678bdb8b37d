#include "daemon/store/nfs/server.h"

#include "daemon/base/log.h"
#include "daemon/store/nfs/nfs_limits.h"

namespace canopy::nfs {

Server::Server(Loop& loop, const NfsOptions& options, RpcEndpoint endpoint)
    : loop_(loop),
      options_(options),
      endpoint_(std::move(endpoint)),
      health_(options.hard_limit, loop.now()),
      changed_(loop),
      calls_(loop, kCallsInFlightMax) {
  health_timer_.server = this;
  health_timer_.fire = [](TimerNode* timer) { static_cast<Timer*>(timer)->server->watch_health(); };
}

Server::~Server() {
  loop_.disarm(health_timer_);
  for (auto& place : places_) loop_.disarm(place->reconnect);
  places_.clear();
}

void Server::start(Answers answers) {
  answers_something_ = std::move(answers);
  for (uint32_t i = 0; i < options_.connections; ++i) {
    auto place = std::make_unique<Place>();
    place->server = this;
    place->reconnect.place = place.get();
    place->reconnect.fire = [](TimerNode* timer) {
      Place& of = *static_cast<Place::Timer*>(timer)->place;
      of.server->connect(of);
    };
    places_.push_back(std::move(place));
  }
  for (auto& place : places_) connect(*place);
}

void Server::connect(Place& place) {
  place.ready = false;
  place.connection = std::make_unique<RpcConnection>(loop_, endpoint_, place);
  place.connection->start();
}

void Server::Place::be_ready() {
  ready = true;
  pause = kReconnectFirst;
  server->changed_.wake_all();
}

void Server::Place::connected(RpcConnection& made) {
  if (!server->health_.in_trouble()) return be_ready();
  server->loop_.spawn(try_out(*server, server->life_, *this, made, made.life()));
}

// What it answers ends the trouble (Place::answered).
Task<void> Server::try_out(Server& server, std::weak_ptr<void> life, Place& place, RpcConnection& made,
                           std::weak_ptr<void> life_of_made) {
  if (life.expired() || life_of_made.expired()) co_return;
  const bool answers = co_await server.answers_something_(made);
  if (life.expired() || life_of_made.expired()) co_return;
  if (answers)
    place.be_ready();
  else
    server.give_up(place, made.problem());
}

// As if the server had closed it.
void Server::give_up(Place& place, std::string why) {
  place.broken(*place.connection, why.empty() ? "the server refuses every call" : std::move(why));
}

Nanos Server::note_refused(const std::string& why) {
  health_.failed(loop_.now(), why.empty() ? "the server refuses the call" : why);
  look_after_health();
  const Nanos pause = kDelayFirst << std::min(refused_in_a_row_, 6u);
  ++refused_in_a_row_;
  return std::min(pause, kDelayMax);
}

void Server::Place::broken(RpcConnection&, std::string why) {
  Server& of = *server;
  ++(ready ? of.broken_ : of.not_made_);
  if (ready && log_enabled(LogLevel::kDebug))
    log_event(LogLevel::kDebug, "nfs-connection-broken", of.options_.name, {{"problem", why}});
  of.health_.failed(of.loop_.now(), std::move(why));
  ready = false;
  connection.reset();
  // Not all of a server's clients at the same instant.
  const Nanos spread = static_cast<Nanos>(of.loop_.random() % static_cast<uint64_t>(pause / 4 + 1));
  of.loop_.arm(reconnect, of.loop_.now() + pause + spread);
  pause = std::min(pause * 2, kReconnectMax);
  of.look_after_health();
}

void Server::Place::answered(Nanos latency) {
  ++server->answers_;
  server->health_.answered(server->loop_.now(), latency);
}

RpcConnection* Server::least_busy() {
  RpcConnection* best = nullptr;
  for (auto& place : places_) {
    if (!place->ready || !place->connection->can_send()) continue;
    if (best == nullptr || place->connection->in_flight() < best->in_flight()) best = place->connection.get();
  }
  return best;
}

Task<RpcConnection*> Server::acquire(Nanos deadline) {
  look_after_health();
  while (true) {
    if (RpcConnection* found = least_busy(); found != nullptr) co_return found;
    if (down() || loop_.now() >= deadline) co_return nullptr;
    ++waiting_;
    co_await changed_.wait_until(deadline);
    --waiting_;
  }
}

size_t Server::in_flight() const {
  size_t all = 0;
  for (const auto& place : places_)
    if (place->connection != nullptr) all += place->connection->in_flight();
  return all;
}

Nanos Server::oldest_sent_at() const {
  Nanos oldest = kNever;
  for (const auto& place : places_)
    if (place->connection != nullptr) oldest = std::min(oldest, place->connection->oldest_sent_at());
  return oldest;
}

void Server::look_after_health() {
  if (health_timer_.heap_index == SIZE_MAX) loop_.arm(health_timer_, loop_.now() + kTick);
}

void Server::watch_health() {
  const ServerState before = health_.state();
  const Nanos now = loop_.now();
  if (health_.update(now, oldest_sent_at())) {
    if (down()) {
      log_event(LogLevel::kError, "nfs-store-down", options_.name,
                {{"host", options_.host}, {"problem", health_.last_problem()}});
    } else if (before == ServerState::kDown) {
      log_event(LogLevel::kWarning, "nfs-store-up-again", options_.name, {{"host", options_.host}});
    }
    changed_.wake_all();
    // Those that are open are of no use: a new one is used once something is answered on it.
    if (down())
      for (auto& place : places_)
        if (place->ready) give_up(*place, health_.last_problem());
  }
  // A server that does well and has nothing to do needs no look.
  if (health_.state() != ServerState::kUp || health_.in_trouble() || calls_.available() < kCallsInFlightMax)
    look_after_health();
}

ServerFigures Server::figures() const {
  ServerFigures out;
  out.state = health_.state();
  out.since = health_.since();
  for (const auto& place : places_) out.connections += place->ready ? 1 : 0;
  out.in_flight = in_flight();
  out.waiting = waiting_ + calls_.waiting();
  out.answers = answers_;
  out.lost_answers = lost_;
  out.delays = delays_;
  out.connections_broken = broken_;
  out.connects_failed = not_made_;
  out.operations_given_up = given_up_;
  out.latency = health_.latency();
  out.last_problem = health_.last_problem();
  return out;
}

}  // namespace canopy::nfs
