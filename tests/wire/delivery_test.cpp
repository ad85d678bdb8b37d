// One message for several recipients, of whom one is on a store that says nothing. On virtual time.
#include <gtest/gtest.h>

#include "daemon/runtime/sim_loop.h"
#include "daemon/store/faulty/faulty_store.h"
#include "daemon/store/memory/memory_store.h"
#include "daemon/wire/client/stubs.h"
#include "daemon/wire/server/rpc_server.h"
#include "daemon/wire/server/session_methods.h"
#include "daemon/wire/services/delivery.h"
#include "daemon/wire/services/directory_service.h"
#include "daemon/wire/services/mailboxes_service.h"

namespace canopy::wire {
namespace {

const Address kAddress{Address::Kind::kUnix, "/sim/canopyd", 0};
constexpr uint64_t kEpoch = 1ull << 32 | 1;

class DeliveryTest : public testing::Test {
 protected:
  DeliveryTest() {
    auto faulty =
        std::make_unique<FaultyStore>(memory_, loop_, FaultPlan{.check_unclosed = false}, 1, &disk_);
    store_ = faulty.get();
    std::vector<std::unique_ptr<Shard>> shards;
    shards.push_back(std::make_unique<Shard>(loop_, std::move(faulty), kEpoch, 0, AccountsOptions{},
                                             std::function<bool()>()));
    node_ = std::make_unique<Node>(NodeOptions{}, std::move(shards), workers_, kEpoch);
    session_.add_to(table_);
    directory_ = std::make_unique<DirectoryService>(*node_);
    mailboxes_ = std::make_unique<MailboxesService>(*node_);
    directory_->add_to(table_);
    mailboxes_->add_to(table_);
    server_ = std::make_unique<RpcServer>(loop_, table_, RpcServerOptions{});
    auto start = [](DeliveryTest& self) -> Task<Result<void>> {
      CANOPY_CO_TRY(co_await make_directories(*self.store_, "SharedDomains", 0700, Durable::kYes));
      CANOPY_CO_TRY(co_await self.node_->start());
      CANOPY_CO_ASSIGN(auto listener, self.loop_.listen(kAddress, {}));
      self.server_->serve(std::move(listener));
      co_return Result<void>();
    };
    EXPECT_TRUE(*world_.run_until_done(loop_, start(*this)));
    v1::CreateDomainRequest domain;
    domain.set_name("company.com");
    EXPECT_TRUE(ask(DirectoryStub(client_).create_domain(domain)));
    v1::CreateAccountsRequest accounts;
    for (const char* name : {"amy", "bob", "carl"})
      accounts.add_accounts()->set_name(std::string(name) + "@company.com");
    EXPECT_TRUE(ask(DirectoryStub(client_).create_accounts(accounts)));
  }
  ~DeliveryTest() override {
    world_.kill(client_loop_);
    world_.kill(loop_);
    world_.kill(disk_);
  }

