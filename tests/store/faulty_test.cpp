// The faults that FaultyStore injects, on virtual time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/runtime/sim_loop.h"
#include "daemon/store/faulty/faulty_store.h"
#include "daemon/store/memory/memory_store.h"

namespace canopy {
namespace {

class Faulty : public testing::Test {
 protected:
  FaultyStore make(FaultPlan plan, uint64_t seed = 1) {
    return FaultyStore(memory_, process_, plan, seed, &server_);
  }
  template <class T>
  Result<T> run(Task<Result<T>> task) {
    auto result = world_.run_until_done(process_, std::move(task), world_.now() + 600 * kSecond);
    EXPECT_TRUE(result.has_value());
    return std::move(*result);
  }
  template <class T>
  Code code(Task<Result<T>> task) {
    auto result = run(std::move(task));
    return result ? Code::kOk : result.error().code();
  }
  std::unique_ptr<File> create(Store& store, std::string path) {
    return std::move(*run(store.open(path, {.write = true, .create = true})));
  }
  Code write(File& file, uint64_t offset, std::string_view bytes, Durable durable = Durable::kNo) {
    std::string_view pieces[] = {bytes};
    return code(file.write(offset, pieces, durable));
  }
  std::string content(std::string path) {
    auto bytes = run(read_file(memory_, path, 1 << 20));
    return bytes ? *bytes : std::string(code_name(bytes.error().code()));
  }

  SimWorld world_{42};
  SimLoop& process_ = world_.add_loop("process");
  SimLoop& server_ = world_.add_loop("server");
  MemoryStore memory_{&server_, {.name = "disk", .shared = true}};
};

TEST_F(Faulty, AnErrorMeansThatNothingHappened) {
  FaultyStore store = make({.error = 1, .error_code = Code::kStoreUnavailable});
  EXPECT_EQ(code(store.make_directory("d", 0700, Durable::kYes)), Code::kStoreUnavailable);
  EXPECT_EQ(code(memory_.attributes("d")), Code::kNotFound);
  EXPECT_EQ(store.faults(), 1u);
  EXPECT_EQ(store.count(StoreOperation::kMakeDirectory), 1u);
}

TEST_F(Faulty, ALostAnswerMeansThatItHappenedAllTheSame) {
  FaultyStore store = make({.lost_answer = 1});
  EXPECT_EQ(code(store.make_directory("d", 0700, Durable::kYes)), Code::kStoreUnavailable);
  EXPECT_EQ(code(memory_.attributes("d")), Code::kOk);
}

TEST_F(Faulty, ALateWriteArrivesAfterItsCallerWasTurnedAway) {
  int before = 0, after = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    FaultyStore store = make({}, seed);
    std::string path = fmt::format("f{}", seed);
    auto file = create(store, path);
    store.set_plan({.late = 1, .deadline = 10 * kSecond, .late_max = 20 * kSecond});
    std::string bytes = "late bytes";
    Nanos start = world_.now();
    Code answer = write(*file, 0, bytes, Durable::kYes);
    EXPECT_TRUE(answer == Code::kDeadlineExceeded || answer == Code::kStoreUnavailable);
    EXPECT_GE(world_.now() - start, 10 * kSecond);
    bytes.assign(bytes.size(), '!');  // the caller's buffer is its own again
    store.pending() == 0 ? ++before : ++after;
    EXPECT_EQ(content(path), store.pending() == 0 ? "late bytes" : "");
    world_.run_for(30 * kSecond);
    EXPECT_EQ(store.pending(), 0u);
    EXPECT_EQ(content(path), "late bytes");
  }
  EXPECT_GT(before, 0);
  EXPECT_GT(after, 0);
}

TEST_F(Faulty, ALateWriteArrivesAlthoughItsProcessHasDied) {
  SimLoop& doomed = world_.add_loop("doomed");
  auto store = std::make_unique<FaultyStore>(memory_, doomed, FaultPlan{}, 3, &server_);
  auto program = [](Store& s) -> Task<void> {
    auto file = co_await s.open("f", {.write = true, .create = true});
    static_cast<FaultyStore&>(s).set_plan({.late = 1, .late_max = 50 * kSecond});
    std::string bytes = "posthumous";
    std::string_view pieces[] = {bytes};
    (void)co_await (*file)->write(0, pieces, Durable::kYes);
  };
  doomed.spawn(program(*store));
  FaultyStore* watched = store.get();
  ASSERT_TRUE(world_.run_until([&] { return watched->count(StoreOperation::kWrite) == 1; }, kSecond));
  EXPECT_EQ(store->open_files(), 1u);
  world_.kill(doomed);
  EXPECT_EQ(store->open_files(), 0u);
  store.reset();
  EXPECT_EQ(content("f"), "");
  world_.run_for(60 * kSecond);
  EXPECT_EQ(content("f"), "posthumous");
}

TEST_F(Faulty, ATornWriteLeavesAPrefix) {
  std::set<size_t> sizes;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    FaultyStore store = make({.torn_write = 1}, seed);
    std::string path = fmt::format("f{}", seed);
    auto file = create(store, path);
    EXPECT_EQ(write(*file, 0, "0123456789", Durable::kYes), Code::kIo);
    std::string left = content(path);
    EXPECT_EQ(left, std::string("0123456789").substr(0, left.size()));
    EXPECT_LT(left.size(), 10u);
    sizes.insert(left.size());
  }
  EXPECT_GT(sizes.size(), 4u);
}

