// TLS on both loops: handshakes that succeed and that must not, names, reload, long conversations, ends.
#include "daemon/runtime/tls.h"

#include <gmock/gmock.h>
#include <malloc.h>

#include "tests/runtime/hosts.h"
#include "tests/runtime/test_pki.h"

namespace canopy {
namespace {

using Verify = TlsOptions::Verify;
using Version = TlsOptions::Version;

template <class Host>
class TlsOnEveryLoop : public OnEveryLoop<Host> {
 protected:
  TlsOnEveryLoop() {
    pki_.authority("ca");
    pki_.authority("other-ca");
    pki_.certificate("server", "ca", "DNS:mail.example,IP:127.0.0.1");
    pki_.certificate("second", "ca", "DNS:*.second.example");
    pki_.certificate("backend", "ca", "DNS:b1,URI:canopy:role/backend,URI:canopy:node/b1");
    pki_.certificate("stranger", "other-ca", "URI:canopy:role/admin");
  }
  TestPki pki_;
};
using TlsHosts = testing::Types<UringHost, SimHost>;
TYPED_TEST_SUITE(TlsOnEveryLoop, TlsHosts);

std::shared_ptr<TlsContext> server_context(const TestPki& pki, Verify verify, std::vector<std::string> names,
                                           Version version = Version::k13) {
  TlsOptions options;
  options.side = TlsOptions::Side::kServer;
  options.verify = verify;
  options.version_min = version;
  for (const std::string& name : names)
    options.certificates.push_back({pki.file(name + ".pem"), pki.file(name + ".key")});
  options.ca_file = pki.file("ca.pem");
  auto made = TlsContext::create(options);
  CANOPY_CHECK(made.has_value());
  return *made;
}

std::shared_ptr<TlsContext> client_context(const TestPki& pki, const std::string& ca,
                                           const std::string& name) {
  TlsOptions options;
  options.side = TlsOptions::Side::kClient;
  options.verify = Verify::kRequired;
  options.version_min = Version::k12;
  if (!name.empty()) options.certificates.push_back({pki.file(name + ".pem"), pki.file(name + ".key")});
  options.ca_file = pki.file(ca + ".pem");
  auto made = TlsContext::create(options);
  CANOPY_CHECK(made.has_value());
  return *made;
}

struct Ends {
  Result<std::unique_ptr<TlsStream>> server = fail(Code::kInternal, "", "not yet");
  Result<std::unique_ptr<TlsStream>> client = fail(Code::kInternal, "", "not yet");
};

Task<void> accept_tls(Loop& loop, Listener& listener, std::shared_ptr<TlsContext> context, Ends& ends) {
  auto plain = co_await listener.accept();
  CANOPY_CHECK(plain.has_value());
  ends.server = co_await TlsStream::accept(loop, *context, std::move(*plain), loop.now() + 20 * kSecond);
}

Task<void> handshake(Loop& loop, std::shared_ptr<TlsContext> server, std::shared_ptr<TlsContext> client,
                     std::string name, Ends& ends) {
  auto listener = loop.listen(*Address::parse("tcp:127.0.0.1:0"), {});
  CANOPY_CHECK(listener.has_value());
  TaskGroup group(loop);
  group.spawn(accept_tls(loop, **listener, server, ends));
  auto plain = co_await loop.connect((*listener)->local(), kNever);
  CANOPY_CHECK(plain.has_value());
  ends.client =
      co_await TlsStream::connect(loop, *client, std::move(*plain), name, loop.now() + 20 * kSecond);
  co_await group.join();
}

Task<void> both_verify(Loop& loop, const TestPki& pki) {
  Ends ends;
  co_await handshake(loop, server_context(pki, Verify::kRequired, {"server"}),
                     client_context(pki, "ca", "backend"), "mail.example", ends);
  EXPECT_TRUE(ends.server.has_value() && ends.client.has_value());
  if (!ends.server || !ends.client) co_return;
  EXPECT_TRUE((*ends.server)->peer_verified());
  EXPECT_TRUE((*ends.client)->peer_verified());
  EXPECT_EQ((*ends.server)->peer_uri_names(),
            (std::vector<std::string>{"canopy:role/backend", "canopy:node/b1"}));
  EXPECT_EQ((*ends.server)->peer_subject(), "CN = backend");
  EXPECT_EQ((*ends.server)->server_name(), "mail.example");
  EXPECT_EQ((*ends.client)->protocol(), "TLSv1.3");
}

TYPED_TEST(TlsOnEveryLoop, BothSidesVerifyAndTheServerSeesTheUriNames) {
  this->run([&](Loop& loop, Address) { return both_verify(loop, this->pki_); });
}

Task<void> client_refuses(Loop& loop, const TestPki& pki, std::string ca, std::string name,
                          std::string words) {
  Ends ends;
  co_await handshake(loop, server_context(pki, Verify::kNone, {"server"}), client_context(pki, ca, ""), name,
                     ends);
  EXPECT_FALSE(ends.client.has_value());
  if (ends.client) co_return;
  EXPECT_EQ(ends.client.error().code(), Code::kConnectionLost);
  EXPECT_THAT(ends.client.error().message(), testing::HasSubstr(words));
  EXPECT_FALSE(ends.server.has_value());
}

TYPED_TEST(TlsOnEveryLoop, AClientRefusesAServerOfAnotherAuthority) {
  this->run([&](Loop& loop, Address) {
    return client_refuses(loop, this->pki_, "other-ca", "mail.example",
                          "unable to get local issuer certificate");
  });
}

TYPED_TEST(TlsOnEveryLoop, AClientRefusesAServerOfAnotherName) {
  this->run([&](Loop& loop, Address) {
    return client_refuses(loop, this->pki_, "ca", "evil.example", "hostname mismatch");
  });
}

TYPED_TEST(TlsOnEveryLoop, AClientRefusesAServerOfAnotherAddress) {
  this->run([&](Loop& loop, Address) {
    return client_refuses(loop, this->pki_, "ca", "10.9.9.9", "IP address mismatch");
  });
}

Task<void> server_refuses(Loop& loop, const TestPki& pki, Verify verify, std::string client,
                          std::string words) {
  Ends ends;
  co_await handshake(loop, server_context(pki, verify, {"server"}), client_context(pki, "ca", client),
                     "127.0.0.1", ends);
  EXPECT_FALSE(ends.server.has_value());
  if (ends.server) co_return;
  EXPECT_THAT(ends.server.error().message(), testing::HasSubstr(words));
  // In TLS 1.3 a client learns of its refusal with its first read.
  if (!ends.client) co_return;
  char buffer[10];
  auto got = co_await (*ends.client)->read(buffer, kNever);
  EXPECT_FALSE(got.has_value());
}

TYPED_TEST(TlsOnEveryLoop, AServerRefusesAClientOfAnotherAuthority) {
  this->run([&](Loop& loop, Address) {
    return server_refuses(loop, this->pki_, Verify::kOptional, "stranger",
                          "unable to get local issuer certificate");
  });
}

TYPED_TEST(TlsOnEveryLoop, AServerThatRequiresACertificateRefusesAClientWithout) {
  this->run([&](Loop& loop, Address) {
    return server_refuses(loop, this->pki_, Verify::kRequired, "", "peer did not return a certificate");
  });
}

Task<void> without_certificate(Loop& loop, const TestPki& pki) {
  Ends ends;
  co_await handshake(loop, server_context(pki, Verify::kOptional, {"server"}), client_context(pki, "ca", ""),
                     "", ends);
  EXPECT_TRUE(ends.server.has_value() && ends.client.has_value());
  if (!ends.server) co_return;
  EXPECT_FALSE((*ends.server)->peer_verified());
  EXPECT_EQ((*ends.server)->peer_uri_names().size(), 0u);
}

TYPED_TEST(TlsOnEveryLoop, AClientWithoutCertificateIsLetInWhereItIsOptionalButNotVerified) {
  this->run([&](Loop& loop, Address) { return without_certificate(loop, this->pki_); });
}

Task<void> choose_by_name(Loop& loop, const TestPki& pki, std::string name, std::string subject) {
  Ends ends;
  co_await handshake(loop, server_context(pki, Verify::kNone, {"server", "second"}, Version::k12),
                     client_context(pki, "ca", ""), name, ends);
  EXPECT_TRUE(ends.client.has_value());
  if (ends.client) EXPECT_EQ((*ends.client)->peer_subject(), subject);
}

TYPED_TEST(TlsOnEveryLoop, AServerShowsTheCertificateOfTheNameThatIsAskedFor) {
  this->run([&](Loop& loop, Address) {
    return choose_by_name(loop, this->pki_, "pop.second.example", "CN = second");
  });
  this->run(
      [&](Loop& loop, Address) { return choose_by_name(loop, this->pki_, "mail.example", "CN = server"); });
}

Task<void> send_all(Stream& stream, const std::string& bytes) {
  std::vector<std::string_view> pieces;
  size_t size = 0;
  for (std::string_view rest = bytes; !rest.empty(); size = (size * 3 + 1) % 90'000) {
    pieces.push_back(rest.substr(0, size));
    rest.remove_prefix(pieces.back().size());
  }
  auto sent = co_await stream.write(pieces, kNever);
  EXPECT_TRUE(sent.has_value());
}

Task<void> receive_all(Stream& stream, size_t size, std::string& into) {
  char buffer[5000];
  while (into.size() < size) {
    auto ready = co_await stream.readable(kNever);
    EXPECT_TRUE(ready.has_value());
    auto got = co_await stream.read(buffer, kNever);
    EXPECT_TRUE(got.has_value() && *got > 0);
    if (!got || *got == 0) co_return;
    into.append(buffer, *got);
  }
}

Task<void> talk_both_ways(Loop& loop, const TestPki& pki) {
  Ends ends;
  co_await handshake(loop, server_context(pki, Verify::kNone, {"server"}), client_context(pki, "ca", ""),
                     "mail.example", ends);
  EXPECT_TRUE(ends.server.has_value() && ends.client.has_value());
  if (!ends.server || !ends.client) co_return;
  std::string up, down, up_received, down_received;
  for (int i = 0; i < 100'000; ++i) up += fmt::format("{},", i), down += fmt::format("{};", i * 7);
  TaskGroup group(loop);
  group.spawn(send_all(**ends.server, down));
  group.spawn(send_all(**ends.client, up));
  group.spawn(receive_all(**ends.server, up.size(), up_received));
  group.spawn(receive_all(**ends.client, down.size(), down_received));
  co_await group.join();
  EXPECT_TRUE(up == up_received && down == down_received);
  (*ends.server)->shutdown_write();
  char buffer[10];
  auto got = co_await (*ends.client)->read(buffer, kNever);
  EXPECT_TRUE(got.has_value() && *got == 0) << (got ? "bytes" : got.error().to_string());
  EXPECT_EQ((*ends.client)->write_at_once("last"), 4u);  // the other direction is still open
  got = co_await (*ends.server)->read(buffer, kNever);
  EXPECT_TRUE(got.has_value() && std::string_view(buffer, *got) == "last");
}

TYPED_TEST(TlsOnEveryLoop, CarriesLongConversationsBothWaysAtTheSameTime) {
  this->run([&](Loop& loop, Address) { return talk_both_ways(loop, this->pki_); });
}

Task<void> silent_client(Loop& loop, const TestPki& pki) {
  auto listener = loop.listen(*Address::parse("tcp:127.0.0.1:0"), {});
  auto client = co_await loop.connect((*listener)->local(), kNever);
  auto plain = co_await (*listener)->accept();
  auto context = server_context(pki, Verify::kNone, {"server"});
  auto tls = co_await TlsStream::accept(loop, *context, std::move(*plain), loop.now() + 5 * kMillisecond);
  EXPECT_FALSE(tls.has_value());
  if (!tls) EXPECT_EQ(tls.error().code(), Code::kDeadlineExceeded);
}

TYPED_TEST(TlsOnEveryLoop, AHandshakeEndsAtItsDeadline) {
  this->run([&](Loop& loop, Address) { return silent_client(loop, this->pki_); });
}

Task<void> plain_client(Loop& loop, const TestPki& pki) {
  auto listener = loop.listen(*Address::parse("tcp:127.0.0.1:0"), {});
  auto client = co_await loop.connect((*listener)->local(), kNever);
  auto sent = co_await (*client)->write_all("USER jsmith\r\nPASS secret\r\n", kNever);
  EXPECT_TRUE(sent.has_value());
  auto plain = co_await (*listener)->accept();
  auto context = server_context(pki, Verify::kNone, {"server"});
  auto tls = co_await TlsStream::accept(loop, *context, std::move(*plain), kNever);
  EXPECT_FALSE(tls.has_value());
  if (!tls) EXPECT_EQ(tls.error().code(), Code::kConnectionLost);
}

TYPED_TEST(TlsOnEveryLoop, AClientThatSpeaksPlainTextIsRefused) {
  this->run([&](Loop& loop, Address) { return plain_client(loop, this->pki_); });
}

Task<void> hang_up(Loop& loop, Listener& listener) {
  auto plain = co_await listener.accept();
  (void)loop;
  CANOPY_CHECK(plain.has_value());
  char buffer[100];
  auto got = co_await (*plain)->read(buffer, kNever);
  EXPECT_TRUE(got.has_value());
}

Task<void> peer_hangs_up(Loop& loop, const TestPki& pki) {
  auto listener = loop.listen(*Address::parse("tcp:127.0.0.1:0"), {});
  TaskGroup group(loop);
  group.spawn(hang_up(loop, **listener));
  auto plain = co_await loop.connect((*listener)->local(), kNever);
  auto context = client_context(pki, "ca", "");
  auto tls = co_await TlsStream::connect(loop, *context, std::move(*plain), "mail.example", kNever);
  EXPECT_FALSE(tls.has_value());
  if (!tls) EXPECT_EQ(tls.error().code(), Code::kConnectionLost);
  co_await group.join();
}

TYPED_TEST(TlsOnEveryLoop, APeerThatHangsUpInTheHandshakeIsAnError) {
  this->run([&](Loop& loop, Address) { return peer_hangs_up(loop, this->pki_); });
}

Task<void> subject_of_server(Loop& loop, const TestPki& pki, std::shared_ptr<TlsContext> server,
                             std::string& subject) {
  Ends ends;
  co_await handshake(loop, server, client_context(pki, "ca", ""), "", ends);
  EXPECT_TRUE(ends.client.has_value());
  if (ends.client) subject = (*ends.client)->peer_subject();
}

TEST(TlsContext, ReloadShowsTheNewCertificateAndKeepsTheFormerOneAfterAFailure) {
  TestPki pki;
  pki.authority("ca");
  pki.certificate("old", "ca", "DNS:a");
  pki.certificate("new", "ca", "DNS:a");
  auto copy = [&](const std::string& from) {
    std::string command = fmt::format("cp {0} {1} && cp {2} {3}", pki.file(from + ".pem"),
                                      pki.file("live.pem"), pki.file(from + ".key"), pki.file("live.key"));
    CANOPY_CHECK(std::system(command.c_str()) == 0);
  };
  copy("old");
  auto server = server_context(pki, Verify::kNone, {"live"});
  UringHost host(1);
  std::string subject;
  host.run(subject_of_server(host.loop(), pki, server, subject));
  EXPECT_EQ(subject, "CN = old");
  copy("new");
  host.run(subject_of_server(host.loop(), pki, server, subject));
  EXPECT_EQ(subject, "CN = old");  // until it is told
  EXPECT_TRUE(server->reload().has_value());
  host.run(subject_of_server(host.loop(), pki, server, subject));
  EXPECT_EQ(subject, "CN = new");
  CANOPY_CHECK(truncate(pki.file("live.key").c_str(), 10) == 0);
  EXPECT_EQ(server->reload().error().object(), pki.file("live.key"));
  host.run(subject_of_server(host.loop(), pki, server, subject));
  EXPECT_EQ(subject, "CN = new");
}

Task<void> sit_idle(Stream& stream) {
  auto ready = co_await stream.readable(kNever);
  EXPECT_TRUE(ready.has_value());
}

// Heap bytes in use, by the allocator's own account; 0 under a sanitizer's allocator.
size_t heap_bytes() {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

Task<void> measure_idle_pairs(Loop& loop, const TestPki& pki, size_t count, size_t& pair_bytes) {
  auto server = server_context(pki, Verify::kNone, {"server"});
  auto client = client_context(pki, "ca", "");
  std::vector<std::unique_ptr<TlsStream>> servers, clients;
  TaskGroup waiting(loop);
  size_t before = 0;
  for (size_t i = 0; i < count + 10; ++i) {
    if (i == 10) before = heap_bytes();  // what OpenSSL allocates once is there
    Ends ends;
    co_await handshake(loop, server, client, "mail.example", ends);
    EXPECT_TRUE(ends.server.has_value() && ends.client.has_value());
    if (!ends.server || !ends.client) co_return;
    waiting.spawn(sit_idle(**ends.server));
    waiting.spawn(sit_idle(**ends.client));
    servers.push_back(std::move(*ends.server));
    clients.push_back(std::move(*ends.client));
    co_await loop.sleep(100 * kMicrosecond);
  }
  // Before anything is said again: an alert allocates buffers.
  size_t after = heap_bytes();
  pair_bytes = after == 0 ? 0 : (after - before) / count;
  for (auto& stream : clients) stream->shutdown_write();
  for (auto& stream : servers) stream->shutdown_write();
  co_await waiting.join();
}

TEST(TlsStream, TwoEndsOfAnIdleConnectionCostLessThanTwiceThirtyKibibytes) {
  TestPki pki;
  pki.authority("ca");
  pki.certificate("server", "ca", "DNS:mail.example");
  UringHost host(1);
  size_t pair_bytes = 0;
  host.run(measure_idle_pairs(host.loop(), pki, 1000, pair_bytes));
  std::printf("an idle TLS connection: %zu bytes of heap for both of its ends\n", pair_bytes);
  EXPECT_LT(pair_bytes, 2 * 30 * 1024u);
}

TEST(TlsContext, ErrorsNameTheFileAndTheRule) {
  TestPki pki;
  pki.authority("ca");
  pki.certificate("a", "ca", "DNS:a");
  pki.certificate("b", "ca", "DNS:b");
  TlsOptions options;
  auto refusal = [&]() -> Error {
    auto made = TlsContext::create(options);
    CANOPY_CHECK(!made.has_value());
    return made.error();
  };
  EXPECT_THAT(refusal().message(), testing::HasSubstr("needs a certificate"));
  options.certificates = {{pki.file("none.pem"), pki.file("a.key")}};
  EXPECT_EQ(refusal().code(), Code::kNotFound);
  EXPECT_EQ(refusal().object(), pki.file("none.pem"));
  options.certificates = {{pki.file("a.pem"), pki.file("b.key")}};
  EXPECT_EQ(refusal().object(), pki.file("b.key"));
  options.certificates = {{pki.file("a.key"), pki.file("a.key")}};
  EXPECT_EQ(refusal().object(), pki.file("a.key"));
  EXPECT_THAT(refusal().message(), testing::HasSubstr("must hold a PEM certificate"));
  options.certificates = {{pki.file("a.pem"), pki.file("a.key")}};
  options.verify = Verify::kRequired;
  EXPECT_THAT(refusal().object(), testing::HasSubstr("CA"));
  options.ca_file = pki.file("a.key");
  EXPECT_EQ(refusal().object(), pki.file("a.key"));
  options.ca_file = pki.file("ca.pem");
  EXPECT_TRUE(TlsContext::create(options).has_value());
}

}  // namespace
}  // namespace canopy
