#include "fuse/place.h"

#include <gtest/gtest.h>

namespace canopy::mount {
namespace {

TEST(Place, AKeySaysItAll) {
  Place message;
  message.kind = Place::Kind::kMessage;
  message.name = "jsmith@company.com";
  message.mailbox_id = 7;
  message.uid_validity = 4'000'000'000;
  message.uid = 12;
  const Place back = Place::of_key(message.key());
  EXPECT_EQ(back.kind, message.kind);
  EXPECT_EQ(back.name, message.name);
  EXPECT_EQ(back.mailbox_id, 7u);
  EXPECT_EQ(back.uid_validity, 4'000'000'000u);
  EXPECT_EQ(back.uid, 12u);
  EXPECT_EQ(Place::of_key(Place().key()).kind, Place::Kind::kAccounts);
  Place other = message;
  other.uid_validity = 1;
  EXPECT_NE(other.key(), message.key());
}

TEST(Place, OnlyAMessagesOwnNameNamesIt) {
  EXPECT_EQ(uid_of_element("12.eml"), 12u);
  EXPECT_EQ(uid_of_element("4294967295.eml"), 4294967295u);
  for (const char* name : {"", ".eml", "0.eml", "012.eml", "+1.eml", "-1.eml", "4294967296.eml", "1x.eml",
                           "1.EML", "1", " 1.eml"})
    EXPECT_EQ(uid_of_element(name), 0u) << name;
  EXPECT_EQ(element_of_uid(12), "12.eml");
}

TEST(Place, LevelsBecomeNamesThatHideNothingAndComeBack) {
  EXPECT_EQ(element_of_level("Work", true), "Work");
  EXPECT_EQ(element_of_level("settings", true), "%73ettings");
  EXPECT_EQ(element_of_level("settings", false), "settings");
  EXPECT_EQ(element_of_level("12.eml", false), "%312.eml");
  EXPECT_EQ(element_of_level(".", false), "%2E");
  EXPECT_EQ(element_of_level("..", false), "%2E.");
  EXPECT_EQ(element_of_level("50%", false), "50%25");
  for (const char* level :
       {"Work", "settings", "12.eml", ".", "..", "50%", "%41", "%", "%4", "ä", "location", "x.eml"}) {
    for (bool top : {true, false}) {
      const std::string element = element_of_level(level, top);
      EXPECT_EQ(level_of_element(element), level) << element;
      EXPECT_EQ(uid_of_element(element), 0u) << element;
    }
  }
}

}  // namespace
}  // namespace canopy::mount
