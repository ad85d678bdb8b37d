// The journal's files: what is whole is found, what is torn ends there, what is damaged is counted.
#include <gtest/gtest.h>

#include "daemon/store/journal/journal_format.h"

namespace canopy::journal {
namespace {

constexpr uint64_t kSecret = 0x1122334455667788;

// A file of batches, each of so many records.
struct File {
  explicit File(uint64_t first = 1) : next(first) {}
  File& batch(uint32_t count, std::string_view content = "{}") {
    std::string out;
    const uint64_t first_of_batch = next;
    for (uint32_t i = 0; i < count; ++i) {
      offsets.push_back(bytes.size() + out.size());
      const std::string path = "a/" + std::to_string(next) + ".info";
      append_record(out, kSecret, {next++, first_of_batch, Kind::kReplaced, path, content});
    }
    end_batch(out);
    bytes += out;
    return *this;
  }
  std::string bytes = std::string(kBatchesAt, '\0');
  std::vector<size_t> offsets;
  uint64_t next;
};

uint64_t missing_in(const std::string& bytes) { return missing_records({scan(bytes, kSecret), Scan()}); }

TEST(JournalFormat, HeadersTakeTurnsAndATornOneLeavesTheOther) {
  std::string head(kBatchesAt, '\0');
  EXPECT_FALSE(newest_header(head));
  Header header{7, 99, false};
  auto put = [&] { head.replace(header_offset(header), kBlockBytes, print_header(header)); };
  put();
  EXPECT_EQ(newest_header(head)->secret, 99u);
  header = {8, 100, true};
  put();
  EXPECT_EQ(newest_header(head)->secret, 100u);
  EXPECT_TRUE(newest_header(head)->rewrite);
  for (size_t torn = 0; torn < 36; ++torn) {
    std::string broken = head;
    broken[header_offset(header) + torn] ^= 1;
    ASSERT_TRUE(newest_header(broken)) << torn;
    EXPECT_EQ(newest_header(broken)->secret, 99u) << torn;
  }
}

TEST(JournalFormat, RecordsAreReadAsTheyWereWritten) {
  std::string out;
  append_record(out, kSecret, {5, 5, Kind::kReplaced, "x/y.info", "content"});
  append_record(out, kSecret, {6, 5, Kind::kSettled, "x/z.info", ""});
  end_batch(out);
  EXPECT_EQ(out.size(), kBlockBytes);
  const std::string file = std::string(kBatchesAt, '\0') + out;
  const Scan found = scan(file, kSecret);
  ASSERT_EQ(found.records.size(), 2u);
  EXPECT_TRUE(found.begins_whole);
  EXPECT_EQ(found.records[0].path, "x/y.info");
  EXPECT_EQ(found.records[0].content, "content");
  EXPECT_EQ(found.records[1].kind, Kind::kSettled);
  EXPECT_EQ(found.records[1].batch, 5u);
  EXPECT_TRUE(scan(file, kSecret + 1).records.empty());  // of a time before the file was emptied
}

TEST(JournalFormat, CutAnywhereItHoldsWhatIsWholeAndNothingIsMissing) {
  File file;
  file.batch(3).batch(1, std::string(5000, 'x')).batch(4);
  for (size_t size = kBatchesAt; size <= file.bytes.size(); size += 7) {
    const std::string cut = file.bytes.substr(0, size);
    const size_t whole = scan(cut, kSecret).records.size();
    EXPECT_LE(whole, 8u);
    for (size_t i = 0; i < whole; ++i) EXPECT_LT(file.offsets[i], size);
    EXPECT_EQ(missing_in(cut), 0u) << size;
  }
  EXPECT_EQ(scan(file.bytes, kSecret).records.size(), 8u);
}

TEST(JournalFormat, ADamagedRecordIsMissingWhenALaterBatchWasWritten) {
  File file;
  file.batch(3).batch(2).batch(3);
  for (size_t record = 0; record < 8; ++record) {
    std::string broken = file.bytes;
    broken[file.offsets[record] + 41] ^= 0x20;
    EXPECT_EQ(scan(broken, kSecret).records.size(), 7u) << record;
    EXPECT_EQ(missing_in(broken), record < 5 ? 1u : 0u) << record;
  }
}

TEST(JournalFormat, WhatIsMissingInTheOlderFileIsSeenFromTheNewer) {
  File older, newer(6);
  older.batch(3).batch(2);
  newer.batch(1);
  const auto both = [&] { return missing_records({scan(newer.bytes, kSecret), scan(older.bytes, kSecret)}); };
  EXPECT_EQ(both(), 0u);
  older.bytes.resize(older.offsets[4]);
  EXPECT_EQ(both(), 1u);
  older.bytes[older.offsets[0]] ^= 1;
  EXPECT_EQ(both(), 2u);
}

TEST(JournalFormat, AContentThatLooksLikeRecordsIsOne) {
  std::string inner;
  append_record(inner, kSecret - 1, {2, 1, Kind::kReplaced, "forged.info", "forged"});
  File file;
  file.batch(1, inner).batch(1);
  EXPECT_EQ(scan(file.bytes, kSecret).records.size(), 2u);
  file.bytes[file.offsets[0] + 4] ^= 1;
  const Scan found = scan(file.bytes, kSecret);  // it looks into the damaged record
  ASSERT_EQ(found.records.size(), 1u);
  EXPECT_EQ(found.records[0].path, "a/2.info");
}

}  // namespace
}  // namespace canopy::journal
