// Content and attributes of files, over every store.
#include "tests/store/store_fixture.h"

namespace canopy {
namespace {

template <class Factory>
class StoreFiles : public StoreTest<Factory> {};
TYPED_TEST_SUITE(StoreFiles, StoreFactories);

TYPED_TEST(StoreFiles, AWriteAnswersTheAttributesAfterIt) {
  auto file = this->must(this->store().open("f", {.write = true, .create = true, .mode = 0640}));
  for (Durable durable : {Durable::kNo, Durable::kYes}) {
    uint64_t start = durable == Durable::kNo ? 0 : 6;
    WriteOutcome outcome = this->write(*file, start, "abcdef", durable);
    EXPECT_EQ(outcome.written, 6u);
    EXPECT_EQ(outcome.after.size, start + 6);
    EXPECT_EQ(outcome.after.mode, 0640u);
    EXPECT_EQ(outcome.after.links, 1u);
    EXPECT_EQ(outcome.after.type, FileType::kRegular);
    EXPECT_EQ(outcome.after.file_id, this->must(this->store().attributes("f")).file_id);
  }
  EXPECT_EQ(this->read(*file, 0, 100), "abcdefabcdef");
}

TYPED_TEST(StoreFiles, PiecesAreWrittenOneAfterTheOther) {
  auto file = this->create("f");
  std::vector<std::string> parts;
  std::string whole;
  for (size_t i = 0; i < kStoreWritePiecesMax; ++i) {
    parts.push_back(i % 7 == 0 ? "" : fmt::format("piece{} ", i));
    whole += parts.back();
  }
  std::vector<std::string_view> pieces(parts.begin(), parts.end());
  EXPECT_EQ(this->must(file->write(3, pieces, Durable::kYes)).written, whole.size());
  EXPECT_EQ(this->read(*file, 3, whole.size() + 5), whole);
  EXPECT_EQ(this->read(*file, 0, 3), std::string(3, '\0'));
  pieces.push_back("x");
  EXPECT_EQ(this->code(file->write(0, pieces, Durable::kNo)), Code::kInvalidArgument);
  EXPECT_EQ(this->must(file->write(9, {}, Durable::kYes)).written, 0u);
}

TYPED_TEST(StoreFiles, ReadsEndAtTheEndOfTheFile) {
  auto file = this->create("f");
  EXPECT_EQ(this->read(*file, 0, 10), "");
  std::string large(3'000'000, 'x');
  for (size_t i = 0; i < large.size(); i += 1000) large[i] = static_cast<char>('a' + i / 1000 % 26);
  this->write(*file, 0, large);
  EXPECT_EQ(this->read(*file, 0, large.size() + 1), large);
  EXPECT_EQ(this->read(*file, 2'999'990, 100), large.substr(2'999'990));
  EXPECT_EQ(this->read(*file, 3'000'000, 100), "");
  EXPECT_EQ(this->read(*file, 1ull << 40, 100), "");
  EXPECT_EQ(this->must(read_file(this->store(), "f", large.size())), large);
  EXPECT_EQ(this->code(read_file(this->store(), "f", large.size() - 1)), Code::kTooLarge);
}

TYPED_TEST(StoreFiles, OpeningSaysWhatItMayDo) {
  EXPECT_EQ(this->code(this->store().open("f", {.create = true})), Code::kInvalidArgument);
  this->write(*this->create("f"), 0, "content");
  EXPECT_EQ(this->code(this->store().open("f", {.write = true, .create = true, .exclusive = true})),
            Code::kAlreadyExists);
  auto reader = this->open("f");
  EXPECT_EQ(this->read(*reader, 0, 10), "content");
  std::string_view pieces[] = {"x"};
  EXPECT_EQ(this->code(reader->write(0, pieces, Durable::kNo)), Code::kPermissionDenied);
  EXPECT_EQ(this->code(reader->set_attributes({.size = 0}, Durable::kNo)), Code::kPermissionDenied);
  EXPECT_EQ(this->code(reader->allocate(AllocateMode::kReserve, 0, 1)), Code::kPermissionDenied);
  auto again = this->must(this->store().open("f", {.write = true, .create = true}));
  EXPECT_EQ(this->read(*again, 0, 10), "content");
  auto emptied = this->must(this->store().open("f", {.write = true, .truncate = true}));
  EXPECT_EQ(this->must(emptied->attributes()).size, 0u);
}

TYPED_TEST(StoreFiles, AttributesAreSetByPathAndByFile) {
  auto file = this->create("f");
  this->write(*file, 0, "0123456789");
  const FileTime early{TypeParam::kTimesBefore1970 ? -5 : 5, 999'999'999};
  SetAttributes change{.mode = 04711, .size = 4, .accessed = FileTime{1000, 1}, .modified = early};
  this->must(file->set_attributes(change, Durable::kYes));
  Attributes now = this->must(file->attributes());
  EXPECT_EQ(now.mode, 04711u);
  EXPECT_EQ(now.size, 4u);
  EXPECT_EQ(now.accessed, (FileTime{1000, 1}));
  EXPECT_EQ(now.modified, early);
  if (!TypeParam::kTimesBefore1970) {
    EXPECT_EQ(this->code(file->set_attributes({.modified = FileTime{-5, 0}}, Durable::kNo)),
              Code::kUnsupported);
    EXPECT_EQ(this->must(file->attributes()).modified, early);
  }
  EXPECT_EQ(this->read(*file, 0, 100), "0123");
  this->must(this->store().set_attributes("f", {.size = 6}, Durable::kYes));
  EXPECT_EQ(this->read(*file, 0, 100), std::string("0123\0\0", 6));
  this->must(this->store().set_attributes("f", {.mode = 0644}, Durable::kNo));
  this->must(file->sync());
  now = this->must(this->store().attributes("f"));
  EXPECT_EQ(now.mode, 0644u);
  EXPECT_EQ(now.size, 6u);
  this->must(this->store().make_directory("d", 0700, Durable::kNo));
  this->must(this->store().set_attributes("d", {.mode = 01777}, Durable::kYes));
  EXPECT_EQ(this->must(this->store().attributes("d")).mode, 01777u);
  EXPECT_EQ(this->code(this->store().set_attributes("d", {.size = 0}, Durable::kNo)), Code::kIsDirectory);
  EXPECT_EQ(this->code(this->store().set_attributes("none", {.mode = 0600}, Durable::kNo)), Code::kNotFound);
}

TYPED_TEST(StoreFiles, OwnersAreSetByThoseWhoMay) {
  if (geteuid() != 0) GTEST_SKIP() << "only root changes owners";
  auto file = this->create("f");
  this->must(file->set_attributes({.uid = 1234}, Durable::kNo));
  this->must(this->store().set_attributes("f", {.gid = 4321}, Durable::kYes));
  EXPECT_EQ(this->must(file->attributes()).uid, 1234u);
  EXPECT_EQ(this->must(file->attributes()).gid, 4321u);
}

TYPED_TEST(StoreFiles, ChangesMoveTheTimesForward) {
  auto file = this->create("f");
  this->must(file->set_attributes({.modified = FileTime{1, 0}}, Durable::kNo));
  Attributes before = this->must(file->attributes());
  Attributes after = this->write(*file, 0, "x").after;
  EXPECT_EQ(before.modified, (FileTime{1, 0}));
  EXPECT_GT(after.modified, before.modified);
  EXPECT_GE(after.changed, before.changed);
}

TYPED_TEST(StoreFiles, SparseFilesTakeRoomOnlyWhereTheyHoldData) {
  auto file = this->create("f");
  constexpr uint64_t kFar = 64ull << 20;
  this->write(*file, kFar, std::string(100'000, 'd'), Durable::kYes);
  Attributes now = this->must(file->attributes());
  EXPECT_EQ(now.size, kFar + 100'000);
  EXPECT_LT(now.allocated, 1u << 20);
  EXPECT_EQ(this->must(file->seek_data(0)), TypeParam::kHasHoles ? kFar : 0u);
  EXPECT_EQ(this->must(file->seek_hole(0)), TypeParam::kHasHoles ? 0u : now.size);
  EXPECT_EQ(this->must(file->seek_data(kFar + 10)), kFar + 10);
  EXPECT_EQ(this->must(file->seek_hole(kFar + 10)), kFar + 100'000);
  EXPECT_EQ(this->code(file->seek_data(now.size)), Code::kNotFound);
  EXPECT_EQ(this->code(file->seek_hole(now.size)), Code::kNotFound);
  EXPECT_EQ(this->code(file->seek_hole(now.size + 1'000'000)), Code::kNotFound);
  if (!TypeParam::kHasHoles) return;
  this->must(file->allocate(AllocateMode::kPunchHole, kFar, 65536));
  EXPECT_EQ(this->must(file->seek_data(0)), kFar + 65536);
  EXPECT_EQ(this->must(file->attributes()).size, now.size);
  EXPECT_EQ(this->read(*file, kFar + 65534, 4), std::string("\0\0dd", 4));
}

TYPED_TEST(StoreFiles, RoomIsReservedWithAndWithoutGrowingTheFile) {
  auto file = this->create("f");
  if (!TypeParam::kHasHoles) {
    for (AllocateMode mode : {AllocateMode::kReserve, AllocateMode::kReserveKeepSize,
                              AllocateMode::kPunchHole, AllocateMode::kZero})
      EXPECT_EQ(this->code(file->allocate(mode, 0, 8192)), Code::kUnsupported);
    EXPECT_EQ(this->must(file->attributes()).size, 0u);
    return;
  }
  this->must(file->allocate(AllocateMode::kReserveKeepSize, 0, 1 << 20));
  Attributes now = this->must(file->attributes());
  EXPECT_EQ(now.size, 0u);
  EXPECT_GE(now.allocated, 1u << 20);
  this->must(file->allocate(AllocateMode::kReserve, 0, 8192));
  EXPECT_EQ(this->must(file->attributes()).size, 8192u);
  this->write(*file, 0, std::string(8192, 'x'));
  this->must(file->allocate(AllocateMode::kZero, 10, 4000));
  EXPECT_EQ(this->read(*file, 9, 3), std::string("x\0\0", 3));
  EXPECT_EQ(this->read(*file, 4009, 2), std::string("\0x", 2));
  this->must(file->allocate(AllocateMode::kPunchHole, 8000, 100));
  EXPECT_EQ(this->read(*file, 7999, 2), std::string("x\0", 2));
  EXPECT_EQ(this->must(file->attributes()).size, 8192u);
  EXPECT_EQ(this->code(file->allocate(AllocateMode::kReserve, 0, 0)), Code::kInvalidArgument);
}

TYPED_TEST(StoreFiles, OffsetsBeyondTheLargestFileAreRefused) {
  auto file = this->create("f");
  std::string_view pieces[] = {"xx"};
  EXPECT_EQ(this->code(file->write(INT64_MAX, pieces, Durable::kNo)), Code::kTooLarge);
  EXPECT_EQ(this->code(file->write(UINT64_MAX - 1, pieces, Durable::kNo)), Code::kTooLarge);
  EXPECT_EQ(this->must(file->attributes()).size, 0u);
}

// The fence of the account log rests on this.
TYPED_TEST(StoreFiles, ASealByAnotherClientShowsInTheOwnersNextWrite) {
  auto owner = this->create("slice");
  EXPECT_EQ(this->write(*owner, 0, "first", Durable::kYes).after.mode, 0600u);
  this->must(this->other().set_attributes("slice", {.mode = 0400}, Durable::kYes));
  EXPECT_EQ(this->must(read_file(this->other(), "slice", 100)), "first");
  WriteOutcome late = this->write(*owner, 5, "second", Durable::kYes);
  EXPECT_EQ(late.written, 6u);
  EXPECT_EQ(late.after.mode, 0400u);
  EXPECT_EQ(this->write(*owner, 11, "third", Durable::kNo).after.mode, 0400u);
  EXPECT_EQ(this->must(read_file(this->other(), "slice", 100)), "firstsecondthird");
}

TYPED_TEST(StoreFiles, ManyOverlappingWritesAllArrive) {
  auto file = this->create("f");
  constexpr int kWriters = 100;
  int done = 0;
  auto append = [](UringLoop& loop, File& target, int index, int& ends) -> Task<void> {
    std::string text = fmt::format("{:010}", index);
    std::string_view pieces[] = {text};
    auto outcome = co_await target.write(static_cast<uint64_t>(index) * 10, pieces,
                                         index % 2 == 0 ? Durable::kYes : Durable::kNo);
    EXPECT_TRUE(outcome.has_value());
    if (outcome) EXPECT_GE(outcome->after.size, static_cast<uint64_t>(index + 1) * 10);
    if (++ends == kWriters) loop.stop();
  };
  for (int i = 0; i < kWriters; ++i) this->loop_->spawn(append(*this->loop_, *file, i, done));
  this->loop_->run();
  std::string all = this->read(*file, 0, 2000);
  ASSERT_EQ(all.size(), kWriters * 10u);
  for (int i = 0; i < kWriters; ++i)
    EXPECT_EQ(all.substr(static_cast<size_t>(i) * 10, 10), fmt::format("{:010}", i));
}

TYPED_TEST(StoreFiles, ExtendedAttributesHaveNamesAndBytes) {
  this->create("f");
  this->must(this->store().make_directory("d", 0700, Durable::kNo));
  const std::string value("\0bytes\xff", 7);
  if (!TypeParam::kHasXattrs) {
    EXPECT_EQ(this->code(this->store().xattr("f", "user.a")), Code::kUnsupported);
    EXPECT_EQ(this->code(this->store().list_xattrs("f")), Code::kUnsupported);
    EXPECT_EQ(this->code(this->store().set_xattr("f", "user.a", value, XattrMode::kAny, Durable::kNo)),
              Code::kUnsupported);
    EXPECT_EQ(this->code(this->store().remove_xattr("f", "user.a", Durable::kNo)), Code::kUnsupported);
    return;
  }
  for (std::string path : {"f", "d"}) {
    SCOPED_TRACE(path);
    EXPECT_THAT(this->must(this->store().list_xattrs(path)), testing::IsEmpty());
    EXPECT_EQ(this->code(this->store().xattr(path, "user.a")), Code::kNotFound);
    EXPECT_EQ(this->code(this->store().set_xattr(path, "user.a", value, XattrMode::kReplace, Durable::kNo)),
              Code::kNotFound);
    this->must(this->store().set_xattr(path, "user.a", value, XattrMode::kCreate, Durable::kYes));
    this->must(this->store().set_xattr(path, "user.b", "", XattrMode::kAny, Durable::kNo));
    EXPECT_EQ(this->code(this->store().set_xattr(path, "user.a", "x", XattrMode::kCreate, Durable::kNo)),
              Code::kAlreadyExists);
    EXPECT_EQ(this->must(this->store().xattr(path, "user.a")), value);
    EXPECT_EQ(this->must(this->store().xattr(path, "user.b")), "");
    EXPECT_THAT(this->must(this->store().list_xattrs(path)),
                testing::UnorderedElementsAre("user.a", "user.b"));
    this->must(
        this->store().set_xattr(path, "user.a", std::string(2000, 'v'), XattrMode::kReplace, Durable::kNo));
    EXPECT_EQ(this->must(this->store().xattr(path, "user.a")), std::string(2000, 'v'));
    this->must(this->store().remove_xattr(path, "user.a", Durable::kYes));
    auto gone = this->run(this->store().remove_xattr(path, "user.a", Durable::kNo));
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().error_number(), ENODATA);
    EXPECT_THAT(this->must(this->store().list_xattrs(path)), testing::ElementsAre("user.b"));
  }
  for (std::string name : {"", "user", "user.", ".a"}) {
    EXPECT_EQ(this->code(this->store().set_xattr("f", name, "x", XattrMode::kAny, Durable::kNo)),
              Code::kInvalidArgument)
        << name;
  }
  auto long_name = this->run(this->store().xattr("f", "user." + std::string(255, 'a')));
  ASSERT_FALSE(long_name);
  EXPECT_EQ(long_name.error().error_number(), ERANGE);
  EXPECT_EQ(this->code(this->store().xattr("missing", "user.a")), Code::kNotFound);
}

}  // namespace
}  // namespace canopy
