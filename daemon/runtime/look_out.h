// LookOut: whether a loop that has nothing to do should look for the next thing for a moment before its
// thread sleeps (docs/decisions/looking-out.md). Being woken costs more than most requests, where one follows
// another at once; where the processor is short, looking takes it from those who would bring the next.
#pragma once

#include <algorithm>

#include "daemon/runtime/loop.h"

namespace canopy {

class LookOut {
 public:
  static constexpr Nanos kFor = 200 * kMicrosecond;
  static constexpr Nanos kSoon = 300 * kMicrosecond;  // with the waking, while nobody looks out yet
  static constexpr Nanos kPauseLeast = 2 * kMillisecond;
  static constexpr int kDoublingsMax = 6;  // of the pause
  // What was seen before makes up for a look in vain, so that one long operation of the disk does not end the
  // looking among many short ones.
  static constexpr int kSeenForOneInVain = 8, kCreditMax = 64;

  bool is_busy() const { return soon_; }  // the last thing came soon after another
  bool wanted(Nanos now) const { return soon_ && now >= not_before_; }
  // Something came after `idle`, whether it was looked for or slept for.
  void came(Nanos idle) { soon_ = idle < kSoon; }
  void seen() {  // while looking
    failures_ = std::max(failures_ - 1, 0);
    credit_ = std::min(credit_ + 1, kCreditMax);
  }
  void nothing_seen(Nanos now) {
    if (credit_ >= kSeenForOneInVain) {
      credit_ -= kSeenForOneInVain;
      return;
    }
    not_before_ = now + (kPauseLeast << failures_);
    failures_ = std::min(failures_ + 1, kDoublingsMax);
  }

 private:
  bool soon_ = false;
  int failures_ = 0;
  int credit_ = 0;
  Nanos not_before_ = 0;
};

}  // namespace canopy
