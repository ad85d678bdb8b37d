// Names, directories and links, over every store.
#include "daemon/store/store_path.h"
#include "tests/store/store_fixture.h"

namespace canopy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

template <class Factory>
class StoreNames : public StoreTest<Factory> {};
TYPED_TEST_SUITE(StoreNames, StoreFactories);

TYPED_TEST(StoreNames, RefusesPathsThatAreNotPlain) {
  for (std::string path : {"/a", "a/", "a//b", ".", "..", "a/.", "a/../b", "../x"}) {
    EXPECT_EQ(this->code(this->store().attributes(path)), Code::kInvalidArgument) << path;
    EXPECT_EQ(this->code(this->store().open(path, {.write = true, .create = true})), Code::kInvalidArgument)
        << path;
    EXPECT_EQ(this->code(this->store().make_directory(path, 0700, Durable::kNo)), Code::kInvalidArgument)
        << path;
    EXPECT_EQ(this->code(this->store().remove(path, Durable::kNo)), Code::kInvalidArgument) << path;
    EXPECT_EQ(this->code(this->store().list(path, 0)), Code::kInvalidArgument) << path;
  }
  EXPECT_EQ(this->code(this->store().attributes(std::string("a\0b", 3))), Code::kInvalidArgument);
  EXPECT_EQ(this->code(this->store().attributes(std::string(256, 'a'))), Code::kNoSpaceForName);
  std::string deep = "a";
  while (deep.size() <= kStorePathBytesMax) deep += "/a";
  EXPECT_EQ(this->code(this->store().attributes(deep)), Code::kNoSpaceForName);
}

TYPED_TEST(StoreNames, TheRootIsADirectoryThatCannotBeRemovedOrRenamed) {
  EXPECT_EQ(this->must(this->store().attributes("")).type, FileType::kDirectory);
  EXPECT_THAT(this->names(""), IsEmpty());
  EXPECT_EQ(this->code(this->store().make_directory("", 0700, Durable::kNo)), Code::kAlreadyExists);
  EXPECT_EQ(this->code(this->store().remove_directory("", Durable::kNo)), Code::kInvalidArgument);
  EXPECT_EQ(this->code(this->store().remove("", Durable::kNo)), Code::kInvalidArgument);
  EXPECT_EQ(this->code(this->store().rename("", "x", RenameMode::kReplace, Durable::kNo)),
            Code::kInvalidArgument);
  EXPECT_EQ(this->code(this->store().open("", {})), Code::kIsDirectory);
  this->must(this->store().sync_directory(""));
}

TYPED_TEST(StoreNames, NamesMayHoldAnyBytesUpTo255) {
  std::string every;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte != '/') every.push_back(static_cast<char>(byte));
  }
  every.push_back('x');
  ASSERT_EQ(every.size(), kStoreNameBytesMax);
  this->create(every);
  EXPECT_THAT(this->names(""), ElementsAre(every));
  EXPECT_EQ(this->must(this->store().attributes(every)).type, FileType::kRegular);
  std::string other(255, '\xff');
  this->must(this->store().rename(every, other, RenameMode::kReplace, Durable::kYes));
  EXPECT_THAT(this->names(""), ElementsAre(other));
}

TYPED_TEST(StoreNames, AMissingPathIsNotFoundAndAFileOnTheWayIsNotADirectory) {
  this->create("file");
  EXPECT_EQ(this->code(this->store().attributes("nothing")), Code::kNotFound);
  EXPECT_EQ(this->code(this->store().attributes("nothing/x")), Code::kNotFound);
  EXPECT_EQ(this->code(this->store().attributes("file/x")), Code::kNotDirectory);
  EXPECT_EQ(this->code(this->store().open("nothing", {})), Code::kNotFound);
  EXPECT_EQ(this->code(this->store().open("file/x", {.write = true, .create = true})), Code::kNotDirectory);
  EXPECT_EQ(this->code(this->store().make_directory("nothing/x", 0700, Durable::kNo)), Code::kNotFound);
  EXPECT_EQ(this->code(this->store().remove("nothing", Durable::kNo)), Code::kNotFound);
  EXPECT_EQ(this->code(this->store().remove_directory("nothing", Durable::kNo)), Code::kNotFound);
  EXPECT_EQ(this->code(this->store().rename("nothing", "x", RenameMode::kReplace, Durable::kNo)),
            Code::kNotFound);
  EXPECT_EQ(this->code(this->store().link("nothing", "x", Durable::kNo)), Code::kNotFound);
  EXPECT_EQ(this->code(this->store().read_symlink("nothing")), Code::kNotFound);
  EXPECT_EQ(this->code(this->store().list("nothing", 0)), Code::kNotFound);
  EXPECT_EQ(this->code(this->store().list("file", 0)), Code::kNotDirectory);
  EXPECT_EQ(this->code(this->store().sync_directory("nothing")), Code::kNotFound);
}

