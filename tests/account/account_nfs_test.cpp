// The account over a real NFS server, where what other stores only simulate is so: late names, seals that
// show in the answers of writes, slices that others have sealed.
#include <random>

#include "account_fixture.h"
#include "daemon/account/cached_dicts.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/store/nfs/nfs_store.h"
#include "tests/store/nfs_server.h"

namespace canopy {
namespace {

NfsServer& server() {
  static NfsServer one;
  return one;
}

// One process, with connections of its own. While another's loop runs it stands still.
class Process {
 public:
  Process(const NfsOptions& of, uint64_t epoch) : epoch_(epoch) {
    auto opened = run(open_nfs_store(*loop_, of));
    CANOPY_CHECK(opened.has_value());
    store_ = std::move(*opened);
    options_.checkpoint_tail_bytes = 20'000;
  }
  ~Process() { close(); }

  template <class T>
  T run(Task<T> task) {
    return loop_->run_until_done(std::move(task));
  }
  void open() {
    close();
    LogEnvironment environment;
    environment.store = store_.get();
    environment.loop = loop_.get();
    environment.files = &files_;
    environment.epoch = epoch_;
    environment.options.slice_bytes_max = 64u << 10;
    environment.options.copy_chunk_bytes = 16u << 10;
    CANOPY_CHECK(run(make_directories(*store_, kDirectory, 0700, Durable::kYes)));
    auto opened = run(Account::open(environment, kName, kDirectory, options_));
    CANOPY_CHECK(opened.has_value());
    account_ = std::move(*opened);
  }
  void close() {
    if (account_) run(account_->close());
    account_.reset();
  }
  Result<RequestResult> append(std::string mailbox, std::string_view content) {
    NewMessage message;
    message.mailbox = std::move(mailbox);
    message.content = content;
    message.create_mailbox = true;
    return run(account_->append(std::move(message)));
  }
  Account& account() { return *account_; }
  std::string picture() const { return picture_of(account_->state()); }
  Store& store() { return *store_; }
  Loop& loop() { return *loop_; }

