// Summaries from the catalog: derived once, and never served for a message that they were not derived from.
#include "daemon/catalog/summaries.h"

#include "daemon/account/settings_files.h"
#include "tests/account/account_fixture.h"
#include "tests/catalog/catalog_fixture.h"

namespace canopy {
namespace {

using testing::ElementsAre;

class SummariesTest : public CatalogTest {
 protected:
  SummariesTest() { start(); }
  ~SummariesTest() override {
    backend_->close();
    catalog.reset();
  }
  void start() {
    if (backend_) backend_->close();
    catalog.reset();
    catalog = std::make_unique<Catalog>(options());
    run(catalog->start(loop));
    backend_ = std::make_unique<Backend>(world, disk_, ++epoch_);
    ASSERT_TRUE(backend_->open());
  }
  Backend& backend() { return *backend_; }
  uint32_t append(std::string subject, std::string body = "text") {
    auto done = backend().append("Subject: " + subject + "\r\n\r\n" + body, "INBOX");
    CANOPY_CHECK(done.has_value());
    return done->uids.front().first;
  }
  std::vector<UidSummary> ask(std::vector<uint32_t> uids, std::string box = "INBOX",
                              uint64_t bytes_max = 1u << 20) {
    auto answer =
        world.run_until_done(backend().loop, summarize(catalog.get(), backend().loop, backend().account,
                                                       backend().id(box), std::move(uids), bytes_max, done_));
    CANOPY_CHECK(answer.has_value());
    return std::move(*answer);
  }
  std::vector<std::string> subjects(std::vector<uint32_t> uids, std::string box = "INBOX") {
    std::vector<std::string> out;
    for (UidSummary& each : ask(std::move(uids), std::move(box))) {
      out.push_back(fmt::format("{} {}", each.uid,
                                each.summary ? each.summary->subject : each.summary.error().message()));
    }
    return out;
  }
  uint64_t derived() { return catalog->counters().summaries_derived.load(); }
  uint64_t cached() { return catalog->counters().summaries_cached.load(); }
  std::pair<uint64_t, uint64_t> check() {
    auto dropped = backend().run(check_summaries(catalog.get(), backend().loop, backend().account));
    CANOPY_CHECK(dropped.has_value());
    return {dropped->left_behind, dropped->wrong};
  }

