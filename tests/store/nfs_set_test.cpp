// A set of stores one of which is a real NFS server's: what the set makes of a server that answers, but not
// with the file system that the store is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/runtime/uring_loop.h"
#include "daemon/store/marker.h"
#include "daemon/store/memory/memory_store.h"
#include "daemon/store/nfs/nfs_store.h"
#include "daemon/store/set/store_set.h"
#include "tests/store/nfs_server.h"

namespace canopy {
namespace {

using testing::HasSubstr;

constexpr char kFile[] = "SharedDomains/company.com/a.sub/file";

class NfsInASet : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string& why = NfsServer::why_unavailable(); !why.empty())
      GTEST_SKIP() << "NOT TESTED: " << why;
    server_ = std::make_unique<NfsServer>();
    directory_ = server_->new_directory();
    options_ = server_->options(3, directory_);
    options_.name = "nas";
    options_.hard_limit = 120 * kSecond;
    options_.soft_limit = 30 * kSecond;
    StoreConfig config;
    config.name = "nas";
    config.address = "nfs://127.0.0.1/export";
    config.id = make_marker();
    auto stores = std::make_shared<StoresConfig>();
    stores->stores["nas"] = config;
    stores->mounts = std::make_shared<const Mounts>(*Mounts::make(
        {*parse_mount_row("/ root"), *parse_mount_row("SharedDomains/company.com/[a-d].sub nas")}));
    StoreSetOptions set_options;
    set_options.open = [this](StoreConfig) { return open_nfs_store(*loop_, options_); };
    set_options.probe_every = 3600 * kSecond;  // what fails must be looked after by itself
    set_options.probe_again_after = 20 * kMillisecond;
    auto root = std::make_unique<MemoryStore>(loop_.get(), root_disk_, MemoryStoreOptions{.name = "root"});
    set_ = std::make_unique<StoreSet>(*loop_, std::move(root), set_options);
    set_->apply(stores);
    run(set_->settle(loop_->now() + 60 * kSecond));
    must(make_directories(*set_, "SharedDomains/company.com/a.sub", 0700, Durable::kYes));
    file_ = must(set_->open(kFile, {.write = true, .create = true}));
    must(write("content"));
  }
  void TearDown() override {
    if (!set_) return;
    file_.reset();
    run(set_->stop());
    set_.reset();
  }

  std::string make_marker() {
    auto store = must(open_nfs_store(*loop_, options_));
    return must(create_marker(*store, *loop_, "nas", "accounts", StoreContent::kMustBeEmpty)).id;
  }
  Task<Result<WriteOutcome>> write(std::string_view text) {
    std::string_view pieces[] = {text};
    co_return co_await file_->write(0, pieces, Durable::kYes);
  }
  // While the server is down, as it remembers what it has seen. The export's root is made anew with the same
  // files: no handle of before means anything.
  void take_away() {
    server_->kill();
    const auto path = server_->export_path() / directory_;
    std::filesystem::copy(path, path.string() + ".kept", std::filesystem::copy_options::recursive);
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
    server_->start();
  }
  void bring_back() {
    server_->kill();
    const auto path = server_->export_path() / directory_;
    std::filesystem::remove_all(path);
    std::filesystem::rename(path.string() + ".kept", path);
    server_->start();
  }
  void await(StoreState state) {
    auto until = [](Loop& on, StoreSet& of, StoreState wanted) -> Task<void> {
      while (of.member("nas")->state() != wanted) co_await on.sleep(10 * kMillisecond);
    };
    run(until(*loop_, *set_, state));
  }

  template <class T>
  T run(Task<T> task) {
    return loop_->run_until_done(std::move(task));
  }
  template <class T>
  T must(Task<Result<T>> task) {
    Result<T> result = run(std::move(task));
    if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
    CANOPY_CHECK(result.has_value());
    if constexpr (!std::is_void_v<T>) return std::move(*result);
  }
  template <class T>
  void expect_unavailable(Task<Result<T>> task) {
    Result<T> result = run(std::move(task));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Code::kStoreUnavailable) << result.error().to_string();
    EXPECT_THAT(result.error().message(), HasSubstr("store nas unavailable"));
  }

  std::unique_ptr<UringLoop> loop_ = *UringLoop::create();
  std::unique_ptr<NfsServer> server_;
  std::string directory_;
  NfsOptions options_;
  MemoryDisk root_disk_;
  std::unique_ptr<StoreSet> set_;
  std::unique_ptr<File> file_;
};

TEST_F(NfsInASet, AServerWithoutItsFileSystemIsAwayAndNothingOnItAbsent) {
  take_away();
  expect_unavailable(set_->attributes(kFile));
  expect_unavailable(write("more"));
  await(StoreState::kDown);
  expect_unavailable(read_file(*set_, kFile, 100));
  expect_unavailable(set_->make_directory("SharedDomains/company.com/b.sub", 0700, Durable::kYes));
  bring_back();
  await(StoreState::kUp);
  EXPECT_EQ(must(read_file(*set_, kFile, 100)), "content");
}

// The whole tree on one server: there is no store beside it, and no row but one.
TEST_F(NfsInASet, AServerOfTheWholeTreeWithoutItsFileSystemIsAway) {
  file_.reset();
  run(set_->stop());
  StoreSetOptions set_options;
  set_options.probe_every = 3600 * kSecond;
  set_options.probe_again_after = 20 * kMillisecond;
  set_ = std::make_unique<StoreSet>(*loop_, must(open_nfs_store(*loop_, options_)), set_options);
  set_->apply(std::make_shared<StoresConfig>(StoresConfig::root_only()));
  run(set_->settle(loop_->now() + 60 * kSecond));
  EXPECT_EQ(must(read_file(*set_, kFile, 100)), "content");
  EXPECT_GT(set_->member("root")->figures().operations, 0u);
  EXPECT_EQ(run(set_->attributes("SharedDomains/none")).error().code(), Code::kNotFound);
  take_away();
  for (const char* path : {kFile, "SharedDomains/none", "SharedDomains/company.com/aliases/5f.settings"}) {
    auto there = run(set_->attributes(path));
    ASSERT_FALSE(there);
    EXPECT_EQ(there.error().code(), Code::kStoreUnavailable) << there.error().to_string();
    auto text = run(read_file(*set_, path, 100));
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().code(), Code::kStoreUnavailable) << text.error().to_string();
  }
}

TEST_F(NfsInASet, AFileThatIsGoneOnAStoreThatIsThereIsAbsent) {
  server_->kill();
  std::filesystem::remove(server_->export_path() / directory_ / kFile);
  server_->start();
  auto written = run(write("more"));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code(), Code::kNotFound);
  EXPECT_EQ(set_->member("nas")->state(), StoreState::kUp);
}

}  // namespace
}  // namespace canopy
