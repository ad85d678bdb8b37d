#include "daemon/wire/client/rpc_connection.h"

#include "daemon/wire/canopy.pb.h"
#include "daemon/wire/framing_status.h"

namespace canopy::wire {

using google::protobuf::MessageLite;

// ------------------------------------------------------------------------------------------------- one call

PendingCall::~PendingCall() { detach(); }

bool PendingCall::await_ready() {
  RpcConnection& connection = *connection_;
  const Nanos now = deadline_ == kNever ? 0 : connection.loop_.now();
  if (cancellation_ != nullptr && cancellation_->cancelled_)
    error_ = Error(Code::kCancelled, std::string(method_), "the caller cancelled");
  else if (deadline_ != kNever && deadline_ <= now)
    error_ =
        Error(Code::kDeadlineExceeded, std::string(method_), "the deadline had passed before it was sent");
  else if (!connection.usable())
    error_ = Error(Code::kConnectionLost, std::string(method_), connection.why_lost_);
  if (error_) return true;

  stream_id_ = connection.next_stream_id_;
  const int64_t timeout = deadline_ == kNever ? 0 : deadline_ - now;
  auto sent = append_request(connection.writer_.out(), stream_id_, service_, method_, timeout, request_);
  if (!sent) {
    error_ = sent.error();
    return true;
  }
  connection.next_stream_id_ += 2;
  connection.enter(*this);
  if (cancellation_ != nullptr) cancellation_->call_ = this;
  if (deadline_ != kNever) {
    timer_.call = this;
    timer_.fire = [](TimerNode* node) {
      PendingCall& late = *static_cast<Timer*>(node)->call;
      late.give_up(
          Error(Code::kDeadlineExceeded, std::string(late.method_), "no answer came within the deadline"));
    };
    connection.loop_.arm(timer_, deadline_);
  }
  connection.flush_soon();
  return false;
}

Result<void> PendingCall::await_resume() {
  if (error_) return fail(std::move(*error_));
  return {};
}

void PendingCall::detach() {
  if (!entered_) return;
  connection_->leave(*this);
  if (deadline_ != kNever) connection_->loop_.disarm(timer_);
  if (cancellation_ != nullptr) cancellation_->call_ = nullptr;
}

void PendingCall::answered(std::string_view frame) {
  detach();
  ResponseView view;
  if (!parse_response(frame, view))
    error_ = Error(Code::kInternal, std::string(method_), "the server's frame holds no valid ttrpc Response");
  else if (!view.status.empty())
    error_ = decode_status(view.status, owner_);
  if (!error_ && !response_.ParseFromArray(view.payload.data(), static_cast<int>(view.payload.size())))
    error_ =
        Error(Code::kInternal, std::string(method_), "the answer is no valid message of the response's type");
  waiting_.resume();
}

void PendingCall::resume_later(Error error) {
  detach();
  error_ = std::move(error);
  connection_->loop_.defer(waiting_);
}

void PendingCall::give_up(Error error) {
  connection_->send_cancel(stream_id_);
  resume_later(std::move(error));
}

void Cancellation::cancel() {
  cancelled_ = true;
  if (call_ != nullptr)
    call_->give_up(Error(Code::kCancelled, std::string(call_->method_), "the caller cancelled"));
}

// -------------------------------------------------------------------------------------------------
// connection

RpcConnection::RpcConnection(Loop& loop, std::unique_ptr<Stream> stream)
    : loop_(loop),
      stream_(std::move(stream)),
      writer_(loop, *stream_),
      buckets_(16),
      room_(loop),
      running_(loop) {
  room_.set();
  silence_.connection = this;
  silence_.fire = [](TimerNode* node) {
    const auto keep = static_cast<SilenceTimer*>(node)->connection->shared_from_this();
    keep->look_at_silence();
  };
}

RpcConnection::~RpcConnection() {
  CANOPY_CHECK(calls_ == 0);
  if (listening_) loop_.disarm(silence_);
}

std::shared_ptr<RpcConnection> RpcConnection::start(Loop& loop, std::unique_ptr<Stream> stream) {
  std::shared_ptr<RpcConnection> connection(new RpcConnection(loop, std::move(stream)));
  connection->running_.add(2);
  loop.spawn(read(connection));
  loop.spawn(write(connection));
  return connection;
}

PendingCall RpcConnection::call(std::string_view service, std::string_view method, const MessageLite& request,
                                MessageLite& response, Nanos deadline, Cancellation* cancellation,
                                v1::Owner* owner) {
  return PendingCall(shared_from_this(), service, method, request, response, deadline, cancellation, owner);
}

Task<bool> RpcConnection::room(Nanos deadline) {
  while (calls_ >= kCallsMax && !lost_) {
    room_.reset();
    if (!co_await room_.wait_until(deadline)) co_return false;
  }
  co_return true;
}

void RpcConnection::close() { lose("the client closed the connection"); }

Task<void> RpcConnection::wait_closed() { co_await running_.wait(); }

Task<void> RpcConnection::read(std::shared_ptr<RpcConnection> self) {
  while (!self->lost_ && co_await self->read_batch()) {
  }
  self->lose("the server ended the connection");
  self->running_.done();
}

Task<void> RpcConnection::write(std::shared_ptr<RpcConnection> self) {
  Result<void> ended = co_await self->writer_.run();
  if (!ended) self->lose(ended.error().to_string());
  self->running_.done();
}

Task<bool> RpcConnection::read_batch() {
  if (reader_.idle()) {
    reader_.release();
    auto ready = co_await stream_->readable(kNever);
    if (!ready) lose(ready.error().to_string());
    if (!ready) co_return false;
  }
  auto got = co_await stream_->read(reader_.room(), kNever);
  if (!got) lose(got.error().to_string());
  if (!got || *got == 0) co_return false;
  reader_.filled(*got);
  heard_ = true;
  Frame frame;
  FrameReader::State state;
  reading_batch_ = true;
  while (!lost_ && (state = reader_.next(frame)) == FrameReader::State::kFrame) take(frame);
  reading_batch_ = false;
  if (lost_) co_return false;
  writer_.flush_now();
  if (state == FrameReader::State::kBroken) lose("the server's bytes are no ttrpc frames");
  co_return !lost_;
}

void RpcConnection::take(const Frame& frame) {
  PendingCall* call = find(frame.stream_id);
  if (call == nullptr) return;  // given up meanwhile
  if (frame.type != FrameType::kResponse)
    call->resume_later(Error(Code::kInternal, std::string(call->method_), "the server sent no Response"));
  else if (frame.oversized)
    call->resume_later(
        Error(Code::kTooLarge, std::string(call->method_),
              fmt::format("the answer has {} bytes, over {}", frame.length, kWireMessageBytesMax)));
  else
    call->answered(frame.payload);
}

void RpcConnection::lose(std::string why) {
  if (lost_) return;
  lost_ = true;
  why_lost_ = std::move(why);
  writer_.abandon();
  stream_->abort();
  std::vector<PendingCall*> calls;
  for (PendingCall* first : buckets_)
    for (PendingCall* call = first; call != nullptr; call = call->next_) calls.push_back(call);
  // In the order in which they were made, so that a simulation replays.
  std::ranges::sort(calls, {}, [](const PendingCall* call) { return call->stream_id_; });
  for (PendingCall* call : calls)
    call->resume_later(Error(Code::kConnectionLost, std::string(call->method_), why_lost_));
  room_.set();
}

void RpcConnection::send_cancel(uint32_t stream_id) {
  v1::CancelRequest request;
  request.set_stream_id(stream_id);
  send_to_session("Cancel", request);
}

// Nobody waits for its answer.
void RpcConnection::send_to_session(std::string_view method, const MessageLite& request) {
  if (!usable()) return;
  if (append_request(writer_.out(), next_stream_id_, "canopy.v1.Session", method, 0, request))
    next_stream_id_ += 2;
  flush_soon();
}

// One timer for all calls, which goes on by itself as long as there are some.
void RpcConnection::listen_for_silence() {
  listening_ = true;
  heard_ = false;
  silent_steps_ = 0;
  loop_.arm(silence_, loop_.now() + kSilenceStep);
}

// It goes on where calls have been given up without a word from the server. While bytes wait for the kernel
// to take them a ping would wait behind them: then FrameWriter's limit holds. A server with all the calls
// that it takes reads no ping.
void RpcConnection::look_at_silence() {
  listening_ = false;
  const bool heard = std::exchange(heard_, false);
  if (lost_ || (heard && calls_ == 0)) return;
  const bool would_be_read = writer_.queued_bytes() == 0 && calls_ < kCallsMax;
  if (heard || !would_be_read)
    silent_steps_ = 0;
  else if (++silent_steps_ >= kSilentStepsMax)
    return lose(
        fmt::format("nothing has come from the server for {} s", kSilenceStep / kSecond * kSilentStepsMax));
  if (silent_steps_ == 1) send_to_session("Ping", v1::PingRequest());
  listening_ = true;
  loop_.arm(silence_, loop_.now() + kSilenceStep);
}

void RpcConnection::flush_soon() {
  if (!reading_batch_) writer_.flush_later();
}

void RpcConnection::enter(PendingCall& call) {
  if (calls_ >= buckets_.size()) grow();
  PendingCall*& first = buckets_[(call.stream_id_ >> 1) & (buckets_.size() - 1)];
  call.next_ = first;
  first = &call;
  call.entered_ = true;
  ++calls_;
  if (!listening_) listen_for_silence();
}

void RpcConnection::leave(PendingCall& call) {
  PendingCall** at = &buckets_[(call.stream_id_ >> 1) & (buckets_.size() - 1)];
  while (*at != &call) at = &(*at)->next_;
  *at = call.next_;
  call.entered_ = false;
  --calls_;
  // Well below the limit, so that those who wait come in batches.
  if (calls_ == kCallsMax / 2) room_.set();
}

PendingCall* RpcConnection::find(uint32_t stream_id) const {
  PendingCall* call = buckets_[(stream_id >> 1) & (buckets_.size() - 1)];
  while (call != nullptr && call->stream_id_ != stream_id) call = call->next_;
  return call;
}

void RpcConnection::grow() {
  std::vector<PendingCall*> old(buckets_.size() * 2);
  old.swap(buckets_);
  for (PendingCall* first : old) {
    while (first != nullptr) {
      PendingCall* call = std::exchange(first, first->next_);
      PendingCall*& bucket = buckets_[(call->stream_id_ >> 1) & (buckets_.size() - 1)];
      call->next_ = bucket;
      bucket = call;
    }
  }
}

}  // namespace canopy::wire
