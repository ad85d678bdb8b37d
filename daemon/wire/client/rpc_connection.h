// One connection to a server: any number of calls at the same time, answered in any order. What is sent in
// one turn of the loop goes out in one write. For the loop's thread only.
#pragma once

#include <google/protobuf/message_lite.h>

#include <memory>
#include <vector>

#include "daemon/runtime/sync.h"
#include "daemon/wire/framing.h"
#include "daemon/wire/framing_envelope.h"
#include "daemon/wire/framing_writer.h"

namespace canopy::v1 {
class Owner;
}

namespace canopy::wire {

class PendingCall;

// Gives up one call at a time from outside: the caller gets kCancelled, the server is asked to stop. It must
// outlive the call that it was given to.
class Cancellation {
 public:
  Cancellation() = default;
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;

  void cancel();
  bool cancelled() const { return cancelled_; }

 private:
  friend class PendingCall;
  friend class RpcConnection;
  bool cancelled_ = false;
  PendingCall* call_ = nullptr;
};

class RpcConnection : public std::enable_shared_from_this<RpcConnection> {
 public:
  // Beyond it the server would stop reading; it announces the same number at Hello.
  static constexpr size_t kCallsMax = kWireStreamsPerConnectionMax;

  static std::shared_ptr<RpcConnection> start(Loop& loop, std::unique_ptr<Stream> stream);
  ~RpcConnection();

  // co_await connection->call(…): Result<void>, with `response` filled. Everything given must stay until it
  // answers. deadline: as Loop::now(), also sent to the server. owner: filled with a kWrongBackend failure;
  // may be null. Failures of the connection are kConnectionLost: the server may or may not have done it.
  PendingCall call(std::string_view service, std::string_view method,
                   const google::protobuf::MessageLite& request, google::protobuf::MessageLite& response,
                   Nanos deadline, Cancellation* cancellation = nullptr, v1::Owner* owner = nullptr);

  // Calls under way, and nothing at all has come for so long, not even the answer to a ping that is sent on
  // the way there: the server is gone without a word, or its path is, and calls fail with kConnectionLost.
  // Counted in steps, so it may take one more.
  static constexpr Nanos kSilenceStep = 5 * kSecond;
  static constexpr int kSilentStepsMax = 3;

  // New calls may be made: the connection is up and has stream ids left.
  bool usable() const { return !lost_ && next_stream_id_ < kLastStreamId; }
  size_t calls_under_way() const { return calls_; }
  // False when the deadline passed before there was room for another call.
  Task<bool> room(Nanos deadline);

  void close();              // calls under way fail with kConnectionLost
  Task<void> wait_closed();  // until nothing of it runs any more
  Loop& loop() const { return loop_; }

 private:
  friend class PendingCall;
  static constexpr uint32_t kLastStreamId = 0xffff'0001;

  RpcConnection(Loop& loop, std::unique_ptr<Stream> stream);
  static Task<void> read(std::shared_ptr<RpcConnection> self);
  static Task<void> write(std::shared_ptr<RpcConnection> self);
  Task<bool> read_batch();
  void take(const Frame& frame);
  void lose(std::string why);
  void send_cancel(uint32_t stream_id);
  void send_to_session(std::string_view method, const google::protobuf::MessageLite& request);
  void listen_for_silence();
  void look_at_silence();
  void flush_soon();

  // Calls under way by stream id: a hash table whose links lie in the calls.
  void enter(PendingCall& call);
  void leave(PendingCall& call);
  PendingCall* find(uint32_t stream_id) const;
  void grow();

  Loop& loop_;
  std::unique_ptr<Stream> stream_;
  FrameReader reader_;
  FrameWriter writer_;
  bool reading_batch_ = false;
  bool lost_ = false;
  std::string why_lost_;
  uint32_t next_stream_id_ = 1;
  size_t calls_ = 0;
  std::vector<PendingCall*> buckets_;
  struct SilenceTimer : TimerNode {
    RpcConnection* connection = nullptr;
  };
  SilenceTimer silence_;
  bool listening_ = false;  // silence_ is armed
  bool heard_ = false;      // something, since it last fired
  int silent_steps_ = 0;
  Event room_;
  WaitGroup running_;  // reader and writer
};

// The awaiter of one call; it lives in the caller's frame.
class [[nodiscard]] PendingCall {
 public:
  PendingCall(const PendingCall&) = delete;
  PendingCall& operator=(const PendingCall&) = delete;
  ~PendingCall();

  bool await_ready();  // sends; true when that failed at once
  void await_suspend(std::coroutine_handle<> handle) { waiting_ = handle; }
  Result<void> await_resume();

 private:
  friend class RpcConnection;
  friend class Cancellation;
  struct Timer : TimerNode {
    PendingCall* call;
  };
  PendingCall(std::shared_ptr<RpcConnection> connection, std::string_view service, std::string_view method,
              const google::protobuf::MessageLite& request, google::protobuf::MessageLite& response,
              Nanos deadline, Cancellation* cancellation, v1::Owner* owner)
      : connection_(std::move(connection)),
        service_(service),
        method_(method),
        request_(request),
        response_(response),
        deadline_(deadline),
        cancellation_(cancellation),
        owner_(owner) {}
  void answered(std::string_view frame);
  void give_up(Error error);  // tells the server, resumes later
  void resume_later(Error error);
  void detach();  // from connection, timer and cancellation

  std::shared_ptr<RpcConnection> connection_;
  std::string_view service_, method_;
  const google::protobuf::MessageLite& request_;
  google::protobuf::MessageLite& response_;
  const Nanos deadline_;
  Cancellation* cancellation_;
  v1::Owner* owner_;
  uint32_t stream_id_ = 0;
  bool entered_ = false;
  PendingCall* next_ = nullptr;  // in its bucket
  std::coroutine_handle<> waiting_;
  std::optional<Error> error_;
  Timer timer_;
};

}  // namespace canopy::wire
