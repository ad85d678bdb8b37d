// Backend: one simulated process of canopyd: the real register, Node, services and server, over a faulty view
// of the disk that all processes share. It is started, and ends by being killed, by finding a higher
// generation in the register, or by failing to start.
#pragma once

#include <memory>
#include <span>

#include "daemon/cluster/heartbeat.h"
#include "daemon/runtime/workers.h"
#include "daemon/store/journal/journaled_store.h"
#include "daemon/store/memory/memory_store.h"
#include "daemon/store/set/store_set.h"
#include "daemon/wire/server/rpc_server.h"
#include "daemon/wire/server/session_methods.h"
#include "daemon/wire/services/directory_service.h"
#include "daemon/wire/services/info_service.h"
#include "daemon/wire/services/mailboxes_service.h"
#include "daemon/wire/services/relocation_service.h"
#include "daemon/wire/services/status_service.h"
#include "daemon/wire/services/stores_service.h"
#include "tests/sim/bugs.h"
#include "tests/sim/plan.h"
#include "tests/sim/stores.h"
#include "tests/sim/trace.h"

namespace canopy::sim {

// What the processes share.
struct Site {
  SimWorld& world;
  SimLoop& outside;  // carries out what stores were asked for, also when the process that asked is dead
  std::span<MemoryDisk> disks;  // of the stores, by number
  const Plan& plan;
  Trace& trace;
  WorkerPool& workers;
  Bug bug = Bug::kNone;
  bool trace_store = false;
  bool calm = false;  // no more faults

  std::optional<size_t> away = {};  // the store that does not answer

  uint32_t processes = 0;
  uint64_t highest_epoch = 0;  // of a process that has claimed the tree
};

class Backend {
 public:
  Backend(Site& site, Address address);
  Backend(const Backend&) = delete;

  const std::string& name() const { return loop_.name(); }
  const Address& address() const { return address_; }
  SimLoop& loop() { return loop_; }
  bool alive() const { return loop_.alive(); }
  bool serving() const { return serving_ && alive(); }
  uint64_t epoch() const { return epoch_; }

  // Before the operation `after` from now takes effect the process dies, and `then` is called (out of the
  // world's code).
  void die_before_operation(uint64_t after, std::function<void()> then);
  // Dies now. On a local store nothing that it asked for happens any more; on a shared one it may, and late.
  void kill();
  // Nothing that it asked for happens any more: the store itself has failed.
  void halt_store(size_t number) { views_[number].faulty->halt(); }
  // What the stores are to fail with has changed.
  void draw_on_faults();

 private:
  static Task<void> run(Backend& self);
  Task<Result<void>> start();
  Task<Result<void>> open_set();
  static Task<Result<std::unique_ptr<Store>>> open_member(Backend& self, StoreConfig config);
  static Task<Result<void>> prepare_member(Backend& self, std::shared_ptr<Store> store);
  static Task<Result<void>> begin_journal(Backend& self, size_t number);
  void build_node();
  static Task<void> beat_on(Backend& self);
  static Task<void> sweep_on(Backend& self);
  static Task<void> read_domains_on(Backend& self);
  bool shared(size_t number) const;
  std::unique_ptr<Store> view_of(size_t number);
  void before_operation(size_t number, StoreOperation operation, std::string_view object);

  Site& site_;
  const Address address_;
  SimLoop& loop_;
  struct View {  // of one store; outlives the process: what it asked for may still happen
    std::unique_ptr<MemoryStore> inner;
    std::unique_ptr<FaultyStore> faulty;
    std::shared_ptr<ReplaceJournal> journal;  // where the plan wants one
  };
  std::vector<View> views_;
  std::unique_ptr<Store> store_;  // until the node takes it
  StoreSet* set_ = nullptr;       // the same, of several stores
  uint64_t operations_ = 0;       // that took effect, or were about to
  Lease lease_;                   // renewed by the heartbeat and asked by nobody: see simulator.md
  Heartbeat heartbeat_;
  uint64_t epoch_ = 0;
  bool serving_ = false;
  uint64_t dies_before_ = 0;
  std::function<void()> after_death_;

  std::unique_ptr<wire::Node> node_;
  wire::MethodTable table_, remembering_;
  std::unique_ptr<wire::SessionMethods> session_;
  std::unique_ptr<wire::DirectoryService> directory_;
  std::unique_ptr<wire::MailboxesService> mailboxes_;
  std::unique_ptr<wire::InfoService> info_;
  std::unique_ptr<wire::StatusService> status_;
  std::unique_ptr<wire::StoresService> stores_;
  std::unique_ptr<wire::Relocations> relocations_;
  std::unique_ptr<wire::DomainMoves> domain_moves_;
  std::unique_ptr<wire::RelocationService> relocation_;
  const std::atomic<bool> never_over_{false};  // a process here does not end in order
  std::shared_ptr<void> forgetful_;
  std::unique_ptr<wire::RpcServer> server_;
};

}  // namespace canopy::sim
