// The Tree service as its clients see it: files without a name, extended attributes, locks, and what each is
// told of the others' changes.
#include "daemon/wire/services/tree_changes.h"
#include "daemon/wire/services/tree_locks.h"
#include "tests/wire/tree_fixture.h"

namespace canopy::wire {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint64_t kEpoch = 1ull << 32 | 1;
constexpr char kFile[] = "SharedDomains/d/file";

v1::TreeIdentity identity(const v1::TreeAttributes& of) {
  v1::TreeIdentity out;
  out.set_file_id(of.file_id());
  *out.mutable_born() = of.born();
  return out;
}

std::string session(char name) { return std::string(16, name); }

class TreeServiceTest : public TreeTest {
 protected:
  v1::TreeAttributes open(Client& client, const std::string& path, uint64_t handle, bool create) {
    v1::TreeOpenRequest request;
    request.set_path(path);
    request.set_handle(handle);
    request.set_write(true);
    request.set_create(create);
    request.set_exclusive(create);
    request.set_mode(0600);
    auto opened = run(TreeStub(client).open(request));
    EXPECT_TRUE(opened) << opened.error().to_string();
    return opened.value_or(v1::TreeAttributes());
  }
  void close(Client& client, uint64_t handle) {
    v1::TreeCloseRequest request;
    request.set_handle(handle);
    EXPECT_TRUE(run(TreeStub(client).close(request)));
  }
  void write(Client& client, uint64_t handle, const std::string& data) {
    v1::TreeWriteRequest request;
    request.set_handle(handle);
    request.set_data(data);
    EXPECT_TRUE(run(TreeStub(client).write(request)));
  }
  Result<v1::Empty> remove(Client& client, const std::string& path) {
    v1::TreeRemoveRequest request;
    request.set_path(path);
    return run(TreeStub(client).remove(request));
  }
  Result<v1::TreeWatchResponse> watch(Client& client, char name, const v1::TreeWatchResponse& from) {
    v1::TreeWatchRequest request;
    request.set_session(session(name));
    request.set_epoch(from.epoch());
    request.set_cursor(from.cursor());
    request.set_seconds(1);
    return run(TreeStub(client).watch(request));
  }
  v1::TreeLockRequest lock(char name, const v1::TreeAttributes& file, v1::TreeLockRequest::Type type,
                           uint64_t start, uint64_t end) {
    v1::TreeLockRequest request;
    request.set_session(session(name));
    *request.mutable_file() = identity(file);
    request.set_owner(1);
    request.set_type(type);
    request.set_start(start);
    request.set_end(end);
    return request;
  }
  int error_of(Client& client, const v1::TreeLockRequest& request) {
    auto done = run(TreeStub(client).lock(request));
    return done ? 0 : done.error().error_number();
  }
  size_t kept() { return disk.list(kTreeUnlinkedPath, 0)->entries.size(); }
};

// ------------------------------------------------------------------------------------------------ names

TEST_F(TreeServiceTest, AFileThatIsOpenOutlivesItsNameAndTheBackend) {
  auto first = backend(kEpoch);
  Client& client = first->client();
  const auto made = open(client, kFile, 1, true);
  write(client, 1, "content");
  ASSERT_TRUE(remove(client, kFile));
  EXPECT_EQ(kept(), 1u);
  v1::TreePath by_handle;
  by_handle.set_handle(1);
  EXPECT_EQ(run(TreeStub(client).get_attributes(by_handle))->links(), 0u);
  first.reset();
  auto second = backend(kEpoch + 1);
  Client& again = second->client();
  v1::TreeOpenRequest request;
  request.set_handle(7);
  request.set_file_id(made.file_id());
  *request.mutable_born() = made.born();
  ASSERT_TRUE(run(TreeStub(again).open(request)));
  v1::TreeReadRequest read;
  read.set_handle(7);
  read.set_bytes(100);
  EXPECT_EQ(run(TreeStub(again).read(read))->data(), "content");
  close(again, 7);
  second->sweep();
  EXPECT_EQ(kept(), 0u);
}

TEST_F(TreeServiceTest, AFileThatNobodyHasOpenGoesWithItsName) {
  auto on = backend(kEpoch);
  Client& client = on->client();
  open(client, kFile, 1, true);
  close(client, 1);
  ASSERT_TRUE(remove(client, kFile));
  EXPECT_EQ(kept(), 0u);
}

TEST_F(TreeServiceTest, WhatIsReplacedWhileItIsOpenIsKeptToo) {
  auto on = backend(kEpoch);
  Client& client = on->client();
  const auto old = open(client, kFile, 1, true);
  open(client, "SharedDomains/d/new", 2, true);
  v1::TreeRenameRequest request;
  request.set_from("SharedDomains/d/new");
  request.set_to(kFile);
  ASSERT_TRUE(run(TreeStub(client).rename(request)));
  EXPECT_EQ(kept(), 1u);
  v1::TreePath by_handle;
  by_handle.set_handle(1);
  const auto found = run(TreeStub(client).get_attributes(by_handle));
  EXPECT_EQ(found->file_id(), old.file_id());
  EXPECT_EQ(found->links(), 0u);
}

TEST_F(TreeServiceTest, AttributesBelongToNamespacesThatAreOffered) {
  auto on = backend(kEpoch);
  TreeStub tree(on->client());
  open(on->client(), kFile, 1, true);
  v1::TreeSetXattrRequest request;
  request.set_path(kFile);
  request.set_value("v");
  for (const char* name : {"user.a", "trusted.b", "system.posix_acl_access"}) {
    request.set_name(name);
    EXPECT_TRUE(run(tree.set_xattr(request))) << name;
  }
  for (const char* name : {"security.capability", "system.other", "other.a"}) {
    request.set_name(name);
    EXPECT_EQ(code_of(run(tree.set_xattr(request))), Code::kUnsupported) << name;
  }
  v1::TreePath path;
  path.set_path(kFile);
  EXPECT_EQ(run(tree.list_xattrs(path))->names_size(), 3);
}

// ------------------------------------------------------------------------------------------------ locks

TEST_F(TreeServiceTest, LocksAreAmongSessions) {
  auto on = backend(kEpoch);
  Client &one = on->client(), &two = on->client();
  const auto file = open(one, kFile, 1, true);
  EXPECT_EQ(error_of(one, lock('1', file, v1::TreeLockRequest::WRITE, 0, 9)), 0);
  EXPECT_EQ(error_of(two, lock('2', file, v1::TreeLockRequest::READ, 5, 20)), EAGAIN);
  EXPECT_EQ(error_of(two, lock('2', file, v1::TreeLockRequest::READ, 10, 20)), 0);
  auto test = lock('2', file, v1::TreeLockRequest::WRITE, 0, UINT64_MAX);
  test.set_test(true);
  const auto found = run(TreeStub(two).lock(test));
  EXPECT_EQ(found->type(), v1::TreeLockRequest::WRITE);
  EXPECT_EQ(found->end(), 9u);
  EXPECT_EQ(error_of(one, lock('1', file, v1::TreeLockRequest::NONE, 3, 4)), 0);  // a hole
  EXPECT_EQ(error_of(two, lock('2', file, v1::TreeLockRequest::WRITE, 3, 4)), 0);
  EXPECT_EQ(error_of(two, lock('2', file, v1::TreeLockRequest::WRITE, 4, 5)), EAGAIN);
}

TEST_F(TreeServiceTest, WhoeverWaitsGetsTheLockWhenItIsFree) {
  auto on = backend(kEpoch);
  Client &one = on->client(), &two = on->client();
  const auto file = open(one, kFile, 1, true);
  ASSERT_EQ(error_of(one, lock('1', file, v1::TreeLockRequest::WRITE, 0, 9)), 0);
  auto waiting = lock('2', file, v1::TreeLockRequest::WRITE, 0, 0);
  waiting.set_wait(true);
  std::vector<Task<Result<v1::TreeLockResponse>>> both;
  both.push_back(TreeStub(two).lock(waiting));
  const auto free = lock('1', file, v1::TreeLockRequest::NONE, 0, UINT64_MAX);
  both.push_back(TreeStub(one).lock(free));
  for (const auto& done : run(join_all(*loop, std::move(both)))) EXPECT_TRUE(done);
  EXPECT_EQ(error_of(one, lock('1', file, v1::TreeLockRequest::READ, 0, 0)), EAGAIN);
}

TEST_F(TreeServiceTest, WaitingInACircleIsRefused) {
  auto on = backend(kEpoch);
  Client &one = on->client(), &two = on->client();
  const auto file = open(one, kFile, 1, true);
  ASSERT_EQ(error_of(one, lock('1', file, v1::TreeLockRequest::WRITE, 0, 0)), 0);
  ASSERT_EQ(error_of(two, lock('2', file, v1::TreeLockRequest::WRITE, 1, 1)), 0);
  auto first = lock('1', file, v1::TreeLockRequest::WRITE, 1, 1);
  auto second = lock('2', file, v1::TreeLockRequest::WRITE, 0, 0);
  first.set_wait(true);
  second.set_wait(true);
  std::vector<Task<Result<v1::TreeLockResponse>>> both;
  both.push_back(TreeStub(one).lock(first));
  // Refused at once, and what it held is given back, so that the first gets on.
  both.push_back([](TreeServiceTest& test, Client& client, v1::TreeLockRequest wanted,
                    v1::TreeLockRequest give_back) -> Task<Result<v1::TreeLockResponse>> {
    (void)test;
    auto refused = co_await TreeStub(client).lock(wanted);
    EXPECT_FALSE(refused);
    if (!refused) EXPECT_EQ(refused.error().error_number(), EDEADLK);
    co_return co_await TreeStub(client).lock(give_back);
  }(*this, two, second, lock('2', file, v1::TreeLockRequest::NONE, 0, UINT64_MAX)));
  for (const auto& done : run(join_all(*loop, std::move(both)))) EXPECT_TRUE(done);
}

TEST_F(TreeServiceTest, AfterARestartLocksAreForThoseWhoHeldThem) {
  v1::TreeAttributes file;
  {
    auto on = backend(kEpoch);
    file = open(on->client(), kFile, 1, true);
    ASSERT_EQ(error_of(on->client(), lock('1', file, v1::TreeLockRequest::WRITE, 0, 9)), 0);
  }
  auto on = backend(kEpoch + 1);
  Client &one = on->client(), &two = on->client();
  auto again = lock('1', file, v1::TreeLockRequest::WRITE, 0, 9);
  again.set_again(true);
  const auto other = lock('2', file, v1::TreeLockRequest::WRITE, 0, 9);
  std::vector<Task<Result<v1::TreeLockResponse>>> both;
  both.push_back(TreeStub(two).lock(other));  // comes first, and waits for the time to be over
  both.push_back(TreeStub(one).lock(again));
  both.push_back([](TreeBackend& to) -> Task<Result<v1::TreeLockResponse>> {
    co_await to.loop().sleep(kTreeLocksGrace + 100 * kMillisecond);
    co_await to.sweep_task();
    co_return v1::TreeLockResponse();
  }(*on));
  const auto results = run(join_all(*loop, std::move(both)));
  EXPECT_EQ(results[0] ? 0 : results[0].error().error_number(), EAGAIN);
  EXPECT_TRUE(results[1]);
}

TEST(TreeLocks, RangesOfOneOwnerAreSplitAndJoined) {
  TreeLocks locks;
  const FileIdentity file{1, {}};
  using Type = TreeLocks::Type;
  const TreeLocks::Owner me{"me", 1}, other{"other", 1};
  auto set = [&](const TreeLocks::Owner& owner, Type type, uint64_t start, uint64_t end) {
    auto done = locks.set(file, TreeLocks::Kind::kRange, {start, end, type, 0, owner});
    return done && !*done;
  };
  EXPECT_TRUE(set(me, Type::kRead, 0, 99));
  EXPECT_TRUE(set(me, Type::kWrite, 40, 59));  // in the middle
  EXPECT_EQ(locks.size(), 3u);
  EXPECT_TRUE(set(other, Type::kRead, 0, 39));
  EXPECT_FALSE(set(other, Type::kRead, 39, 40));
  EXPECT_TRUE(set(me, Type::kRead, 40, 59));
  EXPECT_EQ(locks.size(), 2u);
  EXPECT_TRUE(set(other, Type::kRead, 39, 40));
  EXPECT_FALSE(set(me, Type::kWrite, 0, UINT64_MAX));
  EXPECT_TRUE(set(other, Type::kNone, 0, UINT64_MAX));
  EXPECT_TRUE(set(me, Type::kWrite, 0, UINT64_MAX));
  EXPECT_TRUE(set(me, Type::kNone, 10, UINT64_MAX));
  EXPECT_TRUE(set(other, Type::kWrite, 10, 10));
  EXPECT_FALSE(set(other, Type::kWrite, 9, 10));
}

TEST(TreeLocks, ASessionThatIsGoneForLongLosesItsLocks) {
  TreeLocks locks;
  const FileIdentity file{1, {}};
  locks.attach("me");
  ASSERT_TRUE(
      locks.set(file, TreeLocks::Kind::kWhole, {0, UINT64_MAX, TreeLocks::Type::kWrite, 0, {"me", 1}}));
  locks.detach("me", kSecond);
  EXPECT_EQ(locks.end_sessions(kTreeSessionKept), 0u);
  locks.attach("me");  // it is back
  EXPECT_EQ(locks.end_sessions(kSecond + kTreeSessionKept), 0u);
  locks.detach("me", kSecond);
  EXPECT_EQ(locks.end_sessions(kSecond + kTreeSessionKept), 1u);
  EXPECT_EQ(locks.size(), 0u);
}

// ------------------------------------------------------------------------------------------------ changes

TEST_F(TreeServiceTest, EachIsToldOfTheOthersChanges) {
  auto on = backend(kEpoch);
  Client &one = on->client(), &two = on->client();
  auto first = watch(one, '1', {}), second = watch(two, '2', {});
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(first->lost());
  const auto file = open(one, kFile, 1, true);
  write(one, 1, "a");
  write(one, 1, "b");  // is not told of twice before anybody has asked
  auto told = watch(two, '2', *second);
  ASSERT_TRUE(told);
  ASSERT_EQ(told->changes_size(), 2);
  EXPECT_EQ(told->changes(0).kind(), v1::TreeChange::NAME);
  EXPECT_EQ(told->changes(0).path(), kFile);
  EXPECT_EQ(told->changes(1).kind(), v1::TreeChange::CONTENT);
  EXPECT_EQ(told->changes(1).file().file_id(), file.file_id());
  write(one, 1, "c");
  auto more = watch(two, '2', *told);
  ASSERT_TRUE(more);
  EXPECT_EQ(more->changes_size(), 1);
  auto own = watch(one, '1', *first);
  ASSERT_TRUE(own);
  EXPECT_EQ(own->changes_size(), 0);
  EXPECT_FALSE(own->lost());
}

TEST_F(TreeServiceTest, WhoeverWatchesIsAnsweredWhenSomethingHappens) {
  auto on = backend(kEpoch);
  Client &one = on->client(), &two = on->client();
  auto start = watch(two, '2', {});
  ASSERT_TRUE(start);
  v1::TreeWatchRequest request;
  request.set_session(session('2'));
  request.set_epoch(start->epoch());
  request.set_cursor(start->cursor());
  request.set_seconds(60);  // far longer than the test takes
  v1::TreeMakeRequest make;
  make.set_path("SharedDomains/d/new");
  make.set_mode(0700);
  auto both = [](Client& watching, Client& making, const v1::TreeWatchRequest& ask,
                 const v1::TreeMakeRequest& change, UringLoop& on_loop) -> Task<int> {
    std::vector<Task<Result<v1::TreeWatchResponse>>> waiting;
    waiting.push_back(TreeStub(watching).watch(ask));
    TaskGroup group(on_loop);
    group.spawn([](Client& client, const v1::TreeMakeRequest& what) -> Task<void> {
      EXPECT_TRUE(co_await TreeStub(client).make(what));
    }(making, change));
    auto answers = co_await join_all(on_loop, std::move(waiting));
    co_await group.join();
    co_return answers[0] ? answers[0]->changes_size() : -1;
  };
  EXPECT_EQ(run(both(two, one, request, make, *loop)), 1);
}

TEST(TreeChanges, WhoeverFallsBehindIsToldSo) {
  TreeChanges changes;
  const uint64_t start = changes.last();
  for (size_t i = 0; i < kTreeChangesMax; ++i)
    changes.add({TreeChange::Kind::kName, fmt::format("{}", i), {}, {}, "other"});
  size_t seen = 0;
  uint64_t cursor = start;
  while (cursor != changes.last()) {
    const auto batch = changes.take("me", cursor);
    EXPECT_FALSE(batch.lost);
    EXPECT_LE(batch.changes.size(), kTreeChangesAtOnce);
    seen += batch.changes.size();
    cursor = batch.cursor;
  }
  EXPECT_EQ(seen, kTreeChangesMax);
  changes.add({TreeChange::Kind::kName, "one more", {}, {}, "other"});
  EXPECT_TRUE(changes.take("me", start).lost);
  EXPECT_FALSE(changes.take("me", cursor).lost);
}

}  // namespace
}  // namespace canopy::wire
