// Client: calls methods of a Canopy server, whatever happens to the connection. It connects when first
// needed, again with back-off after a loss, sends a call that was under way once more where that is safe
// (methods.h) with the same request, and follows an account to the backend that owns it. For the loop's
// thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/runtime/tls.h"
#include "daemon/wire/canopy.pb.h"
#include "daemon/wire/client/methods.h"
#include "daemon/wire/client/rpc_connection.h"

namespace canopy::wire {

struct ClientOptions {
  std::vector<Address> addresses = {};     // tried in order; the one that worked is kept
  std::string name = "canopy-client/0.1";  // for the server's logs
  std::string role = {};  // asks for this role (an admin may take a lesser one); empty: the peer's own
  std::shared_ptr<const TlsContext> tls = nullptr;  // for TCP addresses; a Unix socket needs none
  std::string server_name = {};  // that the server's certificate must bear; empty: its authority is enough
  Nanos call_timeout = 30 * kSecond;  // for calls without a deadline of their own
  Nanos connect_timeout = 5 * kSecond;
  Nanos backoff_min = 20 * kMillisecond;
  Nanos backoff_max = 2 * kSecond;
};

struct CallOptions {
  Nanos deadline = 0;  // as Loop::now(); 0: now + ClientOptions::call_timeout
  bool retry = true;   // false: a lost connection and a failed connect are the answer
  Cancellation* cancellation = nullptr;
};

// 16 bytes that no other request has.
std::string new_request_id(Loop& loop);

namespace client_detail {

// Whether a resend of this very request is answered with the first result.
template <class Req>
bool carries_request_id(const Req& request) {
  if constexpr (requires { request.upload_id(); })
    if (request.upload_id() != 0) return false;  // the upload went with its connection
  if constexpr (requires { request.request_id(); }) return !request.request_id().empty();
  return false;
}
inline bool carries_request_id(const v1::DeliverRequest& request) {
  return request.upload_id() == 0 &&
         std::ranges::all_of(request.recipients(), [](const auto& to) { return !to.request_id().empty(); });
}

// Whose backend the call should go to; empty: any.
template <class Req>
std::string_view account_of(const Req& request) {
  if constexpr (std::is_same_v<Req, v1::AccountRef>)
    return request.name();
  else if constexpr (requires { request.account().name(); })
    return request.account().name();
  else
    return {};
}

}  // namespace client_detail

class Client {
 public:
  Client(Loop& loop, ClientOptions options);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();  // ends its connections; close() before it, where the loop itself ends soon after

  // `request` must stay until it answers. The stubs (stubs.h) are the usual way to call it.
  template <class Req, class Resp>
  Task<Result<Resp>> call(MethodInfo method, const Req& request, CallOptions options = {}) {
    Resp response;
    Result<void> done = co_await call_untyped(
        core_,
        Call{method, may_repeat(method, request), client_detail::account_of(request), request, response},
        options);
    if (!done) co_return fail(std::move(done).error());
    co_return response;
  }

  // Connects and says Hello, or answers why not.
  Task<Result<void>> connect(Nanos deadline = 0);
  // What the server said at the last Hello; empty before.
  const v1::HelloResponse& hello() const;
  std::string new_request_id() const;
  Loop& loop() const;
  // Ends every connection; calls under way and later ones fail with kConnectionLost. Answers when nothing
  // runs any more.
  Task<void> close();

 private:
  struct Core;
  struct Server;
  struct Call {
    MethodInfo method;
    bool may_repeat;
    std::string_view account;
    const google::protobuf::MessageLite& request;
    google::protobuf::MessageLite& response;
  };

  template <class Req>
  static bool may_repeat(const MethodInfo& method, const Req& request) {
    return method.repeat == Repeat::kAlways ||
           (method.repeat == Repeat::kWithRequestId && client_detail::carries_request_id(request));
  }
  static Task<Result<void>> call_untyped(std::shared_ptr<Core> core, Call call, CallOptions options);

  std::shared_ptr<Core> core_;  // shared with tasks that end after the client
};

}  // namespace canopy::wire
