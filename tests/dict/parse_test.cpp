#include <gtest/gtest.h>

#include "daemon/dict/dict.h"

namespace canopy::dict {
namespace {

Value value(std::string_view text) {
  Result<Value> parsed = parse(text);
  EXPECT_TRUE(parsed.has_value()) << text << ": " << (parsed ? "" : parsed.error().to_string());
  return parsed ? *parsed : Value();
}
std::string error(std::string_view text) {
  Result<Value> parsed = parse(text, "f");
  return parsed ? "accepted " + print(*parsed) : parsed.error().to_string();
}
void expect_error(std::string_view text, std::string_view place, std::string_view rule) {
  std::string found = error(text);
  EXPECT_TRUE(found.starts_with(fmt::format("f:{}: ", place))) << text << ": " << found;
  EXPECT_NE(found.find(rule), std::string::npos) << text << ": " << found;
}

TEST(DictParse, ReadsEveryKindOfValue) {
  Value all = value(
      "{S=bare.word; Q=\"quoted text\"; N=#-12; D=#T23-10-2026_12:30:00; Day=#T23-10-2026;"
      " B=[aGVsbG8=]; A=(a, \"b c\", #1); E=(); O={}; X=#NULL#}");
  const Dict& dict = *all.dict();
  EXPECT_EQ(*dict.find("S")->string(), "bare.word");
  EXPECT_EQ(*dict.find("Q")->string(), "quoted text");
  EXPECT_EQ(*dict.find("N")->number(), -12);
  EXPECT_EQ(dict.find("D")->date()->unix_seconds, 1792758600);
  EXPECT_TRUE(dict.find("D")->date()->has_time);
  EXPECT_EQ(dict.find("Day")->date()->unix_seconds, 1792713600);
  EXPECT_FALSE(dict.find("Day")->date()->has_time);
  EXPECT_EQ(dict.find("B")->data()->bytes, "hello");
  EXPECT_EQ(*dict.find("A")->array(), (Array{"a", "b c", 1}));
  EXPECT_EQ(*dict.find("E")->array(), Array{});
  EXPECT_EQ(*dict.find("O")->dict(), Dict{});
  EXPECT_TRUE(dict.find("X")->is_null());
  EXPECT_EQ(dict.size(), 10u);
}

TEST(DictParse, WhiteSpaceAndCommentsStandBetweenAnyTwoTokens) {
  EXPECT_EQ(value(" // one\n { /* two */ A /*3*/ = /**/ ( // four\r\n\ta /* * / */ , b ) ; // five\n } /* "
                  "six */ // end"),
            Value(Dict{{"A", Array{"a", "b"}}}));
  EXPECT_EQ(value("[aG Vs\n bG8=\t]"), Value(Data{"hello"}));
}

TEST(DictParse, QuotedStringsTakeTheDocumentedEscapesAndUtf8) {
  EXPECT_EQ(*value(R"("\" \\ \n \r \t")").string(), "\" \\ \n \r \t");
  EXPECT_EQ(*value(R"("\x00\xfF\u00fc\U0001f600")").string(),
            std::string("\0\xff\xc3\xbc\xf0\x9f\x98\x80", 8));
  EXPECT_EQ(*value("\"ü 例\"").string(), "ü 例");
  EXPECT_EQ(*value("\"\"").string(), "");
  EXPECT_EQ(*value("\"// no comment\"").string(), "// no comment");
}

TEST(DictParse, AnErrorNamesLineColumnAndRule) {
  expect_error("", "1:1", "value must stand");
  expect_error("{A=b;\n ü=c;}", "2:2", "key must stand");
  expect_error("{\"ü\"=a b}", "1:8", "';' or '}'");
  expect_error("{A=b;A=c;}", "1:6", "A stands twice");
  expect_error("{B=b;A=c;B=d;}", "1:1", "B stands twice");
  expect_error("{A b}", "1:4", "'='");
  expect_error("{\"\"=b}", "1:2", "key is empty");
  expect_error("{A=b", "1:5", "';' or '}'");
  expect_error("{A=b;", "1:1", "no '}'");
  expect_error("(a,", "1:1", "no ')'");
  expect_error("(a,)", "1:4", "value must stand");
  expect_error("(a b)", "1:4", "',' or ')'");
  expect_error("a b", "1:3", "after the value");
  expect_error("\"a", "1:1", "closing quote");
  expect_error("\"a\nb\"", "1:3", "control character");
  expect_error("\"\\q\"", "1:2", "escapes are");
  expect_error("\"\\x4\"", "1:2", "2 hexadecimal");
  expect_error("\"\\ud800\"", "1:2", "no such Unicode");
  expect_error("\"\\U00110000\"", "1:2", "no such Unicode");
  expect_error("\"\xc0\xaf\"", "1:2", "no UTF-8");
  expect_error("\"\xed\xa0\x80\"", "1:2", "no UTF-8");
  expect_error("ü", "1:1", "quotes");
  expect_error("[aGVsbG8]", "1:1", "base64");
  expect_error("[aGVsbG9=]", "1:1", "base64");  // bits that no byte holds
  expect_error("[a===]", "1:1", "base64");
  expect_error("[aGVs", "1:1", "no ']'");
  expect_error("/* a", "1:1", "no end");
  expect_error("#", "1:1", "number");
  expect_error("#007", "1:1", "leading zeros");
  expect_error("#-0", "1:1", "leading zeros");
  expect_error("#1.5", "1:1", "number");
  expect_error("#+1", "1:1", "number");
  expect_error("#9223372036854775808", "1:1", "64 bits");
  expect_error("#NULL", "1:1", "number");
  expect_error("#T31-02-2026", "1:1", "date");
  expect_error("#T23-10-2026_24:00:00", "1:1", "date");
  expect_error("#T3-10-2026", "1:1", "date");
  expect_error("#T01-01-0000", "1:1", "date");
}

TEST(DictParse, NumbersReachBothEndsOf64Bits) {
  EXPECT_EQ(*value("#9223372036854775807").number(), INT64_MAX);
  EXPECT_EQ(*value("#-9223372036854775808").number(), INT64_MIN);
  EXPECT_EQ(*value("#0").number(), 0);
}

TEST(DictParse, DepthAndSizeAreBounded) {
  std::string deep(kDictDepthMax, '('), too_deep(kDictDepthMax + 1, '(');
  EXPECT_TRUE(parse(deep + std::string(kDictDepthMax, ')')).has_value());
  Result<Value> refused = parse(too_deep + std::string(kDictDepthMax + 1, ')'));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kTooLarge);
  EXPECT_EQ(parse(std::string(3'000'000, '(')).error().code(), Code::kTooLarge);
  EXPECT_TRUE(parse(std::string(kDictBytesMax, 'a')).has_value());
  EXPECT_EQ(parse(std::string(kDictBytesMax + 1, 'a')).error().code(), Code::kTooLarge);
}

TEST(DictParse, AFileMustBeADictionary) {
  EXPECT_TRUE(parse_dict("{}").has_value());
  Result<Dict> refused = parse_dict("(a)", "x.settings");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().to_string(),
            "x.settings:1:1: must be a dictionary, is of kind array (invalid-argument)");
}

