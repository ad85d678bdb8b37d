#include <gtest/gtest.h>

#include "daemon/runtime/sim_loop.h"

#include "proto-frontends/common/border.h"
#include "proto-frontends/common/config.h"
#include "proto-frontends/common/connection.h"
#include "proto-frontends/common/line_scanner.h"
#include "proto-frontends/common/proxy_protocol.h"
#include "proto-frontends/common/text.h"

namespace canopy::frontend {
namespace {

std::vector<std::string> lines(std::string_view bytes, size_t piece, LineEnd end) {
  using Status = LineScanner::Status;
  LineScanner scanner(end);
  std::string waiting;
  std::vector<std::string> found;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    waiting += bytes.substr(at, piece);
    std::string_view input = waiting;
    for (auto line = scanner.next(input, 8); line.status != Status::kNeedMore; line = scanner.next(input, 8))
      found.push_back(line.status == Status::kLine      ? std::string(line.line)
                      : line.status == Status::kTooLong ? "<long>"
                                                        : "<bad>");
    waiting = input;
    EXPECT_LE(waiting.size(), 8 + 1 + piece);
  }
  return found;
}

TEST(LineScanner, finds_the_same_lines_in_pieces_of_any_size) {
  static constexpr char kBytes[] =
      "a\r\nb\nc\r\n\r\n123456789\r\n12345678\r\nx\ry\r\nz\0\r\nlong long \r long\r\nend\r\n";
  std::string_view bytes(kBytes, sizeof kBytes - 1);
  std::vector<std::string> strict = {"a",     "<bad>", "",       "<long>", "12345678",
                                     "<bad>", "<bad>", "<long>", "end"};
  std::vector<std::string> lenient = {
      "a", "b", "c", "", "<long>", "12345678", "x\ry", std::string("z\0", 2), "<long>", "end"};
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    EXPECT_EQ(lines(bytes, piece, LineEnd::kCrLf), strict) << piece;
    EXPECT_EQ(lines(bytes, piece, LineEnd::kAnyNewline), lenient) << piece;
  }
}

std::string binary(std::initializer_list<int> bytes) {
  std::string text;
  for (int byte : bytes) text.push_back(static_cast<char>(byte));
  return text;
}
const std::string kSignature = binary({13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10});

ProxyParse parse_in_wanted_pieces(std::string_view bytes) {
  size_t have = 0;
  for (;;) {
    ProxyParse parsed = parse_proxy_header(bytes.substr(0, have));
    if (parsed.status != ProxyStatus::kNeedMore || have + parsed.wanted > bytes.size()) return parsed;
    have += parsed.wanted;
  }
}

TEST(ProxyProtocol, reads_both_versions_and_never_wants_a_byte_behind_the_header) {
  std::string v2 = kSignature + binary({0x21, 0x11, 0, 12, 192, 0, 2, 1, 10, 0, 0, 1, 0x10, 0x00, 0, 110});
  std::string v2_tls =
      kSignature + binary({0x21, 0x11, 0, 12 + 8 + 6, 192, 0, 2, 1, 10, 0,    0, 1, 1,   2,   0,
                           110,  0x20, 0, 5,          1,   0, 0, 0, 0,  0x02, 0, 3, 'a', '.', 'b'});
  std::string v6 = kSignature + binary({0x21, 0x21, 0, 36}) + std::string(15, '\0') + "\1" +
                   std::string(15, '\0') + "\2" + binary({0, 1, 0, 2});
  std::string local = kSignature + binary({0x20, 0x00, 0, 0});
  struct Row {
    std::string header, source;
    bool is_local, tls;
  };
  for (const Row& row : {Row{v2, "192.0.2.1", false, false}, Row{v2_tls, "192.0.2.1", false, true},
                         Row{v6, "::1", false, false}, Row{local, "::", true, false},
                         Row{"PROXY TCP4 192.0.2.7 10.0.0.1 4000 110\r\n", "192.0.2.7", false, false},
                         Row{"PROXY TCP6 2001:db8::1 ::1 4000 110\r\n", "2001:db8::1", false, false},
                         Row{"PROXY UNKNOWN\r\n", "::", false, false},
                         Row{"PROXY UNKNOWN whatever it says\r\n", "::", false, false}}) {
    for (const ProxyParse& parsed :
         {parse_proxy_header(row.header + "USER"), parse_in_wanted_pieces(row.header + "USER")}) {
      EXPECT_EQ(parsed.status, ProxyStatus::kDone) << row.header << parsed.why;
      EXPECT_EQ(parsed.consumed, row.header.size());
      EXPECT_EQ(parsed.header.source.to_string(), row.source);
      EXPECT_EQ(parsed.header.local, row.is_local);
      EXPECT_EQ(parsed.header.tls, row.tls);
    }
    for (size_t cut = 0; cut < row.header.size(); ++cut) {
      auto parsed = parse_proxy_header(row.header.substr(0, cut));
      EXPECT_EQ(parsed.status, ProxyStatus::kNeedMore) << row.header << " at " << cut;
      EXPECT_LE(cut + parsed.wanted, row.header.size());
    }
  }
  EXPECT_EQ(parse_proxy_header(v2_tls).header.authority, "a.b");
}

