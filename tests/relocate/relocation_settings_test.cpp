// How accounts are to be moved, as a domain's settings say it.
#include "daemon/relocate/relocation_settings.h"

#include <gtest/gtest.h>

namespace canopy {
namespace {

TEST(RelocationSettings, ComeBackAsTheyWereWritten) {
  RelocationSettings settings;
  EXPECT_TRUE(settings.to_dict().empty());
  settings.paused = true;
  settings.rate = 100;
  settings.concurrency = 9;
  settings.window = DayWindow{60, 300};
  auto again = RelocationSettings::parse(settings.to_dict());
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->paused);
  EXPECT_EQ(again->rate, 100u);
  EXPECT_EQ(again->concurrency, 9u);
  EXPECT_EQ(again->window->to_string(), "01:00-05:00");
}

TEST(RelocationSettings, NameTheKeyThatBreaksARule) {
  const std::pair<std::string_view, dict::Value> wrong[] = {
      {"Paused", "perhaps"},         {"Paused", int64_t{1}}, {"Rate", int64_t{-1}},
      {"Rate", int64_t{1'000'001}},  {"Rate", "fast"},       {"Concurrency", int64_t{0}},
      {"Concurrency", int64_t{257}}, {"Window", int64_t{1}},
  };
  for (const auto& [key, value] : wrong) {
    dict::Dict settings;
    settings.set(key, value);
    auto parsed = RelocationSettings::parse(settings);
    ASSERT_FALSE(parsed) << key;
    EXPECT_EQ(parsed.error().object(), key);
  }
}

TEST(DayWindow, IsTwoTimesOfTheDay) {
  for (std::string_view text : {"", "-", "1:00-05:00", "01:00", "01:00-", "01:00-05:00 ", "24:00-01:00",
                                "01:60-02:00", "01:00-01:00", "0x:00-01:00", "01:00-05:0", "+1:00-02:00"})
    EXPECT_FALSE(DayWindow::parse(text)) << text;
  EXPECT_TRUE(DayWindow::parse("23:59-00:00"));
}

TEST(DayWindow, MayGoOverMidnight) {
  constexpr int64_t kDay = 86'400 * 20'000;
  const DayWindow night = *DayWindow::parse("22:30-05:00");
  EXPECT_FALSE(night.contains(kDay + 12 * 3600));
  EXPECT_FALSE(night.contains(kDay + 22 * 3600 + 29 * 60 + 59));
  EXPECT_TRUE(night.contains(kDay + 22 * 3600 + 30 * 60));
  EXPECT_TRUE(night.contains(kDay));
  EXPECT_TRUE(night.contains(kDay + 5 * 3600 - 1));
  EXPECT_FALSE(night.contains(kDay + 5 * 3600));
  const DayWindow noon = *DayWindow::parse("11:00-13:00");
  EXPECT_TRUE(noon.contains(kDay + 11 * 3600));
  EXPECT_FALSE(noon.contains(kDay + 13 * 3600));
}

}  // namespace
}  // namespace canopy
