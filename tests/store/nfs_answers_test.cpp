// What an NfsStore makes of servers that answer otherwise than most do: more durable than asked, later, not
// at all, with coarse times, or with a refusal of the call itself.
#include <thread>

#include "daemon/runtime/sync.h"
#include "tests/store/nfs_faults_fixture.h"

namespace canopy {
namespace {

using Lose = RpcProxy::Lose;

// RFC 1813 lets a server do more than it was asked for.
TEST_F(NfsFaults, WhatAServerMadeDurableUnaskedIsSynced) {
  auto file = create(*store_, "f");
  proxy_->edit(NFS3_WRITE,
               [](std::string& answer) { RpcProxy::put_number(answer, answer.size() - 12, FILE_SYNC); });
  std::string_view pieces[] = {"some"};
  must(file->write(0, pieces, Durable::kNo));
  must(file->sync());
  must(file->sync());
}

TEST_F(NfsFaults, ASyncDuringTheFirstWriteOfAFileIsNoLoss) {
  auto file = create(*store_, "f");
  std::atomic<bool> held{true};
  auto write_some = [](File& to) -> Task<Result<WriteOutcome>> {
    std::string_view pieces[] = {"some"};
    co_return co_await to.write(0, pieces, Durable::kNo);
  };
  // Puts the WRITE off until the COMMIT has been answered.
  proxy_->answer(NFS3_WRITE, [&held](const std::string& call) -> std::optional<std::string> {
    if (!held) return std::nullopt;
    return RpcProxy::accepted(call, {NFS3ERR_JUKEBOX, 0, 0});
  });
  auto both = [&](Loop& loop, File& of) -> Task<Result<void>> {
    Result<WriteOutcome> written;
    TaskGroup group(loop);
    auto keep = [](Task<Result<WriteOutcome>> task, Result<WriteOutcome>& into) -> Task<void> {
      into = co_await std::move(task);
    };
    group.spawn(keep(write_some(of), written));
    while (store_->figures().delays == 0) co_await loop.sleep(kMillisecond);
    Result<void> synced = co_await of.sync();
    held = false;
    co_await group.join();
    if (!written) co_return fail(written.error());
    co_return synced;
  };
  must(both(*loop_, *file));
  must(file->sync());
}

Task<void> until_state(UringLoop& loop, NfsStore& store, ServerState state) {
  while (store.figures().state != state) co_await loop.sleep(10 * kMillisecond);
}

// RFC 5531: the server answers, but carries nothing out.
TEST_F(NfsFaults, AServerThatRefusesEveryCallIsAskedWithPausesAndIsDown) {
  put(*other_, "f", "content");
  options_.hard_limit = 2 * kSecond;
  auto impatient = open("refused", options_);
  const auto system_error = [](const std::string& call) { return RpcProxy::answer_to(call, {0, 0, 0, 5}); };
  proxy_->answer(NFS3_LOOKUP, system_error);
  proxy_->answer(NFS3_GETATTR, system_error);
  proxy_->calls();
  auto refused = run(impatient->attributes("f"));
  EXPECT_LT(proxy_->calls()[NFS3_LOOKUP], 50);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kStoreUnavailable);
  run(until_state(*loop_, *impatient, ServerState::kDown));
  proxy_->calls();
  EXPECT_EQ(code(impatient->attributes("f")), Code::kStoreUnavailable);
  EXPECT_EQ(proxy_->calls()[NFS3_LOOKUP], 0) << "it is down";
  proxy_->pass_all();
  run(until_state(*loop_, *impatient, ServerState::kUp));
  EXPECT_EQ(must(read_file(*impatient, "f", 100)), "content");
}

TEST_F(NfsFaults, ACallThatIsRefusedOnceIsSentAgain) {
  put(*other_, "f", "content");
  std::atomic<int> left{2};
  const auto denied = [&left](const std::string& call) -> std::optional<std::string> {
    if (left-- <= 0) return std::nullopt;
    return RpcProxy::answer_to(call, {1, 1, 1});  // MSG_DENIED: AUTH_BADCRED
  };
  proxy_->answer(NFS3_READ, denied);
  EXPECT_EQ(must(read_file(*store_, "f", 100)), "content");
  left = 2;
  proxy_->answer(NFS3_CREATE, denied);
  create(*store_, "g");
  EXPECT_EQ(store_->figures().connections_broken, 0u);
}

TEST_F(NfsFaults, AServerThatGreetsAndAnswersNothingElseIsDown) {
  put(*other_, "f", "content");
  options_.soft_limit = 200 * kMillisecond;
  options_.hard_limit = 2 * kSecond;
  auto impatient = open("mute", options_);
  EXPECT_EQ(must(read_file(*impatient, "f", 100)), "content");
  const auto nothing = [](const std::string&) { return std::string(); };
  for (uint32_t procedure : {NFS3_GETATTR, NFS3_LOOKUP, NFS3_READ}) proxy_->answer(procedure, nothing);
  EXPECT_EQ(code(read_file(*impatient, "f", 100)), Code::kStoreUnavailable);
  run(until_state(*loop_, *impatient, ServerState::kDown));
  proxy_->calls();
  EXPECT_EQ(code(read_file(*impatient, "f", 100)), Code::kStoreUnavailable);
  EXPECT_EQ(proxy_->calls()[NFS3_READ], 0);
  proxy_->pass_all();
  run(until_state(*loop_, *impatient, ServerState::kUp));
  EXPECT_EQ(must(read_file(*impatient, "f", 100)), "content");
}

// Each of its calls is answered in time, but there are many.
TEST_F(NfsFaultsV4, AnOperationOfManyCallsHasOneLimit) {
  options_.hard_limit = 2 * kSecond;
  auto impatient = open("slow", options_);
  auto file = create(*impatient, "f");
  proxy_->edit(NFSPROC4_COMPOUND,
               [](std::string&) { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
  const std::string bytes(900'000, 'x');
  std::string_view pieces[] = {bytes};
  EXPECT_EQ(code(file->write(0, pieces, Durable::kYes)), Code::kStoreUnavailable);
  proxy_->pass_all();
}

TEST_F(NfsFaults, AServerThatAsksForPatienceIsAskedAgain) {
  std::atomic<int> left{0};
  const auto later = [&left](std::initializer_list<uint32_t> result) {
    return [&left,
            words = std::vector<uint32_t>(result)](const std::string& call) -> std::optional<std::string> {
      if (left-- <= 0) return std::nullopt;
      std::string record = RpcProxy::accepted(call, {NFS3ERR_JUKEBOX});
      for (size_t i = 0; i < words.size(); ++i) record.append(4, '\0');
      RpcProxy::put_number(record, 0, 0x80000000u | static_cast<uint32_t>(record.size() - 4));
      return record;
    };
  };
  uint64_t delays = 0;
  auto twice = [&](uint32_t procedure, std::initializer_list<uint32_t> rest, auto what) {
    SCOPED_TRACE(procedure);
    left = 2;
    proxy_->answer(procedure, later(rest));
    what();
    EXPECT_EQ(store_->figures().delays, delays += 2);
    proxy_->pass_all();
  };
  std::unique_ptr<File> file;
  twice(NFS3_CREATE, {0, 0}, [&] { file = create(*store_, "f"); });
  twice(NFS3_MKDIR, {0, 0}, [&] { must(store_->make_directory("d", 0700, Durable::kYes)); });
  std::string_view pieces[] = {"some"};
  twice(NFS3_WRITE, {0, 0}, [&] { must(file->write(0, pieces, Durable::kYes)); });
  twice(NFS3_READ, {0}, [&] { EXPECT_EQ(must(read_file(*store_, "f", 100)), "some"); });
  twice(NFS3_GETATTR, {}, [&] { EXPECT_EQ(must(file->attributes()).size, 4u); });
  must(file->write(0, pieces, Durable::kNo));
  twice(NFS3_COMMIT, {0, 0}, [&] { must(file->sync()); });
  twice(NFS3_RENAME, {0, 0, 0, 0},
        [&] { must(store_->rename("f", "g", RenameMode::kReplace, Durable::kYes)); });
  twice(NFS3_REMOVE, {0, 0}, [&] { must(store_->remove("g", Durable::kYes)); });
  EXPECT_EQ(code(other_->attributes("g")), Code::kNotFound);
}

TEST_F(NfsFaultsV4, AServerThatAsksForPatienceIsAskedAgain) {
  std::atomic<int> left{3};
  proxy_->answer(NFSPROC4_COMPOUND, [&left](const std::string& call) -> std::optional<std::string> {
    if (left-- <= 0) return std::nullopt;
    return RpcProxy::accepted(call, {NFS4ERR_DELAY, 0, 0});
  });
  auto file = create(*store_, "f");
  left = 3;
  std::string_view pieces[] = {"some"};
  must(file->write(0, pieces, Durable::kYes));
  EXPECT_EQ(must(read_file(*other_, "f", 100)), "some");
  EXPECT_EQ(store_->figures().delays, 6u);
}

// Cuts the answer off behind the operation that makes something: what came after it, the server puts off.
void put_off_what_follows(std::string& answer, uint32_t making) {
  size_t at = 28 + 4;
  at += 4 + (RpcProxy::number(answer, at) + 3) / 4 * 4;
  const size_t count = at;
  at += 4 + 8;  // PUTFH
  if (RpcProxy::number(answer, count) < 3 || RpcProxy::number(answer, at) != making) return;
  at += 8 + (making == OP_OPEN ? 16 + 20 + 4 : 20);
  at += 4 + 4 * RpcProxy::number(answer, at);  // attributes that were set
  if (making == OP_OPEN) at += 4;              // no delegation
  ASSERT_EQ(RpcProxy::number(answer, at), uint32_t{OP_GETFH});
  answer.resize(at + 8);
  RpcProxy::put_number(answer, at + 4, NFS4ERR_DELAY);
  RpcProxy::put_number(answer, count, 3);
  RpcProxy::put_number(answer, 28, NFS4ERR_DELAY);
}

TEST_F(NfsFaultsV4, WhatWasMadeBeforeTheServerAskedForPatienceIsOurs) {
  proxy_->edit(NFSPROC4_COMPOUND, [](std::string& answer) { put_off_what_follows(answer, OP_OPEN); });
  auto file = create(*store_, "claim", 0640);
  EXPECT_EQ(must(file->attributes()).mode, 0640u);
  EXPECT_EQ(code(store_->open("claim", {.write = true, .create = true, .exclusive = true})),
            Code::kAlreadyExists);
  proxy_->edit(NFSPROC4_COMPOUND, [](std::string& answer) { put_off_what_follows(answer, OP_CREATE); });
  must(store_->make_directory("d", 0750, Durable::kYes));
  EXPECT_EQ(must(other_->attributes("d")).mode, 0750u);
  EXPECT_EQ(code(store_->make_directory("d", 0750, Durable::kYes)), Code::kAlreadyExists);
  EXPECT_EQ(store_->figures().delays, 0u);
}

// As a server shows times that keeps seconds only.
void drop_nanoseconds(std::string& answer, bool of_creation) {
  if (RpcProxy::number(answer, 28) != NFS3_OK) return;
  size_t at = of_creation ? 36 : 32;
  at += 4 + (RpcProxy::number(answer, at) + 3) / 4 * 4;
  if (RpcProxy::number(answer, at) == 1) RpcProxy::put_number(answer, at + 4 + 64, 0);
}

TEST_F(NfsFaults, ACreationWhoseAnswerWasLostIsOursAlsoWhereTimesAreCoarse) {
  proxy_->edit(NFS3_LOOKUP, [](std::string& answer) { drop_nanoseconds(answer, false); });
  for (uint32_t procedure : {NFS3_CREATE, NFS3_MKDIR})
    proxy_->edit(procedure, [](std::string& answer) { drop_nanoseconds(answer, true); });
  create(*store_, "first");  // says what the server makes of times
  proxy_->lose(NFS3_CREATE, Lose::kAnswer);
  create(*store_, "claim");
  EXPECT_TRUE(proxy_->has_lost());
  proxy_->lose(NFS3_MKDIR, Lose::kAnswer);
  must(store_->make_directory("d", 0700, Durable::kYes));
  EXPECT_TRUE(proxy_->has_lost());
  create(*other_, "taken");
  proxy_->lose(NFS3_CREATE, Lose::kCall);
  EXPECT_EQ(code(store_->open("taken", {.write = true, .create = true, .exclusive = true})),
            Code::kAlreadyExists);
}

// What was written without a sync() is forgotten, when there is much of it, of files that are closed.
TEST_F(NfsFaults, FilesThatWereNeverSyncedDoNotMakeAllWritesDurable) {
  options_.unsynced_max = 2;
  auto forgetful = open("forgetful", options_);
  std::atomic<int> durable{0};
  proxy_->edit(NFS3_WRITE, [&durable](std::string& answer) {
    durable += RpcProxy::number(answer, answer.size() - 12) != UNSTABLE ? 1 : 0;
  });
  std::string_view pieces[] = {"some"};
  for (int i = 0; i < 5; ++i) {
    auto file = create(*forgetful, fmt::format("f{}", i));
    must(file->write(0, pieces, Durable::kNo));
  }
  EXPECT_EQ(durable, 0);
  auto one = create(*forgetful, "one"), two = create(*forgetful, "two"), three = create(*forgetful, "three");
  for (File* file : {one.get(), two.get(), three.get()}) must(file->write(0, pieces, Durable::kNo));
  EXPECT_EQ(durable, 1);
  server_->restart();
  EXPECT_EQ(code(one->sync()), Code::kIo);
  must(three->sync());
}

}  // namespace
}  // namespace canopy
