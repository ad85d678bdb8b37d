#include <gtest/gtest.h>

#include "daemon/base/base64.h"
#include "daemon/base/bytes.h"
#include "daemon/base/crc32c.h"
#include "daemon/base/error.h"

namespace canopy {
namespace {

TEST(Base64, decodes_exactly_what_it_encodes) {
  for (std::string_view bytes : {"", "f", "fo", "foo", "foob", "fooba", "foobar"})
    EXPECT_EQ(base64_decode(base64_encode(bytes)), bytes);
  EXPECT_EQ(base64_encode("foob"), "Zm9vYg==");
  for (std::string_view wrong : {"Zg=", "Zg", "Zh==", "Z===", "Zg==Zg==", "Zm9v\n", "Z-9v", "===="})
    EXPECT_FALSE(base64_decode(wrong)) << wrong;
}

// The check value of RFC 3720, appendix B.4, and the customary "123456789".
TEST(Crc32c, AnswersThePublishedValues) {
  EXPECT_EQ(crc32c(0, "123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(0, std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(0, std::string(32, '\xff')), 0x62A8AB43u);
}

TEST(Crc32c, OfTwoPartsIsThatOfTheWhole) {
  std::string text = "the quick brown fox jumps over the lazy dog";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(crc32c(crc32c(0, text.substr(0, cut)), text.substr(cut)), crc32c(0, text));
  }
}

// Long ones are computed in lanes.
TEST(Crc32c, OfALongTextIsThatOfItsBytesOneByOne) {
  std::string text;
  for (uint32_t i = 0; i < 10'000; ++i) text.push_back(static_cast<char>(i * i >> 3 ^ i));
  uint32_t by_bytes = 0x12345678;
  for (size_t length = 0; length < text.size(); ++length) {
    ASSERT_EQ(crc32c(0x12345678, std::string_view(text).substr(0, length)), by_bytes) << length;
    by_bytes = crc32c(by_bytes, std::string_view(text).substr(length, 1));
  }
}

TEST(Error, EveryCodeHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Code::kLast); ++code) {
    EXPECT_TRUE(names.insert(code_name(static_cast<Code>(code))).second) << code;
  }
}

TEST(Varint, SurvivesARoundTripAndRefusesACut) {
  for (uint64_t value : {uint64_t{0}, uint64_t{127}, uint64_t{128}, uint64_t{1} << 35, UINT64_MAX}) {
    std::string bytes;
    put_varint(bytes, value);
    EXPECT_EQ(ByteReader(bytes).varint(), value);
    bytes.pop_back();
    EXPECT_EQ(ByteReader(bytes).varint(), std::nullopt);
  }
}

TEST(Varint, OverTenBytesOrOver64BitsIsRefused) {
  EXPECT_EQ(ByteReader(std::string(11, '\x80')).varint(), std::nullopt);
  EXPECT_EQ(ByteReader(std::string(9, '\xff') + '\x02').varint(), std::nullopt);
}

TEST(Hex, SurvivesARoundTrip) {
  EXPECT_EQ(hex64(0x123456789abcdef0), "123456789abcdef0");
  EXPECT_EQ(parse_hex64("123456789abcdef0"), 0x123456789abcdef0u);
  EXPECT_EQ(parse_hex64("123456789abcdeg0"), std::nullopt);
  EXPECT_EQ(from_hex(to_hex("\x01\xfe")), "\x01\xfe");
}

}  // namespace
}  // namespace canopy
