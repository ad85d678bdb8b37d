// What Open of the Tree service does to files that a client knows by identity, and by a name that may be out
// of date.
#include <sys/resource.h>

#include "tests/wire/tree_fixture.h"

namespace canopy::wire {
namespace {

class TreeOpenTest : public TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    on = backend(1ull << 32 | 1);
    client = &on->client();
  }
  Result<v1::TreeAttributes> open(const v1::TreeOpenRequest& request) {
    return run(TreeStub(*client).open(request));
  }
  // A new file of some bytes, open under that handle.
  v1::TreeAttributes make_file(const std::string& path, uint64_t handle) {
    v1::TreeOpenRequest request;
    request.set_path(path);
    request.set_handle(handle);
    request.set_write(true);
    request.set_create(true);
    request.set_exclusive(true);
    request.set_mode(0600);
    const auto made = open(request);
    EXPECT_TRUE(made);
    v1::TreeWriteRequest write;
    write.set_handle(handle);
    write.set_data("content");
    EXPECT_TRUE(run(TreeStub(*client).write(write)));
    return made ? *made : v1::TreeAttributes{};
  }
  uint64_t size_of(const std::string& path) {
    v1::TreePath request;
    request.set_path(path);
    auto found = run(TreeStub(*client).get_attributes(request));
    EXPECT_TRUE(found);
    return found ? found->size() : 0;
  }
  v1::TreeOpenRequest of(const v1::TreeAttributes& file, std::string path, uint64_t handle) {
    v1::TreeOpenRequest request;
    request.set_path(std::move(path));
    request.set_handle(handle);
    request.set_write(true);
    request.set_file_id(file.file_id());
    *request.mutable_born() = file.born();
    return request;
  }

  std::unique_ptr<TreeBackend> on;
  Client* client = nullptr;
};

TEST_F(TreeOpenTest, TruncatesTheFileThatIsMeantAndNoOtherOfItsName) {
  const auto meant = make_file("SharedDomains/d/a", 1);
  make_file("SharedDomains/d/b", 2);
  v1::TreeOpenRequest request = of(meant, "SharedDomains/d/b", 3);
  request.set_truncate(true);
  EXPECT_EQ(code_of(open(request)), Code::kNotFound);
  EXPECT_EQ(size_of("SharedDomains/d/b"), 7u);
  request.set_path("SharedDomains/d/a");
  auto opened = open(request);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->size(), 0u);
  EXPECT_EQ(size_of("SharedDomains/d/a"), 0u);
}

TEST_F(TreeOpenTest, FindsAFileWithoutANameByItsIdentityWhileSomebodyHasItOpen) {
  const auto file = make_file("SharedDomains/d/a", 1);
  v1::TreeRemoveRequest remove;
  remove.set_path("SharedDomains/d/a");
  ASSERT_TRUE(run(TreeStub(*client).remove(remove)));
  auto opened = open(of(file, "", 2));
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->size(), 7u);
  EXPECT_EQ(opened->links(), 0u);
}

TEST_F(TreeOpenTest, AConnectionHasAShareOfTheProcessOpenFilesAndAllTogetherHaveOne) {
  make_file("SharedDomains/d/a", 1'000'000);
  Client& second = on->client();
  Client& third = on->client();
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 400;  // these files take no descriptors: they lie in memory
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  auto open_many = [&](Client& by, uint64_t most) {
    v1::TreeOpenRequest request;
    request.set_path("SharedDomains/d/a");
    for (uint64_t handle = 1; handle <= most; ++handle) {
      request.set_handle(handle);
      auto opened = run(TreeStub(by).open(request));
      if (opened) continue;
      EXPECT_EQ(opened.error().error_number(), ENFILE);
      return handle - 1;
    }
    return most;
  };
  EXPECT_EQ(open_many(*client, 1000), 99u);  // and the one that was made
  EXPECT_EQ(open_many(second, 60), 60u);
  EXPECT_EQ(open_many(third, 1000), 40u);
  v1::TreeCloseRequest close;
  close.set_handle(7);
  EXPECT_TRUE(run(TreeStub(*client).close(close)));
  v1::TreeOpenRequest again;
  again.set_path("SharedDomains/d/a");
  again.set_handle(5000);
  EXPECT_TRUE(run(TreeStub(third).open(again)));
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST_F(TreeOpenTest, AHandleThatReadsChangesNoAttributesOfWhatTheDaemonKeeps) {
  v1::TreeOpenRequest request;
  request.set_path("SharedDomains/d/domain.settings");
  ASSERT_TRUE(on->run(on->store().open(request.path(), {.write = true, .create = true})));
  request.set_handle(1);
  ASSERT_TRUE(open(request));
  v1::TreeSetAttributesRequest change;
  change.set_handle(1);
  change.set_which(1);
  change.set_mode(0666);
  EXPECT_EQ(code_of(run(TreeStub(*client).set_attributes(change))), Code::kBusy);
}

}  // namespace
}  // namespace canopy::wire
