// What opening an account costs when its settings and info lie on a fast store that is an NFS server: counted
// by the stores themselves, over a real one.
#include "daemon/account/accounts.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/store/marker.h"
#include "daemon/store/nfs/nfs_store.h"
#include "daemon/store/set/store_set.h"
#include "tests/store/nfs_server.h"

#include <gtest/gtest.h>

namespace canopy {
namespace {

constexpr uint64_t kEpoch = (1ull << 32) | 1;
constexpr std::string_view kDomain = "company.com";

NfsServer& server() {
  static NfsServer one;
  return one;
}

// A tree on one directory of the server, with the fast store on another; each counts what it was answered.
class RoundTrips : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    if (const std::string& why = NfsServer::why_unavailable(); !why.empty())
      GTEST_SKIP() << "NOT TESTED: " << why;
    root_ = open("root");
    auto fast = open("fast");
    auto marker = run(create_marker(*fast, *loop_, "fast", "", StoreContent::kMustBeEmpty));
    ASSERT_TRUE(marker) << marker.error().to_string();
    StoreSetOptions options;
    options.probe_every = options.probe_again_after = 3600 * kSecond;
    options.open = [this, fast](StoreConfig) {
      fast_ = fast;
      return give(std::unique_ptr<Store>(fast));
    };
    std::unique_ptr<Store> root(root_);
    set_ = std::make_unique<StoreSet>(*loop_, std::move(root), std::move(options));
    auto config = std::make_shared<StoresConfig>();
    StoreConfig& of = config->stores["fast"];
    of = {.name = "fast", .address = "nfs://fast/store", .id = marker->id, .fast = true};
    auto mounts = Mounts::make({{"/", "root", ""}, {"SharedDomains/fast", "fast", ""}}, {});
    ASSERT_TRUE(mounts) << mounts.error().to_string();
    config->mounts = std::make_shared<const Mounts>(std::move(*mounts));
    set_->apply(config);
    loop_->run_until_done(set_->settle(kNever));
    ASSERT_NE(fast_, nullptr);
    add_domain();
    begin();
  }
  void TearDown() override {
    end();
    if (set_) loop_->run_until_done(set_->stop());
  }

  static Task<Result<std::unique_ptr<Store>>> give(std::unique_ptr<Store> store) {
    co_return std::move(store);
  }
  template <class T>
  T run(Task<T> task) {
    return loop_->run_until_done(std::move(task));
  }
  NfsStore* open(std::string name) {
    NfsOptions options = server().options(GetParam(), server().new_directory());
    options.name = std::move(name);
    auto opened = run(open_nfs_store(*loop_, std::move(options)));
    if (!opened) ADD_FAILURE() << opened.error().to_string();
    return static_cast<NfsStore*>(opened->release());
  }
  void add_domain() {
    auto made =
        make_domain(table_->tree, std::string(kDomain), {{1, 1}, {{"Foldering", "1"}, {"FastIndex", 1}}});
    ASSERT_TRUE(made) << made.error().to_string();
    table_->domains[std::string(kDomain)] = *made;
    ASSERT_TRUE(run(make_directories(*set_, (*made)->directory(), 0700, Durable::kYes)));
  }
  // As after a start of the process, but for what the stores remember of names.
  void begin() {
    end();
    LogEnvironment environment;
    environment.store = set_.get();
    environment.loop = loop_.get();
    environment.files = &slices_;
    environment.epoch = kEpoch;
    accounts_ = std::make_unique<Accounts>(environment, *files(), AccountsOptions{});
    accounts_->set_domains(table_);
  }
  void end() {
    if (accounts_) loop_->run_until_done(accounts_->close_all());
    accounts_.reset();
  }
  SettingsFiles* files() {
    if (!files_) files_ = std::make_unique<SettingsFiles>(*set_, kEpoch, 0);
    return files_.get();
  }
  void create(std::string_view name) {
    const AccountAddress address = *parse_address(fmt::format("{}@{}", name, kDomain));
    auto made = run(accounts_->create(address, dict::Dict{{"RealName", std::string(name)}}));
    ASSERT_TRUE(made) << made.error().to_string();
    auto set = run(accounts_->change_info(address, 0, [](dict::Dict& info) -> Result<void> {
      info.set("LastLogin", 7);
      return {};
    }));
    ASSERT_TRUE(set) << set.error().to_string();
  }
  struct Trips {
    uint64_t settings = 0, info = 0;  // at the fast store
    uint64_t mail = 0;                // at the other one, all in all
  };
  Trips open_account(std::string_view name) {
    const AccountAddress address = *parse_address(fmt::format("{}@{}", name, kDomain));
    Trips trips;
    const uint64_t mail = root_->figures().answers;
    uint64_t before = fast_->figures().answers;
    auto opened = run(accounts_->open(address));
    EXPECT_TRUE(opened) << opened.error().to_string();
    trips.settings = fast_->figures().answers - before;
    before = fast_->figures().answers;
    auto info = run(accounts_->info(address));
    EXPECT_TRUE(info && info->dict.number_or("LastLogin", 0) == 7);
    trips.info = fast_->figures().answers - before;
    trips.mail = root_->figures().answers - mail;
    return trips;
  }

  std::unique_ptr<UringLoop> loop_ = *UringLoop::create();
  NfsStore *root_ = nullptr, *fast_ = nullptr;
  std::unique_ptr<StoreSet> set_;
  SliceFiles slices_;
  std::unique_ptr<SettingsFiles> files_;
  std::shared_ptr<DomainTable> table_ = std::make_shared<DomainTable>();
  std::unique_ptr<Accounts> accounts_;
};

TEST_P(RoundTrips, AnAccountWhoseNamesAreKnownCostsTheFastStoreOneForSettingsAndOneForInfo) {
  create("albert");
  begin();
  const Trips warm = open_account("albert");
  EXPECT_EQ(warm.settings, 1u);
  EXPECT_EQ(warm.info, 1u);
  EXPECT_EQ(warm.mail,
            3u);  // whether its directory is there, whether it is suspended, which slices there are
}

TEST_P(RoundTrips, FoldersThatAreKnownCostNothingForAnotherAccountInThem) {
  create("albert");
  create("anna");
  begin();
  fast_->forget_names("");
  root_->forget_names("");
  const Trips cold = open_account("albert");
  const Trips next = open_account("anna");
  // Its own name is looked up, and what it means is read.
  EXPECT_EQ(next.settings, 2u);
  EXPECT_EQ(next.info, 2u);
  // Before, each element of SharedDomains/fast/company.com/a.sub was looked up once, for both files.
  EXPECT_EQ(cold.settings, 4u + 2u);
  EXPECT_EQ(cold.info, 2u);
}

INSTANTIATE_TEST_SUITE_P(Nfs, RoundTrips, testing::Values(3u, 4u),
                         [](const auto& version) { return fmt::format("v{}", version.param); });

}  // namespace
}  // namespace canopy
