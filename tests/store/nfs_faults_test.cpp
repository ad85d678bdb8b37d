// What an NfsStore makes of lost answers, restarted and frozen servers, and how many calls it needs.
#include <thread>

#include "daemon/runtime/sync.h"
#include "tests/store/nfs_faults_fixture.h"

namespace canopy {
namespace {

using Lose = RpcProxy::Lose;
using Calls = std::map<uint32_t, int>;

TEST_F(NfsFaults, AKnownFileCostsOneCallAndWarmPathsNone) {
  must(make_directories(*other_, "a/b/c", 0700, Durable::kYes));
  put(*other_, "a/b/c/one", "content");
  put(*other_, "a/b/c/two", "more");
  EXPECT_EQ(must(read_file(*store_, "a/b/c/one", 1000)), "content");
  EXPECT_EQ(proxy_->calls(), (Calls{{NFS3_LOOKUP, 4}, {NFS3_READ, 1}}));
  EXPECT_EQ(must(read_file(*store_, "a/b/c/one", 1000)), "content");
  EXPECT_EQ(proxy_->calls(), (Calls{{NFS3_READ, 1}}));
  EXPECT_EQ(must(read_file(*store_, "a/b/c/two", 1000)), "more");
  EXPECT_EQ(proxy_->calls(), (Calls{{NFS3_LOOKUP, 1}, {NFS3_READ, 1}}));
  EXPECT_EQ(must(store_->attributes("a/b/c/two")).size, 4u);
  EXPECT_EQ(proxy_->calls(), (Calls{{NFS3_GETATTR, 1}}));
  auto file = must(store_->open("a/b/c/one", {.write = true}));
  EXPECT_EQ(proxy_->calls(), (Calls{{NFS3_GETATTR, 1}}));
  std::string_view pieces[] = {"con", "", "tent"};
  EXPECT_EQ(must(file->write(7, pieces, Durable::kYes)).after.size, 14u);
  EXPECT_EQ(proxy_->calls(), (Calls{{NFS3_WRITE, 1}}));
  EXPECT_EQ(must(read_file(*store_, "a/b/c/one", 1000)), "contentcontent");
  proxy_->calls();
  // What this store makes and moves it knows without asking.
  create(*store_, "a/b/c/new");
  EXPECT_EQ(proxy_->calls(), (Calls{{NFS3_CREATE, 1}}));
  must(store_->rename("a/b/c/new", "a/b/moved", RenameMode::kReplace, Durable::kYes));
  EXPECT_EQ(proxy_->calls(), (Calls{{NFS3_RENAME, 1}}));
  EXPECT_EQ(must(read_file(*store_, "a/b/moved", 1000)), "");
  EXPECT_EQ(proxy_->calls(), (Calls{{NFS3_READ, 1}}));
}

TEST_F(NfsFaults, ALargeDurableWriteIsUnstableWritesAndOneCommit) {
  auto file = create(*store_, "f");
  proxy_->calls();
  const std::string bytes(3'500'000, 'x');
  std::string_view pieces[] = {bytes};
  EXPECT_EQ(must(file->write(0, pieces, Durable::kYes)).after.size, bytes.size());
  EXPECT_EQ(proxy_->calls(), (Calls{{NFS3_WRITE, 4}, {NFS3_COMMIT, 1}}));
}

// Every call that may not be repeated unseen, with the call lost and with its answer lost.
class NfsLost : public NfsFaults, public testing::WithParamInterface<std::tuple<uint32_t, Lose>> {
 protected:
  uint32_t version() const override { return std::get<0>(GetParam()); }
  // NFSv3's procedure, or the next compound of NFSv4.
  void lose(uint32_t procedure) {
    proxy_->lose(version() == 4 ? uint32_t{NFSPROC4_COMPOUND} : procedure, std::get<1>(GetParam()));
  }
  // Where other calls come first.
  void lose(uint32_t procedure, nfs_opnum4 operation) {
    if (version() == 4)
      proxy_->lose_compound(operation, std::get<1>(GetParam()));
    else
      proxy_->lose(procedure, std::get<1>(GetParam()));
  }
  void TearDown() override {
    if (proxy_ != nullptr) EXPECT_TRUE(proxy_->has_lost());
  }
};

TEST_P(NfsLost, AnExclusiveCreationIsOursWithItsMode) {
  lose(NFS3_CREATE);
  auto file = create(*store_, "claim", 0640);
  EXPECT_EQ(must(file->attributes()).mode, 0640u);
  EXPECT_EQ(must(other_->attributes("claim")).file_id, must(file->attributes()).file_id);
}

TEST_P(NfsLost, AnExclusiveCreationOfATakenNameIsRefused) {
  create(*other_, "claim");
  lose(NFS3_CREATE);
  EXPECT_EQ(code(store_->open("claim", {.write = true, .create = true, .exclusive = true})),
            Code::kAlreadyExists);
}

TEST_P(NfsLost, ADirectoryIsMadeOnce) {
  lose(NFS3_MKDIR);
  must(store_->make_directory("d", 0750, Durable::kYes));
  EXPECT_EQ(must(other_->attributes("d")).mode, 0750u);
  EXPECT_EQ(code(store_->make_directory("d", 0750, Durable::kYes)), Code::kAlreadyExists);
}

TEST_P(NfsLost, ADirectoryOfAnotherIsNotTakenForOurs) {
  must(other_->make_directory("d", 0750, Durable::kYes));
  lose(NFS3_MKDIR);
  EXPECT_EQ(code(store_->make_directory("d", 0750, Durable::kYes)), Code::kAlreadyExists);
}

TEST_P(NfsLost, ARemovalIsDone) {
  create(*store_, "f");
  lose(NFS3_REMOVE);
  must(store_->remove("f", Durable::kYes));
  EXPECT_EQ(code(other_->attributes("f")), Code::kNotFound);
  EXPECT_EQ(code(store_->remove("f", Durable::kYes)), Code::kNotFound);
}

TEST_P(NfsLost, ADirectoryIsRemoved) {
  must(store_->make_directory("d", 0700, Durable::kYes));
  lose(NFS3_RMDIR);
  must(store_->remove_directory("d", Durable::kYes));
  EXPECT_EQ(code(other_->attributes("d")), Code::kNotFound);
}

TEST_P(NfsLost, ARenameReplacesOnce) {
  put(*store_, "from", "new");
  put(*store_, "to", "old");
  lose(NFS3_RENAME);
  must(store_->rename("from", "to", RenameMode::kReplace, Durable::kYes));
  EXPECT_EQ(must(read_file(*other_, "to", 100)), "new");
  EXPECT_EQ(code(other_->attributes("from")), Code::kNotFound);
  EXPECT_EQ(must(read_file(*store_, "to", 100)), "new");
}

TEST_P(NfsLost, ARenameWithoutReplacingOfADirectoryIsDone) {
  must(make_directories(*store_, "from/inner", 0700, Durable::kYes));
  lose(NFS3_RENAME);
  must(store_->rename("from", "to", RenameMode::kNoReplace, Durable::kYes));
  EXPECT_EQ(must(other_->attributes("to/inner")).type, FileType::kDirectory);
}

// That of a file is a link and a removal.
TEST_P(NfsLost, ARenameWithoutReplacingOfAFileIsDoneWhenItsLinkIsLost) {
  put(*store_, "from", "content");
  lose(NFS3_LINK, OP_LINK);
  must(store_->rename("from", "to", RenameMode::kNoReplace, Durable::kYes));
  EXPECT_EQ(must(read_file(*other_, "to", 100)), "content");
  EXPECT_EQ(must(other_->attributes("to")).links, 1u);
  EXPECT_EQ(code(other_->attributes("from")), Code::kNotFound);
}

TEST_P(NfsLost, ARenameWithoutReplacingOfAFileIsDoneWhenItsRemovalIsLost) {
  put(*store_, "from", "content");
  lose(NFS3_REMOVE, OP_REMOVE);
  must(store_->rename("from", "to", RenameMode::kNoReplace, Durable::kYes));
  EXPECT_EQ(must(read_file(*other_, "to", 100)), "content");
  EXPECT_EQ(must(other_->attributes("to")).links, 1u);
  EXPECT_EQ(code(other_->attributes("from")), Code::kNotFound);
}

TEST_P(NfsLost, ARenameWithoutReplacingLeavesTheFileThatHasTheName) {
  put(*store_, "from", "content");
  put(*other_, "to", "of another");
  lose(NFS3_LINK, OP_LINK);
  EXPECT_EQ(code(store_->rename("from", "to", RenameMode::kNoReplace, Durable::kYes)), Code::kAlreadyExists);
  EXPECT_EQ(must(read_file(*other_, "to", 100)), "of another");
  EXPECT_EQ(must(read_file(*other_, "from", 100)), "content");
}

TEST_P(NfsLost, ALinkIsMade) {
  create(*store_, "f");
  lose(NFS3_LINK);
  must(store_->link("f", "g", Durable::kYes));
  EXPECT_EQ(must(other_->attributes("g")).links, 2u);
}

TEST_P(NfsLost, ALinkToATakenNameIsRefused) {
  create(*store_, "f");
  create(*other_, "g");
  lose(NFS3_LINK);
  EXPECT_EQ(code(store_->link("f", "g", Durable::kYes)), Code::kAlreadyExists);
}

TEST_P(NfsLost, ASymbolicLinkIsMade) {
  lose(NFS3_SYMLINK);
  must(store_->make_symlink("target", "s", Durable::kYes));
  EXPECT_EQ(must(other_->read_symlink("s")), "target");
}

TEST_P(NfsLost, AWriteIsDone) {
  auto file = create(*store_, "f");
  std::string_view pieces[] = {"durable"};
  lose(NFS3_WRITE);
  EXPECT_EQ(must(file->write(0, pieces, Durable::kYes)).after.size, 7u);
  EXPECT_EQ(must(read_file(*other_, "f", 100)), "durable");
}

INSTANTIATE_TEST_SUITE_P(Versions, NfsLost,
                         testing::Combine(testing::Values(3u, 4u),
                                          testing::Values(Lose::kCall, Lose::kAnswer)),
                         [](const auto& info) {
                           return fmt::format("V{}{}", std::get<0>(info.param),
                                              std::get<1>(info.param) == Lose::kCall ? "Call" : "Answer");
                         });

TEST_F(NfsFaultsV4, AKnownFileCostsOneCompoundAndAFileIsMadeInTwo) {
  must(make_directories(*other_, "a/b", 0700, Durable::kYes));
  put(*other_, "a/b/one", "content");
  EXPECT_EQ(must(read_file(*store_, "a/b/one", 1000)), "content");
  EXPECT_EQ(proxy_->calls(), (Calls{{NFSPROC4_COMPOUND, 4}}));
  EXPECT_EQ(must(read_file(*store_, "a/b/one", 1000)), "content");
  EXPECT_EQ(proxy_->calls(), (Calls{{NFSPROC4_COMPOUND, 1}}));
  auto file = create(*store_, "a/b/new");
  EXPECT_EQ(proxy_->calls(), (Calls{{NFSPROC4_COMPOUND, 2}}));
  std::string_view pieces[] = {"con", "tent"};
  EXPECT_EQ(must(file->write(0, pieces, Durable::kYes)).after.size, 7u);
  EXPECT_EQ(proxy_->calls(), (Calls{{NFSPROC4_COMPOUND, 1}}));
}

TEST_F(NfsFaultsV4, ARestartedServerForgetsTheClientIdAndFilesAreMadeAllTheSame) {
  server_->restart();
  auto file = create(*store_, "f", 0640);
  EXPECT_EQ(must(file->attributes()).mode, 0640u);
  std::string_view pieces[] = {"some"};
  must(file->write(0, pieces, Durable::kNo));
  server_->restart();
  EXPECT_EQ(code(file->sync()), Code::kIo);
  must(file->write(0, pieces, Durable::kNo));
  must(file->sync());
}

// Each that asks for a client id while another does makes the server forget what the other was given.
TEST_F(NfsFaultsV4, ManyWhoNeedAClientIdAtOnceAllMakeTheirFiles) {
  auto make_one = [](Store& store, std::string path, int& made) -> Task<void> {
    auto file = co_await store.open(std::move(path), {.write = true, .create = true, .exclusive = true});
    if (!file) ADD_FAILURE() << file.error().to_string();
    made += file.has_value();
  };
  auto make_all = [&make_one](Loop& loop, Store& store, std::string prefix) -> Task<int> {
    int made = 0;
    TaskGroup group(loop);
    for (int i = 0; i < 32; ++i) group.spawn(make_one(store, fmt::format("{}{}", prefix, i), made));
    co_await group.join();
    co_return made;
  };
  for (int round = 0; round < 3; ++round) {
    server_->restart();
    EXPECT_EQ(run(make_all(*loop_, *store_, fmt::format("round{}.", round))), 32);
  }
}

TEST_F(NfsFaults, ARemovalWhoseNameAnotherFileHasTakenSinceIsDone) {
  create(*store_, "f");
  const auto path = server_->export_path() / options_.export_path.substr(sizeof "/export") / "f";
  proxy_->lose(NFS3_REMOVE, Lose::kAnswer, [&] { std::ofstream(path) << "another"; });
  must(store_->remove("f", Durable::kYes));
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(NfsFaults, WhatAnotherClientReplacesIsReadAnew) {
  put(*other_, "settings", "old");
  EXPECT_EQ(must(read_file(*store_, "settings", 100)), "old");
  put(*other_, "staged", "new");
  must(other_->rename("staged", "settings", RenameMode::kReplace, Durable::kYes));
  EXPECT_EQ(must(read_file(*store_, "settings", 100)), "new");
  must(other_->remove("settings", Durable::kYes));
  EXPECT_EQ(code(read_file(*store_, "settings", 100)), Code::kNotFound);
}

TEST_F(NfsFaults, ALateRenameOutOfARemovedStageDirectoryFindsNothing) {
  must(make_directories(*store_, ".canopy/stage/7.1", 0700, Durable::kYes));
  put(*store_, ".canopy/stage/7.1/a", "late");
  must(other_->remove(".canopy/stage/7.1/a", Durable::kYes));
  must(other_->remove_directory(".canopy/stage/7.1", Durable::kYes));
  must(other_->make_directory(".canopy/stage/7.1", 0700, Durable::kYes));
  put(*other_, ".canopy/stage/7.1/a", "of another");
  EXPECT_EQ(code(store_->rename(".canopy/stage/7.1/a", "settings", RenameMode::kReplace, Durable::kYes)),
            Code::kNotFound);
  EXPECT_EQ(code(other_->attributes("settings")), Code::kNotFound);
  EXPECT_EQ(must(read_file(*other_, ".canopy/stage/7.1/a", 100)), "of another");
}

int restarts() {
  const char* wanted = getenv("CANOPY_NFS_RESTARTS");  // the issue's own measure is 100
  return wanted == nullptr ? 2 : atoi(wanted);
}

class NfsRestarts : public NfsFaults, public testing::WithParamInterface<uint32_t> {
 protected:
  uint32_t version() const override { return GetParam(); }
  void lose_commit(std::function<void()> meanwhile) {
    if (version() == 4)
      proxy_->lose_compound(OP_COMMIT, Lose::kCall, std::move(meanwhile));
    else
      proxy_->lose(NFS3_COMMIT, Lose::kCall, std::move(meanwhile));
  }
};

TEST_P(NfsRestarts, AServerThatRestartsBetweenWritesAndCommitLosesNothing) {
  auto file = create(*store_, "f");
  for (int round = 0; round < restarts(); ++round) {
    SCOPED_TRACE(round);
    std::string bytes(2'500'000, static_cast<char>('a' + round % 26));
    std::string_view pieces[] = {std::string_view(bytes).substr(0, 1000),
                                 std::string_view(bytes).substr(1000)};
    lose_commit([] { server_->restart(); });
    proxy_->calls();
    EXPECT_EQ(must(file->write(0, pieces, Durable::kYes)).after.size, bytes.size());
    EXPECT_TRUE(proxy_->has_lost());
    // All of it again, under the new verifier. A compound of libnfs' carries 3,584 bytes at most.
    if (version() == 4)
      EXPECT_GE(proxy_->calls()[NFSPROC4_COMPOUND], 2 * 2'500'000 / 3584);
    else
      EXPECT_EQ(proxy_->calls()[NFS3_WRITE], 6);
    EXPECT_EQ(must(read_file(*other_, "f", 3'000'000)), bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, NfsRestarts, testing::Values(3u, 4u),
                         [](const auto& info) { return fmt::format("V{}", info.param); });

TEST_F(NfsFaults, ASyncAfterARestartSaysThatWhatWasNotSyncedIsLost) {
  auto file = create(*store_, "f");
  std::string_view pieces[] = {"some"};
  must(file->write(0, pieces, Durable::kNo));
  server_->restart();
  auto synced = run(file->sync());
  ASSERT_FALSE(synced);
  EXPECT_EQ(synced.error().code(), Code::kIo);
  EXPECT_THAT(synced.error().message(), testing::HasSubstr("lost what was written since the last sync"));
  must(file->write(0, pieces, Durable::kNo));
  must(file->sync());
  must(file->sync());
}

TEST_F(NfsFaults, WhatWaitsForAServerGoesOnWhenItIsBack) {
  put(*store_, "f", "content");
  server_->kill();
  std::thread later([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    server_->start();
  });
  EXPECT_EQ(must(read_file(*store_, "f", 100)), "content");
  later.join();
  const ServerFigures figures = store_->figures();
  EXPECT_GE(figures.connections_broken, 1u);
  EXPECT_EQ(figures.operations_given_up, 0u);
}

TEST_F(NfsFaults, AFrozenServerIsAnErrorWithinTheLimitThenDownAtOnceAndUpAgainByItself) {
  put(*other_, "f", "content");
  options_.soft_limit = 200 * kMillisecond;
  options_.hard_limit = 2 * kSecond;
  options_.connect_limit = 300 * kMillisecond;
  auto impatient = open("frozen", options_);
  EXPECT_EQ(must(read_file(*impatient, "f", 100)), "content");
  server_->stop();
  auto refused = run(impatient->attributes("f"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kStoreUnavailable);
  EXPECT_EQ(refused.error().object(), "f");
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("store frozen (127.0.0.1) does not answer"));
  auto until_down = [](UringLoop& loop, NfsStore& store) -> Task<void> {
    while (store.figures().state != ServerState::kDown) co_await loop.sleep(10 * kMillisecond);
  };
  run(until_down(*loop_, *impatient));
  const Nanos before = loop_->now();
  EXPECT_EQ(code(read_file(*impatient, "f", 100)), Code::kStoreUnavailable);
  EXPECT_LT(loop_->now() - before, options_.hard_limit);
  EXPECT_GE(impatient->figures().operations_given_up, 2u);
  server_->go_on();
  auto until_up = [](UringLoop& loop, NfsStore& store) -> Task<void> {
    while (store.figures().state != ServerState::kUp) co_await loop.sleep(10 * kMillisecond);
  };
  run(until_up(*loop_, *impatient));
  EXPECT_EQ(must(read_file(*impatient, "f", 100)), "content");
}

TEST_F(NfsFaults, AServerThatRefusesConnectionsIsSaidToRefuseThem) {
  NfsOptions options = server_->options(3, server_->new_directory());
  options.hard_limit = 2 * kSecond;
  auto impatient = open("refused", options);
  server_->kill();
  auto refused = run(impatient->attributes("f"));
  server_->start();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("Connection refused"));
}

TEST_F(NfsFaults, AnExportThatIsNotThereIsNamed) {
  NfsOptions options = server_->options(3, server_->new_directory());
  options.export_path = "/export/none";
  auto opened = run(open_nfs_store(*loop_, options));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Code::kPermissionDenied);  // Ganesha does not tell the two apart
  EXPECT_THAT(opened.error().message(), testing::HasSubstr("no such export"));
  EXPECT_THAT(opened.error().object(), testing::HasSubstr("/export/none"));
}

}  // namespace
}  // namespace canopy
