#include "daemon/dict/versioned.h"

#include <gtest/gtest.h>

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

TEST(Versioned, ReservedKeysComeOnlyFromCanopy) {
  EXPECT_TRUE(refuse_reserved_keys(Dict{{"Quota", 5}, {"Deep", Dict{{".fine", 1}}}}).has_value());
  EXPECT_EQ(refuse_reserved_keys(Dict{{".epoch", "x"}}).error().code(), Code::kInvalidArgument);
  Dict dict{{"A", 1}};
  put_version(dict, {1, 2});
  EXPECT_EQ(*version_of(dict), (Version{1, 2}));
  strip_version(dict);
  EXPECT_EQ(dict, (Dict{{"A", 1}}));
}

}  // namespace
}  // namespace canopy::dict
