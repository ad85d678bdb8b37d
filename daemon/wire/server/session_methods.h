// The Session service's methods that need nothing but the connection: Hello, Ping, Cancel. (Authenticate
// needs accounts.)
#pragma once

#include <functional>

#include "daemon/wire/server/method_table.h"

namespace canopy::wire {

class SessionMethods {
 public:
  static constexpr uint32_t kProtocolVersion = 1;
  static constexpr uint32_t kPingAnswerBytesMax = 64u << 10;

  struct Options {
    std::string server = "canopyd/0.1";
    std::string cluster = {};
    uint64_t mail_bytes_max = kMessageBytesMax;
    uint32_t page_entries_max = 1000;
    uint32_t watch_seconds_max = 1800;
    std::function<uint64_t()> epoch = {};  // of this process; called on any loop
  };
  explicit SessionMethods(Options options) : options_(std::move(options)) {}

  void add_to(MethodTable& table);  // this must outlive the server

 private:
  Result<v1::HelloResponse> hello(CallContext& call, const v1::HelloRequest& request);
  Result<v1::PingResponse> ping(CallContext& call, const v1::PingRequest& request);
  Result<v1::Empty> cancel(CallContext& call, const v1::CancelRequest& request);

  Options options_;
};

}  // namespace canopy::wire
