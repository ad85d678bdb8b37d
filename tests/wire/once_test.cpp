// Requests that are sent again, by the client itself, after the backend died in the middle of them: once at
// every operation of its store, and once more after the answer. Each must have been done once, and be
// answered as the first time.
#include <gtest/gtest.h>

#include "daemon/account/older_stages.h"
#include "daemon/dict/dict.h"
#include "daemon/runtime/sim_loop.h"
#include "daemon/store/faulty/faulty_store.h"
#include "daemon/store/memory/memory_store.h"
#include "daemon/wire/client/stubs.h"
#include "daemon/wire/server/rpc_server.h"
#include "daemon/wire/server/session_methods.h"
#include "daemon/wire/services/directory_service.h"
#include "daemon/wire/services/info_service.h"

namespace canopy::wire {
namespace {

const Address kAddress{Address::Kind::kUnix, "/sim/canopyd", 0};

template <class T>
Code code_of(const Result<T>& result) {
  return result ? Code::kOk : result.error().code();
}

// What lives through the backend's death.
struct Site {
  SimWorld world{1};
  MemoryDisk disk;
  SimLoop& outside = world.add_loop("disk");
  WorkerPool workers{"workers", 0, 100};
};

struct Process {
  Process(Site& in, uint32_t generation)
      : site(in),
        loop(in.world.add_loop(fmt::format("canopyd-{}", generation))),
        inner(&in.outside, in.disk) {
    FaultPlan plan;
    plan.check_unclosed = false;
    auto faulty = std::make_unique<FaultyStore>(inner, loop, plan, generation, &in.outside);
    store = faulty.get();
    const uint64_t epoch = uint64_t{generation} << 32 | 1;
    std::vector<std::unique_ptr<Shard>> shards;
    shards.push_back(std::make_unique<Shard>(loop, std::move(faulty), epoch, 0, AccountsOptions{},
                                             std::function<bool()>()));
    node = std::make_unique<Node>(NodeOptions{}, std::move(shards), in.workers, epoch);
    session.add_to(table);
    directory = std::make_unique<DirectoryService>(*node);
    info = std::make_unique<InfoService>(*node);
    directory->add_to(table);
    info->add_to(table);
    server = std::make_unique<RpcServer>(loop, table, RpcServerOptions{});
    auto started = in.world.run_until_done(loop, start(*this, epoch));
    EXPECT_TRUE(started && *started) << (started ? started->error().to_string() : "it did not end");
  }

  static Task<Result<void>> start(Process& self, uint64_t epoch) {
    CANOPY_CO_TRY(co_await make_directories(*self.store, "SharedDomains", 0700, Durable::kYes));
    auto trash = co_await retire_older_stages(*self.store, epoch);
    if (!trash) co_return fail(std::move(trash).error());
    CANOPY_CO_TRY(co_await self.node->start());
    CANOPY_CO_ASSIGN(auto listener, self.loop.listen(kAddress, {}));
    self.server->serve(std::move(listener));
    co_return Result<void>();
  }
  void kill() {
    store->halt();
    site.world.kill(loop);
  }

  Site& site;
  SimLoop& loop;
  MemoryStore inner;
  FaultyStore* store;
  std::unique_ptr<Node> node;
  MethodTable table;
  SessionMethods session{SessionMethods::Options{}};
  std::unique_ptr<DirectoryService> directory;
  std::unique_ptr<InfoService> info;
  std::unique_ptr<RpcServer> server;
};

class Machine {
 public:
  Machine() { restart(); }
  ~Machine() {
    site_.world.kill(client_loop_);
    for (auto& each : processes_) each->kill();
    site_.world.kill(site_.outside);
  }

  void restart() {
    if (!processes_.empty()) processes_.back()->kill();
    processes_.push_back(std::make_unique<Process>(site_, static_cast<uint32_t>(processes_.size() + 1)));
  }
  // The backend dies before its `after`th store operation from now (0: never), the power fails with it, and
  // another begins.
  void die_before(uint64_t after) {
    Process* process = processes_.back().get();
    const uint64_t at = after == 0 ? UINT64_MAX : process->store->operations() + after;
    process->store->on_operation([this, process, at](uint64_t index, StoreOperation, std::string_view) {
      if (index < at || dead_) return;
      dead_ = true;
      process->kill();
    });
  }
  bool died() const { return deaths_ > 0; }

