// What an open account holds of each message: 48 bytes, the same in memory and in a checkpoint.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/base/large_array.h"
#include "daemon/log/records.h"

namespace canopy {

struct MessageRow {
  uint32_t uid = 0;
  uint32_t size = 0;  // bytes of the message; kMessageBytesMax fits
  uint64_t modseq = 0;
  int64_t date_seconds = 0;
  uint64_t offset = 0;  // of the row's Message record in its slice
  uint32_t slice = 0;
  uint32_t record_length = 0;  // RecordView::length, 0: not known
  uint32_t keyword_set = 0;    // index into KeywordSets
  uint16_t flags = 0;          // kFlagSeen … and kRowIsReference
  int16_t zone_minutes = 0;

  Place place() const { return Place{slice, offset}; }
};
static_assert(sizeof(MessageRow) == 48 && std::is_trivially_copyable_v<MessageRow>);
using MessageRows = std::vector<MessageRow, LargeArrayAllocator<MessageRow>>;

inline constexpr uint16_t kSystemFlagsMask = 0x1f;
inline constexpr uint16_t kRowIsReference = 0x8000;  // the record refers to another one's content

struct ExpungedRange {
  uint64_t modseq = 0;
  uint32_t first = 0, last = 0;
};
static_assert(sizeof(ExpungedRange) == 16);

}  // namespace canopy
