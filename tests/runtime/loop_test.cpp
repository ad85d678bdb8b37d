// What every Loop promises: order of timers, deferring, sockets, deadlines, abort.
#include "daemon/runtime/sync.h"
#include "tests/runtime/hosts.h"

namespace canopy {
namespace {

TYPED_TEST_SUITE(OnEveryLoop, Hosts);

struct Noted : TimerNode {
  std::vector<int>* order = nullptr;
  int number = 0;
};

void note(TimerNode* timer) {
  auto* noted = static_cast<Noted*>(timer);
  noted->order->push_back(noted->number);
}

Task<void> timers_fire_in_order(Loop& loop, Address) {
  std::vector<int> order;
  constexpr int kTimers = 40;
  std::array<Noted, kTimers> timers;
  Nanos start = loop.now();
  for (int i = 0; i < kTimers; ++i) {
    timers[static_cast<size_t>(i)].order = &order;
    timers[static_cast<size_t>(i)].number = i;
    timers[static_cast<size_t>(i)].fire = note;
  }
  // Armed in another order than they are due; every third is called off, every fifth moved behind the others.
  for (int i = 0; i < kTimers; ++i) {
    int at = i * 7 % kTimers;
    loop.arm(timers[static_cast<size_t>(at)], start + (at + 1) * 50 * kMicrosecond);
  }
  std::vector<int> expected, late;
  for (int i = 0; i < kTimers; ++i) {
    Noted& timer = timers[static_cast<size_t>(i)];
    if (i % 3 == 0) {
      loop.disarm(timer);
      loop.disarm(timer);  // no effect
    } else if (i % 5 == 0) {
      loop.arm(timer, start + 10 * kMillisecond + i);
      late.push_back(i);
    } else {
      expected.push_back(i);
    }
  }
  expected.insert(expected.end(), late.begin(), late.end());
  co_await loop.sleep(20 * kMillisecond);
  EXPECT_EQ(order, expected);
  for (const Noted& timer : timers) EXPECT_EQ(timer.heap_index, SIZE_MAX);
}

TYPED_TEST(OnEveryLoop, FiresTimersInTheOrderOfTheirTimesAndNoDisarmedOne) {
  this->run(timers_fire_in_order);
}

Task<void> sleeps_at_least(Loop& loop, Address) {
  Nanos before = loop.now();
  co_await loop.sleep(3 * kMillisecond);
  EXPECT_GE(loop.now() - before, 3 * kMillisecond);
  before = loop.now();
  co_await loop.sleep_until(before - kSecond);  // what has passed does not wait
  EXPECT_TRUE(loop.on_this_thread());
}

TYPED_TEST(OnEveryLoop, SleepsNoShorterThanAsked) { this->run(sleeps_at_least); }

Task<void> spin_until(Loop& loop, bool& stop, int& turns) {
  while (!stop) {
    ++turns;
    co_await loop.yield();
  }
}

Task<void> yielding_starves_nobody(Loop& loop, Address) {
  bool stop = false;
  int turns = 0;
  TaskGroup group(loop);
  group.spawn(spin_until(loop, stop, turns));
  co_await loop.sleep(kMillisecond);  // its timer must come through
  stop = true;
  co_await group.join();
  EXPECT_GT(turns, 1);
}

TYPED_TEST(OnEveryLoop, LetsTimersThroughWhileATaskOnlyYields) { this->run(yielding_starves_nobody); }

Task<void> posts_run_in_order(Loop& loop, Address) {
  std::vector<int> order;
  Event all(loop);
  for (int i = 0; i < 100; ++i)
    loop.post([&, i] {
      order.push_back(i);
      if (i == 99) all.set();
    });
  EXPECT_TRUE(order.empty());  // never inside post()
  co_await all.wait();
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(order.size(), 100u);
}

TYPED_TEST(OnEveryLoop, RunsPostedWorkLaterAndInItsOrder) { this->run(posts_run_in_order); }

Task<void> serve_echo(std::unique_ptr<Stream> stream) {
  char buffer[1000];
  for (;;) {
    auto got = co_await stream->read(buffer, kNever);
    if (!got || *got == 0) co_return;
    auto sent = co_await stream->write_all({buffer, *got}, kNever);
    EXPECT_TRUE(sent.has_value());
  }
}

Task<void> serve_echoes(Listener& listener, TaskGroup& group) {
  for (;;) {
    auto stream = co_await listener.accept();
    if (!stream) {
      EXPECT_EQ(stream.error().code(), Code::kCancelled);
      co_return;
    }
    group.spawn(serve_echo(std::move(*stream)));
  }
}

Task<std::string> read_to_the_end(Stream& stream) {
  std::string all;
  char buffer[777];
  for (;;) {
    auto got = co_await stream.read(buffer, kNever);
    EXPECT_TRUE(got.has_value());
    if (!got || *got == 0) co_return all;
    all.append(buffer, *got);
  }
}

Task<void> write_pieces(Stream& stream, const std::string& bytes) {
  // Pieces of every size, empty ones included, more than one system call gathers.
  std::vector<std::string_view> pieces;
  size_t size = 0;
  for (std::string_view rest = bytes; !rest.empty(); size = (size * 3 + 1) % 5000) {
    pieces.push_back(rest.substr(0, size));
    rest.remove_prefix(pieces.back().size());
  }
  auto written = co_await stream.write(pieces, kNever);
  EXPECT_TRUE(written.has_value());
  stream.shutdown_write();
}

std::string some_bytes(size_t count) {
  std::string bytes(count, '\0');
  uint64_t state = 12345;
  for (char& c : bytes) c = static_cast<char>((state = state * 6364136223846793005 + 1) >> 56);
  return bytes;
}

Task<void> echo_one(Loop& loop, Address to, size_t count) {
  auto stream = co_await loop.connect(to, kNever);
  EXPECT_TRUE(stream.has_value());
  if (!stream) co_return;
  std::string bytes = some_bytes(count);
  TaskGroup group(loop);
  group.spawn(write_pieces(**stream, bytes));
  std::string back = co_await read_to_the_end(**stream);
  EXPECT_EQ(back, bytes);
  co_await group.join();
}

Task<void> echoes(Loop& loop, Address address) {
  auto listener = loop.listen(address, {});
  EXPECT_TRUE(listener.has_value());
  if (!listener) co_return;
  TaskGroup servers(loop), clients(loop);
  servers.spawn(serve_echoes(**listener, servers));
  for (size_t size : {1, 100, 5000, 70'000, 600'000})
    clients.spawn(echo_one(loop, (*listener)->local(), size));
  co_await clients.join();
  (*listener)->abort();
  co_await servers.join();
}

TYPED_TEST(OnEveryLoop, EchoesAllBytesOfSeveralConnectionsInOrder) { this->run(echoes); }

struct Pair {
  std::unique_ptr<Stream> client, server;
};

Task<void> connect_into(Loop& loop, Address to, std::unique_ptr<Stream>& into) {
  auto stream = co_await loop.connect(to, kNever);
  EXPECT_TRUE(stream.has_value());
  into = std::move(*stream);
}

Task<Pair> make_pair_of_streams(Loop& loop, Address address) {
  auto listener = loop.listen(address, {});
  CANOPY_CHECK(listener.has_value());
  Pair pair;
  TaskGroup group(loop);
  group.spawn(connect_into(loop, (*listener)->local(), pair.client));
  auto accepted = co_await (*listener)->accept();
  CANOPY_CHECK(accepted.has_value());
  pair.server = std::move(*accepted);
  co_await group.join();
  co_return std::move(pair);
}

Task<void> deadlines(Loop& loop, Address address) {
  Pair pair = co_await make_pair_of_streams(loop, address);
  char buffer[10];
  auto got = co_await pair.server->read(buffer, loop.now() + kMillisecond);
  EXPECT_EQ(got.error().code(), Code::kDeadlineExceeded);
  auto ready = co_await pair.server->readable(loop.now() + kMillisecond);
  EXPECT_EQ(ready.error().code(), Code::kDeadlineExceeded);
  std::string too_much(64 << 20, 'x');
  auto wrote = co_await pair.server->write_all(too_much, loop.now() + 5 * kMillisecond);
  EXPECT_EQ(wrote.error().code(), Code::kDeadlineExceeded);
  // A deadline does not hurt the stream's other direction.
  auto sent = co_await pair.client->write_all("still here", kNever);
  EXPECT_TRUE(sent.has_value());
  ready = co_await pair.server->readable(loop.now() + 10 * kSecond);
  EXPECT_TRUE(ready.has_value());
  got = co_await pair.server->read(buffer, loop.now() + 10 * kSecond);
  EXPECT_TRUE(got.has_value());
  EXPECT_GE(*got, 1u);
}

TYPED_TEST(OnEveryLoop, EndsReadsAndWritesAtTheirDeadlines) { this->run(deadlines); }

Task<void> read_until_cancelled(Stream& stream, bool& cancelled) {
  char buffer[10];
  auto got = co_await stream.read(buffer, kNever);
  cancelled = !got && got.error().code() == Code::kCancelled;
}

Task<void> write_until_cancelled(Stream& stream, bool& cancelled) {
  std::string too_much(64 << 20, 'x');
  auto wrote = co_await stream.write_all(too_much, kNever);
  cancelled = !wrote && wrote.error().code() == Code::kCancelled;
}

Task<void> abort_while_reading_and_writing(Loop& loop, Address address) {
  Pair pair = co_await make_pair_of_streams(loop, address);
  bool read_cancelled = false, write_cancelled = false;
  TaskGroup group(loop);
  group.spawn(read_until_cancelled(*pair.server, read_cancelled));
  group.spawn(write_until_cancelled(*pair.server, write_cancelled));
  co_await loop.sleep(2 * kMillisecond);
  pair.server->abort();
  co_await group.join();
  EXPECT_TRUE(read_cancelled);
  EXPECT_TRUE(write_cancelled);
  char buffer[10];
  auto got = co_await pair.server->read(buffer, kNever);
  EXPECT_EQ(got.error().code(), Code::kConnectionLost);
  auto wrote = co_await pair.server->write_all("x", kNever);
  EXPECT_EQ(wrote.error().code(), Code::kConnectionLost);
}

TYPED_TEST(OnEveryLoop, AbortCancelsWhatIsUnderWayAndFailsWhatComesAfter) {
  this->run(abort_while_reading_and_writing);
}

Task<void> peer_goes_away(Loop& loop, Address address) {
  Pair pair = co_await make_pair_of_streams(loop, address);
  auto sent = co_await pair.client->write_all("last words", kNever);
  EXPECT_TRUE(sent.has_value());
  pair.client.reset();
  auto words = co_await read_to_the_end(*pair.server);
  EXPECT_EQ(words, "last words");
  // Writing to nobody fails, at the latest when the peer's refusal has come back.
  Result<void> wrote;
  for (int i = 0; i < 100 && wrote; ++i) {
    wrote = co_await pair.server->write_all("anybody?", loop.now() + 10 * kSecond);
    co_await loop.sleep(kMillisecond);
  }
  EXPECT_EQ(wrote.error().code(), Code::kConnectionLost);
}

TYPED_TEST(OnEveryLoop, ReadsWhatAClosedPeerHasSentAndThenFailsToWrite) { this->run(peer_goes_away); }

Task<void> nobody_listens(Loop& loop, Address address) {
  Address free_address;
  {
    auto listener = loop.listen(address, {});
    CANOPY_CHECK(listener.has_value());
    free_address = (*listener)->local();
    auto second = loop.listen(free_address, {});
    EXPECT_EQ(second.error().code(), Code::kBusy);
  }
  auto stream = co_await loop.connect(free_address, kNever);
  EXPECT_EQ(stream.error().code(), Code::kConnectionLost);
}

TYPED_TEST(OnEveryLoop, RefusesASecondListenerAndAConnectionToNone) { this->run(nobody_listens); }

Task<void> last_words_at_once(Loop& loop, Address address) {
  Pair pair = co_await make_pair_of_streams(loop, address);
  EXPECT_EQ(pair.server->write_at_once("bye"), 3u);
  pair.server.reset();
  auto words = co_await read_to_the_end(*pair.client);
  EXPECT_EQ(words, "bye");
}

TYPED_TEST(OnEveryLoop, DeliversWhatWasWrittenAtOnceBeforeClosing) { this->run(last_words_at_once); }

TEST(Address, ParsesAndPrintsEveryForm) {
  for (const char* text :
       {"unix:/run/canopy/wire", "tcp:127.0.0.1:2525", "tcp:[::1]:110", "tcp:*:24", "tcp:*:0"}) {
    auto address = Address::parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->to_string(), text);
  }
}

TEST(Address, RefusesWhatItCannotReachNamingTheRule) {
  std::string long_path = "unix:/" + std::string(107, 'x');
  for (const std::string& text :
       {std::string("/run/x"), std::string("unix:"), std::string("tcp:localhost:25"),
        std::string("tcp:127.0.0.1"), std::string("tcp:127.0.0.1:65536"), std::string("tcp:127.0.0.1:x"),
        std::string("tcp:[::g]:1"), std::string("tcp::25"), long_path}) {
    auto address = Address::parse(text);
    ASSERT_FALSE(address.has_value()) << text;
    EXPECT_EQ(address.error().code(), Code::kInvalidArgument);
    EXPECT_EQ(address.error().object(), text);
  }
}

}  // namespace
}  // namespace canopy
