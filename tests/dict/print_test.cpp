#include <gtest/gtest.h>

#include <random>

#include "daemon/dict/dict.h"

namespace canopy::dict {
namespace {

TEST(DictPrint, StringsAreBareWhereTheyCanBe) {
  EXPECT_EQ(print(Value("jsmith@company.com")), "jsmith@company.com");
  EXPECT_EQ(print(Value("a_b-c+d.9")), "a_b-c+d.9");
  EXPECT_EQ(print(Value("")), "\"\"");
  EXPECT_EQ(print(Value("a b")), "\"a b\"");
  EXPECT_EQ(print(Value("#1")), "\"#1\"");
  EXPECT_EQ(print(Value("a/b")), "\"a/b\"");
  EXPECT_EQ(print(Value("ü\n\t\r\"\\")), "\"ü\\n\\t\\r\\\"\\\\\"");
  EXPECT_EQ(print(Value(std::string_view("\0\x7f\xff", 3))), "\"\\x00\\x7f\\xff\"");
  EXPECT_EQ(print(Value("\u0085\u2028\ufeff\u202e")), "\"\\u0085\\u2028\\ufeff\\u202e\"");
}

TEST(DictPrint, KeysAreSortedByBytesAndBothStylesAreCanonical) {
  Dict dict{{"b", "x y"},
            {"B", 1},
            {"a", Array{1, "two", Null{}}},
            {"É", Dict{{"k", Data{"hello"}}}},
            {"list", Array{Dict{{"n", 1}}, Array{}}},
            {"day", Date{0, false}}};
  EXPECT_EQ(print(dict),
            "{B=#1;a=(#1,two,#NULL#);b=\"x y\";day=#T01-01-1970;list=({n=#1;},());"
            "\"É\"={k=[aGVsbG8=];};}");
  EXPECT_EQ(
      print(dict, Style::kPretty),
      "{\n  B = #1;\n  a = (#1, two, #NULL#);\n  b = \"x y\";\n  day = #T01-01-1970;\n  list = (\n    {\n"
      "      n = #1;\n    },\n    ()\n  );\n  \"É\" = {\n    k = [aGVsbG8=];\n  };\n}\n");
  EXPECT_EQ(print(Dict{}, Style::kPretty), "{}\n");
}

TEST(DictPrint, UnknownKeysSurviveARewrite) {
  Dict dict = *parse_dict("{Future={Deep=(#1,{});}; Quota=#5; \"odd key\"=[AA==];}");
  dict.set("Quota", 6);
  EXPECT_EQ(print(dict), "{Future={Deep=(#1,{});};Quota=#6;\"odd key\"=[AA==];}");
}

TEST(DictPrint, AFileThatCouldNotBeReadBackIsRefused) {
  Value deep;
  for (uint32_t i = 0; i < kDictDepthMax - 1; ++i) deep = Value(Array{deep});
  EXPECT_TRUE(print_file(Dict{{"K", deep}}).has_value());
  EXPECT_EQ(print_file(Dict{{"K", Array{deep}}}).error().code(), Code::kTooLarge);
  EXPECT_EQ(print_file(Dict{{"K", std::string(kDictBytesMax, 'a')}}).error().code(), Code::kTooLarge);
}

Value random_value(std::mt19937_64& random, int depth) {
  auto text = [&] {
    std::string out;
    for (size_t n = random() % 12; n > 0; --n)
      out += static_cast<char>(random() % 3 == 0 ? random() : 'a' + random() % 26);
    return out;
  };
  switch (random() % (depth > 0 ? 7 : 5)) {
    case 0: return Null{};
    case 1: return text();
    case 2: return static_cast<int64_t>(random());
    case 3: {
      int64_t seconds =
          kDateSecondsMin + static_cast<int64_t>(random() % (kDateSecondsMax - kDateSecondsMin + 1));
      bool has_time = random() % 2;
      if (!has_time) seconds -= (seconds % 86'400 + 86'400) % 86'400;
      return Date{seconds, has_time};
    }
    case 4: return Data{text()};
    case 5: {
      Array array;
      for (size_t n = random() % 4; n > 0; --n) array.push_back(random_value(random, depth - 1));
      return array;
    }
    default: {
      Dict dict;
      for (size_t n = random() % 5; n > 0; --n) dict.set("k" + text(), random_value(random, depth - 1));
      return dict;
    }
  }
}

TEST(DictPrint, EveryValueReadsBackAsItself) {
  std::mt19937_64 random(2026);
  for (int i = 0; i < 20'000; ++i) {
    Value value = random_value(random, 5);
    for (Style style : {Style::kCompact, Style::kPretty}) {
      std::string text = print(value, style);
      Result<Value> again = parse(text);
      ASSERT_TRUE(again.has_value()) << text << ": " << again.error().to_string();
      ASSERT_EQ(*again, value) << text;
      ASSERT_EQ(print(*again, style), text);
    }
  }
}

}  // namespace
}  // namespace canopy::dict
