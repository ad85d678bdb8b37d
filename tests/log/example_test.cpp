// The worked example of docs/formats/account-log.md is what the code writes, byte for byte, and reads.
#include <fstream>

#include "tests/log/log_fixture.h"

namespace canopy {
namespace {

constexpr SliceId kExampleId{1, (1ull << 32) | 1};
constexpr char kExampleSecret[] = "0123456789abcdef";
constexpr char kExampleMail[] = "Subject: hi\r\n\r\nhello\r\n";
constexpr int64_t kExampleTime = 1'700'000'000;

void put_frame(std::string& slice, Frame frame, uint64_t acknowledged, RequestId id = {}) {
  FrameHeader header;
  header.records = static_cast<uint32_t>(frame.records());
  header.time_ns = kExampleTime * kSecond;
  header.acknowledged = acknowledged;
  header.request_id = id;
  std::string& bytes = frame.resolve(kExampleId.number, slice.size());
  seal_frame(bytes, header, SliceSeed(std::string_view(kExampleSecret, kSecretBytes), kExampleId),
             slice.size());
  slice += bytes;
}

// A new account, a delivery with a request id, a flag.
std::string example_slice() {
  std::string slice =
      encode_slice_header({kExampleId, SliceKind::kAppend, std::string(kExampleSecret), kExampleTime});
  Frame manifest;
  add_manifest(manifest, Manifest{{{kExampleId, SliceKind::kAppend, true, kOpenEnded}}});
  put_frame(slice, std::move(manifest), 0);
  Frame first;
  first.add(MailboxCreate{1, static_cast<uint32_t>(kExampleTime), 1, "INBOX"});
  first.add(Subscribe{"INBOX", true});
  put_frame(slice, std::move(first), 0);
  Message message;
  message.mailbox_id = message.uid = 1;
  message.modseq = 2;
  message.date_seconds = kExampleTime;
  message.zone_minutes = 120;
  message.bytes = kExampleMail;
  message.size = message.bytes.size();
  Frame delivery;
  delivery.add(message);
  RequestId id{};
  for (uint8_t i = 0; i < id.size(); ++i) id[i] = static_cast<uint8_t>(0xa0 + i);
  put_frame(slice, std::move(delivery), slice.size(), id);
  Frame flags;
  flags.add(FlagsChange{1, 3, {{kFlagSeen, {}, {{1, 1}}}}});
  put_frame(slice, std::move(flags), slice.size());
  return slice;
}

// The bytes of the document's example: lines "OFFSET  HEX HEX …  what it is".
std::string bytes_in_document() {
  std::ifstream file(std::string(CANOPY_SOURCE_DIR) + "/docs/formats/account-log.md");
  std::string line, bytes;
  bool inside = false;
  while (std::getline(file, line)) {
    if (line.starts_with("## ")) inside = line == "## A worked example";
    if (!inside || line.size() < 8 || line.substr(4, 2) != "  ") continue;
    auto offset = from_hex(line.substr(0, 4));
    if (!offset) continue;
    const size_t at = static_cast<uint8_t>((*offset)[0]) * 256u + static_cast<uint8_t>((*offset)[1]);
    EXPECT_EQ(at, bytes.size()) << line;
    for (size_t i = 6; i + 2 <= line.size() && line[i] != ' '; i += 3)
      bytes += from_hex(line.substr(i, 2)).value();
  }
  return bytes;
}

class ExampleTest : public AccountLogTest {};

TEST_F(ExampleTest, TheDocumentShowsWhatTheCodeWrites) {
  EXPECT_EQ(to_hex(bytes_in_document()), to_hex(example_slice()));
}

TEST_F(ExampleTest, TheDocumentsExampleIsAnAccount) {
  for (const char* part : {"SharedDomains", "SharedDomains/company.com", kAccount})
    ASSERT_TRUE(disk.make_directory(part, 0700, Durable::kYes));
  write_file(std::string(kAccount) + "/" + slice_file_name(kExampleId), bytes_in_document());
  Process process(world, disk, kEpoch + 1);
  ASSERT_TRUE(process.open());
  EXPECT_TRUE(process.log->damages().empty());
  EXPECT_EQ(process.account.mailboxes.at(1), "INBOX");
  EXPECT_EQ(process.account.rows.at(1).flags, kFlagSeen);
  EXPECT_EQ(process.account.requests.size(), 1u);
  EXPECT_EQ(*process.content(1), kExampleMail);
  process.close();
}

}  // namespace
}  // namespace canopy