  MemoryDisk disk_;
  std::unique_ptr<Catalog> catalog;
  std::unique_ptr<Backend> backend_;
  uint64_t epoch_ = 1ull << 32;
  size_t done_ = 0;
};

TEST_F(SummariesTest, AreDerivedOnceAndThereAfterARestart) {
  uint32_t one = append("one"), two = append("two");
  EXPECT_THAT(subjects({one, 999, two}), ElementsAre("1 one", "2 two"));
  EXPECT_EQ(done_, 3u);
  EXPECT_EQ(derived(), 2u);
  EXPECT_THAT(subjects({two, one}), ElementsAre("2 two", "1 one"));
  EXPECT_EQ(derived(), 2u);
  EXPECT_EQ(cached(), 2u);
  start();
  EXPECT_THAT(subjects({one, two}), ElementsAre("1 one", "2 two"));
  EXPECT_EQ(derived(), 0u);
}

TEST_F(SummariesTest, AreDerivedAgainWhenTheCatalogWasDeleted) {
  uint32_t one = append("one");
  subjects({one});
  backend().close();
  catalog.reset();
  std::filesystem::remove_all(options().directory);
  start();
  EXPECT_THAT(subjects({one}), ElementsAre("1 one"));
  EXPECT_EQ(derived(), 1u);
}

TEST_F(SummariesTest, WithoutACatalogEachIsDerived) {
  uint32_t one = append("one");
  catalog.reset();
  EXPECT_THAT(subjects({one}), ElementsAre("1 one"));
}

TEST_F(SummariesTest, AnAccountOfTheSameNameHasItsOwn) {
  subjects({append("of the first")});
  backend().close();
  ASSERT_TRUE(backend().run(remove_tree(backend().store, kDirectory)));
  ASSERT_TRUE(backend().open());
  EXPECT_THAT(subjects({append("of the other!")}), ElementsAre("1 of the other!"));
}

TEST_F(SummariesTest, ARestoredAccountIsNotServedWhatCameAfterItsBackup) {
  append("kept");
  backend().close();
  std::map<std::string, std::string> backup;
  for (const DirectoryEntry& entry : disk_.list(kDirectory, 0)->entries) {
    std::string path = std::string(kDirectory) + "/" + entry.name;
    backup[path] = *backend().run(read_file(backend().store, path, 1u << 20));
  }
  ASSERT_TRUE(backend().open());
  EXPECT_THAT(subjects({append("lost")}), ElementsAre("2 lost"));
  backend().close();
  ASSERT_TRUE(backend().run(remove_tree(backend().store, kDirectory)));
  ASSERT_TRUE(backend().run(make_directories(backend().store, kDirectory, 0700, Durable::kYes)));
  for (const auto& [path, bytes] : backup) {
    auto file = backend().run(backend().store.open(path, {.write = true, .create = true}));
    std::string_view pieces[] = {bytes};
    ASSERT_TRUE(backend().run((*file)->write(0, pieces, Durable::kYes)));
  }
  start();
  EXPECT_THAT(subjects({1, append("else")}), ElementsAre("1 kept", "2 else"));
}

TEST_F(SummariesTest, AreOfTheSameMessagesAfterACompaction) {
  std::vector<uint32_t> uids;
  for (int i = 0; i < 20; ++i) uids.push_back(append(fmt::format("number {}", i)));
  auto before = subjects(uids);
  ASSERT_TRUE(backend().expunge(backend().id("INBOX"), {{3, 9}}));
  ASSERT_TRUE(backend().run(backend().account->compact()));
  before.erase(before.begin() + 2, before.begin() + 9);
  EXPECT_EQ(subjects(uids), before);
  EXPECT_EQ(subjects(uids), before);
}

TEST_F(SummariesTest, OfALargeMessageTakePiecesOfIt) {
  uint32_t small = append("small");
  std::string header = "Subject: large\r\n\r\n", piece(kInlineContentBytesMax, 'x');
  NewMessage message;
  message.mailbox = "INBOX";
  backend().account->upload_begin();
  for (std::string_view bytes :
       {std::string_view(header), std::string_view(piece), std::string_view(piece)}) {
    auto part = backend().run(backend().account->upload(bytes));
    ASSERT_TRUE(part);
    message.parts.push_back(*part);
    message.parts_bytes += bytes.size();
  }
  uint32_t large = backend().run(backend().account->append(std::move(message)))->uids.front().first;
  backend().account->upload_end();
  ASSERT_TRUE(backend().copy(backend().id("INBOX"), "INBOX", {{large, large}}));
  auto answer = ask({small, large, large + 1});
  ASSERT_EQ(answer.size(), 3u);
  ASSERT_TRUE(answer[1].summary && answer[2].summary);
  EXPECT_EQ(answer[1].summary->subject, "large");
  EXPECT_NE(answer[1].summary->structure.find(fmt::format(" {} ", 2 * piece.size())), std::string::npos);
  EXPECT_EQ(*answer[1].summary, *answer[2].summary);
}

TEST_F(SummariesTest, StopAtTheirBytesAndSayHowFarTheyCame) {
  std::vector<uint32_t> uids;
  for (int i = 0; i < 200; ++i) uids.push_back(append(std::string(500, 's')));
  std::vector<uint32_t> seen;
  while (!uids.empty()) {
    for (const UidSummary& each : ask(uids, "INBOX", 10'000)) seen.push_back(each.uid);
    ASSERT_GT(done_, 0u);
    ASSERT_LT(done_, 30u);
    uids.erase(uids.begin(), uids.begin() + static_cast<long>(done_));
  }
  EXPECT_EQ(seen.size(), 200u);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
}

TEST_F(SummariesTest, CheckDropsRowsThatAreNoMessagesAnyMore) {
  uint32_t one = append("one"), two = append("two");
  subjects({one, two});
  EXPECT_EQ(check(), std::pair(uint64_t{0}, uint64_t{0}));
  ASSERT_TRUE(backend().expunge(backend().id("INBOX"), {{one, one}}));
  EXPECT_EQ(check(), std::pair(uint64_t{1}, uint64_t{0}));
  EXPECT_EQ(check(), std::pair(uint64_t{0}, uint64_t{0}));
  // A defect of the catalog's: another message's summary.
  const MailboxState& box = *backend().box("INBOX");
  std::string key = backend().account->content_id(*box.find(two));
  auto broken = run(catalog->run(loop, [&](CatalogRows& rows) -> Result<void> {
    CANOPY_ASSIGN(auto value, rows.get(CatalogTable::kSummaries, key));
    size_t at = value->find("two");
    CatalogChanges changes;
    changes.put(CatalogTable::kSummaries, key, value->replace(at, 3, "tow"));
    return rows.write(changes);
  }));
  ASSERT_TRUE(broken);
  EXPECT_THAT(subjects({two}), ElementsAre("2 tow"));
  EXPECT_EQ(check(), std::pair(uint64_t{0}, uint64_t{1}));
  EXPECT_THAT(subjects({two}), ElementsAre("2 two"));
}

}  // namespace
}  // namespace canopy
