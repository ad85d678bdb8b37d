// What `canopyctl store check` and `bench` find out.
#include "daemon/store/store_check.h"

#include "daemon/store/store_bench.h"
#include "daemon/store/store_path.h"
#include "tests/store/store_fixture.h"

namespace canopy {
namespace {

// What a store may do wrong.
struct Misconduct {
  bool folds_case = false;           // of names in capitals
  bool gives_a_name_to_all = false;  // who make it at the same time
  size_t path_bytes_max = kStorePathBytesMax;
  std::optional<uint64_t> files_free = {};
  std::function<void(const std::string& path, Attributes& of)> attributes = {};
  std::function<void(DirectoryPage& page)> listing = {};
};

class MisbehavingStore final : public Store {
 public:
  MisbehavingStore(Store& inner, Misconduct how) : inner_(inner), how_(std::move(how)) {}

  std::string_view name() const override { return inner_.name(); }
  bool shared() const override { return inner_.shared(); }
  Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override {
    if (path.size() > how_.path_bytes_max) co_return fail(Code::kNoSpaceForName, path, "too long");
    if (how_.gives_a_name_to_all) options.exclusive = false;
    co_return co_await inner_.open(spelt(std::move(path)), options);
  }
  Task<Result<Attributes>> attributes(std::string path) override {
    auto found = co_await inner_.attributes(spelt(path));
    if (found && how_.attributes) how_.attributes(path, *found);
    co_return found;
  }
  Task<Result<void>> set_attributes(std::string path, SetAttributes change, Durable durable) override {
    return inner_.set_attributes(spelt(std::move(path)), change, durable);
  }
  Task<Result<void>> make_directory(std::string path, uint32_t mode, Durable durable) override {
    if (path.size() > how_.path_bytes_max) co_return fail(Code::kNoSpaceForName, path, "too long");
    co_return co_await inner_.make_directory(spelt(std::move(path)), mode, durable);
  }
  Task<Result<void>> remove_directory(std::string path, Durable durable) override {
    return inner_.remove_directory(spelt(std::move(path)), durable);
  }
  Task<Result<void>> remove(std::string path, Durable durable) override {
    return inner_.remove(spelt(std::move(path)), durable);
  }
  Task<Result<void>> rename(std::string from, std::string to, RenameMode mode, Durable durable) override {
    return inner_.rename(spelt(std::move(from)), spelt(std::move(to)), mode, durable);
  }
  Task<Result<void>> link(std::string from, std::string to, Durable durable) override {
    return inner_.link(spelt(std::move(from)), spelt(std::move(to)), durable);
  }
  Task<Result<void>> make_symlink(std::string target, std::string path, Durable durable) override {
    return inner_.make_symlink(std::move(target), spelt(std::move(path)), durable);
  }
  Task<Result<std::string>> read_symlink(std::string path) override {
    return inner_.read_symlink(spelt(std::move(path)));
  }
  Task<Result<DirectoryPage>> list(std::string path, uint64_t cookie, Listing listing) override {
    auto page = co_await inner_.list(spelt(std::move(path)), cookie, listing);
    if (page && how_.listing) how_.listing(*page);
    co_return page;
  }
  Task<Result<void>> sync_directory(std::string path) override {
    return inner_.sync_directory(spelt(std::move(path)));
  }
  Task<Result<StoreSpace>> space() override {
    auto space = co_await inner_.space();
    if (space && how_.files_free) space->files_free = *how_.files_free;
    co_return space;
  }

 private:
  std::string spelt(std::string path) const {
    const size_t name = path.rfind('/') + 1;
    const auto is_capital = [](char c) { return c >= 'A' && c <= 'Z'; };
    if (how_.folds_case && std::all_of(path.begin() + static_cast<ptrdiff_t>(name), path.end(), is_capital))
      for (size_t i = name; i < path.size(); ++i) path[i] = static_cast<char>(path[i] - 'A' + 'a');
    return path;
  }

  Store& inner_;
  const Misconduct how_;
};

class StoreCheckTest : public testing::Test {
 protected:
  template <class T>
  T run(Task<T> task) {
    return loop->run_until_done(std::move(task));
  }
  std::map<std::string, StoreFinding> check(Store& store) {
    std::map<std::string, StoreFinding> found;
    for (StoreFinding& finding : run(check_store(store, *loop))) found[finding.requirement] = finding;
    return found;
  }
  std::vector<std::string> left_over(Store& store) {
    std::vector<std::string> names;
    auto entries = run(list_all(store, ".canopy", 100));
    for (const DirectoryEntry& entry : *entries) names.push_back(entry.name);
    return names;
  }

