// The identity of a store.
#include "daemon/store/marker.h"

#include "tests/store/store_fixture.h"

namespace canopy {
namespace {

using testing::HasSubstr;

class Marker : public StoreTest<MemoryFactory<true>> {
 protected:
  void put(const std::string& path, std::string_view text) {
    auto file = must(store().open(path, {.write = true, .create = true, .truncate = true}));
    write(*file, 0, text);
  }
  Error refusal(std::string id = "", std::string name = "") {
    auto result = run(check_marker(store(), id, name));
    EXPECT_FALSE(result.has_value());
    return result ? Error(Code::kOk, "", "") : result.error();
  }
};

TEST_F(Marker, AStoreIsMadeOnceAndKnownByIdAndName) {
  StoreMarker made =
      must(create_marker(store(), *loop_, "fast1", "SharedDomains/a;b \"c\"", StoreContent::kMustBeEmpty));
  StoreMarker found = must(check_marker(other(), made.id, "fast1"));
  EXPECT_EQ(found.id, made.id);
  EXPECT_EQ(found.serves, "SharedDomains/a;b \"c\"");
  must(check_marker(other(), "", ""));
  EXPECT_EQ(code(create_marker(store(), *loop_, "fast1", "", StoreContent::kIsKept)), Code::kAlreadyExists);
  EXPECT_EQ(must(check_marker(store(), "", "")).id, made.id);
  EXPECT_THAT(names(".canopy"), testing::ElementsAre("store"));
}

TEST_F(Marker, AStoreBelongsToOneTree) {
  constexpr char kOurs[] = "0b6f3c1e-8a52-4e0d-9a41-5c0d7f2be913",
                 kOther[] = "1b6f3c1e-8a52-4e0d-9a41-5c0d7f2be913";
  must(make_directories(store(), ".canopy", 0700, Durable::kYes));
  put(".canopy/store",
      "{Id=\"2b6f3c1e-8a52-4e0d-9a41-5c0d7f2be913\";Name=fast1;Serves=\"\";Version=#1;Later=x;}");
  EXPECT_EQ(must(check_marker(store(), "", "")).tree, "");
  must(claim_store(store(), *loop_, kOurs));
  must(claim_store(store(), *loop_, kOurs));
  EXPECT_EQ(code(claim_store(other(), *loop_, kOther)), Code::kConflict);
  EXPECT_EQ(must(check_marker(other(), "2b6f3c1e-8a52-4e0d-9a41-5c0d7f2be913", "fast1")).tree, kOurs);
  EXPECT_THAT(must(read_file(store(), ".canopy/store", 1000)), HasSubstr("Later=x"));
  EXPECT_THAT(names(".canopy"), testing::ElementsAre("store"));
  put(".canopy/store", "{Id=\"2b6f3c1e-8a52-4e0d-9a41-5c0d7f2be913\";Name=a;Serves=\"\";Tree=x;Version=#1;}");
  EXPECT_EQ(refusal().code(), Code::kDamaged);
}

TEST_F(Marker, AStoreIsMadeForATree) {
  constexpr char kOurs[] = "0b6f3c1e-8a52-4e0d-9a41-5c0d7f2be913";
  must(create_marker(store(), *loop_, "fast1", "", StoreContent::kMustBeEmpty, kOurs));
  EXPECT_EQ(must(check_marker(other(), "", "fast1")).tree, kOurs);
}

TEST_F(Marker, OfTwoMakersOneWins) {
  for (int round = 0; round < 20; ++round) {
    MemoryFactory<true> place(*loop_);
    int won = 0, lost = 0, ends = 0;
    std::string winner;
    auto make = [](UringLoop& loop, Store& s, int& wins, int& losses, int& end,
                   std::string& id) -> Task<void> {
      auto made = co_await create_marker(s, loop, "fast1", "", StoreContent::kMustBeEmpty);
      if (made) {
        ++wins;
        id = made->id;
      } else if (made.error().code() == Code::kAlreadyExists || made.error().code() == Code::kNotEmpty) {
        ++losses;
      }
      if (++end == 2) loop.stop();
    };
    loop_->spawn(make(*loop_, place.one(), won, lost, ends, winner));
    loop_->spawn(make(*loop_, place.two(), won, lost, ends, winner));
    loop_->run();
    EXPECT_EQ(won, 1);
    EXPECT_EQ(lost, 1);
    EXPECT_EQ(must(check_marker(place.one(), winner, "")).id, winner);
  }
}

TEST_F(Marker, ADirectoryWithContentIsMadeAStoreOnlyWhenTold) {
  must(store().make_directory("lost+found", 0700, Durable::kNo));
  must(store().make_directory("SharedDomains", 0700, Durable::kNo));
  EXPECT_EQ(code(create_marker(store(), *loop_, "s", "", StoreContent::kMustBeEmpty)), Code::kNotEmpty);
  EXPECT_EQ(code(store().attributes(".canopy")), Code::kNotFound);
  must(create_marker(store(), *loop_, "s", "", StoreContent::kIsKept));
}

TEST_F(Marker, ACreationThatWasCutOffIsNoObstacle) {
  must(store().make_directory("lost+found", 0700, Durable::kNo));
  must(make_directories(store(), ".canopy", 0700, Durable::kNo));
  put(".canopy/store.new.0b6f3c1e-8a52-4e0d-9a41-5c0d7f2be913", "{Id=");
  EXPECT_EQ(refusal().code(), Code::kStoreUnavailable);
  must(create_marker(store(), *loop_, "s", "", StoreContent::kMustBeEmpty));
  must(check_marker(store(), "", "s"));
}

TEST_F(Marker, AnEmptyOrUnmountedStoreIsRefusedAndStaysEmpty) {
  Error error = refusal();
  EXPECT_EQ(error.code(), Code::kStoreUnavailable);
  EXPECT_EQ(error.object(), "one");
  EXPECT_THAT(error.message(), HasSubstr("store is not mounted, empty or wrong"));
  EXPECT_THAT(names(""), testing::IsEmpty());
}

TEST_F(Marker, AnotherStoreIsRefused) {
  StoreMarker made = must(create_marker(store(), *loop_, "fast1", "", StoreContent::kMustBeEmpty));
  Error error = refusal("0b6f3c1e-8a52-4e0d-9a41-5c0d7f2be913");
  EXPECT_EQ(error.code(), Code::kConflict);
  EXPECT_THAT(error.message(), HasSubstr("store is not mounted, empty or wrong"));
  EXPECT_THAT(error.message(), HasSubstr(made.id));
  EXPECT_EQ(refusal(made.id, "fast2").code(), Code::kConflict);
}

TEST_F(Marker, AMarkerThatCannotBeUnderstoodIsRefused) {
  must(make_directories(store(), ".canopy", 0700, Durable::kNo));
  const std::string good =
      "{Id=\"0b6f3c1e-8a52-4e0d-9a41-5c0d7f2be913\";Name=fast1;Serves=\"\";Version=#1;Later=x;}";
  put(".canopy/store", good);
  EXPECT_EQ(must(check_marker(store(), "", "fast1")).name, "fast1");
  for (std::string bad :
       {std::string(""), std::string("{"), std::string("(a)"), std::string("{}"),
        std::string(good).replace(good.find("#1"), 2, "#2"), std::string(good).replace(6, 2, "zz"),
        std::string(good).replace(good.find("fast1"), 5, "\"a/b\""), std::string(5000, ' ')}) {
    put(".canopy/store", bad);
    Error error = refusal();
    EXPECT_EQ(error.code(), Code::kDamaged) << bad;
    EXPECT_THAT(error.message(), HasSubstr("store is not mounted, empty or wrong")) << bad;
  }
  must(store().remove(".canopy/store", Durable::kNo));
  must(store().make_directory(".canopy/store", 0700, Durable::kNo));
  EXPECT_EQ(refusal().code(), Code::kDamaged);
}

TEST_F(Marker, AStoreThatDoesNotAnswerIsNotCalledWrong) {
  FaultyStore dead(store(), *loop_, {.error = 1, .error_code = Code::kStoreUnavailable}, 1);
  auto result = run(check_marker(dead, "", ""));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kStoreUnavailable);
  EXPECT_THAT(result.error().message(), testing::Not(HasSubstr("empty or wrong")));
}

TEST_F(Marker, NamesThatAreNotStoreNamesAreRefused) {
  for (std::string name : {std::string(""), std::string("a b"), std::string("a/b"), std::string(129, 'a')}) {
    EXPECT_EQ(code(create_marker(store(), *loop_, name, "", StoreContent::kMustBeEmpty)),
              Code::kInvalidArgument);
  }
  EXPECT_EQ(code(create_marker(store(), *loop_, "a", std::string(5000, 'x'), StoreContent::kMustBeEmpty)),
            Code::kTooLarge);
  EXPECT_THAT(names(""), testing::IsEmpty());
}

// A power cut at every step of the creation leaves no marker or a whole one.
TEST_F(Marker, ACrashWhileAStoreIsMadeLeavesNoMarkerOrAWholeOne) {
  int whole = 0, absent = 0;
  for (uint64_t step = 1; step <= 12; ++step) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      MemoryDisk disk;
      MemoryStore memory(nullptr, disk);
      FaultyStore faulty(memory, *loop_, {.check_unclosed = false}, seed);
      faulty.on_operation([&](uint64_t index, StoreOperation, std::string_view) {
        if (index != step) return;
        faulty.set_plan({.error = 1, .error_code = Code::kConnectionLost, .check_unclosed = false});
        disk.crash(seed);
      });
      bool answered = run(create_marker(faulty, *loop_, "s", "", StoreContent::kMustBeEmpty)).has_value();
      bool crashed = faulty.operations() >= step;
      if (!crashed) disk.crash(seed);
      auto found = run(check_marker(memory, "", ""));
      if (answered && !crashed) EXPECT_TRUE(found.has_value());
      if (!found) EXPECT_EQ(found.error().code(), Code::kStoreUnavailable) << found.error().to_string();
      found ? ++whole : ++absent;
    }
  }
  EXPECT_GT(whole, 0);
  EXPECT_GT(absent, 0);
}

TEST(StagePath, NamesSlotAndEpoch) {
  EXPECT_EQ(stage_path(7, 0x100000005), ".canopy/stage/0000000100000005/7");
}

}  // namespace
}  // namespace canopy
