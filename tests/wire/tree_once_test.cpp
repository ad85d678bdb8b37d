// Requests of the Tree service that change names are carried out once, wherever the backend is killed under
// them.
#include "tests/wire/tree_fixture.h"

namespace canopy::wire {
namespace {

constexpr uint64_t kFirst = 1ull << 32 | 1, kNext = 2ull << 32 | 1;

template <class Request>
void name_request(Request& request, uint64_t epoch = kFirst) {
  static uint64_t number = 0;
  std::string id(kRequestIdBytes, '\0');
  ++number;
  std::memcpy(id.data(), &number, sizeof number);
  request.set_request_id(id);
  if constexpr (requires { request.set_epoch(epoch); }) request.set_epoch(epoch);
}

class TreeOnceTest : public TreeTest {
 protected:
  // What lies under the name; file_id 0: nothing.
  v1::TreeAttributes look(TreeBackend& on, const std::string& path) {
    v1::TreePath request;
    request.set_path(path);
    auto found = run(TreeStub(on.client()).get_attributes(request));
    if (found) return *found;
    EXPECT_EQ(found.error().code(), Code::kNotFound) << found.error().to_string();
    return {};
  }
  v1::TreeIdentity identity(TreeBackend& on, const std::string& path) {
    const auto found = look(on, path);
    v1::TreeIdentity out;
    out.set_file_id(found.file_id());
    *out.mutable_born() = found.born();
    return out;
  }
  void make_file(TreeBackend& on, const std::string& path) {
    v1::TreeOpenRequest request;
    request.set_path(path);
    request.set_handle(++handle);
    request.set_write(true);
    request.set_create(true);
    request.set_exclusive(true);
    request.set_mode(0600);
    Client& client = on.client();
    ASSERT_TRUE(run(TreeStub(client).open(request)));
  }
  void make_directory(TreeBackend& on, const std::string& path) {
    v1::TreeMakeRequest request;
    request.set_path(path);
    request.set_mode(0700);
    ASSERT_TRUE(run(TreeStub(on.client()).make(request)));
  }

  // Sends `ask` to a backend that is killed at each of the store's operations in turn, and again to the next
  // one. It must succeed there, and `check` see its effect.
  template <class Prepare, class Ask, class Check>
  void at_every_kill(Prepare prepare, Ask ask, Check check) {
    bool survived = false;
    for (uint64_t kill = 1; !survived; ++kill) {
      ASSERT_LT(kill, 50u);
      SCOPED_TRACE(fmt::format("killed at operation {}", kill));
      MemoryDisk fresh;
      auto first = std::make_unique<TreeBackend>(*loop, workers, fresh, kFirst);
      auto request = prepare(*first);
      first->kill_at(kill);
      auto before = ask(TreeStub(first->client()), request);
      survived = before.has_value();
      if (!survived) EXPECT_EQ(before.error().code(), Code::kStoreUnavailable);
      first.reset();
      auto second = std::make_unique<TreeBackend>(*loop, workers, fresh, kNext);
      auto after = ask(TreeStub(second->client()), request);
      ASSERT_TRUE(after) << after.error().to_string();
      check(*second);
      // And once more on the same process, whose memory knows it.
      auto again = ask(TreeStub(second->client()), request);
      EXPECT_TRUE(again) << again.error().to_string();
      if (testing::Test::HasFailure()) return;
    }
  }

