// Where stores differ, for the tests that run over every store.
#pragma once

#include <string>

namespace canopy {

// What a store can do beyond what all can; a factory says where its stores differ.
struct AllCan {
  static std::string why_unavailable() { return {}; }  // a sentence: the tests are skipped
  static constexpr bool kHasHoles = true;              // seek_data, seek_hole, allocate
  static constexpr bool kExchangesNames = true;
  static constexpr bool kLinksOfTheRoot = true;  // counted, as of other directories
  static constexpr bool kHasXattrs = true;
  static constexpr bool kTimesBefore1970 = true;
  static constexpr bool kSetsTimesOfSymlinks = true;
  static constexpr size_t kSymlinkBytes = 4095;
};

}  // namespace canopy
