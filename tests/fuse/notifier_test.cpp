#include "fuse/notifier.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace canopy::mount {
namespace {

// A kernel in which some directories are held by operations that do not end.
struct HeldKernel {
  std::mutex gate;
  std::condition_variable changed;
  std::set<uint64_t> held;
  std::map<uint64_t, std::vector<std::string>> told;

  void tell(const Notification& what) {
    std::unique_lock lock(gate);
    changed.wait(lock, [&] { return !held.contains(what.number); });
    told[what.number].push_back(what.name);
    changed.notify_all();
  }
  void let_go() {
    std::lock_guard lock(gate);
    held.clear();
    changed.notify_all();
  }
  // Once there are so many, or after a long while.
  std::vector<std::string> told_of(uint64_t number, size_t names) {
    std::unique_lock lock(gate);
    changed.wait_for(lock, std::chrono::seconds(60), [&] { return told[number].size() >= names; });
    return told[number];
  }
};

TEST(NotifierTest, ADirectoryThatAnOperationHoldsKeepsNobodyElseWaiting) {
  HeldKernel kernel;
  kernel.held = {7, 8, 9};
  Notifier notifier;
  notifier.start([&](const Notification& what) { kernel.tell(what); });
  for (const char* name : {"a", "b", "c"})
    for (uint64_t number = 1; number <= 20; ++number) notifier.expire_name(number, name);
  const std::vector<std::string> in_order = {"a", "b", "c"};
  for (uint64_t number = 1; number <= 20; ++number) {
    if (number >= 7 && number <= 9) continue;
    EXPECT_EQ(kernel.told_of(number, 3), in_order) << number;
  }
  EXPECT_EQ(notifier.waiting(), 6u);  // two of each: the first is being told
  kernel.let_go();
  for (uint64_t number : {7, 8, 9}) EXPECT_EQ(kernel.told_of(number, 3), in_order) << number;
}

TEST(NotifierTest, WhatANodeHoldsIsToldWhileTheNamesInItAreHeldUp) {
  std::mutex gate;
  std::condition_variable changed;
  bool content = false, over = false;
  Notifier notifier;
  notifier.start([&](const Notification& what) {
    std::unique_lock lock(gate);
    if (what.kind == Notification::Kind::kExpireName) changed.wait(lock, [&] { return over; });
    if (what.kind == Notification::Kind::kContent) content = true;
    changed.notify_all();
  });
  notifier.expire_name(7, "held");
  notifier.expire_node(7, true);
  std::unique_lock lock(gate);
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(60), [&] { return content; }));
  over = true;
  changed.notify_all();
}

}  // namespace
}  // namespace canopy::mount