  uint64_t handle = 0;
};

TEST_F(TreeOnceTest, ADirectoryIsMadeOnce) {
  at_every_kill(
      [](TreeBackend&) {
        v1::TreeMakeRequest request;
        request.set_path("SharedDomains/d/new");
        request.set_mode(0750);
        request.set_uid(11);
        request.set_gid(12);
        name_request(request);
        return request;
      },
      [this](TreeStub tree, const auto& request) { return run(tree.make(request)); },
      [this](TreeBackend& on) {
        const auto found = look(on, "SharedDomains/d/new");
        EXPECT_EQ(found.mode(), 040750u);
        EXPECT_EQ(found.uid(), 11u);
        EXPECT_EQ(found.gid(), 12u);
      });
}

TEST_F(TreeOnceTest, ALinkToAPathIsMadeOnce) {
  at_every_kill(
      [](TreeBackend&) {
        v1::TreeMakeRequest request;
        request.set_kind(v1::TreeMakeRequest::SYMLINK);
        request.set_path("SharedDomains/d/new");
        request.set_target("else/where");
        name_request(request);
        return request;
      },
      [this](TreeStub tree, const auto& request) { return run(tree.make(request)); },
      [this](TreeBackend& on) { EXPECT_EQ(look(on, "SharedDomains/d/new").mode() & 0170000, 0120000u); });
}

TEST_F(TreeOnceTest, AFileIsMadeOnce) {
  at_every_kill(
      [](TreeBackend&) {
        v1::TreeOpenRequest request;
        request.set_path("SharedDomains/d/new");
        request.set_handle(1);
        request.set_write(true);
        request.set_create(true);
        request.set_exclusive(true);
        request.set_mode(0640);
        request.set_uid(11);
        name_request(request);
        return request;
      },
      [this](TreeStub tree, const auto& request) { return run(tree.open(request)); },
      [this](TreeBackend& on) {
        EXPECT_EQ(look(on, "SharedDomains/d/new").mode(), 0100640u);
        EXPECT_EQ(look(on, "SharedDomains/d/new").uid(), 11u);
      });
}

TEST_F(TreeOnceTest, ASecondNameIsMadeOnce) {
  at_every_kill(
      [this](TreeBackend& on) {
        make_file(on, "SharedDomains/d/old");
        v1::TreeMakeRequest request;
        request.set_kind(v1::TreeMakeRequest::LINK);
        request.set_path("SharedDomains/d/new");
        request.set_target("SharedDomains/d/old");
        *request.mutable_expected() = identity(on, "SharedDomains/d/old");
        name_request(request);
        return request;
      },
      [this](TreeStub tree, const auto& request) { return run(tree.make(request)); },
      [this](TreeBackend& on) { EXPECT_EQ(look(on, "SharedDomains/d/old").links(), 2u); });
}

TEST_F(TreeOnceTest, AFileIsRemovedOnce) {
  at_every_kill(
      [this](TreeBackend& on) {
        make_file(on, "SharedDomains/d/old");
        v1::TreeRemoveRequest request;
        request.set_path("SharedDomains/d/old");
        *request.mutable_expected() = identity(on, "SharedDomains/d/old");
        name_request(request);
        return request;
      },
      [this](TreeStub tree, const auto& request) { return run(tree.remove(request)); },
      [this](TreeBackend& on) { EXPECT_EQ(look(on, "SharedDomains/d/old").file_id(), 0u); });
}

TEST_F(TreeOnceTest, ADirectoryIsRemovedOnce) {
  at_every_kill(
      [this](TreeBackend& on) {
        make_directory(on, "SharedDomains/d/old");
        v1::TreeRemoveRequest request;
        request.set_path("SharedDomains/d/old");
        request.set_directory(true);
        *request.mutable_expected() = identity(on, "SharedDomains/d/old");
        name_request(request);
        return request;
      },
      [this](TreeStub tree, const auto& request) { return run(tree.remove(request)); },
      [this](TreeBackend& on) { EXPECT_EQ(look(on, "SharedDomains/d/old").file_id(), 0u); });
}

TEST_F(TreeOnceTest, AFileIsRenamedOnce) {
  for (const auto mode : {v1::TreeRenameRequest::REPLACE, v1::TreeRenameRequest::NO_REPLACE}) {
    at_every_kill(
        [this, mode](TreeBackend& on) {
          make_file(on, "SharedDomains/d/old");
          if (mode == v1::TreeRenameRequest::REPLACE) make_file(on, "SharedDomains/d/new");
          v1::TreeRenameRequest request;
          request.set_from("SharedDomains/d/old");
          request.set_to("SharedDomains/d/new");
          request.set_mode(mode);
          *request.mutable_expected() = identity(on, "SharedDomains/d/old");
          name_request(request);
          return request;
        },
        [this](TreeStub tree, const auto& request) { return run(tree.rename(request)); },
        [this](TreeBackend& on) {
          EXPECT_EQ(look(on, "SharedDomains/d/old").file_id(), 0u);
          EXPECT_NE(look(on, "SharedDomains/d/new").file_id(), 0u);
        });
  }
}

TEST_F(TreeOnceTest, TwoFilesChangeNamesOnce) {
  v1::TreeIdentity one;
  at_every_kill(
      [&](TreeBackend& on) {
        make_file(on, "SharedDomains/d/one");
        make_file(on, "SharedDomains/d/two");
        v1::TreeRenameRequest request;
        request.set_from("SharedDomains/d/one");
        request.set_to("SharedDomains/d/two");
        request.set_mode(v1::TreeRenameRequest::EXCHANGE);
        *request.mutable_expected() = one = identity(on, "SharedDomains/d/one");
        *request.mutable_expected_to() = identity(on, "SharedDomains/d/two");
        name_request(request);
        return request;
      },
      [this](TreeStub tree, const auto& request) { return run(tree.rename(request)); },
      [&](TreeBackend& on) { EXPECT_EQ(look(on, "SharedDomains/d/two").file_id(), one.file_id()); });
}

TEST_F(TreeOnceTest, WhatSomebodyElseMadeStaysTaken) {
  // Killed right before it makes the directory, which somebody else then makes through the next backend.
  v1::TreeMakeRequest request;
  request.set_path("SharedDomains/d/new");
  request.set_mode(0700);
  name_request(request);
  for (uint64_t kill = 1; kill <= 4; ++kill) {
    SCOPED_TRACE(kill);
    MemoryDisk fresh;
    auto first = std::make_unique<TreeBackend>(*loop, workers, fresh, kFirst);
    first->kill_at(kill);
    auto before = run(TreeStub(first->client()).make(request));
    ASSERT_FALSE(before);
    first.reset();
    auto second = std::make_unique<TreeBackend>(*loop, workers, fresh, kNext);
    if (look(*second, "SharedDomains/d/new").file_id() != 0) break;  // it was made, and is the request's
    ASSERT_GE(kill, 1u);
    v1::TreeMakeRequest other = request;
    name_request(other, kNext);
    ASSERT_TRUE(run(TreeStub(second->client()).make(other)));
    second.reset();  // killed in its turn: the slots say whose it is
    auto third = std::make_unique<TreeBackend>(*loop, workers, fresh, 3ull << 32 | 1);
    EXPECT_EQ(code_of(run(TreeStub(third->client()).make(request))), Code::kAlreadyExists);
    EXPECT_TRUE(run(TreeStub(third->client()).make(other)));
  }
}

TEST_F(TreeOnceTest, ARefusalIsRememberedToo) {
  auto on = backend(kFirst);
  make_directory(*on, "SharedDomains/d/taken");
  v1::TreeMakeRequest request;
  request.set_path("SharedDomains/d/taken");
  name_request(request);
  EXPECT_EQ(code_of(run(TreeStub(on->client()).make(request))), Code::kAlreadyExists);
  v1::TreeRemoveRequest remove;
  remove.set_path("SharedDomains/d/taken");
  remove.set_directory(true);
  ASSERT_TRUE(run(TreeStub(on->client()).remove(remove)));
  EXPECT_EQ(code_of(run(TreeStub(on->client()).make(request))), Code::kAlreadyExists);
  EXPECT_EQ(code_of(run(TreeStub(on->client()).remove(remove))), Code::kNotFound)
      << "without an id it is new";
}

TEST_F(TreeOnceTest, AnIdHasItsSize) {
  auto on = backend(kFirst);
  v1::TreeMakeRequest request;
  request.set_path("SharedDomains/d/new");
  request.set_request_id("short");
  EXPECT_EQ(code_of(run(TreeStub(on->client()).make(request))), Code::kInvalidArgument);
}

TEST_F(TreeOnceTest, ManyThatMakeAtTheSameTimeMakeOneEach) {
  auto on = backend(kFirst);
  Client& client = on->client();
  std::vector<v1::TreeMakeRequest> requests(3000);
  std::vector<Task<Result<v1::TreeAttributes>>> tasks;
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].set_path(fmt::format("SharedDomains/d/{}", i / 2));  // two for each name
    name_request(requests[i]);
    tasks.push_back(TreeStub(client).make(requests[i]));
  }
  auto results = run(join_all(*loop, std::move(tasks)));
  size_t made = 0;
  for (size_t i = 0; i < results.size(); i += 2) {
    made += results[i].has_value() + results[i + 1].has_value();
    EXPECT_NE(results[i].has_value(), results[i + 1].has_value());
  }
  EXPECT_EQ(made, requests.size() / 2);
}

}  // namespace
}  // namespace canopy::wire
