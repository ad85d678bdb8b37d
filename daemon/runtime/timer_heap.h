// The armed timers of one loop: a binary heap of pointers to nodes that know their place in it, so that
// disarming is O(log n) and arming allocates nothing but the heap's own slots. Equal times fire in the order
// of arming.
#pragma once

#include <vector>

#include "daemon/runtime/loop.h"

namespace canopy {

class TimerHeap {
 public:
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  Nanos next() const { return heap_.empty() ? kNever : heap_[0]->when; }
  uint64_t orders_given() const { return order_; }

  void arm(TimerNode& timer, Nanos when) { arm(timer, when, order_++); }
  // `order` decides among equal times.
  void arm(TimerNode& timer, Nanos when, uint64_t order) {
    disarm(timer);
    timer.when = when;
    timer.order = order;
    heap_.push_back(&timer);
    rise(heap_.size() - 1, &timer);
  }

  void disarm(TimerNode& timer) {
    size_t hole = timer.heap_index;
    if (hole == SIZE_MAX) return;
    CANOPY_CHECK(hole < heap_.size() && heap_[hole] == &timer);
    timer.heap_index = SIZE_MAX;
    TimerNode* last = heap_.back();
    heap_.pop_back();
    if (last == &timer) return;
    if (hole > 0 && before(last, heap_[(hole - 1) / 2]))
      rise(hole, last);
    else
      sink(hole, last);
  }

  // Takes out the first timer due at `now` that was armed before `orders_end` was given out, or null. The
  // bound keeps a timer that arms itself again for "now" from holding up everything else.
  TimerNode* pop_due(Nanos now, uint64_t orders_end) {
    if (heap_.empty() || heap_[0]->when > now || heap_[0]->order >= orders_end) return nullptr;
    TimerNode* due = heap_[0];
    disarm(*due);
    return due;
  }

  // Forgets all, leaving every node disarmed.
  void clear() {
    for (TimerNode* timer : heap_) timer->heap_index = SIZE_MAX;
    heap_.clear();
  }

 private:
  static bool before(const TimerNode* a, const TimerNode* b) {
    return a->when != b->when ? a->when < b->when : a->order < b->order;
  }
  void put(size_t index, TimerNode* timer) {
    heap_[index] = timer;
    timer->heap_index = index;
  }
  void rise(size_t index, TimerNode* timer) {
    while (index > 0 && before(timer, heap_[(index - 1) / 2])) {
      put(index, heap_[(index - 1) / 2]);
      index = (index - 1) / 2;
    }
    put(index, timer);
  }
  void sink(size_t index, TimerNode* timer) {
    for (;;) {
      size_t child = 2 * index + 1;
      if (child >= heap_.size()) break;
      if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
      if (!before(heap_[child], timer)) break;
      put(index, heap_[child]);
      index = child;
    }
    put(index, timer);
  }

  std::vector<TimerNode*> heap_;
  uint64_t order_ = 0;
};

}  // namespace canopy