TYPED_TEST(StoreNames, DirectoriesAreMadeListedAndRemoved) {
  this->must(this->store().make_directory("d", 0750, Durable::kYes));
  EXPECT_EQ(this->code(this->store().make_directory("d", 0750, Durable::kYes)), Code::kAlreadyExists);
  EXPECT_EQ(this->must(this->store().attributes("d")).mode, 0750u);
  this->must(this->store().make_directory("d/e", 0700, Durable::kNo));
  EXPECT_EQ(this->must(this->store().attributes("d")).links, 3u);
  this->create("d/f");
  EXPECT_THAT(this->names("d"), ElementsAre("e", "f"));
  EXPECT_EQ(this->code(this->store().open("d", {})), Code::kIsDirectory);
  EXPECT_EQ(this->code(this->store().open("d", {.write = true, .create = true})), Code::kIsDirectory);
  EXPECT_EQ(this->code(this->store().remove("d", Durable::kNo)), Code::kIsDirectory);
  EXPECT_EQ(this->code(this->store().remove_directory("d/f", Durable::kNo)), Code::kNotDirectory);
  EXPECT_EQ(this->code(this->store().remove_directory("d", Durable::kNo)), Code::kNotEmpty);
  this->must(this->store().remove("d/f", Durable::kYes));
  this->must(this->store().remove_directory("d/e", Durable::kYes));
  this->must(this->store().remove_directory("d", Durable::kYes));
  EXPECT_EQ(this->code(this->store().attributes("d")), Code::kNotFound);
}

TYPED_TEST(StoreNames, MakeDirectoriesMakesWhatIsMissingAndAcceptsWhatIsThere) {
  this->must(make_directories(this->store(), "a/b/c/d", 0700, Durable::kYes));
  this->must(make_directories(this->store(), "a/b/c/d", 0700, Durable::kYes));
  this->must(make_directories(this->store(), "a/b/x/y", 0700, Durable::kNo));
  this->must(make_directories(this->store(), "", 0700, Durable::kYes));
  EXPECT_THAT(this->names("a/b"), ElementsAre("c", "x"));
  EXPECT_EQ(this->must(this->store().attributes("a/b/x/y")).type, FileType::kDirectory);
  this->create("a/file");
  EXPECT_EQ(this->code(make_directories(this->store(), "a/file", 0700, Durable::kNo)), Code::kNotDirectory);
  EXPECT_EQ(this->code(make_directories(this->store(), "a/file/x", 0700, Durable::kNo)), Code::kNotDirectory);
  EXPECT_EQ(this->code(make_directories(this->store(), "a/../b", 0700, Durable::kNo)),
            Code::kInvalidArgument);
}

TYPED_TEST(StoreNames, OfTwoExclusiveCreationsExactlyOneWins) {
  for (int round = 0; round < 20; ++round) {
    std::string path = fmt::format("claim{}", round);
    int won = 0, lost = 0, done = 0;
    auto claim = [](UringLoop& loop, Store& store, std::string name, int& wins, int& losses,
                    int& ends) -> Task<void> {
      auto file = co_await store.open(name, {.write = true, .create = true, .exclusive = true});
      if (file) ++wins;
      if (!file && file.error().code() == Code::kAlreadyExists) ++losses;
      if (++ends == 8) loop.stop();
    };
    for (int i = 0; i < 8; ++i) {
      Store& store = i % 2 == 0 ? this->store() : this->other();
      this->loop_->spawn(claim(*this->loop_, store, path, won, lost, done));
    }
    this->loop_->run();
    EXPECT_EQ(won, 1);
    EXPECT_EQ(lost, 7);
  }
}

