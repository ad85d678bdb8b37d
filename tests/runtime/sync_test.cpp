// Event, Mutex, Semaphore, Channel, groups and workers on both loops.
#include "daemon/runtime/sync.h"
#include "daemon/runtime/workers.h"
#include "tests/runtime/hosts.h"

namespace canopy {
namespace {

template <class Host>
class SyncOnEveryLoop : public OnEveryLoop<Host> {};
using LoopHosts = testing::Types<UringHost, SimHost>;
TYPED_TEST_SUITE(SyncOnEveryLoop, LoopHosts);

Task<void> wait_and_count(Event& event, int& woken) {
  co_await event.wait();
  ++woken;
}

Task<void> events(Loop& loop, Address) {
  Event event(loop);
  int woken = 0;
  TaskGroup group(loop);
  for (int i = 0; i < 5; ++i) group.spawn(wait_and_count(event, woken));
  bool in_time = co_await event.wait_until(loop.now() + kMillisecond);
  EXPECT_FALSE(in_time);
  EXPECT_EQ(woken, 0);
  event.set();
  event.reset();
  co_await group.join();
  EXPECT_EQ(woken, 5);
  event.set();
  in_time = co_await event.wait_until(loop.now());
  EXPECT_TRUE(in_time);
}

TYPED_TEST(SyncOnEveryLoop, AnEventWakesAllWhoWaitEvenIfItIsResetAtOnce) { this->run(events); }

Task<void> enter_and_leave(Loop& loop, Mutex& mutex, int number, int& inside, std::vector<int>& order) {
  auto guard = co_await mutex.lock();
  EXPECT_EQ(inside, 0);
  ++inside;
  order.push_back(number);
  co_await loop.sleep(static_cast<Nanos>(loop.random() % 10) * kMicrosecond);
  --inside;
}

Task<void> mutual_exclusion(Loop& loop, Address) {
  Mutex mutex(loop);
  int inside = 0;
  std::vector<int> order, expected;
  TaskGroup group(loop);
  {
    auto guard = co_await mutex.lock();
    for (int i = 0; i < 20; ++i) {
      group.spawn(enter_and_leave(loop, mutex, i, inside, order));
      co_await loop.sleep(kMicrosecond * 20);  // so that it waits before the next comes
      expected.push_back(i);
    }
    EXPECT_FALSE(mutex.try_lock());
  }
  co_await group.join();
  EXPECT_EQ(order, expected);
  EXPECT_TRUE(mutex.try_lock());
}

TYPED_TEST(SyncOnEveryLoop, AMutexLetsOneInAtATimeInTheOrderOfArrival) { this->run(mutual_exclusion); }

Task<void> hold(Loop& loop, Semaphore& semaphore, uint64_t count, uint64_t& held, uint64_t& most) {
  auto permit = co_await semaphore.acquire(count);
  held += count;
  most = std::max(most, held);
  co_await loop.sleep(50 * kMicrosecond);
  held -= count;
}

Task<void> permits(Loop& loop, Address) {
  Semaphore semaphore(loop, 10);
  uint64_t held = 0, most = 0;
  TaskGroup group(loop);
  for (uint64_t i = 0; i < 50; ++i) group.spawn(hold(loop, semaphore, i % 10 + 1, held, most));
  co_await group.join();
  EXPECT_LE(most, 10u);
  EXPECT_GE(most, 9u);
  EXPECT_EQ(semaphore.available(), 10u);
  EXPECT_EQ(semaphore.waiting(), 0u);
}

TYPED_TEST(SyncOnEveryLoop, ASemaphoreNeverGivesMorePermitsThanItHas) { this->run(permits); }

Task<void> push_numbers(Channel<int>& channel, int count) {
  for (int i = 0; i < count; ++i) {
    bool accepted = co_await channel.push(i);
    EXPECT_TRUE(accepted);
    EXPECT_LE(channel.size(), channel.capacity());
  }
  channel.close();
  bool accepted = co_await channel.push(count);
  EXPECT_FALSE(accepted);
}

Task<void> channels(Loop& loop, Address) {
  for (size_t capacity : {0, 1, 7}) {
    Channel<int> channel(loop, capacity);
    TaskGroup group(loop);
    group.spawn(push_numbers(channel, 100));
    int expected = 0;
    while (auto value = co_await channel.pop()) {
      EXPECT_EQ(*value, expected);
      ++expected;
      if (expected % 10 == 0) co_await loop.sleep(20 * kMicrosecond);
    }
    EXPECT_EQ(expected, 100);
    co_await group.join();
  }
}

TYPED_TEST(SyncOnEveryLoop, AChannelDeliversEverythingInOrderHoldsItsBoundAndEnds) { this->run(channels); }

Task<void> push_into_closed(Channel<int>& channel, bool& refused) { refused = !co_await channel.push(2); }

Task<void> close_with_waiters(Loop& loop, Address) {
  Channel<int> channel(loop, 1);
  bool refused = false;
  TaskGroup group(loop);
  bool accepted = co_await channel.push(1);
  EXPECT_TRUE(accepted);
  group.spawn(push_into_closed(channel, refused));
  co_await loop.sleep(kMillisecond);
  channel.close();
  co_await group.join();
  EXPECT_TRUE(refused);
  auto last = co_await channel.pop();
  EXPECT_EQ(last, 1);
  last = co_await channel.pop();
  EXPECT_EQ(last, std::nullopt);
}

TYPED_TEST(SyncOnEveryLoop, ClosingAChannelRefusesWhoeverWaitsToPush) { this->run(close_with_waiters); }

Task<int> later(Loop& loop, int value) {
  co_await loop.sleep((10 - value) * 100 * kMicrosecond);
  co_return value;
}

Task<void> joins(Loop& loop, Address) {
  std::vector<Task<int>> tasks;
  for (int i = 0; i < 10; ++i) tasks.push_back(later(loop, i));
  auto values = co_await join_all(loop, std::move(tasks));
  EXPECT_EQ(values, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TYPED_TEST(SyncOnEveryLoop, JoinAllAnswersInTheOrderOfTheTasks) { this->run(joins); }

Task<void> one_square(Loop& loop, WorkerPool& pool, int number, int& sum, int& refused) {
  auto square = co_await pool.run(loop, [number] { return number * number; });
  EXPECT_TRUE(loop.on_this_thread());
  if (square)
    sum += *square;
  else if (square.error().code() == Code::kTryAgain)
    ++refused;
}

Task<void> squares(Loop& loop, WorkerPool& pool, int& sum, int& refused) {
  TaskGroup group(loop);
  for (int i = 1; i <= 100; ++i) group.spawn(one_square(loop, pool, i, sum, refused));
  co_await group.join();
}

TYPED_TEST(SyncOnEveryLoop, WorkersComeBackToTheLoopThatAsked) {
  TypeParam host(1);  // outlives the pool
  WorkerPool pool("squares", std::is_same_v<TypeParam, SimHost> ? 0 : 3, 1000);
  int sum = 0, refused = 0;
  host.run(squares(host.loop(), pool, sum, refused));
  EXPECT_EQ(sum, 338350);
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(host.loop().arrivals(), 0u);  // it has asked for them
}

Task<Result<int>> refused_by_work(Loop& loop, WorkerPool& pool) {
  co_return co_await pool.run(loop,
                              []() -> Result<int> { return fail(Code::kDamaged, "row", "does not verify"); });
}

Task<void> work_that_fails(Loop& loop, WorkerPool& pool) {
  auto answer = co_await refused_by_work(loop, pool);
  EXPECT_EQ(answer.error().code(), Code::kDamaged);
}

TEST(WorkerPool, PassesOnTheErrorOfTheWork) {
  UringHost host(1);
  WorkerPool pool("work", 1, 10);
  host.run(work_that_fails(host.loop(), pool));
}

Task<void> overfill(Loop& loop, WorkerPool& pool, std::mutex& gate, int& sum, int& refused) {
  TaskGroup group(loop);
  gate.lock();
  std::atomic<bool> started{false};
  auto blocked = [](Loop& on, WorkerPool& in, std::mutex& until, std::atomic<bool>& begun) -> Task<void> {
    auto done = co_await in.run(on, [&until, &begun] {
      begun = true;
      std::lock_guard wait(until);
      return 1;
    });
    EXPECT_TRUE(done.has_value());
  };
  group.spawn(blocked(loop, pool, gate, started));
  while (!started) co_await loop.sleep(kMillisecond / 10);
  for (int i = 1; i <= 20; ++i) group.spawn(one_square(loop, pool, 1, sum, refused));
  while (refused < 15) co_await loop.sleep(kMillisecond / 10);
  gate.unlock();
  co_await group.join();
}

TEST(WorkerPool, RefusesWorkBeyondItsQueue) {
  UringHost host(1);
  WorkerPool pool("small", 1, 5);
  std::mutex gate;
  int sum = 0, refused = 0;
  host.run(overfill(host.loop(), pool, gate, sum, refused));
  EXPECT_EQ(refused, 15);
  EXPECT_EQ(sum, 5);
}

}  // namespace
}  // namespace canopy