 private:
  std::unique_ptr<UringLoop> loop_ = *UringLoop::create();
  std::unique_ptr<Store> store_;
  SliceFiles files_;
  const uint64_t epoch_;
  AccountOptions options_;
  std::shared_ptr<Account> account_;
};

class AccountOverNfs : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    if (const std::string& why = NfsServer::why_unavailable(); !why.empty())
      GTEST_SKIP() << "NOT TESTED: " << why;
    of_ = server().options(GetParam(), server().new_directory());
  }
  std::unique_ptr<Process> process() { return std::make_unique<Process>(of_, ++epoch_); }

  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  // Any mailbox, and any message of it: none in an empty one.
  const MailboxState& mailbox(Process& of) {
    const auto& all = of.account().state().mailboxes();
    return std::next(all.begin(), below(static_cast<uint32_t>(all.size())))->second;
  }
  std::vector<UidRange> some(const MailboxState& box) {
    if (box.rows.empty()) return {};
    const uint32_t first = below(static_cast<uint32_t>(box.rows.size()));
    const size_t last = std::min<size_t>(first + below(3), box.rows.size() - 1);
    return {{box.rows[first].uid, box.rows[last].uid}};
  }
  void deliver(Process& to) {
    const std::string content = message_text(++number_, 100 + below(12'000));
    auto done = to.append(below(3) == 0 ? "Work/Old" : "INBOX", content);
    ASSERT_TRUE(done) << done.error().to_string();
    contents_.insert(content);
  }
  void change(Process& of) {
    if (of.account().state().mailboxes().empty()) return deliver(of);
    const MailboxState& box = mailbox(of);
    const uint32_t id = box.id, what = below(12);
    const std::vector<UidRange> uids = some(box);
    Result<RequestResult> done{};
    if (what < 5 || uids.empty()) return deliver(of);
    if (what < 8)
      done = of.run(of.account().store_flags(
          {id, uids, FlagsMode::kAdd, kFlagFlagged, {fmt::format("k{}", below(4))}}));
    else if (what < 10)
      done =
          of.run(of.account().copy(id, box.name == "INBOX" ? "Work" : "INBOX", uids, what == 9, RequestId{}));
    else if (what == 10)
      done = of.run(of.account().expunge(id, uids, false, RequestId{}));
    else
      done = of.run(of.account().rename_mailbox("Work/Old", fmt::format("Kept/{}", ++number_), RequestId{}));
    const bool absent = !done && done.error().code() == Code::kNotFound;  // a mailbox that is not there now
    ASSERT_TRUE(done || absent) << what << ": " << done.error().to_string();
  }
  // Every message is one that was delivered, byte by byte.
  void read_all(Process& of) {
    for (const auto& [id, box] : of.account().state().mailboxes()) {
      for (const MessageRow& row : box.rows) {
        auto content = of.run(of.account().fetch(id, row.uid, 0, 1u << 20));
        ASSERT_TRUE(content) << content.error().to_string();
        EXPECT_TRUE(contents_.contains(*content)) << box.name << " " << row.uid;
      }
    }
    auto checked = of.run(of.account().check());
    ASSERT_TRUE(checked) << checked.error().to_string();
    EXPECT_THAT(of.account().damages(), testing::IsEmpty());
  }

  NfsOptions of_;
  uint64_t epoch_ = kEpoch;
  std::minstd_rand random_{7};
  uint32_t number_ = 0;
  std::set<std::string> contents_;
};

TEST_P(AccountOverNfs, EachProcessSeesWhatTheOneBeforeHasDone) {
  std::string picture;
  size_t slices = 0;
  for (int round = 0; round < 8; ++round) {
    SCOPED_TRACE(round);
    auto writer = process();
    writer->open();
    if (round > 0) EXPECT_EQ(writer->picture(), picture);
    for (int i = 0; i < 25; ++i) change(*writer);
    if (round % 3 == 1) {
      auto compacted = writer->run(writer->account().compact());
      ASSERT_TRUE(compacted) << compacted.error().to_string();
    }
    for (int i = 0; i < 5; ++i) change(*writer);
    picture = writer->picture();
    slices = std::max(slices, writer->account().slices().size());
    writer->open();  // again, by the same process
    EXPECT_EQ(writer->picture(), picture);
    read_all(*writer);
  }
  EXPECT_GT(slices, 2u);
}

TEST_P(AccountOverNfs, WhoWasTakenOverAcknowledgesNothingAndItsBytesCountForNothing) {
  auto old = process();
  old->open();
  for (int i = 0; i < 5; ++i) deliver(*old);
  for (int round = 0; round < 5; ++round) {
    SCOPED_TRACE(round);
    auto next = process();
    next->open();
    EXPECT_EQ(next->picture(), old->picture());
    deliver(*next);  // takes the account over
    const std::string picture = next->picture();
    const std::string late = message_text(++number_, 3000);
    auto refused = old->append("INBOX", late);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::kFenced) << refused.error().to_string();
    EXPECT_FALSE(old->account().usable());
    EXPECT_EQ(next->picture(), picture);
    deliver(*next);
    const std::string after = next->picture();
    auto reader = process();
    reader->open();
    EXPECT_EQ(reader->picture(), after);
    read_all(*reader);
    old = std::move(next);
  }
}

TEST_P(AccountOverNfs, AServerThatIsStartedAgainHasWhatWasAcknowledged) {
  auto writer = process();
  writer->open();
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    for (int i = 0; i < 10; ++i) change(*writer);
    server().restart();
    for (int i = 0; i < 3; ++i) deliver(*writer);  // waits for it, and goes on
    auto reader = process();
    reader->open();
    EXPECT_EQ(reader->picture(), writer->picture());
    read_all(*reader);
  }
}

// The server is back before its disk: it does not know the root's handle, which says nothing of the file.
TEST_P(AccountOverNfs, ADictionaryOnAServerWithoutItsDiskIsNotTakenForAnEmptyOne) {
  const std::string path = std::string(kDirectory) + "/small.settings";
  auto with = [&path](Process& on, auto use) {
    SettingsFiles files(on.store(), kEpoch, 0);
    CachedDicts dicts(on.loop(), files);
    auto held = on.run(dicts.hold(path));
    use(dicts, held);
    return held ? Code::kOk : held.error().code();
  };
  auto writer = process();
  CANOPY_CHECK(writer->run(make_directories(writer->store(), kDirectory, 0700, Durable::kYes)));
  with(*writer, [&](CachedDicts& dicts, auto& held) {
    ASSERT_TRUE(held);
    ASSERT_TRUE(writer->run(dicts.replace(*held, 0, dict::Dict{{"Name", "here"}})));
  });
  const auto at = server().export_path() / of_.export_path.substr(sizeof "/export");
  const auto away = at.string() + ".away";
  server().kill();
  std::filesystem::copy(at, away, std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(at);
  std::filesystem::create_directories(at);
  server().start();
  EXPECT_EQ(with(*writer, [](CachedDicts&, auto&) {}), Code::kStoreUnavailable);
  server().kill();
  std::filesystem::remove_all(at);
  std::filesystem::rename(away, at);
  server().start();
  with(*process(), [](CachedDicts&, auto& held) {
    ASSERT_TRUE(held);
    EXPECT_EQ(held->file().dict, (dict::Dict{{"Name", "here"}}));
  });
}

INSTANTIATE_TEST_SUITE_P(Nfs, AccountOverNfs, testing::Values(3u, 4u),
                         [](const auto& version) { return fmt::format("v{}", version.param); });

}  // namespace
}  // namespace canopy
