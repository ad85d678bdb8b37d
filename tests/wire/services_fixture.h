// A real server over real accounts on a local directory, an administrator's client and a frontend's.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/account/passwords.h"
#include "daemon/store/local/local_store.h"
#include "daemon/wire/services/directory_service.h"
#include "daemon/wire/services/info_service.h"
#include "daemon/wire/services/login_service.h"
#include "daemon/wire/services/mailboxes_service.h"
#include "daemon/wire/services/status_service.h"
#include "tests/wire/wire_env.h"

namespace canopy::wire {

inline constexpr char kUser[] = "jsmith@company.com";

inline std::string bytes_of(uint32_t number, size_t size) {
  std::string out(size, '\0');
  uint64_t x = number * 0x9e3779b97f4a7c15ull + 1;
  for (char& c : out) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    c = static_cast<char>(x);
  }
  return out;
}

template <class T>
Code code_of(const Result<T>& result) {
  return result ? Code::kOk : result.error().code();
}

class ServicesTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(start_passwords());
    std::string pattern = std::filesystem::temp_directory_path() / "canopy_services_XXXXXX";
    directory = mkdtemp(pattern.data());
    std::filesystem::create_directories(directory + "/SharedDomains");
    loop = std::move(*UringLoop::create());
    auto store = LocalStore::open_root(*loop, directory, {.name = "root", .workers = &workers});
    ASSERT_TRUE(store);
    std::vector<std::unique_ptr<Shard>> shards;
    shards.push_back(std::make_unique<Shard>(*loop, std::move(*store), 1ull << 32 | 1, 0, AccountsOptions{},
                                             [this] { return lease; }));
    node = std::make_unique<Node>(NodeOptions{}, std::move(shards), workers, 1ull << 32 | 1);
    ASSERT_TRUE(run(node->start()));
    session = std::make_unique<SessionMethods>(SessionMethods::Options{});
    login = std::make_unique<LoginService>(*node);
    accounts = std::make_unique<DirectoryService>(*node);
    mailboxes = std::make_unique<MailboxesService>(*node);
    info = std::make_unique<InfoService>(*node);
    events = std::make_unique<EventsService>(*node);
    status = std::make_unique<StatusService>(*node);
    session->add_to(table);
    login->add_to(table);
    accounts->add_to(table);
    mailboxes->add_to(table);
    info->add_to(table);
    events->add_to(table);
    status->add_to(table);
    RpcServerOptions options;
    options.lease_held = [this] { return lease; };
    server = std::make_unique<RpcServer>(*loop, table, options);
    address = Address{Address::Kind::kUnix, directory + "/wire.sock", 0};
    auto listener = loop->listen(address, {});
    ASSERT_TRUE(listener);
    server->serve(std::move(*listener));
    admin = client("");
    frontend = client("frontend");
    v1::CreateDomainRequest domain;
    domain.set_name("company.com");
    ASSERT_TRUE(run(DirectoryStub(*admin).create_domain(domain)));
    create(kUser, "secret");
  }
  void TearDown() override {
    clients.clear();
    for (Client* each : {admin.get(), frontend.get()}) {
      if (each != nullptr) run(each->close());
    }
    run(server->stop(loop->now() + kSecond));
    run(node->stop());
    admin.reset();
    frontend.reset();
    server.reset();
    node.reset();
    std::filesystem::remove_all(directory);
  }

  template <class T>
  T run(Task<T> task) {
    return loop->run_until_done(std::move(task));
  }
  void run(Task<void> task) { loop->run_until_done(std::move(task)); }
  std::unique_ptr<Client> client(std::string role) {
    ClientOptions options;
    options.addresses = {address};
    options.role = std::move(role);
    return std::make_unique<Client>(*loop, options);
  }
  void create(const std::string& name, const std::string& password, const std::string& settings = "") {
    v1::CreateAccountsRequest request;
    auto* row = request.add_accounts();
    row->set_name(name);
    row->set_password(password);
    row->set_settings(settings);
    auto made = run(DirectoryStub(*admin).create_accounts(request));
    ASSERT_TRUE(made);
    ASSERT_FALSE(made->results(0).has_error()) << made->results(0).error().message();
  }
  Result<v1::AuthenticateResponse> authenticate(Client& on, const std::string& name,
                                                const std::string& password) {
    v1::AuthenticateRequest request;
    request.set_mechanism("PLAIN");
    request.set_response(std::string("\0", 1) + name + std::string("\0", 1) + password);
    return run(SessionStub(on).authenticate(request));
  }
  std::string ticket(const std::string& name, const std::string& password) {
    auto done = authenticate(*frontend, name, password);
    EXPECT_TRUE(done) << done.error().to_string();
    return done ? done->ticket() : "";
  }
  v1::AccountRef ref(const std::string& with_ticket) {
    v1::AccountRef made;
    made.set_ticket(with_ticket);
    return made;
  }
  v1::AccountRef named(const std::string& name) {
    v1::AccountRef made;
    made.set_name(name);
    return made;
  }
  Result<v1::DeliverResult> deliver(Client& on, const std::string& to, const std::string& content,
                                    const std::string& request_id = "") {
    v1::DeliverRequest request;
    auto* recipient = request.add_recipients();
    recipient->set_address(to);
    recipient->set_request_id(request_id);
    request.set_content(content);
    request.set_return_path("sender@example.org");
    auto done = run(MailboxesStub(on).deliver(request));
    if (!done) return fail(std::move(done).error());
    return done->results(0);
  }
  Result<v1::ListMessagesResponse> list(Client& on, v1::AccountRef account, uint64_t changed_since = 0) {
    v1::ListMessagesRequest request;
    *request.mutable_account() = std::move(account);
    request.set_changed_since(changed_since);
    return run(MailboxesStub(on).list_messages(request));
  }
  Result<v1::FetchResponse> fetch(Client& on, v1::AccountRef account, uint32_t uid, uint64_t offset = 0) {
    v1::FetchRequest request;
    *request.mutable_account() = std::move(account);
    request.set_uid(uid);
    request.set_offset(offset);
    return run(MailboxesStub(on).fetch(request));
  }
  static uint64_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    uint64_t total = 0, resident = 0;
    statm >> total >> resident;
    return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  }

  std::string directory;
  bool lease = true;
  WorkerPool workers{"workers", 2, 1000};
  std::unique_ptr<UringLoop> loop;
  std::unique_ptr<Node> node;
  MethodTable table;
  std::unique_ptr<SessionMethods> session;
  std::unique_ptr<LoginService> login;
  std::unique_ptr<DirectoryService> accounts;
  std::unique_ptr<MailboxesService> mailboxes;
  std::unique_ptr<InfoService> info;
  std::unique_ptr<EventsService> events;
  std::unique_ptr<StatusService> status;
  std::unique_ptr<RpcServer> server;
  Address address;
  std::unique_ptr<Client> admin, frontend;
  std::vector<std::unique_ptr<Client>> clients;
};

}  // namespace canopy::wire
