#include "daemon/dict/versioned.h"

#include <gtest/gtest.h>

#include "daemon/base/limits.h"
#include "daemon/dict/dict.h"

namespace canopy::dict {
namespace {

TEST(Versioned, AFileCarriesItsVersionAndGivesItBack) {
  VersionedDict file{{0x100000005, 7}, Dict{{"Quota", 5}}};
  std::string text = *print_versioned(file, "a.settings");
  EXPECT_EQ(text, "{\n  .epoch = 0000000100000005;\n  .version = #7;\n  Quota = #5;\n}\n");
  EXPECT_EQ(*parse_versioned(text, "a.settings"), file);
}

TEST(Versioned, TheHigherEpochCountsThenTheHigherNumber) {
  EXPECT_LT((Version{1, 9}), (Version{2, 1}));
  EXPECT_LT((Version{2, 1}), (Version{2, 2}));
  EXPECT_LT((Version{0x7fffffffffffffff, 1}), (Version{0x8000000000000000, 1}));
  EXPECT_TRUE((Version{}).none());
}

TEST(Versioned, TheNextVersionIsHigherUnlessTheWriterIsFenced) {
  Version version{5, 3};
  EXPECT_EQ(*version.next(5), (Version{5, 4}));
  EXPECT_EQ(*version.next(6), (Version{6, 4}));
  EXPECT_EQ(version.next(4).error().code(), Code::kFenced);
  EXPECT_FALSE((Version{5, INT64_MAX}).next(5).has_value());
}

TEST(Versioned, AFileMadeByHandHasNoVersionAndOneWithHalfIsDamaged) {
  EXPECT_TRUE(parse_versioned("{Quota=#5;}", "f")->version.none());
  for (std::string_view text : {"{.epoch=0000000000000001;}", "{.version=#1;}", "{.epoch=1;.version=#1;}",
                                "{.epoch=#1;.version=#1;}", "{.epoch=0000000000000001;.version=#0;}",
                                "{.epoch=0000000000000001;.version=1;}", "{Quota=#5;", ""}) {
    Result<VersionedDict> file = parse_versioned(text, "f");
    ASSERT_FALSE(file.has_value()) << text;
    EXPECT_EQ(file.error().code(), Code::kDamaged) << text;
  }
}

TEST(Versioned, AFileRemembersWhichRequestsMadeItForAnHour) {
  VersionedDict file{{5, 7}, Dict{{"Quota", 5}}, std::string(16, 'c')};
  file.remember(std::string(16, 'a'), 1000);
  file.version = {5, 8};
  file.remember(std::string(16, 'b'), 1000 + kRequestIdRememberedSeconds);
  const std::string text = *print_versioned(file, "f");
  EXPECT_EQ(text, *print_file(*parse_dict(text)));  // as any dictionary is printed
  VersionedDict read = *parse_versioned(text, "f");
  EXPECT_EQ(read, file);
  EXPECT_EQ(read.answered(std::string(16, 'a'))->version, (Version{5, 7}));
  EXPECT_EQ(read.answered(std::string(16, 'b'))->version, (Version{5, 8}));
  EXPECT_EQ(read.answered(""), nullptr);
  read.remember("", 1001 + kRequestIdRememberedSeconds);
  EXPECT_EQ(read.answered(std::string(16, 'a')), nullptr);
  EXPECT_NE(read.answered(std::string(16, 'b')), nullptr);
  for (uint32_t i = 0; i < kRequestsRememberedPerFileMax; ++i)
    read.remember(fmt::format("{:016}", i), 1001 + kRequestIdRememberedSeconds);
  EXPECT_EQ(read.requests.size(), kRequestsRememberedPerFileMax);
  EXPECT_EQ(read.answered(std::string(16, 'b')), nullptr);
  read.forget_all_but(2);
  EXPECT_EQ(read.requests.size(), 2u);
  EXPECT_NE(read.answered(fmt::format("{:016}", kRequestsRememberedPerFileMax - 1)), nullptr);
}

TEST(Versioned, TheEnvelopeIsPrintedInTheOrderOfKeys) {
  const VersionedDict file{{5, 7}, Dict{{"-before", 1}, {"A", Dict{{"b", 2}}}}, std::string(16, 'c')};
  const std::string text = *print_versioned(file, "f");
  EXPECT_EQ(text, *print_file(*parse_dict(text)));
  EXPECT_EQ(*parse_versioned(text, "f"), file);
  EXPECT_EQ(*print_versioned({{5, 7}, {}}, "f"), "{\n  .epoch = 0000000000000005;\n  .version = #7;\n}\n");
}

TEST(Versioned, ADamagedMemoryOfRequestsIsDamage) {
  const std::string head = "{.epoch=0000000000000001;.version=#1;";
  const std::string id = "[MDEyMzQ1Njc4OWFiY2RlZg==]";
  EXPECT_TRUE(
      parse_versioned(head + ".created=" + id + ";.requests=((" + id + ",#5,0000000000000001,#1));}", "f"));
  for (std::string_view rest :
       {".created=x;", ".created=[AAAA];", ".requests=x;", ".requests=(x);",
        ".requests=(([AAAA],#5,0000000000000001,#1));", ".requests=(([MDEyMzQ1Njc4OWFiY2RlZg==],#5,1,#1));",
        ".requests=(([MDEyMzQ1Njc4OWFiY2RlZg==],#5));",
        ".requests=(([MDEyMzQ1Njc4OWFiY2RlZg==],#5,0000000000000001,#0));"}) {
    Result<VersionedDict> file = parse_versioned(head + std::string(rest) + "}", "f");
    ASSERT_FALSE(file.has_value()) << rest;
    EXPECT_EQ(file.error().code(), Code::kDamaged) << rest;
  }
}

TEST(Versioned, ReservedKeysComeOnlyFromCanopy) {
  EXPECT_TRUE(refuse_reserved_keys(Dict{{"Quota", 5}, {"Deep", Dict{{".fine", 1}}}}).has_value());
  EXPECT_EQ(refuse_reserved_keys(Dict{{".epoch", "x"}}).error().code(), Code::kInvalidArgument);
  Dict dict{{"A", 1}};
  put_version(dict, {1, 2});
  EXPECT_EQ(*version_of(dict), (Version{1, 2}));
  strip_reserved(dict);
  EXPECT_EQ(dict, (Dict{{"A", 1}}));
}

}  // namespace
}  // namespace canopy::dict