TYPED_TEST(StoreNames, RenameReplacesAndKeepsTheFile) {
  auto file = this->create("a");
  this->write(*file, 0, "new");
  this->write(*this->create("b"), 0, "old");
  uint64_t id = this->must(this->store().attributes("a")).file_id;
  this->must(this->store().rename("a", "b", RenameMode::kReplace, Durable::kYes));
  EXPECT_THAT(this->names(""), ElementsAre("b"));
  EXPECT_EQ(this->must(this->store().attributes("b")).file_id, id);
  EXPECT_EQ(this->must(read_file(this->store(), "b", 100)), "new");
}

TYPED_TEST(StoreNames, RenameWithoutReplacingRefusesATakenName) {
  this->create("a");
  this->create("b");
  EXPECT_EQ(this->code(this->store().rename("a", "b", RenameMode::kNoReplace, Durable::kYes)),
            Code::kAlreadyExists);
  this->must(this->store().rename("a", "c", RenameMode::kNoReplace, Durable::kYes));
  EXPECT_THAT(this->names(""), ElementsAre("b", "c"));
  this->must(make_directories(this->store(), "d/e", 0700, Durable::kNo));
  EXPECT_EQ(this->code(this->store().rename("d", "b", RenameMode::kNoReplace, Durable::kYes)),
            Code::kAlreadyExists);
  EXPECT_EQ(this->code(this->store().rename("b", "d", RenameMode::kNoReplace, Durable::kYes)),
            Code::kAlreadyExists);
  this->must(this->store().make_directory("empty", 0700, Durable::kNo));
  EXPECT_EQ(this->code(this->store().rename("d", "empty", RenameMode::kNoReplace, Durable::kYes)),
            Code::kAlreadyExists);
  this->must(this->store().rename("d", "moved", RenameMode::kNoReplace, Durable::kYes));
  EXPECT_THAT(this->names(""), ElementsAre("b", "c", "empty", "moved"));
  EXPECT_THAT(this->names("moved"), ElementsAre("e"));
}

TYPED_TEST(StoreNames, RenameExchangesTwoNamesOfAnyType) {
  this->must(this->store().make_directory("d", 0700, Durable::kNo));
  this->create("d/inner");
  this->must(this->store().make_directory("e", 0700, Durable::kNo));
  this->write(*this->create("e/f"), 0, "content");
  if (!TypeParam::kExchangesNames) {
    EXPECT_EQ(this->code(this->store().rename("d", "e/f", RenameMode::kExchange, Durable::kNo)),
              Code::kUnsupported);
    EXPECT_THAT(this->names("d"), ElementsAre("inner"));
    return;
  }
  EXPECT_EQ(this->code(this->store().rename("d", "none", RenameMode::kExchange, Durable::kNo)),
            Code::kNotFound);
  this->must(this->store().rename("d", "e/f", RenameMode::kExchange, Durable::kYes));
  EXPECT_EQ(this->must(read_file(this->store(), "d", 100)), "content");
  EXPECT_THAT(this->names("e/f"), ElementsAre("inner"));
  EXPECT_EQ(this->must(this->store().attributes("e")).links, 3u);
  EXPECT_EQ(this->must(this->store().attributes("")).links, TypeParam::kLinksOfTheRoot ? 3u : 1u);
}