TEST(ProxyProtocol, refuses_what_is_not_a_header) {
  for (const std::string& wrong :
       {std::string("USER ann\r\n"), std::string("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n"),
        std::string("PROXY TCP4 ::1 ::1 1 2\r\n"), std::string("PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n"),
        std::string("PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n"), "PROXY UNKNOWN " + std::string(100, 'x'),
        kSignature + binary({0x11, 0x11, 0, 0}), kSignature + binary({0x22, 0x11, 0, 0}),
        kSignature + binary({0x21, 0x12, 0, 0}), kSignature + binary({0x21, 0x11, 0, 4, 1, 2, 3, 4}),
        kSignature + binary({0x21, 0x11, 0xff, 0xff}),
        kSignature + binary({0x21, 0x11, 0, 14, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 9, 9})})
    EXPECT_EQ(parse_proxy_header(wrong).status, ProxyStatus::kInvalid) << testing::PrintToString(wrong);
}

TEST(Network, contains_what_its_prefix_says) {
  EXPECT_TRUE(Network::parse("10.0.0.0/8")->contains(*IpAddress::parse("10.255.1.2")));
  EXPECT_FALSE(Network::parse("10.0.0.0/8")->contains(*IpAddress::parse("11.0.0.0")));
  EXPECT_TRUE(Network::parse("2001:db8::/33")->contains(*IpAddress::parse("2001:db8:7fff::1")));
  EXPECT_FALSE(Network::parse("2001:db8::/33")->contains(*IpAddress::parse("2001:db8:8000::1")));
  EXPECT_TRUE(Network::parse("192.0.2.1")->contains(*IpAddress::parse("192.0.2.1")));
  for (std::string_view wrong : {"10.0.0.0/33", "10.0.0.1/8", "x", "::/129", "10.0.0.0/", "10.0.0.0/8x"})
    EXPECT_FALSE(Network::parse(wrong)) << wrong;
}

TEST(ConnectionLimits, count_per_client_and_in_total_and_give_places_back) {
  ConnectionLimits limits(3, 2);
  auto a = *IpAddress::parse("192.0.2.1"), b = *IpAddress::parse("192.0.2.2");
  auto first = limits.enter(a), second = limits.enter(a);
  EXPECT_TRUE(first);
  EXPECT_TRUE(second);
  EXPECT_FALSE(limits.enter(a));
  {
    auto third = limits.enter(b);
    EXPECT_TRUE(third);
    EXPECT_FALSE(limits.enter(*IpAddress::parse("192.0.2.3")));
  }
  second = {};
  EXPECT_TRUE(limits.enter(a));
  EXPECT_EQ(limits.total(), 1u);
  auto six = limits.enter(*IpAddress::parse("2001:db8::1")),
       seven = limits.enter(*IpAddress::parse("2001:db8::2"));
  EXPECT_FALSE(limits.enter(*IpAddress::parse("2001:db8::3"))) << "a /64 is one client";
}

