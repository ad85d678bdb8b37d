// Reading a slice from one end to the other: whole frames, damage below the acknowledged end, the torn tail
// beyond it. For one loop; the file stays open meanwhile.
#pragma once

#include <functional>
#include <vector>

#include "daemon/log/account_log.h"

namespace canopy {

// A window over a file that moves forward; reads about `chunk` bytes at a time.
class FileWindow {
 public:
  FileWindow(File& file, uint64_t chunk) : file_(file), chunk_(chunk) {}
  // Up to `length` bytes at `offset`, fewer only at the end of the file. The view holds until the next call.
  Task<Result<std::string_view>> at(uint64_t offset, uint64_t length);

 private:
  File& file_;
  uint64_t chunk_;
  std::unique_ptr<char[]> bytes_;
  uint64_t capacity_ = 0;
  uint64_t base_ = 0, size_ = 0;
};

struct SliceScan {
  SliceId id;
  SliceSeed seed;
  std::string file_name;  // for Damage
  uint64_t from = kSliceHeaderBytes;
  uint64_t limit = kOpenEnded;  // valid length; kOpenEnded: to the end of the file or the torn tail
  uint64_t acknowledged = 0;    // known from elsewhere: a checkpoint
  uint64_t chunk_bytes = 1u << 20;
};

struct SliceScanResult {
  uint64_t end = 0;           // behind the last frame that counts, and behind damage
  uint64_t acknowledged = 0;  // the highest that anything says
  uint64_t torn_bytes = 0;    // beyond `end`, up to the end of the file
  uint64_t frames = 0;
  std::vector<Damage> damages;
};

// Calls `frame` for every whole frame in order; its error ends the scan. docs/formats/account-log.md "Reading
// a slice".
Task<Result<SliceScanResult>> scan_slice(File& file, SliceScan scan,
                                         std::function<Result<void>(const FrameView&)> frame);

}  // namespace canopy