  std::unique_ptr<UringLoop> loop = *UringLoop::create();
};

TEST_F(StoreCheckTest, ALocalDirectoryIsFitAndNothingStays) {
  umask(0);
  TemporaryDirectory directory;
  auto store = *LocalStore::open_root(*loop, directory.path(), {.name = "local"});
  for (const auto& [requirement, finding] : check(*store)) {
    // Whether there is room for a million files depends on the machine.
    if (requirement == "millions of small files") continue;
    EXPECT_TRUE(finding.good) << requirement << ": " << finding.found;
    EXPECT_TRUE(finding.advice.empty());
  }
  EXPECT_THAT(left_over(*store), testing::IsEmpty());
}

TEST_F(StoreCheckTest, WhatAStoreCannotDoIsNamedWithAdvice) {
  MemoryStore memory(loop.get(), {.name = "memory", .yields_max = 2});
  FaultPlan plan;
  plan.error = 1;
  plan.error_code = Code::kUnsupported;
  plan.operations = FaultPlan::only(StoreOperation::kRename);
  FaultyStore store(memory, *loop, plan, 1);
  auto found = check(store);
  EXPECT_FALSE(found.at("rename and link").good);
  EXPECT_FALSE(found.at("rename and link").advice.empty());
  EXPECT_TRUE(found.at("exclusive create").good) << found.at("exclusive create").found;
  EXPECT_TRUE(found.at("multi-byte names").good) << found.at("multi-byte names").found;
  plan.operations = FaultPlan::only(StoreOperation::kWrite);
  store.set_plan(plan);
  found = check(store);
  EXPECT_FALSE(found.at("durable writes").good);
  EXPECT_FALSE(found.at("many writers in one directory").good);
}

TEST_F(StoreCheckTest, EachMisconductIsFoundByTheRequirementThatItBreaksAndByNoOther) {
  struct Case {
    std::string requirement;  // empty: none
    std::string found;
    Misconduct how;
  };
  const auto number_of_path = [](const std::string& path, Attributes& of) {
    of.file_id = std::hash<std::string>()(path) >> 24;
  };
  const auto composed = [](DirectoryPage& page) {
    for (DirectoryEntry& entry : page.entries)
      if (entry.name == "Jo\u0308rg") entry.name = "J\u00f6rg";
  };
  const auto one_missing = [](DirectoryPage& page) {
    if (page.entries.size() > 1000) page.entries.pop_back();
  };
  const auto one_twice = [](DirectoryPage& page) {
    if (page.entries.size() > 1000) page.entries.push_back(page.entries.front());
  };
  const Case cases[] = {
      {"", "", {}},
      {"clock", "s off ours", {.attributes = [](auto&, Attributes& of) { of.modified.seconds -= 3600; }}},
      {"file numbers", "another number after a rename", {.attributes = number_of_path}},
      {"file numbers", "two files have one", {.attributes = [](auto&, Attributes& of) { of.file_id = 7; }}},
      {"file numbers",
       "is over 2^40",
       {.attributes = [](auto&, Attributes& of) { of.file_id |= 1ull << 41; }}},
      {"multi-byte names", "case: the name is taken", {.folds_case = true}},
      {"multi-byte names", "other bytes than they were made with", {.listing = composed}},
      {"paths far over 255 bytes", "too long", {.path_bytes_max = 1024}},
      {"more than 10,000 entries in a directory", "were listed", {.listing = one_missing}},
      {"more than 10,000 entries in a directory", "were listed", {.listing = one_twice}},
      {"exclusive create", "32 of 32 made the same name", {.gives_a_name_to_all = true}},
      {"millions of small files", "room for 5000 more files only", {.files_free = 5000}},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.requirement + ": " + one.found);
    MemoryDisk disk({.wall_clock_ns = [this] { return loop->wall_clock_ns(); }});
    MemoryStore memory(loop.get(), disk, {.name = "memory"});
    MisbehavingStore store(memory, one.how);
    for (const auto& [requirement, finding] : check(store)) {
      EXPECT_EQ(finding.good, requirement != one.requirement) << requirement << ": " << finding.found;
      EXPECT_EQ(finding.advice.empty(), finding.good) << requirement;
      if (!finding.good) EXPECT_THAT(finding.found, testing::HasSubstr(one.found));
    }
  }
}

TEST_F(StoreCheckTest, ABenchHasARowForEachOperationAndDepth) {
  umask(0);
  TemporaryDirectory directory;
  auto store = *LocalStore::open_root(*loop, directory.path(), {.name = "local"});
  auto rows = run(measure_store(*store, *loop, 20 * kMillisecond));
  ASSERT_TRUE(rows) << rows.error().to_string();
  EXPECT_EQ(rows->size(), 8u);
  for (const StoreMeasurement& row : *rows) {
    EXPECT_GT(row.operations, 0u) << row.operation;
    EXPECT_LE(row.p50, row.p99);
  }
  EXPECT_THAT(left_over(*store), testing::IsEmpty());
}

}  // namespace
}  // namespace canopy