TEST(LoginDelays, double_with_each_failure_and_end_with_a_success_or_time) {
  LoginDelays delays;
  auto a = *IpAddress::parse("192.0.2.1");
  EXPECT_EQ(delays.take_turn(a, 0), 0);
  delays.failed(a, 0);
  EXPECT_EQ(delays.take_turn(a, LoginDelays::kFirst), 0) << "waiting by itself counts too";
  delays.failed(a, kSecond);
  EXPECT_EQ(delays.take_turn(a, kSecond), 2 * LoginDelays::kFirst);
  Nanos later = 100 * kSecond;
  for (int i = 0; i < 70; ++i) delays.failed(a, later);
  EXPECT_EQ(delays.take_turn(a, later), LoginDelays::kLongest);
  EXPECT_EQ(delays.take_turn(*IpAddress::parse("192.0.2.2"), later), 0);
  delays.succeeded(a);
  EXPECT_EQ(delays.take_turn(a, later), 0);
  delays.failed(a, later);
  EXPECT_EQ(delays.take_turn(a, later + LoginDelays::kForgotten + 1), 0);
}

TEST(LoginDelays, let_attempts_at_once_wait_one_behind_the_other_and_refuse_those_that_would_wait_long) {
  LoginDelays delays;
  auto a = *IpAddress::parse("192.0.2.1");
  for (int i = 0; i < 70; ++i) delays.failed(a, 0);
  for (int i = 1; i <= 4; ++i) EXPECT_EQ(delays.take_turn(a, 0), i * LoginDelays::kLongest);
  EXPECT_EQ(delays.take_turn(a, 0), std::nullopt);
  EXPECT_EQ(delays.take_turn(a, kSecond), std::nullopt) << "a refused attempt takes no turn and moves none";
  EXPECT_EQ(delays.take_turn(a, LoginDelays::kLongest), LoginDelays::kWaitMax);
}

TEST(LoginDelays, stay_bounded_under_a_flood_of_addresses) {
  LoginDelays delays;
  for (uint32_t i = 0; i < LoginDelays::kAddressesMax + 5000; ++i) {
    IpAddress address;
    std::memcpy(address.bytes.data(), &i, 4);
    address.bytes[7] = 1;
    delays.failed(address, kSecond);
  }
  EXPECT_LE(delays.size(), LoginDelays::kAddressesMax);
}

