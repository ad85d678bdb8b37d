// A Client for tools that do one thing at a time: it runs a loop of its own while a call is under way.
//   CANOPY_ASSIGN(auto client, BlockingClient::create(options));
//   auto status = client->run(ClusterStub(client->client()).get_status({}));
#pragma once

#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"

namespace canopy::wire {

class BlockingClient {
 public:
  static Result<std::unique_ptr<BlockingClient>> create(ClientOptions options) {
    CANOPY_ASSIGN(auto loop, UringLoop::create({.entries = 64, .file_workers = 4}));
    return std::unique_ptr<BlockingClient>(new BlockingClient(std::move(loop), std::move(options)));
  }
  ~BlockingClient() { loop_->run_until_done(client_->close()); }

  template <class T>
  T run(Task<T> task) {
    return loop_->run_until_done(std::move(task));
  }
  Client& client() { return *client_; }
  UringLoop& loop() { return *loop_; }

 private:
  BlockingClient(std::unique_ptr<UringLoop> loop, ClientOptions options)
      : loop_(std::move(loop)), client_(std::make_unique<Client>(*loop_, std::move(options))) {}

  std::unique_ptr<UringLoop> loop_;
  std::unique_ptr<Client> client_;
};

}  // namespace canopy::wire
