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
  for (int i = 0; i < LookOut::kDoublingsMax; ++i) look_out.seen();  // too few to make up for one in vain
  EXPECT_EQ(pause(), LookOut::kPauseLeast);
}

TEST(LookOut, OneInVainAmongManyThatSawSomethingIsNoPause) {
  LookOut look_out;
  look_out.came(0);
  for (int i = 0; i < 3 * LookOut::kSeenForOneInVain - 1; ++i) look_out.seen();
  look_out.nothing_seen(0);
  EXPECT_TRUE(look_out.wanted(0));
  look_out.nothing_seen(0);
  EXPECT_TRUE(look_out.wanted(0));
  look_out.nothing_seen(0);
  EXPECT_FALSE(look_out.wanted(0));
  LookOut long_busy;
  long_busy.came(0);
  for (int i = 0; i < 10 * LookOut::kCreditMax; ++i) long_busy.seen();
  int in_vain = 0;
  while (long_busy.wanted(0)) {
    long_busy.nothing_seen(0);
    ++in_vain;
  }
  EXPECT_EQ(in_vain, LookOut::kCreditMax / LookOut::kSeenForOneInVain + 1);
}

}  // namespace
}  // namespace canopy
