// One client of the server. It reads requests in batches, starts their methods, and sends what they answer,
// all on the loop that accepted it. It ends when the peer goes, breaks the framing, or the server drains;
// methods that still run then find themselves cancelled, and the object stays until the last of them has
// ended.
#pragma once

#include <memory>

#include "daemon/runtime/sync.h"
#include "daemon/wire/framing.h"
#include "daemon/wire/framing_envelope.h"
#include "daemon/wire/framing_writer.h"
#include "daemon/wire/server/call_context.h"

namespace canopy::wire {

class RpcServer;
class MethodTable;

class ServerConnection final : public ConnectionContext,
                               public std::enable_shared_from_this<ServerConnection> {
 public:
  ServerConnection(RpcServer& server, std::unique_ptr<Stream> stream, PeerIdentity peer, uint64_t id);
  ~ServerConnection() override;

  // Serves until the connection ends.
  Task<void> serve();
  // Sends what is queued, then ends; calls under way are not waited for.
  void finish();

  bool cancel(uint32_t stream_id) override;
  uint32_t calls_under_way() const { return calls_; }

  // For MethodTable: the life of one call.
  void begin(CallContext& call, size_t request_bytes);  // of a method that takes its time
  void end(CallContext& call);
  void answer(CallContext& call, const google::protobuf::MessageLite& response);
  // The answer, unless the lease ended meanwhile.
  void answer_if_leased(CallContext& call, std::string_view service,
                        const google::protobuf::MessageLite& response);
  void refuse(CallContext& call, const Error& error);
  void refuse(uint32_t stream_id, const Error& error, const v1::Owner* owner = nullptr);

 private:
  static Task<void> write(std::shared_ptr<ServerConnection> self);
  Task<bool> read_batch();
  void take(const Frame& frame);
  void take_request(const Frame& frame);
  bool crowded() const;
  Task<void> wait_for_room();
  void set_slow_calls_apart();
  void close();

  RpcServer& server_;
  std::unique_ptr<Stream> stream_;
  FrameReader reader_;
  FrameWriter writer_;
  bool reading_batch_ = false;  // its end sends what its methods answered
  bool refusal_logged_ = false;
  uint32_t last_stream_id_ = 0;
  uint32_t calls_ = 0;
  uint64_t request_bytes_ = 0;
  CallContext* newest_call_ = nullptr;
  CallContext* oldest_call_ = nullptr;
  Event room_;
};

}  // namespace canopy::wire
