// Birthmarks: times of access that new files and directories are given, by which they are known again when
// the answer to their creation was lost. A server whose times are coarse rounds them, which is learnt from
// what it answers. Pure; for one thread.
#pragma once

#include "daemon/runtime/loop.h"
#include "daemon/store/store.h"

namespace canopy::nfs {

class Birthmarks {
 public:
  // One that no other creation has, as good as certain: now, with random nanoseconds, or where the server
  // does not keep these, some time in the last half year.
  FileTime next(int64_t now_seconds, uint64_t random) const;
  // What the server made of a mark.
  void learn(const FileTime& mark, const FileTime& accessed);
  // Nanoseconds that it keeps multiples of.
  Nanos unit() const { return unit_; }

 private:
  Nanos unit_ = 1;
};

}  // namespace canopy::nfs
