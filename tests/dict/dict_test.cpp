#include <gtest/gtest.h>

#include "daemon/dict/dict.h"
#include "daemon/dict/json.h"
#include "daemon/dict/versioned.h"

namespace canopy::dict {
namespace {

constexpr std::string_view kSample =
    "{Array=(a,\"b "
    "c\",#-5);Blob=[SGVsbG8=];Day=#T23-10-2026;Nothing=#NULL#;Sub={Deep={Key=Value;};};When=#T23-10-2026_12:"
    "30:00;}";

TEST(Dict, ReadsEveryKindOfValue) {
  auto dict = parse_dict(kSample);
  ASSERT_TRUE(dict) << dict.error().to_string();
  EXPECT_EQ(dict->find("Array")->array()->size(), 3u);
  EXPECT_EQ(*dict->find("Array")->array()->at(2).number(), -5);
  EXPECT_EQ(dict->find("Blob")->data()->bytes, "Hello");
  EXPECT_FALSE(dict->find("Day")->date()->has_time);
  EXPECT_TRUE(dict->find("Nothing")->is_null());
  EXPECT_EQ(dict->find("When")->date()->to_string(), "23-10-2026_12:30:00");
}

TEST(Dict, PrintingWhatWasReadAndReadingItAgainChangesNothing) {
  auto dict = parse_dict(kSample);
  ASSERT_TRUE(dict);
  for (Style style : {Style::kCompact, Style::kPretty}) {
    auto again = parse_dict(print(*dict, style));
    ASSERT_TRUE(again) << again.error().to_string();
    EXPECT_EQ(*again, *dict);
  }
}

TEST(Dict, IsWrittenSortedWhateverTheOrderItWasFilledIn) {
  Dict one, other;
  one.set("b", "2");
  one.set("a", "1");
  other.set("a", "1");
  other.set("b", "2");
  EXPECT_EQ(print(one), print(other));
}

TEST(Dict, NoCutOfATextIsReadAsAWholeOne) {
  for (size_t size = 0; size < kSample.size(); ++size) {
    EXPECT_FALSE(parse_dict(kSample.substr(0, size))) << size;
  }
}

TEST(Dict, NoFlippedByteCrashesTheReader) {
  for (size_t at = 0; at < kSample.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string text(kSample);
      text[at] = static_cast<char>(text[at] ^ (1 << bit));
      auto dict = parse_dict(text);
      if (!dict) continue;
      auto again = parse_dict(print(*dict));
      ASSERT_TRUE(again) << text;
      EXPECT_EQ(*again, *dict) << text;
    }
  }
}

TEST(Dict, NestingBeyondTheLimitIsRefused) {
  std::string text;
  for (uint32_t i = 0; i <= kDictDepthMax; ++i) text += "(";
  for (uint32_t i = 0; i <= kDictDepthMax; ++i) text += ")";
  auto value = parse(text);
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().code(), Code::kTooLarge);
}

TEST(Dict, ARepeatedKeyIsRefused) { EXPECT_FALSE(parse_dict("{a=1;a=2;}")); }

TEST(Dict, SurvivesTheWayThroughJson) {
  auto dict = parse_dict(kSample);
  ASSERT_TRUE(dict);
  auto back = from_json(to_json(*dict));
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_EQ(*back->dict(), *dict);
}

TEST(Versioned, TheReplacementOfAFileHasAHigherVersion) {
  Version version{0x100000001, 7};
  auto next = version.next(0x200000001);
  ASSERT_TRUE(next);
  EXPECT_GT(*next, version);
  auto fenced = version.next(0x1);
  ASSERT_FALSE(fenced);
  EXPECT_EQ(fenced.error().code(), Code::kFenced);
}

TEST(Versioned, SurvivesAFile) {
  VersionedDict file;
  file.version = {0x100000001, 3};
  file.dict.set("Unknown", "kept");
  auto text = print_versioned(file, "test");
  ASSERT_TRUE(text);
  auto read = parse_versioned(*text, "test");
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(*read, file);
}

}  // namespace
}  // namespace canopy::dict
