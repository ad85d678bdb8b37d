// One message for several recipients, on its way to all of them at once. Kept by whoever still works on it:
// the answer does not wait for ever for an account whose store says nothing while others have theirs.
//
// For the loop of the call, but `over` and the results, each of which is its own task's until done() names
// it.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "daemon/runtime/sync.h"
#include "daemon/wire/canopy.pb.h"
#include "daemon/wire/services/uploads.h"

namespace canopy::wire {

// Once a recipient has its answer, the others are waited for this long from the beginning, or this many times
// as long as the slowest that was answered took: a busy backend is not one whose stores are away.
inline constexpr Nanos kStragglersAwaited = 5 * kSecond;
inline constexpr int kStragglersFactor = 4;

class Delivery {
 public:
  Delivery(Loop& home, v1::DeliverRequest of, std::string put_before, std::shared_ptr<Upload> uploaded);

  const v1::DeliverRequest request;
  const std::string prefix;
  const std::shared_ptr<Upload> upload;  // null: the request holds the content
  std::vector<v1::DeliverResult> results;
  std::atomic<bool> over{false};  // answered: what has not been written yet is not to be

  UploadTarget* target(size_t index) const { return upload ? upload->targets[index].get() : nullptr; }
  void done(size_t index);
  // Until all are done, or the others have waited long enough. Nothing of it is waited for afterwards.
  Task<void> wait();
  // What is known then; those that are not done are told that it may have happened or not.
  v1::DeliverResponse answer() const;

 private:
  Loop& home_;
  const Nanos begun_;
  std::vector<bool> done_;
  size_t left_;
  Nanos last_done_ = 0;
  Event changed_;
};

}  // namespace canopy::wire