TEST_F(Faulty, DelaysChangeTheOrderOfOverlappingOperations) {
  FaultyStore store = make({.delay = 1, .delay_max = kSecond});
  std::string order;
  int ends = 0;
  store.on_operation([&](uint64_t, StoreOperation, std::string_view object) { order += object; });
  auto ask = [](Store& s, std::string path, int& end) -> Task<void> {
    (void)co_await s.attributes(path);
    ++end;
  };
  for (char name = 'a'; name <= 'j'; ++name) process_.spawn(ask(store, std::string(1, name), ends));
  ASSERT_TRUE(world_.run_until([&] { return ends == 10; }, world_.now() + 10 * kSecond));
  std::string sorted = order;
  std::ranges::sort(sorted);
  EXPECT_EQ(sorted, "abcdefghij");
  EXPECT_NE(order, sorted);
}

TEST_F(Faulty, DurableOperationsTakeTheirTime) {
  FaultyStore store = make({.sync_delay = 30 * kMillisecond});
  auto file = create(store, "f");
  Nanos start = world_.now();
  EXPECT_EQ(write(*file, 0, "x", Durable::kNo), Code::kOk);
  EXPECT_LT(world_.now() - start, 30 * kMillisecond);
  start = world_.now();
  EXPECT_EQ(write(*file, 0, "x", Durable::kYes), Code::kOk);
  EXPECT_GE(world_.now() - start, 30 * kMillisecond);
  start = world_.now();
  EXPECT_EQ(code(file->sync()), Code::kOk);
  EXPECT_GE(world_.now() - start, 30 * kMillisecond);
}