TYPED_TEST(StoreNames, RenameRefusesWhatNoFileSystemAllows) {
  this->must(make_directories(this->store(), "d/e", 0700, Durable::kNo));
  this->must(make_directories(this->store(), "empty", 0700, Durable::kNo));
  this->create("f");
  EXPECT_EQ(this->code(this->store().rename("d", "d/e/x", RenameMode::kReplace, Durable::kNo)),
            Code::kInvalidArgument);
  EXPECT_EQ(this->code(this->store().rename("f", "d", RenameMode::kReplace, Durable::kNo)),
            Code::kIsDirectory);
  EXPECT_EQ(this->code(this->store().rename("d", "f", RenameMode::kReplace, Durable::kNo)),
            Code::kNotDirectory);
  EXPECT_EQ(this->code(this->store().rename("empty", "d", RenameMode::kReplace, Durable::kNo)),
            Code::kNotEmpty);
  this->must(this->store().rename("d", "empty", RenameMode::kReplace, Durable::kNo));
  EXPECT_THAT(this->names(""), ElementsAre("empty", "f"));
  EXPECT_THAT(this->names("empty"), ElementsAre("e"));
}

TYPED_TEST(StoreNames, AFileMayHaveSeveralNames) {
  auto file = this->create("a");
  this->must(this->store().make_directory("d", 0700, Durable::kNo));
  this->must(this->store().link("a", "d/b", Durable::kYes));
  EXPECT_EQ(this->code(this->store().link("a", "d/b", Durable::kNo)), Code::kAlreadyExists);
  EXPECT_EQ(this->code(this->store().link("d", "e", Durable::kNo)), Code::kPermissionDenied);
  EXPECT_EQ(this->write(*file, 0, "x").after.links, 2u);
  EXPECT_EQ(this->must(this->store().attributes("d/b")).file_id,
            this->must(this->store().attributes("a")).file_id);
  this->must(this->store().rename("a", "d/b", RenameMode::kReplace,
                                  Durable::kNo));  // two names of one file: no change
  EXPECT_THAT(this->names(""), ElementsAre("a", "d"));
  this->must(this->store().remove("a", Durable::kYes));
  EXPECT_EQ(this->must(this->store().attributes("d/b")).links, 1u);
  EXPECT_EQ(this->must(read_file(this->store(), "d/b", 10)), "x");
}

TYPED_TEST(StoreNames, AnOpenFileWithoutANameWorksWhereTheStoreAllowsIt) {
  auto file = this->create("a");
  this->write(*file, 0, "abc");
  this->must(this->store().remove("a", Durable::kYes));
  if (TypeParam::kOpenFileOutlivesItsName) {
    EXPECT_EQ(this->read(*file, 0, 10), "abc");
    EXPECT_EQ(this->write(*file, 3, "d").after.links, 0u);
  } else {
    EXPECT_EQ(this->code(file->attributes()), Code::kNotFound);
    EXPECT_EQ(this->code(file->sync()), Code::kNotFound);
  }
}

