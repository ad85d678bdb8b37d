// STLS, STARTTLS and implicit TLS, with real handshakes.
#include <gtest/gtest.h>

#include <filesystem>

#include "daemon/runtime/tls.h"
#include "tests/proto-frontends/fake_backend.h"

namespace canopy::frontend {
namespace {

class Tls : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::filesystem::create_directories(folder());
    std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        "/CN=mx.x.org "
        "-addext subjectAltName=DNS:mx.x.org -keyout " +
        folder() + "/key.pem -out " + folder() + "/cert.pem 2>/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  static std::string folder() { return CANOPY_BINARY_DIR "/frontend_tls_test"; }

  void use(Protocol protocol) {
    t = std::make_unique<Fixture>(protocol);
    t->config.session.plaintext_auth = false;
    TlsOptions options;
    options.certificates.push_back({folder() + "/cert.pem", folder() + "/key.pem"});
    auto made = TlsContext::create(options);
    ASSERT_TRUE(made) << made.error().to_string();
    t->shared->tls = *made;
    TlsOptions client;
    client.side = TlsOptions::Side::kClient;
    client.verify = TlsOptions::Verify::kRequired;
    client.ca_file = folder() + "/cert.pem";
    client_context = *TlsContext::create(client);
    t->backend.add("ann@x.org");
  }
  std::unique_ptr<Stream> secure(std::unique_ptr<Stream> stream) {
    auto secured = t->loop->run_until_done(TlsStream::connect(*t->loop, *client_context, std::move(stream),
                                                              "mx.x.org", t->loop->now() + 10 * kSecond));
    if (!secured) ADD_FAILURE() << secured.error().to_string();
    return secured ? std::move(*secured) : nullptr;
  }
  std::string ask(Stream& stream, std::string line, std::string end) {
    return t->loop->run_until_done(send_and_read(*t->loop, stream, std::move(line), std::move(end)));
  }

  std::unique_ptr<Fixture> t;
  std::shared_ptr<TlsContext> client_context;
};

TEST_F(Tls, stls_lets_passwords_in) {
  use(Protocol::kPop3);
  auto stream = t->connect();
  EXPECT_NE(ask(*stream, "CAPA\r\n", "\r\n.\r\n").find("STLS\r\n"), std::string::npos);
  ask(*stream, "STLS\r\n", "+OK Go ahead\r\n");
  stream = secure(std::move(stream));
  ASSERT_NE(stream, nullptr);
  std::string capabilities = ask(*stream, "CAPA\r\n", "\r\n.\r\n");
  EXPECT_EQ(capabilities.find("STLS"), std::string::npos);
  EXPECT_NE(capabilities.find("SASL PLAIN"), std::string::npos);
  EXPECT_EQ(ask(*stream, "USER ann\r\nPASS secret\r\n", "messages\r\n"),
            "+OK Now the password\r\n+OK 0 messages\r\n");
  EXPECT_EQ(ask(*stream, "QUIT\r\n", {}), "+OK Bye\r\n");
}

TEST_F(Tls, what_was_said_in_the_clear_behind_stls_is_not_taken_for_something_said_under_it) {
  use(Protocol::kPop3);
  EXPECT_TRUE(
      t->talk("STLS\r\nUSER ann\r\n").ends_with("-ERR Nothing may follow STLS before the handshake\r\n"));
  use(Protocol::kLmtp);
  EXPECT_TRUE(t->talk("LHLO me\r\nSTARTTLS\r\nNOOP\r\n")
                  .ends_with("501 5.5.4 Nothing may follow STARTTLS before the handshake\r\n"));
}

TEST_F(Tls, pop3s_shakes_hands_first_also_behind_a_proxy_header_in_the_same_packet) {
  use(Protocol::kPop3s);
  auto stream = secure(t->connect());
  ASSERT_NE(stream, nullptr);
  EXPECT_TRUE(
      ask(*stream, "USER ann\r\nPASS secret\r\nQUIT\r\n", {}).ends_with("+OK 0 messages\r\n+OK Bye\r\n"));
  t->config.proxy_unix = true;
  stream = t->connect();
  ASSERT_TRUE(t->loop->run_until_done(
      stream->write_all("PROXY TCP4 192.0.2.9 10.0.0.1 4000 995\r\n", t->loop->now() + 10 * kSecond)));
  stream = secure(std::move(stream));
  ASSERT_NE(stream, nullptr);
  ask(*stream, "USER ann\r\nPASS secret\r\nQUIT\r\n", {});
  EXPECT_EQ(t->backend.last_sasl_address, "192.0.2.9");
}

TEST_F(Tls, lmtp_starttls_starts_the_conversation_over) {
  use(Protocol::kLmtp);
  auto stream = t->connect();
  EXPECT_NE(ask(*stream, "LHLO me\r\n", "ENHANCEDSTATUSCODES\r\n").find("250-STARTTLS"), std::string::npos);
  ask(*stream, "STARTTLS\r\n", "220 2.0.0 Go ahead\r\n");
  stream = secure(std::move(stream));
  ASSERT_NE(stream, nullptr);
  EXPECT_TRUE(ask(*stream, "MAIL FROM:<a@b>\r\n", "\r\n").starts_with("503"));
  ask(*stream, "LHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ann>\r\nDATA\r\n", "CRLF.CRLF\r\n");
  EXPECT_EQ(ask(*stream, "x\r\n.\r\n", "\r\n"), "250 2.1.5 Delivered\r\n");
  EXPECT_NE(t->backend.accounts["ann@x.org"].messages[1].find("with LMTPS id"), std::string::npos);
  ask(*stream, "QUIT\r\n", {});
}

TEST_F(Tls, a_client_that_does_not_speak_tls_is_dropped) {
  use(Protocol::kPop3s);
  t->talk("USER ann\r\nPASS secret\r\nQUIT\r\n");
  EXPECT_EQ(t->backend.locks_held, 0);
  EXPECT_EQ(t->loop->run_until_done(t->backend.list_inbox({"ann@x.org", ""}))->uids.size(), 0u);
}

}  // namespace
}  // namespace canopy::frontend
