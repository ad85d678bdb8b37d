#include "daemon/dict/value.h"

#include <gtest/gtest.h>

namespace canopy::dict {
namespace {

TEST(Dict, KeepsItsKeysSortedWhateverTheOrderOfChanges) {
  Dict dict;
  for (std::string_view key : {"m", "a", "z", "k", "a"}) dict.set(key, key);
  std::string keys;
  for (const Entry& entry : dict) keys += entry.key;
  EXPECT_EQ(keys, "akmz");
  EXPECT_TRUE(dict.erase("k"));
  EXPECT_FALSE(dict.erase("k"));
  EXPECT_EQ(dict.find("k"), nullptr);
  ASSERT_NE(dict.find("m"), nullptr);
  *dict.find("m") = 5;
  EXPECT_EQ(dict.number_or("m", 0), 5);
  EXPECT_EQ(dict.size(), 3u);
}

TEST(Dict, AnswersTheFallbackForAbsentKeysAndOtherKinds) {
  Dict dict{{"S", "text"}, {"N", 7}, {"Y", "yes"}, {"F", "No"}};
  EXPECT_EQ(dict.string_or("S", "x"), "text");
  EXPECT_EQ(dict.string_or("N", "x"), "x");
  EXPECT_EQ(dict.number_or("N", 1), 7);
  EXPECT_EQ(dict.number_or("S", 1), 1);
  EXPECT_TRUE(dict.bool_or("Y", false));
  EXPECT_FALSE(dict.bool_or("F", true));
  EXPECT_TRUE(dict.bool_or("S", true));
  EXPECT_EQ(dict.require_number("X").error().code(), Code::kNotFound);
  EXPECT_EQ(dict.require_number("S").error().to_string(),
            "S: must be a number, is a string (invalid-argument)");
  EXPECT_EQ(*dict.require_string("S"), "text");
}

TEST(Date, PrintsAndReadsBothForms) {
  for (int64_t seconds : {kDateSecondsMin, int64_t{-1}, int64_t{0}, int64_t{951'782'400}, kDateSecondsMax}) {
    Date date{seconds, true};
    EXPECT_EQ(Date::parse(date.to_string()), date);
    EXPECT_EQ(Date::parse_iso(date.to_iso()), date);
  }
  EXPECT_EQ((Date{951'782'400, false}).to_string(), "29-02-2000");
  EXPECT_EQ((Date{-1, true}).to_iso(), "1969-12-31T23:59:59Z");
  EXPECT_FALSE(Date::parse("29-02-1900").has_value());
  EXPECT_FALSE(Date::parse_iso("2026-10-23T12:30:60Z").has_value());
}

}  // namespace
}  // namespace canopy::dict
