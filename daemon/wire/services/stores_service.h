// The part of the Stores service that changes stores and the mount table of a running node, and looks at
// them: everything but List and Check (status_service.h). Methods may be called on any loop of the node and
// end on the caller's.
#pragma once

#include "daemon/store/set/store_set.h"
#include "daemon/wire/server/method_table.h"
#include "daemon/wire/services/node.h"
#include "daemon/wire/services/relocations.h"

namespace canopy::wire {

class StoresService {
 public:
  explicit StoresService(Node& node, Nanos late_renames_awaited = kLateRenamesAwaited)
      : node_(node),
        late_renames_awaited_(late_renames_awaited),
        late_until_(node.shards().front()->loop.now() + late_renames_awaited),
        gate_(node.shards().front()->loop) {}
  void add_to(MethodTable& table);  // this must outlive the server

  // What the run of the mount table needs (relocations.h). The first on the first loop, the others begin and
  // end on the caller's. `beforehand`: also while no row is superseded, otherwise kNotFound.
  Task<Result<bool>> drop_superseded(std::shared_ptr<const StoresConfig> as_of);
  using ChangeHow = std::function<Result<void>(dict::Dict& relocation)>;
  Task<Result<void>> change_relocation(CallContext& call, bool beforehand, ChangeHow change);
  // The table before the newest becomes the newest again.
  Task<Result<void>> put_back_mounts(CallContext& call);
  // As Accounts::rename() of `owner`, also to a name whose place is on another store: the account gets its
  // name where it lies, which a superseded row leads to until the run of the mount table has moved it. Begins
  // and ends on the owner's loop.
  Task<Result<void>> rename_account(Shard& owner, AccountAddress from, AccountAddress to);

 private:
  Task<Result<void>> rename_beyond(Shard& owner, AccountAddress from, AccountAddress to, MountRow row);
  Task<Result<v1::StoreInfo>> add(CallContext& call, const v1::AddStoreRequest& request);
  Task<Result<v1::StoreInfo>> set(CallContext& call, const v1::SetStoreRequest& request);
  Task<Result<v1::Empty>> remove(CallContext& call, const v1::StoreRequest& request);
  Task<Result<v1::TestStoreResponse>> test(CallContext& call, const v1::StoreRequest& request);
  Task<Result<v1::MeasureStoreResponse>> measure(CallContext& call, const v1::MeasureStoreRequest& request);
  Task<Result<v1::MountsResponse>> get_mounts(CallContext& call, const v1::Empty& request);
  Task<Result<v1::MountsResponse>> set_mounts(CallContext& call, const v1::SetMountsRequest& request);
  Task<Result<v1::ListMovesResponse>> list_moves(CallContext& call, const v1::ListMovesRequest& request);

  // On the first loop, with the gate held.
  Task<Result<StoreConfig>> examine(const v1::AddStoreRequest& request);
  Task<Result<void>> switch_to(StoresConfig next);
  Task<Result<void>> lead_to(MountRow row);
  Task<Result<v1::StoreInfo>> info_of(std::string name);
  Task<Result<std::shared_ptr<Store>>> store_named(std::string name);

  Node& node_;
  const Nanos late_renames_awaited_;
  Nanos late_until_;  // an account's rename of this process, or of the one before, may still arrive
  Mutex gate_;        // one change at a time; on the first loop
};

// What the set of every loop says of its stores, in sum. Begins and ends on the caller's loop.
struct GatheredStores {
  std::vector<v1::StoreInfo> infos;
  std::map<std::string, StoreFigures> figures;  // by name
};
Task<GatheredStores> gather_stores(Node& node);

// stores_moves.cpp: what of one account lies elsewhere than the newest table says.
Task<Result<void>> add_moves(Shard& shard, AccountAddress address, v1::ListMovesResponse& out,
                             std::map<std::string, uint64_t>& by_store,
                             std::map<std::string, uint64_t>& by_leaf);

}  // namespace canopy::wire
