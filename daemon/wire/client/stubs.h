// The services of canopy.proto as C++ functions, one for each method (methods.h):
// MailboxesStub(client).deliver(request). The request must stay until the call answers; in `co_await
// stub.deliver(request)` it does.
#pragma once

#include "daemon/wire/client/client.h"

namespace canopy::wire {

#define CANOPY_STUB_METHOD(function, Method, Request, Response, repeat)                                     \
  Task<Result<v1::Response>> function(const v1::Request& request, CallOptions options = {}) const {         \
    return client_->call<v1::Request, v1::Response>({kService, #Method, Repeat::repeat}, request, options); \
  }

#define CANOPY_STUB(Service, METHODS)                                   \
  class Service##Stub {                                                 \
   public:                                                              \
    static constexpr std::string_view kService = "canopy.v1." #Service; \
    explicit Service##Stub(Client& client) : client_(&client) {}        \
    METHODS(CANOPY_STUB_METHOD)                                         \
   private:                                                             \
    Client* client_;                                                    \
  }

CANOPY_STUB(Session, CANOPY_SESSION_METHODS);
CANOPY_STUB(Directory, CANOPY_DIRECTORY_METHODS);
CANOPY_STUB(Mailboxes, CANOPY_MAILBOXES_METHODS);
CANOPY_STUB(Info, CANOPY_INFO_METHODS);
CANOPY_STUB(Events, CANOPY_EVENTS_METHODS);
CANOPY_STUB(Stores, CANOPY_STORES_METHODS);
CANOPY_STUB(Relocation, CANOPY_RELOCATION_METHODS);
CANOPY_STUB(Tree, CANOPY_TREE_METHODS);
CANOPY_STUB(Cluster, CANOPY_CLUSTER_METHODS);

#undef CANOPY_STUB
#undef CANOPY_STUB_METHOD

}  // namespace canopy::wire
