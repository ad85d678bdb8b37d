// The Relocation service of canopy.proto: what moves, and how it is to be moved. Methods may be called on any
// loop of the node and end on the caller's.
#pragma once

#include "daemon/wire/server/method_table.h"
#include "daemon/wire/services/domain_moves.h"
#include "daemon/wire/services/relocations.h"
#include "daemon/wire/services/stores_service.h"

namespace canopy::wire {

class RelocationService {
 public:
  RelocationService(Node& node, Relocations& relocations, DomainMoves& domain_moves, StoresService& stores)
      : node_(node), relocations_(relocations), domain_moves_(domain_moves), stores_(stores) {}
  void add_to(MethodTable& table);  // this must outlive the server

 private:
  Task<Result<v1::ListRelocationsResponse>> list(CallContext& call, const v1::Empty& request);
  Task<Result<v1::RelocationInfo>> get(CallContext& call, const v1::DomainRequest& request);
  Task<Result<v1::RelocationInfo>> set(CallContext& call, const v1::SetRelocationRequest& request);
  Task<Result<v1::RelocationInfo>> cancel(CallContext& call, const v1::DomainRequest& request);
  Task<Result<v1::RelocationInfo>> info_named(CallContext& call, std::string name);
  Task<Result<v1::RelocationInfo>> info_of(CallContext& call, std::string domain);
  Task<Result<v1::RelocationInfo>> mounts_info(CallContext& call);
  Task<v1::RelocationInfo> info_of_domains(CallContext& call);
  // Changes the settings of a domain that has accounts to be moved; `beforehand`: or may have later.
  using Change = std::function<Result<void>(const Domain& domain, dict::Dict& settings)>;
  Task<Result<void>> change_domain(std::string domain, bool beforehand, Change change);

  Node& node_;
  Relocations& relocations_;
  DomainMoves& domain_moves_;
  StoresService& stores_;
};

}  // namespace canopy::wire
