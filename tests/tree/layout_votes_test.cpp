// Layouts that are made out from where accounts lie.
#include "daemon/tree/layout_votes.h"

#include <gtest/gtest.h>

namespace canopy {
namespace {

Foldering method(std::string_view text) { return Foldering::parse(text).value(); }

std::vector<std::string> folders_of(std::string_view text, std::string_view name) {
  std::string path;
  method(text).append_folders(path, name);
  std::vector<std::string> folders;
  for (size_t at = 0; at < path.size();) {
    const size_t end = path.find(".sub/", at);
    folders.push_back(path.substr(at, end - at));
    at = end + 5;
  }
  return folders;
}

std::vector<std::string> found(const std::vector<std::string>& folders, std::string_view name) {
  std::vector<std::string> texts;
  for (const Foldering& of : folderings_of(folders, name)) texts.push_back(of.to_string());
  return texts;
}

std::vector<std::string> texts_of(const std::vector<TreeLayout>& layouts) {
  std::vector<std::string> texts;
  for (const TreeLayout& of : layouts)
    texts.push_back(of.account_foldering().to_string() + "/" + std::to_string(of.fast_index()));
  return texts;
}

LayoutClaim claim(std::string_view name, std::string_view layout, std::optional<uint32_t> fast_index) {
  return {folderings_of(folders_of(layout, name), name), fast_index};
}

TEST(LayoutVotes, EveryMethodIsMadeOutFromItsOwnFolders) {
  for (const char* text : {"flat", "1", "2", "4", "1-1", "2-1", "2-2", "1-1-1-1", "4-4-4-4", "hash-1",
                           "hash-1-1", "hash-2-2", "hash-4-4-4-4"}) {
    for (const char* name : {"jsmith", "x", "größe", "a-b", "7up", "日本語"}) {
      const auto texts = found(folders_of(text, name), name);
      EXPECT_NE(std::ranges::find(texts, text), texts.end()) << text << " " << name;
    }
  }
}

TEST(LayoutVotes, FoldersThatNoMethodMakesAreNone) {
  EXPECT_EQ(found({"j"}, "jsmith"), (std::vector<std::string>{"1"}));
  EXPECT_TRUE(found({"k"}, "jsmith").empty());
  EXPECT_TRUE(found({"j", "m"}, "jsmith").empty());
  EXPECT_TRUE(found({"J"}, "jsmith").empty());
  EXPECT_TRUE(found({"jsmit"}, "jsmith").empty());
  EXPECT_TRUE(found({"j", "s", "m", "i", "t"}, "jsmith").empty());
  EXPECT_EQ(found({"a_"}, "a-b"), (std::vector<std::string>{"2"}));
}

TEST(LayoutVotes, AnAccountWhoseHashBeginsWithItsNameIsOfBothAndTheMajorityDecides) {
  std::string both;
  for (int i = 0; both.empty(); ++i)
    if (found(folders_of("hash-1", "a" + std::to_string(i)), "a" + std::to_string(i)).size() == 2)
      both = "a" + std::to_string(i);
  for (const char* other : {"1", "hash-1"}) {
    LayoutVotes votes;
    votes.add(claim(both, "hash-1", 0));
    for (const char* name : {"jsmith", "kate", "albert"}) votes.add(claim(name, other, 0));
    EXPECT_EQ(texts_of(votes.choose(Foldering(), {})), (std::vector<std::string>{std::string(other) + "/0"}));
  }
  LayoutVotes alone;
  alone.add(claim(both, "hash-1", 0));
  EXPECT_EQ(texts_of(alone.choose(Foldering(), {})), (std::vector<std::string>{"1/0"}));
}

TEST(LayoutVotes, TheMajorityComesFirstAndTheRestFollowsByNumber) {
  LayoutVotes votes;
  for (int i = 0; i < 9; ++i) {
    const std::string name = "user" + std::to_string(i);
    votes.add(claim(name, i < 2 ? "flat" : i < 5 ? "hash-1-1" : "2-1", 0));
  }
  EXPECT_EQ(texts_of(votes.choose(Foldering(), {})),
            (std::vector<std::string>{"2-1/0", "hash-1-1/0", "flat/0"}));
  const TreeLayout given = TreeLayout::make(Foldering(), method("1"), 0).value();
  EXPECT_EQ(texts_of(votes.choose(Foldering(), {given})),
            (std::vector<std::string>{"1/0", "2-1/0", "hash-1-1/0", "flat/0"}));
}

TEST(LayoutVotes, SettingsUnderFastAreOfTheirLayoutAndWhatHasNoneFollowsTheOthers) {
  LayoutVotes votes;
  votes.add(claim("anna", "1", 2));
  votes.add(claim("bert", "1", 2));
  votes.add(claim("bill", "1", 2));
  votes.add(claim("carl", "1", 0));
  votes.add(claim("cora", "1", 0));
  votes.add(claim("dora", "1", std::nullopt));
  votes.add(claim("emil", "2-2", std::nullopt));
  EXPECT_EQ(texts_of(votes.choose(Foldering(), {})), (std::vector<std::string>{"1/2", "1/0", "2-2/2"}));
}

TEST(LayoutVotes, NoMoreLayoutsThanADomainMayHave) {
  LayoutVotes votes;
  for (char a = '1'; a <= '4'; ++a)
    for (char b = '1'; b <= '4'; ++b)
      for (const char* kind : {"", "hash-"})
        votes.add(claim("some-long-name", std::string(kind) + a + "-" + b, 0));
  EXPECT_EQ(votes.choose(Foldering(), {}).size(), kLayoutsOfDomainMax);
}

TEST(LayoutVotes, WithoutAccountsADomainIsFlat) {
  EXPECT_EQ(texts_of(LayoutVotes().choose(Foldering(), {})), (std::vector<std::string>{"flat/0"}));
}

}  // namespace
}  // namespace canopy