  template <class T>
  Result<T> ask(Task<Result<T>> task) {
    auto answer = world_.run_until_done(client_loop_, std::move(task), world_.now() + 3000 * kSecond);
    if (!answer) return fail(Code::kInternal, "test", "no answer");
    return std::move(*answer);
  }
  v1::DeliverResponse deliver(std::initializer_list<const char*> names) {
    v1::DeliverRequest request;
    request.set_content("Subject: to all\r\n\r\nHello.\r\n");
    for (const char* name : names) {
      auto* recipient = request.add_recipients();
      recipient->set_address(std::string(name) + "@company.com");
      recipient->set_request_id(std::string(kRequestIdBytes, static_cast<char>(++request_)));
    }
    const Nanos begun = world_.now();
    auto answer = ask(MailboxesStub(client_).deliver(request));
    took_ = world_.now() - begun;
    EXPECT_TRUE(answer) << answer.error().to_string();
    return answer ? *answer : v1::DeliverResponse{};
  }
  uint32_t messages(const char* name) {
    v1::MailboxRequest request;
    request.mutable_account()->set_name(std::string(name) + "@company.com");
    request.set_mailbox("INBOX");
    auto box = ask(MailboxesStub(client_).status(request));
    EXPECT_TRUE(box) << box.error().to_string();
    return box ? box->messages() : 0;
  }
  // Bob's files take minutes; what was asked of them happens all the same.
  void bob_is_silent() {
    FaultPlan plan{.delay = 1, .delay_max = 100'000 * kSecond};
    plan.object_contains = "bob.macnt";
    plan.check_unclosed = false;
    store_->set_plan(plan);
  }
  void all_is_well() { store_->set_plan(FaultPlan{.check_unclosed = false}); }
  static Code code_of(const v1::DeliverResult& result) { return static_cast<Code>(result.error().code()); }

  SimWorld world_{3};
  SimLoop& disk_ = world_.add_loop("disk");
  SimLoop& loop_ = world_.add_loop("canopyd");
  SimLoop& client_loop_ = world_.add_loop("client");
  MemoryStore memory_{&disk_};
  WorkerPool workers_{"workers", 0, 100};
  FaultyStore* store_ = nullptr;
  std::unique_ptr<Node> node_;
  MethodTable table_;
  SessionMethods session_{SessionMethods::Options{}};
  std::unique_ptr<DirectoryService> directory_;
  std::unique_ptr<MailboxesService> mailboxes_;
  std::unique_ptr<RpcServer> server_;
  Client client_{client_loop_, {.addresses = {kAddress}, .connect_timeout = kSecond}};
  int request_ = 0;
  Nanos took_ = 0;
};

TEST_F(DeliveryTest, OneWhoseStoreSaysNothingHoldsUpTheOthersForSomeSecondsOnly) {
  bob_is_silent();
  const auto answer = deliver({"amy", "bob", "carl"});
  ASSERT_EQ(answer.results_size(), 3);
  EXPECT_EQ(code_of(answer.results(0)), Code::kOk);
  EXPECT_EQ(code_of(answer.results(1)), Code::kDeadlineExceeded);
  EXPECT_EQ(code_of(answer.results(2)), Code::kOk);
  EXPECT_EQ(answer.results(2).uid(), 1u);
  EXPECT_GE(took_, kStragglersAwaited);
  EXPECT_LT(took_, kStragglersAwaited + kSecond);
  // Nothing was written for him when he was given up, so nothing is afterwards.
  world_.run_for(1'000'000 * kSecond);
  all_is_well();
  EXPECT_EQ(messages("bob"), 0u);
  EXPECT_EQ(messages("amy"), 1u);
}

TEST_F(DeliveryTest, WhatIsBeingWrittenWhenItIsGivenUpArrivesAllTheSame) {
  EXPECT_EQ(code_of(deliver({"amy", "bob"}).results(1)), Code::kOk);
  bob_is_silent();
  EXPECT_EQ(code_of(deliver({"amy", "bob"}).results(1)), Code::kDeadlineExceeded);
  world_.run_for(1'000'000 * kSecond);
  all_is_well();
  EXPECT_EQ(messages("bob"), 2u);
  EXPECT_EQ(messages("amy"), 2u);
}

TEST_F(DeliveryTest, AStoreThatIsKnownToBeAwayHoldsUpNobody) {
  FaultPlan plan{.error = 1, .error_code = Code::kStoreUnavailable};
  plan.object_contains = "bob.macnt";
  plan.check_unclosed = false;
  store_->set_plan(plan);
  const auto answer = deliver({"bob", "amy"});
  EXPECT_EQ(code_of(answer.results(0)), Code::kStoreUnavailable);
  EXPECT_EQ(code_of(answer.results(1)), Code::kOk);
  EXPECT_LT(took_, kSecond);
}

TEST_F(DeliveryTest, WhereNobodyHasAnAnswerAllAreWaitedFor) {
  FaultPlan plan{.sync_delay = 3 * kSecond};
  plan.check_unclosed = false;
  store_->set_plan(plan);
  const auto answer = deliver({"amy", "bob"});
  EXPECT_GT(took_, kStragglersAwaited);
  EXPECT_EQ(code_of(answer.results(0)), Code::kOk);
  EXPECT_EQ(code_of(answer.results(1)), Code::kOk);
}

}  // namespace
}  // namespace canopy::wire