TEST(Text, tells_utf8_from_other_bytes) {
  for (std::string_view good : {"", "abc", "gr\xc3\xbcn", "\xf0\x9f\x8c\xb3", "\xef\xbf\xbf"})
    EXPECT_TRUE(is_utf8(good));
  for (std::string_view bad :
       {"\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "\x80"})
    EXPECT_FALSE(is_utf8(bad));
  EXPECT_EQ(printable("a\r\nb\xc3\xbc", 100), "a??b\xc3\xbc");
  EXPECT_EQ(printable("a\xc3\xbc", 2), "a");
}

const std::string kGood = R"(
[backend]
addresses = ["unix:/run/canopy/canopy.sock"]
[[listener]]
protocol = "pop3"
address = "tcp:127.0.0.1:110"
proxy_networks = ["10.0.0.0/8", "unix"]
)";

TEST(Config, reads_a_small_file_and_the_documented_example) {
  auto config = Config::parse(kGood, "f");
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_EQ(config->listeners.at(0).session.idle, 600 * kSecond);
  EXPECT_TRUE(config->listeners.at(0).proxy_unix);
  EXPECT_FALSE(config->listeners.at(0).session.plaintext_auth);
  auto example = Config::load(CANOPY_SOURCE_DIR "/docs/frontend.example.toml");
  ASSERT_TRUE(example) << example.error().to_string();
  EXPECT_EQ(example->listeners.size(), 4u);
}

TEST(Config, refuses_unknown_keys_and_bad_values_by_key_and_rule) {
  struct Row {
    std::string text, key, rule;
  };
  for (const Row& row :
       {Row{kGood + "colour = 1\n", "listener[0].colour", "not a known key"},
        Row{"lops = 1\n" + kGood, "lops", "not a known key"},
        Row{kGood + "idle_seconds = 0\n", "listener[0].idle_seconds", "not a number from 1"},
        Row{kGood + "idle_seconds = \"1\"\n", "listener[0].idle_seconds", "not a number"},
        Row{kGood + "plaintext_auth = 1\n", "listener[0].plaintext_auth", "neither true nor false"},
        Row{kGood + "message_bytes_max = 100000\n", "listener[0].message_bytes_max", "not a known key"},
        Row{kGood + "unix_mode = \"rw\"\n", "listener[0].unix_mode", "octal"},
        Row{kGood + "[[listener]]\nprotocol = \"imap\"\naddress = \"tcp:*:1\"\n", "listener[1].protocol",
            "not one of lmtp, pop3, pop3s"},
        Row{kGood + "[[listener]]\nprotocol = \"pop3s\"\naddress = \"tcp:*:1\"\n", "listener[1].tls",
            "at least one certificate"},
        Row{kGood + "[[listener]]\nprotocol = \"pop3\"\naddress = \"mail.x.org:110\"\n",
            "listener[1].address", "neither unix: nor tcp:"},
        Row{"[backend]\naddresses = [\"tcp:10.0.0.1:9\"]\n[[listener]]\nprotocol = \"lmtp\"\n"
            "address = \"tcp:*:24\"\n",
            "backend.ca", "needs ca"},
        Row{"[backend]\naddresses = []\n", "backend.addresses", "at least one"},
        Row{"", "backend", "missing"}}) {
    auto config = Config::parse(row.text, "f");
    ASSERT_FALSE(config) << row.text;
    EXPECT_EQ(config.error().object(), "f: " + row.key) << row.text;
    EXPECT_NE(config.error().message().find(row.rule), std::string::npos) << config.error().to_string();
  }
  EXPECT_EQ(Config::parse("[backend\n", "f").error().object(), "f:1");
}

// A client with a slow line gets a large reply as long as it takes some of it; one that takes nothing is
// given up.
Task<void> read_slowly(Loop& loop, Address address, size_t& read) {
  auto stream = co_await loop.connect(address, kNever);
  CANOPY_CHECK(stream.has_value());
  std::vector<char> buffer(64 << 10);
  for (;;) {
    co_await loop.sleep(10 * kSecond);
    auto got = co_await (*stream)->read(buffer, kNever);
    if (!got || *got == 0) co_return;
    read += *got;
  }
}

Task<void> hold(Loop& loop, Address address) {
  auto stream = co_await loop.connect(address, kNever);
  co_await loop.sleep(1000 * kSecond);
}

Task<bool> send_a_megabyte(Loop& loop, Listener& listener, Nanos& took) {
  auto stream = co_await listener.accept();
  bool draining = false;
  BufferPool pool(4096);
  Connection connection(loop, std::move(*stream), draining, pool);
  connection.out().assign(1 << 20, 'x');
  Nanos begun = loop.now();
  bool written = co_await connection.flush();
  took = loop.now() - begun;
  co_return written;
}

TEST(Connection, sends_to_a_slow_client_and_gives_up_on_one_that_takes_nothing) {
  for (bool takes_some : {true, false}) {
    SimOptions options;
    options.short_read_one_in = 0;
    SimWorld world(1, options);
    SimLoop& server = world.add_loop("server");
    SimLoop& client = world.add_loop("client");
    auto address = *Address::parse("tcp:10.0.0.1:110");
    auto listener = server.listen(address, {});
    ASSERT_TRUE(listener.has_value());
    size_t read = 0;
    client.spawn(takes_some ? read_slowly(client, address, read) : hold(client, address));
    Nanos took = 0;
    auto written = world.run_until_done(server, send_a_megabyte(server, **listener, took), 2000 * kSecond);
    ASSERT_TRUE(written.has_value());
    EXPECT_EQ(*written, takes_some);
    EXPECT_GT(took, 119 * kSecond) << "slower than one time limit for all of it, or that limit itself";
    if (takes_some) EXPECT_GT(read, 900'000u);
  }
}

}  // namespace
}  // namespace canopy::frontend
