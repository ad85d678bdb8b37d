// The Stores and Cluster services of canopy.proto: health, checks and figures. Methods may be called on any
// loop of the node.
#pragma once

#include "daemon/wire/server/method_table.h"
#include "daemon/wire/server/rpc_server.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

class StatusService {
 public:
  explicit StatusService(Node& node) : node_(node) {}
  void add_to(MethodTable& table);  // this must outlive the server
  // The servers whose connections and requests are counted; before any call.
  void watch(std::vector<RpcServer*> servers) { servers_ = std::move(servers); }

 private:
  Task<Result<v1::ListStoresResponse>> list_stores(CallContext& call, const v1::Empty& request);
  Task<Result<v1::CheckResponse>> check(CallContext& call, const v1::CheckRequest& request);
  Task<Result<v1::ClusterStatus>> status(CallContext& call, const v1::Empty& request);
  Task<Result<v1::MetricsResponse>> metrics(CallContext& call, const v1::Empty& request);
  Task<Result<v1::Empty>> compact(CallContext& call, const v1::AccountRef& request);
  Task<Result<v1::Empty>> close(CallContext& call, const v1::AccountRef& request);
  Task<Result<void>> check_settings(const std::string& only, v1::CheckResponse& out);
  Task<v1::ClusterStatus> gather();

  Node& node_;
  std::vector<RpcServer*> servers_;
  const int64_t started_ns_ = node_.shards().front()->loop.wall_clock_ns();
};

}  // namespace canopy::wire
