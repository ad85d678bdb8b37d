// The controller's register `SharedDomains/heartbeat.data` (docs/formats/tree.md, "Heartbeat"): who holds the
// tree, under which generation. A generation is claimed by exclusive creation of `heartbeat.data.G`; on a
// local store the register is locked as well, so that a second daemon on the same machine is refused at once
// and a killed one's successor need not wait.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/cluster/lease.h"
#include "daemon/runtime/loop.h"
#include "daemon/store/store.h"

namespace canopy {

inline constexpr Nanos kBeatNanos = 2 * kSecond;

// An exclusive lock of a local file for as long as it lives: it ends with the process, however that ends.
class FileLock {
 public:
  // Makes the file when it is absent. kBusy names the process that holds it, where the system tells.
  static Result<FileLock> take(const std::string& file);
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

class Heartbeat {
 public:
  // `lease` is renewed by every claim and beat that succeeds.
  Heartbeat(Loop& loop, Store& store, std::string holder, Lease& lease)
      : loop_(loop), store_(store), holder_(std::move(holder)), lease_(lease) {}

  // Claims the next generation. `locked`: the caller holds the register's lock, so nobody else beats;
  // otherwise waits until the beat has stood still for a lease and drift, and once more after the claim, for
  // a lease that the holder before may have renewed just before it; not where nobody held the tree before, or
  // the last holder has released it. kBusy: another holder lives, or won.
  Task<Result<uint32_t>> claim(bool locked);
  // Writes the next beat and renews the lease as of before anything was sent. kFenced when a higher
  // generation was claimed: the lease is over for good.
  Task<Result<void>> beat();
  // Says in the register that nothing is served any more and no beat follows, so that the next holder need
  // not wait. To be called after the last operation has ended; ends the lease for good.
  Task<Result<void>> release();
  uint32_t generation() const { return generation_; }

 private:
  Task<Result<std::vector<uint32_t>>> claims();  // generations, in their order
  // Whether the holder of generation `last` has released the tree.
  Task<Result<bool>> released(uint32_t last);
  Task<Result<void>> await_standstill();
  Task<Result<void>> write();

  Loop& loop_;
  Store& store_;
  const std::string holder_;
  Lease& lease_;
  uint32_t generation_ = 0;
  uint64_t beat_ = 0;
  bool released_ = false;
};

}  // namespace canopy
