// Session.Authenticate: SASL PLAIN and SCRAM-SHA-256, ending in a ticket. Methods may be called on any loop
// of the node.
#pragma once

#include "daemon/wire/server/method_table.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

class LoginService {
 public:
  explicit LoginService(Node& node) : node_(node) {}
  void add_to(MethodTable& table);  // this must outlive the server

 private:
  Task<Result<v1::AuthenticateResponse>> authenticate(CallContext& call,
                                                      const v1::AuthenticateRequest& request);
  Task<Result<v1::AuthenticateResponse>> plain(CallContext& call, const v1::AuthenticateRequest& request);
  Task<Result<v1::AuthenticateResponse>> scram(CallContext& call, const v1::AuthenticateRequest& request);
  Task<Result<void>> check_password(Node::Found& found, std::string_view password);
  Result<v1::AuthenticateResponse> grant(CallContext& call, const Node::Found& found);
  std::unexpected<Error> refuse(const std::string& name);

  Node& node_;
};

}  // namespace canopy::wire
