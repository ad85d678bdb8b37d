// A connection that is used for one call, as mounting needs them.
#pragma once

#include "daemon/runtime/sync.h"
#include "daemon/store/nfs/nfs_options.h"
#include "daemon/store/nfs/rpc_connection.h"

namespace canopy::nfs {

RpcEndpoint endpoint_of(const NfsOptions& options, const std::string& address, uint16_t port, int program,
                        int version);

struct Short : RpcConnection::Owner {
  explicit Short(Loop& loop) : ended(loop) {}
  void connected(RpcConnection&) override { ended.set(); }
  void broken(RpcConnection&, std::string why) override {
    problem = std::move(why);
    is_broken = true;
    ended.set();
  }
  void answered(Nanos) override {}

  Event ended;
  bool is_broken = false;
  std::string problem;
};

// Connects and makes one call; the problem as an error when there is no answer.
template <class Answer, class Queue, class Take>
Task<Result<void>> call_once(Loop& loop, RpcEndpoint endpoint, Queue queue, Take take) {
  Short owner(loop);
  RpcConnection connection(loop, endpoint, owner);
  connection.start();
  co_await owner.ended.wait();
  if (!owner.is_broken) {
    const Outcome outcome = co_await connection.call<Answer>(queue, take);
    if (outcome == Outcome::kAnswered) co_return Result<void>();
  }
  co_return fail(
      Code::kStoreUnavailable, endpoint.address,
      fmt::format("port {}: {}", endpoint.port, owner.problem.empty() ? "no answer" : owner.problem));
}

}  // namespace canopy::nfs