  // As a program does: the client library sends it again by itself.
  template <class T>
  Result<T> ask(Task<Result<T>> task) {
    std::optional<Result<T>> answer;
    client_loop_.spawn(keep(std::move(task), answer));
    while (!answer) {
      bool moved = site_.world.run_until([&] { return answer || dead_; }, site_.world.now() + 600 * kSecond);
      if (!moved) return fail(Code::kInternal, "test", "no answer in ten minutes");
      if (!dead_) continue;
      ++deaths_;
      site_.disk.crash(deaths_);
      processes_.push_back(std::make_unique<Process>(site_, static_cast<uint32_t>(processes_.size() + 1)));
      dead_ = false;
    }
    return *std::move(answer);
  }
  DirectoryStub directory() { return DirectoryStub(client_); }
  InfoStub info() { return InfoStub(client_); }

 private:
  template <class T>
  static Task<void> keep(Task<Result<T>> task, std::optional<Result<T>>& into) {
    into = co_await std::move(task);
  }

  Site site_;
  SimLoop& client_loop_ = site_.world.add_loop("client");
  Client client_{client_loop_, {.addresses = {kAddress}, .connect_timeout = kSecond}};
  std::vector<std::unique_ptr<Process>> processes_;
  bool dead_ = false;
  uint64_t deaths_ = 0;
};

std::string id(char which) { return std::string(kRequestIdBytes, which); }

v1::CreateDomainRequest domain(const std::string& name, const std::string& request, uint32_t fast_index = 0) {
  v1::CreateDomainRequest out;
  out.set_name(name);
  out.set_account_foldering("1");
  out.set_fast_index(fast_index);
  out.set_request_id(request);
  return out;
}
v1::CreateAccountsRequest account(const std::string& name, const std::string& request) {
  v1::CreateAccountsRequest out;
  out.add_accounts()->set_name(name);
  out.set_request_id(request);
  return out;
}
v1::SetInfoRequest setting(const std::string& name, const std::string& text, const std::string& request,
                           uint64_t expected = 0, v1::InfoKind kind = v1::SETTINGS) {
  v1::SetInfoRequest out;
  out.mutable_account()->set_name(name);
  out.set_kind(kind);
  out.set_text(text);
  out.set_expected_version(expected);
  out.set_request_id(request);
  return out;
}
v1::RenameRequest renaming(const std::string& from, const std::string& to, const std::string& request) {
  v1::RenameRequest out;
  out.set_from(from);
  out.set_to(to);
  out.set_request_id(request);
  return out;
}
v1::DeleteRequest deletion(const std::string& name, const std::string& request) {
  v1::DeleteRequest out;
  out.set_name(name);
  out.set_recursive(true);
  out.set_request_id(request);
  return out;
}
Result<v1::InfoResponse> get(Machine& machine, const std::string& name, v1::InfoKind kind = v1::SETTINGS) {
  v1::GetInfoRequest out;
  out.mutable_account()->set_name(name);
  out.set_kind(kind);
  return machine.ask(machine.info().get(out));
}
Code account_code(Machine& machine, const std::string& name) {
  v1::AccountRef ref;
  ref.set_name(name);
  return code_of(machine.ask(machine.directory().get_account(ref)));
}
Code domain_code(Machine& machine, const std::string& name) {
  v1::DomainRequest ref;
  ref.set_name(name);
  return code_of(machine.ask(machine.directory().get_domain(ref)));
}
Code made_code(const Result<v1::CreateAccountsResponse>& made) {
  if (!made) return made.error().code();
  return static_cast<Code>(made->results(0).error().code());
}

// `prepare`, then `act` with a death at each operation of the store that it takes, and again on the process
// that follows and on one more. `act` checks the answer.
using Step = void (*)(Machine&);
void everywhere(Step prepare, Step act, Step look) {
  bool died = true;
  for (uint64_t at = 1; died && !testing::Test::HasFailure(); ++at) {
    SCOPED_TRACE(fmt::format("dies before operation {}", at));
    Machine machine;
    prepare(machine);
    machine.die_before(at);
    act(machine);
    died = machine.died();
    machine.die_before(0);
    act(machine);
    machine.restart();
    act(machine);
    look(machine);
    if (at == 1) ASSERT_TRUE(died);
  }
}

void with_account(Machine& machine) {
  ASSERT_TRUE(machine.ask(machine.directory().create_domain(domain("company.com", id('d')))));
  ASSERT_EQ(made_code(machine.ask(machine.directory().create_accounts(account("amy@company.com", id('a'))))),
            Code::kOk);
}
void with_fast_account(Machine& machine) {
  ASSERT_TRUE(machine.ask(machine.directory().create_domain(domain("company.com", id('d'), 1))));
  ASSERT_EQ(made_code(machine.ask(machine.directory().create_accounts(account("amy@company.com", id('a'))))),
            Code::kOk);
}

template <class Check>
void set_everywhere(Check) {
  everywhere(
      with_account,
      [](Machine& machine) {
        auto [name, kind, expected] = Check::what();
        auto set = machine.ask(machine.info().set(setting(name, "{Greeting=one;}", id('s'), expected, kind)));
        ASSERT_TRUE(set) << set.error().to_string();
        EXPECT_EQ(set->version(), expected + 1);
        EXPECT_NE(set->text().find("Greeting = one"), std::string::npos);
      },
      [](Machine& machine) {
        auto [name, kind, expected] = Check::what();
        EXPECT_EQ(get(machine, name, kind)->version(), expected + 1);
        // Another request that names the old version is another change.
        if (expected != 0)
          EXPECT_EQ(code_of(machine.ask(
                        machine.info().set(setting(name, "{Greeting=two;}", id('t'), expected, kind)))),
                    Code::kConflict);
        ASSERT_TRUE(
            machine.ask(machine.info().set(setting(name, "{Greeting=two;}", id('u'), expected + 1, kind))));
        auto first =
            machine.ask(machine.info().set(setting(name, "{Greeting=one;}", id('s'), expected, kind)));
        ASSERT_TRUE(first) << first.error().to_string();
        EXPECT_EQ(first->version(), expected + 1);
        EXPECT_NE(get(machine, name, kind)->text().find("Greeting = two"), std::string::npos);
      });
}

using What = std::tuple<std::string, v1::InfoKind, uint64_t>;
TEST(Once, SettingsOfAnAccount) {
  struct Check {
    static What what() { return {"amy@company.com", v1::SETTINGS, 1}; }
  };
  set_everywhere(Check());
}
TEST(Once, InfoOfAnAccount) {
  struct Check {
    static What what() { return {"amy@company.com", v1::INFO, 0}; }
  };
  set_everywhere(Check());
}
TEST(Once, SettingsOfADomain) {
  struct Check {
    static What what() { return {"@company.com", v1::SETTINGS, 1}; }
  };
  set_everywhere(Check());
}
TEST(Once, DefaultsOfTheCluster) {
  struct Check {
    static What what() { return {"", v1::SETTINGS, 0}; }
  };
  set_everywhere(Check());
}

TEST(Once, APasswordAndAState) {
  everywhere(
      with_account,
      [](Machine& machine) {
        v1::SetPasswordRequest password;
        password.mutable_account()->set_name("amy@company.com");
        password.set_request_id(id('p'));
        ASSERT_TRUE(machine.ask(machine.directory().set_password(password)));
        v1::SetStateRequest state;
        state.set_name("amy@company.com");
        state.set_state("disabled");
        state.set_request_id(id('s'));
        auto set = machine.ask(machine.directory().set_state(state));
        ASSERT_TRUE(set) << set.error().to_string();
        EXPECT_EQ(set->state(), "disabled");
      },
      [](Machine& machine) {
        auto settings = get(machine, "amy@company.com");
        EXPECT_EQ(settings->version(), 3u);
        EXPECT_NE(settings->text().find("SessionGeneration = #1;"), std::string::npos) << settings->text();
      });
}

TEST(Once, AnAliasAndItsRemoval) {
  everywhere(
      with_account,
      [](Machine& machine) {
        v1::SetAliasRequest alias;
        alias.set_alias("boss@company.com");
        alias.set_account("amy@company.com");
        alias.set_request_id(id('m'));
        auto made = machine.ask(machine.directory().set_alias(alias));
        ASSERT_TRUE(made) << made.error().to_string();
        alias.clear_account();
        alias.set_request_id(id('r'));
        auto removed = machine.ask(machine.directory().set_alias(alias));
        ASSERT_TRUE(removed) << removed.error().to_string();
      },
      [](Machine& machine) {
        EXPECT_EQ(account_code(machine, "boss@company.com"), Code::kNotFound);
        v1::SetAliasRequest alias;
        alias.set_alias("boss@company.com");
        alias.set_request_id(id('x'));
        EXPECT_EQ(code_of(machine.ask(machine.directory().set_alias(alias))), Code::kNotFound);
      });
}

void create_and_look(Step prepare) {
  everywhere(
      prepare,
      [](Machine& machine) {
        auto made = machine.ask(machine.directory().create_accounts(account("bob@company.com", id('b'))));
        ASSERT_TRUE(made) << made.error().to_string();
        EXPECT_FALSE(made->results(0).has_error()) << made->results(0).error().message();
        EXPECT_FALSE(made->results(0).existed());
      },
      [](Machine& machine) {
        EXPECT_EQ(account_code(machine, "bob@company.com"), Code::kOk);
        auto other = machine.ask(machine.directory().create_accounts(account("bob@company.com", id('o'))));
        EXPECT_EQ(made_code(other), Code::kAlreadyExists);
        // Once it was made, a late resend makes no second one.
        ASSERT_TRUE(machine.ask(machine.directory().delete_account(deletion("bob@company.com", id('x')))));
        auto late = machine.ask(machine.directory().create_accounts(account("bob@company.com", id('b'))));
        EXPECT_EQ(made_code(late), Code::kOk);
        EXPECT_EQ(account_code(machine, "bob@company.com"), Code::kNotFound);
        other = machine.ask(machine.directory().create_accounts(account("bob@company.com", id('o'))));
        EXPECT_EQ(made_code(other), Code::kOk);
        EXPECT_EQ(account_code(machine, "bob@company.com"), Code::kOk);
      });
}
TEST(Once, AnAccountIsCreated) { create_and_look(with_account); }
TEST(Once, AnAccountIsCreatedUnderAFastIndex) { create_and_look(with_fast_account); }

void delete_and_look(Step prepare) {
  everywhere(
      prepare,
      [](Machine& machine) {
        auto gone = machine.ask(machine.directory().delete_account(deletion("amy@company.com", id('x'))));
        ASSERT_TRUE(gone) << gone.error().to_string();
      },
      [](Machine& machine) {
        EXPECT_EQ(account_code(machine, "amy@company.com"), Code::kNotFound);
        EXPECT_EQ(
            code_of(machine.ask(machine.directory().delete_account(deletion("amy@company.com", id('y'))))),
            Code::kNotFound);
        // One that came since is not meant.
        ASSERT_EQ(
            made_code(machine.ask(machine.directory().create_accounts(account("amy@company.com", id('n'))))),
            Code::kOk);
        ASSERT_TRUE(machine.ask(machine.directory().delete_account(deletion("amy@company.com", id('x')))));
        EXPECT_EQ(account_code(machine, "amy@company.com"), Code::kOk);
      });
}
TEST(Once, AnAccountIsDeleted) { delete_and_look(with_account); }
TEST(Once, AnAccountIsDeletedUnderAFastIndex) { delete_and_look(with_fast_account); }

void rename_and_look(Step prepare) {
  everywhere(
      prepare,
      [](Machine& machine) {
        auto renamed = machine.ask(
            machine.directory().rename_account(renaming("amy@company.com", "ann@company.com", id('r'))));
        ASSERT_TRUE(renamed) << renamed.error().to_string();
        EXPECT_EQ(renamed->name(), "ann");
        EXPECT_EQ(renamed->mailboxes(), 0u);
      },
      [](Machine& machine) {
        EXPECT_EQ(account_code(machine, "amy@company.com"), Code::kNotFound);
        EXPECT_EQ(account_code(machine, "ann@company.com"), Code::kOk);
        EXPECT_EQ(get(machine, "ann@company.com")->version(), 1u);
        ASSERT_EQ(
            made_code(machine.ask(machine.directory().create_accounts(account("amy@company.com", id('n'))))),
            Code::kOk);
        // The first is done; a second one of that kind finds the name taken.
        ASSERT_TRUE(machine.ask(
            machine.directory().rename_account(renaming("amy@company.com", "ann@company.com", id('r')))));
        EXPECT_EQ(account_code(machine, "amy@company.com"), Code::kOk);
        EXPECT_EQ(code_of(machine.ask(machine.directory().rename_account(
                      renaming("amy@company.com", "ann@company.com", id('q'))))),
                  Code::kAlreadyExists);
        // Also when it has gone on since.
        ASSERT_TRUE(machine.ask(machine.directory().delete_account(deletion("ann@company.com", id('x')))));
        ASSERT_TRUE(machine.ask(
            machine.directory().rename_account(renaming("amy@company.com", "ann@company.com", id('r')))));
        EXPECT_EQ(account_code(machine, "amy@company.com"), Code::kOk);
        EXPECT_EQ(account_code(machine, "ann@company.com"), Code::kNotFound);
      });
}
TEST(Once, AnAccountIsRenamed) { rename_and_look(with_account); }
TEST(Once, AnAccountIsRenamedUnderAFastIndex) { rename_and_look(with_fast_account); }

TEST(Once, ADomainIsCreated) {
  everywhere([](Machine&) {},
             [](Machine& machine) {
               auto made = machine.ask(machine.directory().create_domain(domain("oak.org", id('d'))));
               ASSERT_TRUE(made) << made.error().to_string();
               EXPECT_EQ(made->name(), "oak.org");
               EXPECT_EQ(made->version(), 1u);
             },
             [](Machine& machine) {
               EXPECT_EQ(code_of(machine.ask(machine.directory().create_domain(domain("oak.org", id('e'))))),
                         Code::kAlreadyExists);
               ASSERT_TRUE(machine.ask(machine.directory().delete_domain(deletion("oak.org", id('x')))));
               ASSERT_TRUE(machine.ask(machine.directory().create_domain(domain("oak.org", id('d')))));
               EXPECT_EQ(domain_code(machine, "oak.org"), Code::kNotFound);
               ASSERT_TRUE(machine.ask(machine.directory().create_domain(domain("oak.org", id('e')))));
               EXPECT_EQ(domain_code(machine, "oak.org"), Code::kOk);
             });
}

TEST(Once, ADomainIsRenamed) {
  everywhere(
      with_fast_account,
      [](Machine& machine) {
        auto renamed =
            machine.ask(machine.directory().rename_domain(renaming("company.com", "oak.org", id('r'))));
        ASSERT_TRUE(renamed) << renamed.error().to_string();
        EXPECT_EQ(renamed->name(), "oak.org");
        EXPECT_EQ(renamed->fast_index(), 1u);
      },
      [](Machine& machine) {
        EXPECT_EQ(domain_code(machine, "company.com"), Code::kNotFound);
        EXPECT_EQ(account_code(machine, "amy@oak.org"), Code::kOk);
        EXPECT_EQ(code_of(machine.ask(
                      machine.directory().rename_domain(renaming("company.com", "oak.org", id('q'))))),
                  Code::kNotFound);
      });
}

TEST(Once, ADomainIsDeleted) {
  everywhere(
      with_account,
      [](Machine& machine) {
        auto gone = machine.ask(machine.directory().delete_domain(deletion("company.com", id('x'))));
        ASSERT_TRUE(gone) << gone.error().to_string();
      },
      [](Machine& machine) {
        EXPECT_EQ(domain_code(machine, "company.com"), Code::kNotFound);
        EXPECT_EQ(code_of(machine.ask(machine.directory().delete_domain(deletion("company.com", id('y'))))),
                  Code::kNotFound);
        ASSERT_TRUE(machine.ask(machine.directory().create_domain(domain("company.com", id('n')))));
        ASSERT_TRUE(machine.ask(machine.directory().delete_domain(deletion("company.com", id('x')))));
        EXPECT_EQ(domain_code(machine, "company.com"), Code::kOk);
      });
}

}  // namespace
}  // namespace canopy::wire