TYPED_TEST(StoreNames, SymbolicLinksAreKeptButNeverFollowed) {
  this->must(this->store().make_directory("d", 0700, Durable::kNo));
  this->create("d/f");
  this->must(this->store().make_symlink("d", "to_d", Durable::kYes));
  this->must(this->store().make_symlink("d/f", "to_f", Durable::kYes));
  this->must(this->store().make_symlink("/etc", "d/out", Durable::kNo));
  EXPECT_EQ(this->must(this->store().read_symlink("to_f")), "d/f");
  const std::string longest(TypeParam::kSymlinkBytes, 'x');
  this->must(this->store().make_symlink(longest, "longest", Durable::kNo));
  EXPECT_EQ(this->must(this->store().read_symlink("longest")), longest);
  EXPECT_EQ(this->code(this->store().make_symlink(std::string(4096, 'x'), "longer", Durable::kNo)),
            Code::kNoSpaceForName);
  EXPECT_EQ(this->must(this->store().attributes("to_f")).type, FileType::kSymlink);
  EXPECT_EQ(this->must(this->store().attributes("to_f")).size, 3u);
  EXPECT_EQ(this->code(this->store().read_symlink("d/f")), Code::kInvalidArgument);
  EXPECT_EQ(this->code(this->store().make_symlink("x", "to_f", Durable::kNo)), Code::kAlreadyExists);
  EXPECT_EQ(this->code(this->store().make_symlink("", "empty", Durable::kNo)), Code::kInvalidArgument);
  EXPECT_EQ(this->code(this->store().open("to_f", {})), Code::kLoop);
  EXPECT_EQ(this->code(this->store().open("to_f", {.write = true, .create = true})), Code::kLoop);
  EXPECT_EQ(this->code(this->store().open("to_f", {.write = true, .create = true, .exclusive = true})),
            Code::kAlreadyExists);
  EXPECT_EQ(this->code(this->store().open("to_d/f", {})), Code::kLoop);
  EXPECT_EQ(this->code(this->store().open("d/out/passwd", {})), Code::kLoop);
  EXPECT_EQ(this->code(this->store().attributes("to_d/f")), Code::kLoop);
  EXPECT_EQ(this->code(this->store().list("to_d", 0)), Code::kLoop);
  EXPECT_EQ(this->code(this->store().list("d/out", 0)), Code::kLoop);
  EXPECT_EQ(this->code(this->store().make_directory("to_d/x", 0700, Durable::kNo)), Code::kLoop);
  EXPECT_EQ(this->code(this->store().remove("to_d/f", Durable::kNo)), Code::kLoop);
  EXPECT_EQ(this->code(this->store().rename("to_d/f", "x", RenameMode::kReplace, Durable::kNo)), Code::kLoop);
  EXPECT_EQ(this->code(this->store().set_attributes("to_f", {.mode = 0600}, Durable::kNo)),
            Code::kUnsupported);
  EXPECT_EQ(this->code(this->store().set_attributes("to_f", {.size = 0}, Durable::kNo)), Code::kLoop);
  this->must(this->store().set_attributes("to_f", {.modified = FileTime{77, 5}}, Durable::kYes));
  if (TypeParam::kSetsTimesOfSymlinks) {
    EXPECT_EQ(this->must(this->store().attributes("to_f")).modified, (FileTime{77, 5}));
  }
  this->must(this->store().link("to_f", "also", Durable::kNo));
  EXPECT_EQ(this->must(this->store().read_symlink("also")), "d/f");
  this->must(this->store().rename("to_f", "moved", RenameMode::kReplace, Durable::kNo));
  this->must(this->store().remove("moved", Durable::kNo));
  this->must(this->store().remove("to_d", Durable::kNo));
  EXPECT_THAT(this->names("d"), ElementsAre("f", "out"));
}

TYPED_TEST(StoreNames, ListsALargeDirectoryInPagesWhileOthersComeAndGo) {
  constexpr int kEntries = 20'000;
  auto make = [](Store& store, int count) -> Task<Result<void>> {
    CANOPY_CO_TRY(co_await store.make_directory("big", 0700, Durable::kNo));
    for (int i = 0; i < count; ++i) {
      CANOPY_CO_TRY(co_await store.open(fmt::format("big/entry{}", i), {.write = true, .create = true}));
    }
    co_return Result<void>();
  };
  this->must(make(this->store(), kEntries));
  std::map<std::string, int> seen;
  uint64_t cookie = 0;
  int pages = 0;
  while (true) {
    DirectoryPage page = this->must(this->store().list("big", cookie));
    EXPECT_LE(page.entries.size(), kStoreDirectoryPageEntries);
    for (const DirectoryEntry& entry : page.entries) {
      EXPECT_EQ(entry.type, FileType::kRegular);
      ++seen[entry.name];
    }
    ++pages;
    if (page.end) break;
    cookie = page.next_cookie;
    // What was listed goes, and something new comes, between the pages.
    ASSERT_FALSE(page.entries.empty());
    this->must(this->store().remove("big/" + page.entries.front().name, Durable::kNo));
    this->create(fmt::format("big/new{}", pages));
  }
  EXPECT_GE(pages, 5);
  for (int i = 0; i < kEntries; ++i) EXPECT_EQ(seen[fmt::format("entry{}", i)], 1) << i;
  EXPECT_EQ(this->code(list_all(this->store(), "big", 100)), Code::kTooLarge);
}

