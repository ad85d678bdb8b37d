// Every cut and every flipped byte of a small account: damage is named or the log ends where it tore, and
// what is read is what was written.
#include "tests/log/log_fixture.h"

namespace canopy {
namespace {

class DamageTest : public AccountLogTest {
 protected:
  // Two slices: the first closed by the second's manifest, with a large message in parts.
  void SetUp() override {
    Process first(world, disk, kEpoch);
    ASSERT_TRUE(first.create());
    for (uint32_t uid = 1; uid <= 4; ++uid) ASSERT_TRUE(first.append(delivery(uid)));
    ASSERT_TRUE(first.append(flags_of(2, kFlagSeen)));
    first.close();
    Process second(world, disk, kEpoch + 1);
    ASSERT_TRUE(second.open());
    for (uint32_t uid = 5; uid <= 8; ++uid) ASSERT_TRUE(second.append(delivery(uid)));
    ASSERT_TRUE(second.append(expunge_of(3, 3)));
    rows = second.account.rows;
    second.close();
    for (const auto& name : names()) files.push_back(std::string(kAccount) + "/" + name);
    ASSERT_EQ(files.size(), 2u);
  }

  // Opens, and checks that every row is one that was written and that its content is right or refused as
  // damaged.
  struct Seen {
    Code code = Code::kOk;
    std::set<uint32_t> uids;
    std::vector<Damage> damages;
    bool refused = false;  // a content
  };
  Seen look() {
    Seen seen;
    SimWorld own(1);  // a world keeps its dead loops: with thousands of them each step would take long
    Process reader(own, disk, kEpoch + 2);
    reader.options.copy_chunk_bytes = 64u << 10;
    seen.code = code_of(reader.open());
    if (seen.code != Code::kOk) return seen;
    for (const auto& [uid, row] : reader.account.rows) {
      auto content = reader.content(uid);
      if (content) {
        EXPECT_EQ(*content, content_of(uid));
      } else {
        EXPECT_EQ(content.error().code(), Code::kDamaged);
        seen.refused = true;
      }
    }
    seen.uids = reader.account.uids();
    seen.damages = reader.log->damages();
    auto report = reader.run(reader.log->check());
    EXPECT_TRUE(report);
    if (report && seen.damages.empty()) EXPECT_EQ(report->damages, seen.damages);
    reader.close();
    return seen;
  }

  std::map<uint32_t, ModelAccount::Row> rows;
  std::vector<std::string> files;
};

TEST_F(DamageTest, AFlippedByteBelowTheAcknowledgedEndIsNamedAndCostsOnlyItsFrame) {
  const std::string bytes = file_bytes(files[0]);
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string flipped = bytes;
    flipped[at] ^= 0x40;
    write_file(files[0], flipped);
    const Seen seen = look();
    ASSERT_EQ(seen.code, Code::kOk) << at;
    ASSERT_EQ(seen.damages.size(), 1u) << at;
    const Damage& damage = seen.damages[0];
    EXPECT_EQ(damage.file, files[0].substr(sizeof(kAccount)));
    EXPECT_LE(damage.offset, at);
    EXPECT_GT(damage.offset + damage.length, at);
    EXPECT_GE(seen.uids.size(), 6u) << at;
  }
}

TEST_F(DamageTest, AFlippedByteOfTheLastSliceIsNamedOrEndsTheLog) {
  const std::string bytes = file_bytes(files[1]);
  size_t named = 0, ended = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string flipped = bytes;
    flipped[at] ^= 1 << (at % 8);
    write_file(files[1], flipped);
    const Seen seen = look();
    if (seen.code == Code::kDamaged) {  // the manifest itself, with acknowledged frames behind it
      ++named;
      continue;
    }
    ASSERT_EQ(seen.code, Code::kOk) << at;
    if (!seen.damages.empty()) {
      ++named;
      EXPECT_GT(seen.damages[0].offset + seen.damages[0].length, at);
    } else {
      ++ended;
      EXPECT_TRUE(seen.uids.contains(3)) << at;  // only the last frame, the expunge, may go so
      EXPECT_TRUE(seen.uids.contains(8)) << at;
    }
  }
  EXPECT_GT(named, ended);
}

