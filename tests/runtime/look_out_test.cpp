#include "daemon/runtime/look_out.h"

#include <gtest/gtest.h>

namespace canopy {
namespace {

TEST(LookOut, OnlyAfterSomethingCameSoon) {
  LookOut look_out;
  EXPECT_FALSE(look_out.wanted(0));
  look_out.came(LookOut::kSoon - 1);
  EXPECT_TRUE(look_out.wanted(0));
  look_out.came(LookOut::kSoon);
  EXPECT_FALSE(look_out.wanted(0));
}

TEST(LookOut, PausesDoubleWhileNothingIsSeenAndShrinkAgain) {
  LookOut look_out;
  look_out.came(0);
  Nanos now = 0;
  auto pause = [&] {
    look_out.nothing_seen(now);
    const Nanos begun = now;
    while (!look_out.wanted(now)) now += kMicrosecond;
    return now - begun;
  };
  EXPECT_EQ(pause(), LookOut::kPauseLeast);
  EXPECT_EQ(pause(), 2 * LookOut::kPauseLeast);
  EXPECT_EQ(pause(), 4 * LookOut::kPauseLeast);
  for (int i = 0; i < 10; ++i) pause();
  EXPECT_EQ(pause(), LookOut::kPauseLeast << LookOut::kDoublingsMax);
  for (int i = 0; i < LookOut::kDoublingsMax; ++i) look_out.seen();
  EXPECT_EQ(pause(), LookOut::kPauseLeast);
}

}  // namespace
}  // namespace canopy
