// What only simulated loops have: replay by seed, death, pauses, a network that fails.
#include "daemon/runtime/sim_loop.h"

#include <gtest/gtest.h>

#include "daemon/runtime/sync.h"

namespace canopy {
namespace {

const Address kServer = *Address::parse("tcp:10.0.0.1:24");

Task<void> serve_one(std::unique_ptr<Stream> stream, std::string& received) {
  char buffer[64];
  for (;;) {
    auto got = co_await stream->read(buffer, kNever);
    if (!got || *got == 0) co_return;
    received.append(buffer, *got);
    auto sent = co_await stream->write_all({buffer, *got}, kNever);
    if (!sent) co_return;
  }
}

Task<void> serve(SimLoop& loop, std::string& received) {
  auto listener = loop.listen(kServer, {});
  CANOPY_CHECK(listener.has_value());
  for (;;) {
    auto stream = co_await (*listener)->accept();
    if (!stream) co_return;
    loop.spawn(serve_one(std::move(*stream), received));
  }
}

// Sends and reads back `rounds` lines; answers how many came back.
Task<int> talk(SimLoop& loop, std::string name, int rounds, int& completed) {
  auto stream = co_await loop.connect(kServer, kNever);
  if (!stream) co_return completed;
  for (int i = 0; i < rounds; ++i) {
    std::string line = fmt::format("{}{};", name, i);
    auto sent = co_await (*stream)->write_all(line, kNever);
    if (!sent) co_return completed;
    char buffer[64];
    for (size_t back = 0; back < line.size();) {
      auto got = co_await (*stream)->read(buffer, kNever);
      if (!got || *got == 0) co_return completed;
      back += *got;
    }
    ++completed;
  }
  co_return completed;
}

struct Trace {
  std::string received;
  uint64_t steps;
  Nanos ended;
  bool operator==(const Trace&) const = default;
};

Trace trace_of(uint64_t seed) {
  Trace trace;
  SimWorld world(seed);
  SimLoop& server = world.add_loop("server");
  server.spawn(serve(server, trace.received));
  std::array<int, 3> done{};
  for (size_t i = 0; i < done.size(); ++i) {
    SimLoop& client = world.add_loop(fmt::format("client {}", i));
    auto body = [](SimLoop& on, size_t number, int& into) -> Task<void> {
      int talked = co_await talk(on, fmt::format("{}:", number), 20, into);
      EXPECT_EQ(talked, 20);
    };
    client.spawn(body(client, i, done[i]));
  }
  EXPECT_TRUE(world.run_until([&] { return done == std::array{20, 20, 20}; }, 100 * kSecond));
  trace.steps = world.steps();
  trace.ended = world.now();
  return trace;
}

TEST(SimLoop, ReplaysARunFromItsSeedAndOrdersItOtherwiseFromAnother) {
  std::set<std::string> orders;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Trace first = trace_of(seed), again = trace_of(seed);
    EXPECT_EQ(first.received, again.received) << "seed " << seed;
    EXPECT_TRUE(first == again) << "seed " << seed;
    orders.insert(first.received);
  }
  EXPECT_GT(orders.size(), 15u);
}

struct CountsItsEnd {
  int& ended;
  ~CountsItsEnd() { ++ended; }
};

Task<void> wait_for_ever(SimLoop& loop, int& ended, int& resumed) {
  CountsItsEnd count{ended};
  for (;;) {
    co_await loop.sleep(kMillisecond);
    ++resumed;
  }
}

Task<void> wait_in_a_child(SimLoop& loop, int& ended, int& resumed) {
  TaskGroup group(loop);
  CountsItsEnd count{ended};
  Event never(loop);
  Mutex mutex(loop);
  auto guard = co_await mutex.lock();
  for (int i = 0; i < 3; ++i) group.spawn(wait_for_ever(loop, ended, resumed));
  co_await never.wait();
}

TEST(SimLoop, AKilledProcessNeverRunsAgainAndItsFramesAreDestroyed) {
  SimWorld world(1);
  SimLoop& loop = world.add_loop("victim");
  int ended = 0, resumed = 0;
  loop.spawn(wait_in_a_child(loop, ended, resumed));
  world.run_for(10 * kMillisecond);
  EXPECT_GT(resumed, 0);
  int before = resumed;
  world.kill(loop);
  EXPECT_EQ(ended, 4);
  world.run_for(kSecond);
  EXPECT_EQ(resumed, before);
  EXPECT_FALSE(loop.alive());
}

Task<void> kill_itself(SimLoop& loop, int& steps) {
  ++steps;
  loop.world().kill(loop);
  ++steps;  // up to the next suspension it goes on, without effect
  co_await loop.sleep(1);
  ++steps;
}

TEST(SimLoop, AProcessKilledOutOfItsOwnCodeStopsAtItsNextSuspension) {
  SimWorld world(1);
  SimLoop& loop = world.add_loop("victim");
  int steps = 0;
  loop.spawn(kill_itself(loop, steps));
  world.run_for(kSecond);
  EXPECT_EQ(steps, 2);
}

Task<void> send_and_stay(SimLoop& loop, bool& sent) {
  auto stream = co_await loop.connect(kServer, kNever);
  CANOPY_CHECK(stream.has_value());
  auto wrote = co_await (*stream)->write_all("late request", kNever);
  sent = wrote.has_value();
  co_await loop.sleep(kNever - loop.now());
}

TEST(SimLoop, WhatAKilledProcessHasSentStillArrives) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SimWorld world(seed);
    SimLoop& server = world.add_loop("server");
    SimLoop& client = world.add_loop("client");
    std::string received;
    server.spawn(serve(server, received));
    bool sent = false;
    client.spawn(send_and_stay(client, sent));
    ASSERT_TRUE(world.run_until([&] { return sent; }, kSecond));
    EXPECT_EQ(received, "");
    world.kill(client);
    EXPECT_TRUE(world.run_until([&] { return received == "late request"; }, kSecond)) << "seed " << seed;
  }
}

