#include "daemon/runtime/sim_net.h"

namespace canopy {

// ---- what is on its way

SimConnection::SimConnection(SimWorld& of, SimLoop& client, SimLoop* server, Address target)
    : world(of), address(std::move(target)), loops{&client, server} {
  timer_.connection = this;
  timer_.fire = [](TimerNode* node) { static_cast<Timer*>(node)->connection->arrive(); };
}

SimConnection::~SimConnection() { world.network_.disarm(timer_); }

bool SimConnection::joins(const SimLoop* a, const SimLoop* b) const {
  return (loops[0] == a && loops[1] == b) || (loops[0] == b && loops[1] == a);
}

void SimConnection::send(int from, Kind kind, std::string bytes) {
  Pipe& pipe = pipes[from];
  const SimOptions& options = world.options_;
  Nanos at = world.now_ + world.random_.between(options.delay_min, options.delay_max);
  pipe.last_at = std::max(pipe.last_at, at);
  pipe.flying_bytes += bytes.size();
  pipe.flying.push_back(Piece{pipe.last_at, kind, std::move(bytes)});
  schedule();
}

size_t SimConnection::room(int from) const {
  size_t held = pipes[from].flying_bytes + pipes[from].arrived.size();
  size_t window = world.options_.window_bytes;
  return held >= window ? 0 : window - held;
}

void SimConnection::schedule() {
  Nanos next = kNever;
  if (!world.parted(loops[0], loops[1]))
    for (const Pipe& pipe : pipes)
      if (!pipe.flying.empty()) next = std::min(next, pipe.flying.front().at);
  if (next == kNever)
    world.network_.disarm(timer_);
  else
    world.network_.arm(timer_, std::max(next, world.now_), world.random_.next() >> 1);
}

void SimConnection::arrive() {
  auto stays_meanwhile = shared_from_this();
  int from = world.random_.below(2) == 0 ? 0 : 1;
  for (int tried = 0; tried < 2; ++tried, from = 1 - from) {
    Pipe& pipe = pipes[from];
    if (pipe.flying.empty() || pipe.flying.front().at > world.now_) continue;
    Piece piece = std::move(pipe.flying.front());
    pipe.flying.pop_front();
    pipe.flying_bytes -= piece.bytes.size();
    if (piece.kind == Kind::kBytes && world.random_.one_in(world.options_.break_one_in))
      break_now();
    else
      deliver(from, piece);
    break;
  }
  schedule();
}

void SimConnection::deliver(int from, const Piece& piece) {
  int to = 1 - from;
  SimStream* reader = ends[to];
  switch (piece.kind) {
    case Kind::kConnect: {
      SimListener* listener = world.find_listener(address);
      bool taken = false;
      if (listener != nullptr) {
        loops[1] = &listener->loop();
        taken = listener->take(std::make_unique<SimStream>(listener->loop(), shared_from_this(), 1));
      }
      send(1, taken ? Kind::kAccepted : Kind::kRefused);
      return;
    }
    case Kind::kAccepted: accepted = true; break;
    case Kind::kRefused: refused = true; break;
    case Kind::kBytes:
      if (reader == nullptr) {
        send(to, Kind::kReset);  // nobody is there any more
        return;
      }
      pipes[from].arrived += piece.bytes;
      break;
    case Kind::kEnd: pipes[from].ended = true; break;
    case Kind::kReset: lost[to] = true; break;
  }
  if (reader != nullptr) {
    reader->wake_reader();
    reader->wake_writer();
  }
}

void SimConnection::break_now() {
  for (int end = 0; end < 2; ++end) {
    lost[end] = true;
    pipes[end].flying.clear();
    pipes[end].flying_bytes = 0;
    if (ends[end] != nullptr) {
      ends[end]->wake_reader();
      ends[end]->wake_writer();
    }
  }
  schedule();
}

void SimConnection::close_end(int end) {
  ends[end] = nullptr;
  Pipe& towards = pipes[1 - end];
  // As a kernel does: what was not read makes the end a reset.
  send(end, towards.arrived.empty() ? Kind::kEnd : Kind::kReset);
  towards.arrived.clear();
  if (ends[1 - end] != nullptr) ends[1 - end]->wake_writer();
}

// ---- streams

SimStream::SimStream(SimLoop& loop, std::shared_ptr<SimConnection> connection, int end)
    : loop_(loop), connection_(std::move(connection)), end_(end) {
  connection_->ends[end] = this;
  loop_.streams_.push_back(this);
  local_ = end == 0 ? connection_->client_address : connection_->address;
  peer_ = end == 0 ? connection_->address : connection_->client_address;
}

SimStream::~SimStream() {
  if (loop_.alive_) CANOPY_CHECK(reading_ == nullptr && writing_ == nullptr);
  if (reading_ != nullptr) reading_->orphan();
  if (writing_ != nullptr) writing_->orphan();
  if (!dead_) connection_->close_end(end_);
  std::erase(loop_.streams_, this);
}

void SimStream::process_died() {
  dead_ = true;
  connection_->close_end(end_);
}

void SimStream::wake_reader() {
  if (reading_ != nullptr) reading_->wake();
}
void SimStream::wake_writer() {
  if (writing_ != nullptr) writing_->wake();
}

std::unexpected<Error> SimStream::error(Code code, std::string_view sentence) const {
  return fail(code, peer_.to_string(), std::string(sentence));
}

Task<Result<void>> SimStream::established(Nanos deadline) {
  while (!connection_->accepted) {
    if (connection_->refused) co_return error(Code::kConnectionLost, "connect: nobody listens there");
    if (connection_->lost[end_]) co_return error(Code::kConnectionLost, "connect: the connection broke");
    if (!co_await SimWait(loop_, reading_, deadline))
      co_return error(Code::kDeadlineExceeded, "connect: the deadline has passed");
  }
  co_return Result<void>{};
}

bool SimStream::anything_to_read() { return !in().arrived.empty() || in().ended || connection_->lost[end_]; }

Task<Result<void>> SimStream::readable(int64_t deadline) {
  if (aborted_) co_return error(Code::kConnectionLost, "read: the stream was aborted");
  while (!anything_to_read()) {
    bool in_time = co_await SimWait(loop_, reading_, deadline);
    if (aborted_) co_return error(Code::kCancelled, "read: the stream was aborted");
    if (!in_time) co_return error(Code::kDeadlineExceeded, "read: the deadline has passed");
  }
  co_return Result<void>{};
}

Task<Result<size_t>> SimStream::read(std::span<char> into, int64_t deadline) {
  CANOPY_CHECK(!into.empty());
  CANOPY_CO_TRY(co_await readable(deadline));
  std::string& arrived = in().arrived;
  if (arrived.empty()) {
    if (in().ended) co_return size_t{0};
    co_return error(Code::kConnectionLost, "read: connection reset by peer");
  }
  SimRandom& random = loop_.world_.random_;
  size_t count = std::min(arrived.size(), into.size());
  if (count > 1 && random.one_in(loop_.world_.options_.short_read_one_in)) count = 1 + random.below(count);
  std::memcpy(into.data(), arrived.data(), count);
  arrived.erase(0, count);
  loop_.arrived();
  if (SimStream* writer = connection_->ends[1 - end_]; writer != nullptr) writer->wake_writer();
  co_return count;
}

// Sends what the window takes, in one piece or two.
size_t SimStream::send_some(std::string_view bytes) {
  size_t count = std::min(bytes.size(), connection_->room(end_));
  if (count == 0 || dead_) return 0;
  SimRandom& random = loop_.world_.random_;
  size_t first = random.one_in(4) ? 1 + random.below(count) : count;
  connection_->send(end_, SimConnection::Kind::kBytes, std::string(bytes.substr(0, first)));
  if (first < count)
    connection_->send(end_, SimConnection::Kind::kBytes, std::string(bytes.substr(first, count - first)));
  return count;
}

Task<Result<void>> SimStream::write(std::span<const std::string_view> pieces, int64_t deadline) {
  if (aborted_ || shut_) co_return error(Code::kConnectionLost, "write: the stream was shut");
  for (std::string_view piece : pieces) {
    while (!piece.empty()) {
      if (connection_->lost[end_]) co_return error(Code::kConnectionLost, "write: connection reset by peer");
      size_t sent = send_some(piece);
      piece.remove_prefix(sent);
      if (sent > 0) continue;
      bool in_time = co_await SimWait(loop_, writing_, deadline);
      if (aborted_) co_return error(Code::kCancelled, "write: the stream was aborted");
      if (!in_time) co_return error(Code::kDeadlineExceeded, "write: the deadline has passed");
    }
  }
  if (connection_->lost[end_]) co_return error(Code::kConnectionLost, "write: connection reset by peer");
  co_return Result<void>{};
}

size_t SimStream::write_at_once(std::string_view bytes) {
  if (aborted_ || shut_ || writing_ != nullptr || connection_->lost[end_]) return 0;
  return send_some(bytes);
}

void SimStream::shutdown_write() {
  if (shut_ || dead_) return;
  shut_ = true;
  connection_->send(end_, SimConnection::Kind::kEnd);
}

void SimStream::abort() {
  if (aborted_ || dead_) return;
  aborted_ = true;
  shutdown_write();
  wake_reader();
  wake_writer();
}

PeerCredentials SimStream::peer_credentials() const {
  const SimLoop* other = connection_->loops[1 - end_];
  if (peer_.kind != Address::Kind::kUnix || other == nullptr) return {};
  return PeerCredentials{.pid = other->number_, .uid = 0, .gid = 0};
}

// ---- listeners

SimListener::~SimListener() {
  if (accepting_ != nullptr) {
    CANOPY_CHECK(!loop_.alive_);
    accepting_->orphan();
  }
  if (!dead_) leave();
  std::erase(loop_.listeners_, this);
}

void SimListener::leave() {
  std::erase_if(loop_.world_.listeners_, [&](const auto& row) { return row.second == this; });
}

void SimListener::process_died() {
  dead_ = true;
  leave();
}

bool SimListener::take(std::unique_ptr<SimStream> stream) {
  if (backlog_.size() >= kBacklogMax || aborted_) return false;
  backlog_.push_back(std::move(stream));
  if (accepting_ != nullptr) accepting_->wake();
  return true;
}

Task<Result<std::unique_ptr<Stream>>> SimListener::accept() {
  while (backlog_.empty() && !aborted_) co_await SimWait(loop_, accepting_, kNever);
  if (aborted_) co_return fail(Code::kCancelled, local_.to_string(), "the listener was aborted");
  std::unique_ptr<Stream> stream = std::move(backlog_.front());
  backlog_.pop_front();
  co_return stream;
}

void SimListener::abort() {
  aborted_ = true;
  if (accepting_ != nullptr) accepting_->wake();
}

SimListener* SimWorld::find_listener(const Address& address) const {
  auto found = listeners_.find(address.to_string());
  if (found == listeners_.end() && address.kind == Address::Kind::kTcp)
    found =
        listeners_.find(Address{.kind = Address::Kind::kTcp, .host = {}, .port = address.port}.to_string());
  return found == listeners_.end() ? nullptr : found->second;
}

Result<std::unique_ptr<Listener>> SimLoop::listen(const Address& address, const ListenOptions&) {
  Address local = address;
  if (local.kind == Address::Kind::kTcp && local.port == 0) local.port = world_.next_port_++;
  if (!alive_) return fail(Code::kCancelled, local.to_string(), "this simulated process is dead");
  if (world_.find_listener(local) != nullptr)
    return fail(Code::kBusy, local.to_string(), "another process listens there");
  auto listener = std::make_unique<SimListener>(*this, local);
  listeners_.push_back(listener.get());
  world_.listeners_[local.to_string()] = listener.get();
  return listener;
}

Result<std::unique_ptr<DescriptorWatch>> SimLoop::watch(int, std::move_only_function<void(uint32_t)>) {
  return fail(Code::kUnsupported, name_, "a simulated process has no descriptors to watch");
}

Task<Result<std::unique_ptr<Stream>>> SimLoop::connect(Address address, Nanos deadline) {
  if (!alive_) co_return fail(Code::kCancelled, address.to_string(), "this simulated process is dead");
  SimListener* listener = world_.find_listener(address);
  SimLoop* server = listener == nullptr ? nullptr : &listener->loop();
  auto connection = std::make_shared<SimConnection>(world_, *this, server, address);
  if (address.kind == Address::Kind::kUnix)
    connection->client_address = Address{.kind = Address::Kind::kUnix, .host = {}, .port = 0};
  else
    connection->client_address = Address{
        .kind = Address::Kind::kTcp, .host = fmt::format("10.0.0.{}", number_), .port = world_.next_port_++};
  world_.connections_.push_back(connection);
  auto stream = std::make_unique<SimStream>(*this, connection, 0);
  connection->send(0, SimConnection::Kind::kConnect);
  CANOPY_CO_TRY(co_await stream->established(deadline));
  co_return std::unique_ptr<Stream>(std::move(stream));
}

}  // namespace canopy
