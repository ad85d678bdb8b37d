// A backend that serves the Tree service over a disk in memory, which stays when the backend is killed.
#pragma once

#include <unistd.h>

#include <filesystem>

#include "daemon/account/passwords.h"
#include "daemon/store/faulty/faulty_store.h"
#include "daemon/store/memory/memory_store.h"
#include "daemon/wire/services/tree_service.h"
#include "tests/wire/wire_env.h"

namespace canopy::wire {

class TreeBackend {
 public:
  TreeBackend(UringLoop& loop, WorkerPool& workers, MemoryDisk& disk, uint64_t epoch)
      : loop_(loop), memory_(&loop, disk) {
    auto faulty = std::make_unique<FaultyStore>(memory_, loop, FaultPlan{.check_unclosed = false}, epoch);
    store_ = faulty.get();
    run(make_directories(*store_, "SharedDomains/d", 0700, Durable::kYes));
    std::vector<std::unique_ptr<Shard>> shards;
    shards.push_back(
        std::make_unique<Shard>(loop, std::move(faulty), epoch, 0, AccountsOptions{}, [] { return true; }));
    node_ = std::make_unique<Node>(NodeOptions{}, std::move(shards), workers, epoch);
    CANOPY_CHECK(run(node_->start()).has_value());
    tree_ = std::make_unique<TreeService>(*node_);
    CANOPY_CHECK(run(tree_->start()).has_value());
    SessionMethods::Options session;
    session.epoch = [epoch] { return epoch; };
    session_ = std::make_unique<SessionMethods>(session);
    session_->add_to(table_);
    tree_->add_to(table_);
    server_ = std::make_unique<RpcServer>(loop, table_, RpcServerOptions{});
    static int number = 0;
    address_ =
        Address{Address::Kind::kUnix, fmt::format("/tmp/canopy-tree-{}-{}.sock", getpid(), ++number), 0};
    auto listener = loop.listen(address_, {});
    CANOPY_CHECK(listener.has_value());
    server_->serve(std::move(*listener));
  }
  ~TreeBackend() {
    store_->on_operation({});
    store_->set_plan(FaultPlan{.check_unclosed = false});
    for (auto& client : clients_) run(client->close());
    run(server_->stop(loop_.now() + kSecond));
    run(node_->stop());
    std::filesystem::remove(address_.host);
  }

  Client& client() {
    ClientOptions options;
    options.addresses = {address_};
    clients_.push_back(std::make_unique<Client>(loop_, options));
    CANOPY_CHECK(run(clients_.back()->connect()).has_value());
    return *clients_.back();
  }
  FaultyStore& store() { return *store_; }
  Loop& loop() { return loop_; }
  void sweep() { run(sweep_task()); }
  Task<void> sweep_task() { return tree_->sweep_once(*node_->shards().front()); }

  // From its operation `number` on, counted from now, the store carries out nothing any more: what the tree
  // then holds is what it would hold had the process been killed there.
  void kill_at(uint64_t number) {
    store_->on_operation([this, last = store_->operations() + number](uint64_t index, auto, auto) {
      if (index + 1 >= last)
        store_->set_plan(
            FaultPlan{.error = 1, .error_code = Code::kStoreUnavailable, .check_unclosed = false});
    });
    if (number == 1)
      store_->set_plan(FaultPlan{.error = 1, .error_code = Code::kStoreUnavailable, .check_unclosed = false});
  }

  template <class T>
  T run(Task<T> task) {
    return loop_.run_until_done(std::move(task));
  }
  void run(Task<void> task) { loop_.run_until_done(std::move(task)); }

 private:
  UringLoop& loop_;
  MemoryStore memory_;
  FaultyStore* store_ = nullptr;
  std::unique_ptr<Node> node_;
  std::unique_ptr<TreeService> tree_;
  std::unique_ptr<SessionMethods> session_;
  MethodTable table_;
  std::unique_ptr<RpcServer> server_;
  Address address_;
  std::vector<std::unique_ptr<Client>> clients_;
};

class TreeTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(start_passwords());
    loop = std::move(*UringLoop::create());
  }
  std::unique_ptr<TreeBackend> backend(uint64_t epoch) {
    return std::make_unique<TreeBackend>(*loop, workers, disk, epoch);
  }
  template <class T>
  T run(Task<T> task) {
    return loop->run_until_done(std::move(task));
  }

  WorkerPool workers{"tree", 1, 100};
  std::unique_ptr<UringLoop> loop;
  MemoryDisk disk;
};

template <class T>
Code code_of(const Result<T>& result) {
  return result ? Code::kOk : result.error().code();
}

}  // namespace canopy::wire