constexpr std::string_view kEveryKind =
    "{\n  Aliases = (joe, \"j. smith\");\n  Created = #T23-10-2026_12:30:00;\n  \"Key\\n\" = [aGVsbG8=]; // "
    "c\n"
    "  Nested = {Deep = {Number = #-5; Nothing = #NULL#;};};\n  Text = \"\\u00fc ü \\x80\\U0001f600\"; /* c "
    "*/\n}\n";

// Whatever is read must print to something that reads as the same value.
void expect_sound(std::string_view text) {
  Result<Value> parsed = parse(text);
  if (!parsed) {
    EXPECT_FALSE(parsed.error().message().empty());
    return;
  }
  for (Style style : {Style::kCompact, Style::kPretty}) {
    Result<Value> again = parse(print(*parsed, style));
    ASSERT_TRUE(again.has_value()) << text;
    EXPECT_EQ(*again, *parsed) << text;
  }
}

TEST(DictParse, EveryTruncationOfAFileIsRefused) {
  ASSERT_TRUE(parse_dict(kEveryKind).has_value());
  size_t close = kEveryKind.rfind('}');
  for (size_t size = 0; size <= close; ++size) {
    EXPECT_FALSE(parse_dict(kEveryKind.substr(0, size)).has_value()) << size;
  }
}

TEST(DictParse, EveryByteFlipIsRefusedOrReadsAsSomethingThatPrintsBack) {
  for (size_t at = 0; at < kEveryKind.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string text(kEveryKind);
      text[at] = static_cast<char>(byte);
      expect_sound(text);
    }
  }
}

}  // namespace
}  // namespace canopy::dict