TEST_F(DamageTest, ACutEndsTheLastSliceAndIsDamageInAClosedOne) {
  for (size_t file = 0; file < 2; ++file) {
    const std::string bytes = file_bytes(files[file]);
    for (size_t length = 0; length < bytes.size(); ++length) {
      write_file(files[file], bytes.substr(0, length));
      const Seen seen = look();
      ASSERT_EQ(seen.code, Code::kOk) << length;
      if (file == 0) {
        EXPECT_FALSE(seen.damages.empty()) << length;
        EXPECT_TRUE(seen.uids.contains(8)) << length;
      } else {
        EXPECT_TRUE(seen.damages.empty()) << length;
        EXPECT_TRUE(seen.uids.contains(1)) << length;
      }
    }
    write_file(files[file], bytes);
  }
}

TEST_F(DamageTest, TheOnlySliceIsNamedHoweverMuchOfItsBeginningIsDestroyed) {
  ASSERT_TRUE(disk.remove(files[1], Durable::kYes));
  const std::string bytes = file_bytes(files[0]);
  // All but the last frame, which alone says then that something was acknowledged.
  const size_t last = bytes.size() - 200;
  for (size_t length = kSliceHeaderBytes; length < last; length += 8) {
    write_file(files[0], std::string(length, 'Z') + bytes.substr(length));
    EXPECT_EQ(look().code, Code::kDamaged) << length;
  }
}

TEST_F(DamageTest, ASliceThatIsGoneIsNamed) {
  ASSERT_TRUE(disk.remove(files[0], Durable::kYes));
  const Seen seen = look();
  ASSERT_EQ(seen.code, Code::kOk);
  ASSERT_EQ(seen.damages.size(), 1u);
  EXPECT_THAT(seen.uids, testing::ElementsAre(5, 6, 7, 8));
}

TEST_F(DamageTest, ASliceSentAsMailForgesNothing) {
  const std::string slice = file_bytes(files[0]);
  Process process(world, disk, kEpoch + 3);
  ASSERT_TRUE(process.open());
  Frame frame;
  frame.add(Content{slice});
  ASSERT_TRUE(process.append(std::move(frame)));
  ASSERT_TRUE(process.append(delivery(9)));
  const auto all = process.account.rows;
  process.close();
  // Damage the mail's own frame header: resynchronising walks through the mail's bytes.
  std::string name;
  for (const auto& one : names())
    if (one > name) name = one;
  std::string bytes = file_bytes(std::string(kAccount) + "/" + name);
  const auto at = bytes.find(std::string("CNPYSLC1"), 8);
  ASSERT_NE(at, std::string::npos);
  bytes[at - kRecordHeaderBytes - kFrameHeaderBytes + 9] ^= 1;
  write_file(std::string(kAccount) + "/" + name, bytes);
  Process reader(world, disk, kEpoch + 4);
  ASSERT_TRUE(reader.open());
  EXPECT_EQ(reader.log->damages().size(), 1u);
  EXPECT_EQ(reader.account.rows, all);
  reader.close();
}

TEST_F(DamageTest, ARecordOfALaterVersionIsNoDamage) {
  SimWorld own(1);
  Process writer(own, disk, kEpoch + 2);
  ASSERT_TRUE(writer.open());
  ASSERT_TRUE(writer.run(writer.log->take_over()));
  Frame frame;
  frame.add_raw(static_cast<RecordType>(200), "what nobody knows yet");
  ASSERT_TRUE(writer.run(writer.log->append(std::move(frame))));
  auto report = writer.run(writer.log->check());
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->damages.empty());
  writer.close();
  EXPECT_TRUE(look().damages.empty());
}

TEST_F(DamageTest, TheLogGoesOnBehindATornTail) {
  const std::string bytes = file_bytes(files[1]);
  write_file(files[1], bytes.substr(0, bytes.size() - 3));
  Process process(world, disk, kEpoch + 2);
  ASSERT_TRUE(process.open());
  ASSERT_TRUE(process.append(delivery(9)));
  process.close();
  Process reader(world, disk, kEpoch + 3);
  ASSERT_TRUE(reader.open());
  EXPECT_THAT(reader.account.uids(), testing::ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_TRUE(reader.log->damages().empty());
  expect_contents(reader);
  reader.close();
}

}  // namespace
}  // namespace canopy