TEST(SimLoop, AClientOfAKilledServerLosesItsConnectionAndReachesTheNextOne) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SimWorld world(seed);
    SimLoop* server = &world.add_loop("server");
    SimLoop& client = world.add_loop("client");
    std::string received;
    server->spawn(serve(*server, received));
    int completed = 0;
    client.spawn([](SimLoop& on, int& done) -> Task<void> { co_await talk(on, "x", 1'000'000, done); }(
                                                client, completed));
    ASSERT_TRUE(world.run_until([&] { return completed > 5; }, kSecond));
    world.kill(*server);
    auto after = world.run_until_done(client, talk(client, "y", 1, completed), 10 * kSecond);
    ASSERT_TRUE(after.has_value());
    server = &world.add_loop("server again");
    server->spawn(serve(*server, received));
    received.clear();
    world.run_for(kMillisecond);
    after = world.run_until_done(client, talk(client, "z", 1, completed), world.now() + 10 * kSecond);
    ASSERT_TRUE(after.has_value());
    EXPECT_EQ(received, "z0;");
  }
}

TEST(SimLoop, APartitionHoldsBytesBackUntilItHeals) {
  SimWorld world(3);
  SimLoop& server = world.add_loop("server");
  SimLoop& client = world.add_loop("client");
  std::string received;
  server.spawn(serve(server, received));
  int completed = 0;
  client.spawn([](SimLoop& on, int& done) -> Task<void> { co_await talk(on, "x", 1'000'000, done); }(
                                              client, completed));
  ASSERT_TRUE(world.run_until([&] { return completed > 5; }, kSecond));
  world.partition(server, client);
  int before = completed;
  world.run_for(10 * kSecond);
  EXPECT_LE(completed, before + 1);  // an answer may have arrived already
  auto connected = [](SimLoop& on) -> Task<Code> {
    auto stream = co_await on.connect(kServer, on.now() + kSecond);
    co_return stream ? Code::kOk : stream.error().code();
  };
  EXPECT_EQ(world.run_until_done(client, connected(client)), Code::kDeadlineExceeded);
  world.heal(server, client);
  EXPECT_TRUE(world.run_until([&] { return completed > before + 5; }, world.now() + kSecond));
}

TEST(SimLoop, CuttingEndsTheConnectionsBetweenTwoProcesses) {
  SimWorld world(4);
  SimLoop& server = world.add_loop("server");
  SimLoop& client = world.add_loop("client");
  std::string received;
  server.spawn(serve(server, received));
  int completed = 0;
  bool ended = false;
  auto body = [](SimLoop& on, int& done, bool& over) -> Task<void> {
    co_await talk(on, "x", 1'000'000, done);
    over = true;
  };
  client.spawn(body(client, completed, ended));
  ASSERT_TRUE(world.run_until([&] { return completed > 5; }, kSecond));
  world.cut(server, client);
  EXPECT_TRUE(world.run_until([&] { return ended; }, world.now() + kSecond));
}

TEST(SimLoop, APausedProcessFindsItselfLate) {
  SimWorld world(5);
  SimLoop& loop = world.add_loop("paused");
  Nanos woke = 0;
  auto body = [](SimLoop& on, Nanos& at) -> Task<void> {
    co_await on.sleep(kMillisecond);
    at = on.now();
  };
  loop.spawn(body(loop, woke));
  world.run_for(kMillisecond / 2);
  world.pause(loop);
  world.run_for(kSecond);
  EXPECT_EQ(woke, 0);
  world.resume(loop);
  world.run_for(kMillisecond);
  EXPECT_GE(woke, kSecond);
}

TEST(SimLoop, RunUntilEndsAtItsTimeAndWhenNothingIsLeft) {
  SimWorld world(6);
  SimLoop& loop = world.add_loop("idle");
  EXPECT_FALSE(world.run_until([] { return false; }, kNever));
  EXPECT_FALSE(world.run_until([] { return false; }, kSecond));
  EXPECT_EQ(world.now(), kSecond);
  auto never = [](SimLoop& on) -> Task<int> {
    Event event(on);
    co_await event.wait();
    co_return 1;
  };
  EXPECT_EQ(world.run_until_done(loop, never(loop), 2 * kSecond), std::nullopt);
}

TEST(SimLoop, BreaksConnectionsAtTheRateThatItIsAskedFor) {
  SimWorld world(7, {.break_one_in = 50});
  SimLoop& server = world.add_loop("server");
  SimLoop& client = world.add_loop("client");
  std::string received;
  server.spawn(serve(server, received));
  int completed = 0;
  auto done = world.run_until_done(client, talk(client, "x", 1'000'000, completed), 1000 * kSecond);
  ASSERT_TRUE(done.has_value());
  EXPECT_LT(*done, 1000);
}

}  // namespace
}  // namespace canopy
