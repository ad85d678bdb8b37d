// The Info and Events services of canopy.proto. Methods may be called on any loop of the node.
#pragma once

#include "daemon/wire/server/method_table.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

class InfoService {
 public:
  explicit InfoService(Node& node) : node_(node) {}
  void add_to(MethodTable& table);  // this must outlive the server

 private:
  Task<Result<v1::InfoResponse>> get(CallContext& call, const v1::GetInfoRequest& request);
  Task<Result<v1::InfoResponse>> set(CallContext& call, const v1::SetInfoRequest& request);
  Task<Result<v1::InfoResponse>> set_domain(const std::string& name, const v1::SetInfoRequest& request);
  Task<Result<v1::InfoResponse>> set_defaults(const v1::SetInfoRequest& request);
  Node& node_;
};

class EventsService {
 public:
  explicit EventsService(Node& node) : node_(node) {}
  void add_to(MethodTable& table);

 private:
  Task<Result<v1::WatchResponse>> watch(CallContext& call, const v1::WatchRequest& request);
  Node& node_;
};

}  // namespace canopy::wire
