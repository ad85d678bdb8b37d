#include "daemon/wire/server/connection.h"

#include "daemon/base/log.h"
#include "daemon/wire/framing_status.h"
#include "daemon/wire/server/rpc_server.h"

namespace canopy::wire {

constexpr Nanos kSlowCallAfter = 500 * kMillisecond;

ServerConnection::ServerConnection(RpcServer& server, std::unique_ptr<Stream> stream, PeerIdentity peer,
                                   uint64_t id)
    : ConnectionContext(server.loop_, id),
      server_(server),
      stream_(std::move(stream)),
      writer_(server.loop_, *stream_),
      room_(server.loop_) {
  peer_ = std::move(peer);
  server_.alive_.add();
  server_.connections_.insert(this);
  ++server_.stats_.connections;
}

ServerConnection::~ServerConnection() {
  server_.connections_.erase(this);
  --server_.stats_.connections;
  server_.alive_.done();
}

Task<void> ServerConnection::serve() {
  loop_.spawn(write(shared_from_this()));
  while (co_await read_batch()) {
  }
  close();
}

Task<void> ServerConnection::write(std::shared_ptr<ServerConnection> self) {
  co_await self->writer_.run();
  self->stream_->abort();  // the reader ends, too
}

void ServerConnection::finish() { writer_.close(); }

void ServerConnection::close() {
  closed_ = true;
  writer_.abandon();
  stream_->abort();
  for (CallContext* call = newest_call_; call != nullptr;) {
    CallContext* next = call->after_;
    call->cancel();
    call = next;
  }
  run_close_hooks();
}

// False when the connection is over.
Task<bool> ServerConnection::read_batch() {
  if (reader_.idle()) {
    reader_.release();
    if (!co_await stream_->readable(kNever)) co_return false;
  }
  auto got = co_await stream_->read(reader_.room(), kNever);
  if (!got || *got == 0) co_return false;
  reader_.filled(*got);
  Frame frame;
  FrameReader::State state;
  reading_batch_ = true;
  while ((state = reader_.next(frame)) == FrameReader::State::kFrame) {
    take(frame);
    if (crowded()) {
      reading_batch_ = false;
      co_await wait_for_room();
      reading_batch_ = true;
    }
  }
  reading_batch_ = false;
  writer_.flush_now();
  if (state == FrameReader::State::kBroken) {
    log_event(LogLevel::kWarning, "wire-broken", peer_.name, {{"why", "the bytes are no ttrpc frames"}});
    co_return false;
  }
  co_return true;
}

bool ServerConnection::crowded() const {
  return calls_ >= kWireStreamsPerConnectionMax || request_bytes_ > kWireRequestBytesInFlightMax ||
         writer_.queued_bytes() > kWireAnswerBytesQueuedMax;
}

// A call that has waited for a while may wait for long. What the loop can hold of such requests is bounded,
// too; beyond it they hold up their connection.
void ServerConnection::set_slow_calls_apart() {
  const Nanos since = loop_.now() - kSlowCallAfter;
  for (CallContext* call = oldest_call_; call != nullptr && call->begun_ <= since; call = call->before_) {
    if (call->slow_) continue;
    if (server_.slow_request_bytes_ + call->request_bytes_ > server_.options_.slow_request_bytes_max) break;
    call->slow_ = true;
    request_bytes_ -= call->request_bytes_;
    server_.slow_request_bytes_ += call->request_bytes_;
  }
}

Task<void> ServerConnection::wait_for_room() {
  // What the client has asked beyond our limits stays in its socket.
  while (crowded()) {
    writer_.flush_now();
    if (writer_.queued_bytes() > kWireAnswerBytesQueuedMax) {
      co_await writer_.below(kWireAnswerBytesQueuedMax / 2);
      if (writer_.ended()) break;
      continue;
    }
    set_slow_calls_apart();
    if (crowded()) (void)co_await room_.wait_until(loop_.now() + kSlowCallAfter / 2);
  }
}

void ServerConnection::take(const Frame& frame) {
  if (frame.type == FrameType::kRequest) return take_request(frame);
  if (frame.type == FrameType::kData && frame.stream_id <= last_stream_id_)
    return;  // of a stream already refused
  ++server_.stats_.requests;
  refuse(frame.stream_id, Error(Code::kInvalidArgument, "stream",
                                frame.type == FrameType::kData ? "data for a stream that was never opened"
                                                               : "a client sends requests, not responses"));
}

void ServerConnection::take_request(const Frame& frame) {
  ++server_.stats_.requests;
  const uint32_t id = frame.stream_id;
  if (id % 2 == 0 || id <= last_stream_id_)
    return refuse(id, Error(Code::kInvalidArgument, "stream", "a client's stream ids are odd and rise"));
  last_stream_id_ = id;
  if (frame.oversized)
    return refuse(
        id, Error(Code::kTooLarge, "request",
                  fmt::format("the message has {} bytes, over {}", frame.length, kWireMessageBytesMax)));
  RequestView request;
  if (!parse_request(frame.payload, request))
    return refuse(id, Error(Code::kInvalidArgument, "request", "the frame holds no valid ttrpc Request"));
  const auto* method = server_.table_.find(request.service, request.method);
  if (method == nullptr) {
    const bool known = server_.table_.has_service(request.service);
    return refuse(id, Error(Code::kUnsupported, fmt::format("{}/{}", request.service, request.method),
                            known ? "the service has no such method" : "there is no such service"));
  }
  if ((frame.flags & kFlagRemoteOpen) != 0)
    return refuse(id,
                  Error(Code::kUnsupported, method->name, "the method is unary: call it without a stream"));
  if ((method->roles & static_cast<RoleSet>(peer_.role)) == 0) {
    std::string why = fmt::format("only role {} may call it; {} has role {}", roles_text(method->roles),
                                  peer_.name, role_name(peer_.role));
    if (!peer_.reason.empty()) why += fmt::format(", because {}", peer_.reason);
    if (!std::exchange(refusal_logged_, true))
      log_event(LogLevel::kWarning, "call-refused", peer_.name, {{"method", method->name}, {"why", why}});
    return refuse(id,
                  Error(Code::kPermissionDenied, fmt::format("{}/{}", request.service, request.method), why));
  }
  if (server_.draining_ && request.service != "canopy.v1.Session")
    return refuse(
        id, Error(Code::kTryAgain, std::string(kDrainingObject), "the server is stopping; use another one"));
  Nanos deadline = kNever;
  if (request.timeout_nano > 0) {
    const Nanos now = loop_.now();
    deadline = request.timeout_nano > kNever - now ? kNever : now + request.timeout_nano;
  }
  method->start(*method, *this, id, deadline, request.payload);
}

void ServerConnection::begin(CallContext& call, size_t request_bytes) {
  call.after_ = newest_call_;
  (newest_call_ != nullptr ? newest_call_->before_ : oldest_call_) = &call;
  newest_call_ = &call;
  call.begun_ = loop_.now();
  call.request_bytes_ = request_bytes;
  ++calls_;
  request_bytes_ += request_bytes;
  ++server_.stats_.calls_under_way;
  server_.calls_.add();
}

void ServerConnection::end(CallContext& call) {
  (call.before_ != nullptr ? call.before_->after_ : newest_call_) = call.after_;
  (call.after_ != nullptr ? call.after_->before_ : oldest_call_) = call.before_;
  --calls_;
  (call.slow_ ? server_.slow_request_bytes_ : request_bytes_) -= call.request_bytes_;
  --server_.stats_.calls_under_way;
  server_.calls_.done();
  if (!crowded()) room_.wake_all();
}

bool ServerConnection::cancel(uint32_t stream_id) {
  for (CallContext* call = newest_call_; call != nullptr; call = call->after_) {
    if (call->stream_id() != stream_id) continue;
    call->cancel();
    return true;
  }
  return false;
}

void ServerConnection::answer(CallContext& call, const google::protobuf::MessageLite& response) {
  if (closed_) return;
  auto appended = append_response(writer_.out(), call.stream_id(), response);
  if (!appended) return refuse(call, appended.error());
  if (!reading_batch_) writer_.flush_later();
}

void ServerConnection::answer_if_leased(CallContext& call, std::string_view service,
                                        const google::protobuf::MessageLite& response) {
  const auto& lease_held = server_.options_.lease_held;
  if (!lease_held || lease_held()) return answer(call, response);
  const bool needs_none =
      service == "canopy.v1.Session" || service == "canopy.v1.Stores" || service == "canopy.v1.Cluster";
  if (needs_none) return answer(call, response);
  refuse(call, Error(Code::kTryAgain, "lease",
                     "this backend's lease has ended; it answers again once it is renewed"));
}

void ServerConnection::refuse(CallContext& call, const Error& error) {
  refuse(call.stream_id(), error, error.code() == Code::kWrongBackend ? call.owner() : nullptr);
}

void ServerConnection::refuse(uint32_t stream_id, const Error& error, const v1::Owner* owner) {
  ++server_.stats_.refused;
  if (closed_) return;
  append_failure(writer_.out(), stream_id, encode_status(error, owner));
  if (!reading_batch_) writer_.flush_later();
}

}  // namespace canopy::wire