TYPED_TEST(StoreNames, ListedEntriesCarryTypeAndFileId) {
  this->must(this->store().make_directory("d", 0700, Durable::kNo));
  this->create("f");
  this->must(this->store().make_symlink("f", "s", Durable::kNo));
  std::map<std::string, DirectoryEntry> found;
  for (DirectoryEntry& entry : this->must(list_all(this->store(), "", 10))) found[entry.name] = entry;
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found["d"].type, FileType::kDirectory);
  EXPECT_EQ(found["f"].type, FileType::kRegular);
  EXPECT_EQ(found["s"].type, FileType::kSymlink);
  for (auto& [name, entry] : found)
    EXPECT_EQ(entry.file_id, this->must(this->store().attributes(name)).file_id);
}

TYPED_TEST(StoreNames, AFewEntriesAreListedOnceEachWithTheirAttributes) {
  this->must(this->store().make_directory("d", 0750, Durable::kNo));
  for (int i = 0; i < 100; ++i) this->create(fmt::format("d/entry{}", i));
  std::map<std::string, int> seen;
  for (uint64_t cookie = 0;;) {
    DirectoryPage page = this->must(this->store().list_few("d", cookie, 7));
    ASSERT_EQ(page.attributes.size(), page.entries.size());
    for (size_t i = 0; i < page.entries.size(); ++i) {
      ++seen[page.entries[i].name];
      EXPECT_EQ(page.attributes[i].file_id, page.entries[i].file_id);
    }
    if (page.end) break;
    ASSERT_FALSE(page.entries.empty());
    cookie = page.next_cookie;
  }
  EXPECT_EQ(seen.size(), 100u);
  for (const auto& [name, times] : seen) EXPECT_EQ(times, 1) << name;
}

TYPED_TEST(StoreNames, AListingWithAttributesHasThoseOfEachEntry) {
  this->must(this->store().make_directory("d", 0750, Durable::kNo));
  this->must(this->store().make_directory("d/e", 0700, Durable::kNo));
  this->create("d/f");
  this->must(this->store().make_symlink("nowhere", "d/s", Durable::kNo));
  EXPECT_TRUE(this->must(this->store().list("d", 0)).attributes.empty());
  DirectoryPage page = this->must(this->store().list("d", 0, Listing::kAttributes));
  ASSERT_EQ(page.entries.size(), 3u);
  ASSERT_EQ(page.attributes.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    Attributes alone = this->must(this->store().attributes("d/" + page.entries[i].name));
    EXPECT_EQ(page.attributes[i].type, page.entries[i].type);
    EXPECT_EQ(page.attributes[i].file_id, page.entries[i].file_id);
    EXPECT_EQ(page.attributes[i].mode, alone.mode);
    EXPECT_EQ(page.attributes[i].modified, alone.modified);
    EXPECT_EQ(page.attributes[i].born, alone.born);
  }
}

TYPED_TEST(StoreNames, WhatOneClientDoesTheOtherSees) {
  this->must(this->store().make_directory("d", 0700, Durable::kYes));
  EXPECT_EQ(this->must(this->other().attributes("d")).type, FileType::kDirectory);
  this->must(this->other().remove_directory("d", Durable::kYes));
  EXPECT_EQ(this->code(this->store().attributes("d")), Code::kNotFound);
}

TYPED_TEST(StoreNames, NamesThatAreForgottenAreAskedForAnew) {
  this->write(*this->create("a"), 0, "first");
  this->write(*this->create("b"), 0, "second");
  EXPECT_EQ(this->must(read_file(this->store(), "a", 10)), "first");
  this->must(this->other().rename("a", "c", RenameMode::kReplace, Durable::kYes));
  this->must(this->other().rename("b", "a", RenameMode::kReplace, Durable::kYes));
  this->store().forget_names("");
  EXPECT_EQ(this->must(read_file(this->store(), "a", 10)), "second");
  EXPECT_EQ(this->must(read_file(this->store(), "c", 10)), "first");
}

TYPED_TEST(StoreNames, SaysHowMuchRoomThereIs) {
  StoreSpace space = this->must(this->store().space());
  EXPECT_GT(space.bytes_total, 0u);
  EXPECT_LE(space.bytes_free, space.bytes_total);
  EXPECT_LE(space.files_free, space.files_total);
}

}  // namespace
}  // namespace canopy
