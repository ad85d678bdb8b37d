// Backend: the daemon behind the mount. Every call waits for it, through reconnects, as long as the mount's
// limit says. For the mount's loop.
#pragma once

#include "daemon/wire/client/stubs.h"

namespace canopy::mount {

class Backend {
 public:
  // `patience`: how long one operation of a user waits at most.
  Backend(wire::Client& client, Nanos patience)
      : client_(client), patience_(patience), session_(client.new_request_id()) {}

  wire::CallOptions options() const { return {.deadline = client_.loop().now() + patience_}; }
  Nanos patience() const { return patience_; }
  Loop& loop() const { return client_.loop(); }
  // Of the server that answered last (docs/protocol/tree.md, "Once").
  uint64_t epoch() const { return client_.hello().epoch(); }
  std::string new_request_id() const { return client_.new_request_id(); }
  // What the server knows this mount by, over all its connections.
  const std::string& session() const { return session_; }
  uint64_t new_handle() { return next_handle_++; }

  wire::TreeStub tree() const { return wire::TreeStub(client_); }
  wire::DirectoryStub directory() const { return wire::DirectoryStub(client_); }
  wire::MailboxesStub mailboxes() const { return wire::MailboxesStub(client_); }
  wire::InfoStub info() const { return wire::InfoStub(client_); }

 private:
  wire::Client& client_;
  const Nanos patience_;
  const std::string session_;
  uint64_t next_handle_ = 1;
};

}  // namespace canopy::mount
