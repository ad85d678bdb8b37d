#include "daemon/dict/json.h"

#include <gtest/gtest.h>

#include "daemon/base/limits.h"
#include "daemon/dict/dict.h"

namespace canopy::dict {
namespace {

TEST(DictJson, EveryKindOfValueGoesThereAndBack) {
  for (std::string_view text :
       {"{}", "{A=b;N=#-5;X=#NULL#;L=(a,(),{});}", "{D=#T23-10-2026_12:30:00;E=#T23-10-2026;B=[aGVsbG8=];}",
        "{S=\"\\xff\";}", "{\"$data\"=a;}", "{\"\\xfe\"={\"$x\"=#1;};}",
        "(#9223372036854775807,#-9223372036854775808)"}) {
    Value value = *parse(text);
    Result<Value> again = from_json(to_json(value));
    ASSERT_TRUE(again.has_value()) << to_json(value) << ": " << again.error().to_string();
    EXPECT_EQ(*again, value) << to_json(value);
  }
}

TEST(DictJson, HasTheDocumentedForms) {
  EXPECT_EQ(to_json(*parse("{B=[aGVsbG8=];D=#T23-10-2026_12:30:00;L=(#1,#NULL#);S=\"ü\";}")),
            R"({"B":{"$data":"aGVsbG8="},"D":{"$date":"2026-10-23T12:30:00Z"},"L":[1,null],"S":"ü"})");
  EXPECT_EQ(to_json(*parse("{\"$a\"=b;}")), R"({"$dict":[["$a","b"]]})");
  EXPECT_EQ(print(*from_json(R"({"Enabled":true,"Off":false})")), "{Enabled=YES;Off=NO;}");
}

TEST(DictJson, WhatHasNoPlaceInADictionaryIsRefused) {
  for (std::string_view text :
       {"", "{", "1.5", "1e3", "9223372036854775808", R"({"":1})", R"({"a":1,"a":2})",
        R"({"x":{"a":1,"a":2}})", R"({"$date":"yesterday"})", R"({"$nope":1})", R"({"$a":1,"b":2})",
        R"({"$data":"!"})", R"({"$dict":[["a"]]})", R"({"$dict":[["a",1],["a",2]]})", R"({"$dict":[[1,1]]})",
        "\"\xff\"", "[1] 2"}) {
    EXPECT_FALSE(from_json(text).has_value()) << text;
  }
}

TEST(DictJson, NestingIsBoundedAsInFiles) {
  std::string fits(kDictDepthMax, '['), deep(100'000, '[');
  EXPECT_TRUE(from_json(fits + std::string(kDictDepthMax, ']')).has_value());
  EXPECT_EQ(from_json("[" + fits + std::string(kDictDepthMax + 1, ']')).error().code(), Code::kTooLarge);
  EXPECT_FALSE(from_json(deep).has_value());
}

}  // namespace
}  // namespace canopy::dict
