// Listings and summaries as a client sees them, of a real canopyd, while its catalog goes missing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <filesystem>

#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"

extern char** environ;

namespace canopy::wire {
namespace {

using testing::ElementsAre;

constexpr char kDomain[] = "company.com";

class CatalogService : public testing::Test {
 protected:
  CatalogService() {
    std::string pattern = std::filesystem::temp_directory_path() / "canopy_service_XXXXXX";
    directory_ = mkdtemp(pattern.data());
    start();
  }
  ~CatalogService() override {
    stop(SIGTERM);
    std::filesystem::remove_all(directory_);
  }

  void start() {
    std::string program = std::string(CANOPY_BINARY_DIR) + "/bin/canopyd", base = directory_ + "/base";
    std::string listen = "unix:" + directory_ + "/socket", log = directory_ + "/log";
    std::vector<const char*> arguments = {program.c_str(), "--dir",      base.c_str(), "--init",  "--listen",
                                          listen.c_str(),  "--log-file", log.c_str(),  "--loops", "2",
                                          nullptr};
    std::filesystem::remove(directory_ + "/socket");
    ASSERT_EQ(posix_spawn(&process_, program.c_str(), nullptr, nullptr, const_cast<char**>(arguments.data()),
                          environ),
              0);
    ClientOptions options;
    options.addresses = {*Address::parse(listen)};
    client_ = std::make_unique<Client>(*loop_, options);
    for (int i = 0; i < 600; ++i) {
      if (loop_->run_until_done(client_->connect())) return;
      loop_->run_until_done(pause(*loop_));
    }
    FAIL() << "canopyd does not answer";
  }
  void stop(int signal) {
    loop_->run_until_done(client_->close());
    client_.reset();
    kill(process_, signal);
    waitpid(process_, nullptr, 0);
  }
  static Task<void> pause(Loop& loop) { co_await loop.sleep(50 * kMillisecond); }

  template <class T>
  T must(Task<Result<T>> task) {
    Result<T> result = loop_->run_until_done(std::move(task));
    if (!result) ADD_FAILURE() << result.error().to_string();
    return result ? std::move(*result) : T();
  }
  DirectoryStub directory() { return DirectoryStub(*client_); }
  MailboxesStub mailboxes() { return MailboxesStub(*client_); }

  void create(std::vector<std::string> accounts) {
    v1::CreateAccountsRequest request;
    for (const std::string& account : accounts) request.add_accounts()->set_name(account + "@" + kDomain);
    for (const auto& result : must(directory().create_accounts(request)).results()) {
      EXPECT_FALSE(result.has_error()) << result.error().message();
    }
  }
  std::vector<std::string> list(uint32_t limit = 0, std::string prefix = "") {
    std::vector<std::string> names;
    v1::ListRequest request;
    request.set_domain(kDomain);
    request.set_limit(limit);
    request.set_prefix(prefix);
    for (bool end = false; !end;) {
      auto page = must(directory().list_accounts(request));
      names.insert(names.end(), page.names().begin(), page.names().end());
      end = page.end() || page.names().empty();
      if (!end) request.set_after(names.back());
    }
    return names;
  }
  uint32_t append(std::string content) {
    v1::AppendRequest request;
    request.mutable_account()->set_name(std::string("anna@") + kDomain);
    request.set_content(std::move(content));
    return must(mailboxes().append(request)).uid();
  }
  v1::SummariesResponse summaries(std::vector<uint32_t> uids) {
    v1::SummariesRequest request;
    request.mutable_account()->set_name(std::string("anna@") + kDomain);
    for (uint32_t uid : uids) request.add_uids(uid);
    return must(mailboxes().summaries(request));
  }
  std::string metrics() { return must(ClusterStub(*client_).metrics(v1::Empty())).text(); }

  std::unique_ptr<UringLoop> loop_ = *UringLoop::create();
  std::string directory_;
  pid_t process_ = 0;
  std::unique_ptr<Client> client_;
};

TEST_F(CatalogService, ListsWhatIsThereWhateverHappensToTheCatalog) {
  v1::CreateDomainRequest domain;
  domain.set_name(kDomain);
  domain.set_account_foldering("hash-1");
  must(directory().create_domain(domain));
  std::vector<std::string> names;
  for (int i = 0; i < 300; ++i) names.push_back(fmt::format("user{:03}", i));
  create(names);
  EXPECT_EQ(list(), names);
  EXPECT_EQ(list(7), names);
  EXPECT_THAT(list(7, "user29"), testing::SizeIs(10));
  EXPECT_NE(metrics().find("\ncanopy_catalog_domains_walked_total 1\n"), std::string::npos) << metrics();

  create({"anna"});
  names.insert(names.begin(), "anna");
  v1::DeleteRequest gone;
  gone.set_name(std::string("user000@") + kDomain);
  must(directory().delete_account(gone));
  names.erase(names.begin() + 1);
  v1::RenameRequest rename;
  rename.set_from(std::string("user001@") + kDomain);
  rename.set_to(std::string("zoe@") + kDomain);
  must(directory().rename_account(rename));
  names.erase(names.begin() + 1);
  names.push_back("zoe");
  EXPECT_EQ(list(50), names);
  EXPECT_NE(metrics().find("\ncanopy_catalog_domains_walked_total 1\n"), std::string::npos) << metrics();

  std::filesystem::remove_all(directory_ + "/base/.canopy/catalog");
  EXPECT_EQ(list(50), names);
  stop(SIGKILL);
  std::filesystem::remove_all(directory_ + "/base/.canopy/catalog");
  start();
  EXPECT_EQ(list(50), names);
  stop(SIGKILL);
  std::filesystem::create_directories(directory_ + "/base/SharedDomains/" + kDomain + "/a.sub/by-hand.macnt");
  start();
  names.insert(names.begin() + 1, "by-hand");
  EXPECT_EQ(list(50), names);
}

TEST_F(CatalogService, SummarisesMessages) {
  v1::CreateDomainRequest domain;
  domain.set_name(kDomain);
  must(directory().create_domain(domain));
  create({"anna"});
  uint32_t first =
      append("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: Bob <bob@example.org>\r\n\r\nHello\r\n");
  uint32_t second = append("Subject: two\r\n\r\n");
  for (int round = 0; round < 2; ++round) {
    auto answer = summaries({first, 77, second});
    EXPECT_EQ(answer.asked(), 3u);
    ASSERT_EQ(answer.summaries_size(), 2);
    const v1::Summary& summary = answer.summaries(0);
    EXPECT_EQ(summary.uid(), first);
    EXPECT_EQ(summary.subject(), "Grüße");
    ASSERT_EQ(summary.from_size(), 1);
    EXPECT_EQ(summary.from(0).name(), "Bob");
    EXPECT_EQ(summary.from(0).mailbox(), "bob");
    EXPECT_EQ(summary.from(0).host(), "example.org");
    EXPECT_EQ(summary.structure(),
              R"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 7 1 NIL NIL NIL NIL))");
    EXPECT_EQ(answer.summaries(1).subject(), "two");
  }
  EXPECT_NE(metrics().find("\ncanopy_catalog_summaries_derived_total 2\n"), std::string::npos) << metrics();
  EXPECT_NE(metrics().find("\ncanopy_catalog_summaries_total 2\n"), std::string::npos) << metrics();
}

}  // namespace
}  // namespace canopy::wire