TEST_F(Faulty, AFullStoreRefusesWhatNeedsRoomAndAllowsTheRest) {
  FaultyStore store = make({.used_bytes_max = 20'000});
  auto file = create(store, "f");
  EXPECT_EQ(write(*file, 0, std::string(10'000, 'x'), Durable::kYes), Code::kOk);
  EXPECT_EQ(write(*file, 10'000, std::string(10'000, 'x'), Durable::kYes), Code::kStoreFull);
  EXPECT_EQ(content("f").size(), 10'000u);
  EXPECT_EQ(code(store.rename("f", "g", RenameMode::kReplace, Durable::kYes)), Code::kOk);
  file.reset();
  EXPECT_EQ(code(store.remove("g", Durable::kYes)), Code::kOk);
  file = create(store, "h");
  EXPECT_EQ(write(*file, 0, std::string(10'000, 'x'), Durable::kYes), Code::kOk);
}

TEST_F(Faulty, FaultsKeepToTheOperationsAndPathsOfThePlan) {
  FaultyStore store = make(
      {.error = 1, .operations = FaultPlan::only(StoreOperation::kMakeDirectory), .object_contains = "bad"});
  EXPECT_EQ(code(store.make_directory("good", 0700, Durable::kNo)), Code::kOk);
  EXPECT_EQ(code(store.make_directory("bad", 0700, Durable::kNo)), Code::kIo);
  EXPECT_EQ(code(store.attributes("bad")), Code::kNotFound);
}

TEST_F(Faulty, AfterAHaltNothingTakesEffectAnyMore) {
  // The place of every step: halt at the n-th operation, and exactly those before it have happened.
  for (uint64_t stop_at = 1; stop_at <= 4; ++stop_at) {
    SimLoop& doomed = world_.add_loop(fmt::format("doomed{}", stop_at));
    FaultyStore store(memory_, doomed, FaultPlan{}, stop_at, &server_);
    store.on_operation([&](uint64_t index, StoreOperation, std::string_view) {
      if (index == stop_at) store.halt();
    });
    auto program = [](Store& s, uint64_t run) -> Task<void> {
      for (int i = 1; i <= 4; ++i) {
        EXPECT_TRUE(
            (co_await s.make_directory(fmt::format("run{}-{}", run, i), 0700, Durable::kYes)).has_value());
      }
    };
    doomed.spawn(program(store, stop_at));
    world_.run_for(kSecond);
    for (uint64_t i = 1; i <= 4; ++i) {
      Code expected = i < stop_at ? Code::kOk : Code::kNotFound;
      EXPECT_EQ(code(memory_.attributes(fmt::format("run{}-{}", stop_at, i))), expected);
    }
    world_.kill(doomed);
  }
}

TEST_F(Faulty, ALyingSyncIsFoundOutByACrash) {
  int lost = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    MemoryDisk disk;
    MemoryStore memory(&server_, disk);
    FaultyStore store(memory, process_, {.lying_sync = seed % 2 == 0 ? 1.0 : 0.0}, seed, &server_);
    auto file = create(store, "f");
    EXPECT_EQ(code(store.sync_directory("")), Code::kOk);
    EXPECT_EQ(write(*file, 0, "acknowledged", Durable::kYes), Code::kOk);
    file.reset();
    disk.crash(seed);
    auto left = run(read_file(memory, "f", 100));
    bool whole = left && *left == "acknowledged";
    if (seed % 2 == 1) EXPECT_TRUE(whole);
    if (!whole) ++lost;
  }
  EXPECT_GT(lost, 5);
}

TEST_F(Faulty, TheSameSeedGivesTheSameFaults) {
  auto history = [](uint64_t seed) {
    SimWorld world(9);
    SimLoop& process = world.add_loop("process");
    SimLoop& server = world.add_loop("server");
    MemoryStore memory(&server, {.yields_max = 2, .seed = seed});
    FaultPlan plan{.error = 0.1, .lost_answer = 0.1, .late = 0.1, .delay = 0.5};
    FaultyStore store(memory, process, plan, seed, &server);
    std::string log;
    for (int i = 0; i < 60; ++i) {
      auto made =
          world.run_until_done(process, store.make_directory(fmt::format("d{}", i % 20), 0700, Durable::kNo));
      log += made->has_value() ? "ok" : code_name(made->error().code());
      log += fmt::format("@{} ", world.now());
    }
    world.run_for(100 * kSecond);
    return log;
  };
  EXPECT_EQ(history(5), history(5));
  EXPECT_NE(history(5), history(6));
}

using FaultyDeathTest = Faulty;

TEST_F(FaultyDeathTest, AnUnclosedFileEndsTheProgram) {
  EXPECT_DEATH(
      {
        std::unique_ptr<File> leaked;
        FaultyStore store = make({});
        leaked = create(store, "f");
      },
      "open_files == 0");
}

}  // namespace
}  // namespace canopy
