#include <gtest/gtest.h>

#include "tests/proto-frontends/fake_backend.h"

namespace canopy::frontend {
namespace {

const std::string kHello = "LHLO me\r\n";
const std::string kAnn = "MAIL FROM:<s@y.org>\r\nRCPT TO:<ann@x.org>\r\n";

class Lmtp : public testing::Test {
 protected:
  Lmtp() {
    t.backend.add("ann@x.org");
    t.backend.add("bob@x.org");
  }
  std::string inbox(const std::string& name, uint32_t uid = 1) {
    return t.backend.accounts[name].messages[uid];
  }
  Fixture t{Protocol::kLmtp};
};

TEST_F(Lmtp, delivers_a_pipelined_message_whole_and_one_byte_at_a_time) {
  for (size_t piece : {0, 1, 3}) {
    std::string said = t.talk(kHello + kAnn + "DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n", piece);
    EXPECT_EQ(count_of(said, "250 2.1.5 Delivered\r\n"), 1u) << said;
    EXPECT_TRUE(said.ends_with("221 2.0.0 Bye\r\n"));
  }
  EXPECT_EQ(t.backend.accounts["ann@x.org"].messages.size(), 3u);
  EXPECT_TRUE(inbox("ann@x.org").starts_with("Received: from me"));
  EXPECT_TRUE(inbox("ann@x.org").ends_with("+0000\r\nSubject: x\r\n\r\n.dot\r\n"));
  EXPECT_EQ(t.backend.return_path, "s@y.org");
}

TEST_F(Lmtp, announces_what_it_can) {
  std::string said = t.talk(kHello + "QUIT\r\n");
  for (std::string_view keyword : {"PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME",
                                   "SIZE 8388608", "ENHANCEDSTATUSCODES"})
    EXPECT_NE(said.find(keyword), said.npos) << keyword;
  EXPECT_EQ(said.find("STARTTLS"), said.npos);
}

TEST_F(Lmtp, answers_each_recipient_by_itself_and_resolves_a_pipelined_group_at_once) {
  t.backend.refusals.emplace("bob@x.org", Error(Code::kQuotaExceeded, "bob", "full"));
  t.cache.insert("bob@x.org", t.loop->now());  // it was not over its quota a moment ago
  t.backend.refusals.emplace("sue@x.org", Error(Code::kSuspended, "sue", "suspended"));
  std::string said =
      t.talk(kHello +
             "MAIL FROM:<>\r\nRCPT TO:<ann@x.org>\r\nRCPT TO:<none@x.org>\r\nRCPT TO:<sue@x.org>\r\n"
             "RCPT TO:bad\r\nRCPT TO:<bob>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n");
  EXPECT_NE(
      said.find(
          "250 2.1.0 OK\r\n250 2.1.5 OK\r\n550 5.1.1 No such user here\r\n450 4.2.1 The account is not in "
          "use "
          "at the moment\r\n501 5.1.3 Not an address in <>\r\n250 2.1.5 OK\r\n354 End with CRLF.CRLF\r\n"
          "250 2.1.5 Delivered\r\n452 4.2.2 Over quota\r\n221"),
      said.npos)
      << said;
  EXPECT_EQ(t.backend.resolves, 1);
  EXPECT_EQ(t.backend.delivers, 1);
  EXPECT_NE(t.backend.request_ids.at(0), t.backend.request_ids.at(1));
  EXPECT_EQ(t.backend.request_ids.at(0).size(), 16u);
}

TEST_F(Lmtp, does_not_resolve_again_what_was_resolved_a_moment_ago_but_lets_the_delivery_decide) {
  t.talk(kHello + kAnn + "DATA\r\nx\r\n.\r\nQUIT\r\n");
  t.backend.accounts.erase("ann@x.org");
  std::string said = t.talk(kHello + kAnn + "DATA\r\nx\r\n.\r\nQUIT\r\n");
  EXPECT_EQ(t.backend.resolves, 1);
  EXPECT_NE(said.find("550 5.1.1 No such user here\r\n221"), said.npos) << said;
  said = t.talk(kHello + kAnn + "QUIT\r\n");
  EXPECT_EQ(t.backend.resolves, 2) << "a refused delivery forgets the address";
}

TEST_F(Lmtp, a_backend_that_is_down_is_never_a_5xx) {
  for (Code code : {Code::kConnectionLost, Code::kNotFound, Code::kInternal, Code::kInvalidArgument}) {
    t.backend.down.emplace(code, "backend", "down");
    std::string said = t.talk(kHello + kAnn + "QUIT\r\n");
    EXPECT_NE(said.find("451 4.3.0"), said.npos) << said;
    t.cache.insert("ann@x.org", t.loop->now());
    said = t.talk(kHello + kAnn + "DATA\r\nx\r\n.\r\nQUIT\r\n");
    EXPECT_NE(said.find("354 End with CRLF.CRLF\r\n451 4.3.0"), said.npos) << said;
    t.cache.erase("ann@x.org");
  }
}

TEST_F(Lmtp, temporary_states_of_one_recipient_are_4xx) {
  for (Code code :
       {Code::kStoreUnavailable, Code::kStoreFull, Code::kTryAgain, Code::kWrongBackend, Code::kFenced,
        Code::kInternal, Code::kDamaged, Code::kBusy, Code::kIo, Code::kPermissionDenied}) {
    t.backend.refusals.clear();
    t.backend.refusals.emplace("ann@x.org", Error(code, "ann", "x"));
    std::string said = t.talk(kHello + kAnn + "QUIT\r\n");
    EXPECT_EQ(count_of(said, "\r\n4"), 1u) << said;
    EXPECT_EQ(count_of(said, "\r\n55"), 0u) << said;
  }
}

TEST_F(Lmtp, takes_chunks_with_any_bytes_in_them) {
  std::string said =
      t.talk(kHello +
                 "MAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<ann@x.org>\r\nRCPT TO:<bob@x.org>\r\n"
                 "BDAT 5\r\n\n.\r\n\rBDAT 3 LAST\r\nxyzQUIT\r\n",
             1);
  EXPECT_NE(said.find("250 2.0.0 Chunk taken\r\n250 2.1.5 Delivered\r\n250 2.1.5 Delivered\r\n221"),
            said.npos)
      << said;
  EXPECT_TRUE(inbox("bob@x.org").ends_with("+0000\r\n\n.\r\n\rxyz"));
}

TEST_F(Lmtp, an_empty_last_chunk_ends_the_message) {
  std::string said = t.talk(kHello + kAnn + "BDAT 2\r\nhiBDAT 0 LAST\r\nQUIT\r\n");
  EXPECT_NE(said.find("Chunk taken\r\n250 2.1.5 Delivered\r\n"), said.npos) << said;
}

TEST_F(Lmtp, a_chunk_without_recipients_is_read_and_refused) {
  std::string said =
      t.talk(kHello + "MAIL FROM:<a@b>\r\nRCPT TO:<none@x.org>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\nQUIT\r\n");
  EXPECT_NE(said.find("503 5.5.1 No valid recipients\r\n250 2.0.0 OK\r\n221"), said.npos) << said;
}

TEST_F(Lmtp, smuggled_ends_do_not_start_a_second_message) {
  std::string evil = "MAIL FROM:<evil@y>\r\nRCPT TO:<bob@x.org>\r\nDATA\r\nfake\r\n";
  for (std::string_view end : {"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r"}) {
    std::string said = t.talk(kHello + kAnn + "DATA\r\nx" + std::string(end) + evil + ".\r\nQUIT\r\n");
    EXPECT_EQ(count_of(said, "Delivered"), 1u) << said;
  }
  EXPECT_EQ(t.backend.accounts["bob@x.org"].messages.size(), 0u);
}

TEST_F(Lmtp, refuses_a_message_over_the_limit_by_its_announcement_and_by_its_bytes) {
  t.config.session.message_bytes_max = 1000;
  std::string said = t.talk(kHello + "MAIL FROM:<a@b> SIZE=1001\r\nQUIT\r\n");
  EXPECT_NE(said.find("552 5.3.4"), said.npos);
  said = t.talk(kHello + kAnn + "RCPT TO:<bob@x.org>\r\nDATA\r\n" + std::string(1001, 'x') +
                "\r\n.\r\nNOOP\r\nQUIT\r\n");
  EXPECT_EQ(count_of(said, "552 5.3.4"), 2u) << said;
  EXPECT_NE(said.find("250 2.0.0 OK\r\n221"), said.npos) << said;
  said = t.talk(kHello + kAnn + "BDAT 1001\r\n" + std::string(1001, 'x') +
                "BDAT 1 LAST\r\nxRSET\r\nNOOP\r\nQUIT\r\n");
  EXPECT_EQ(count_of(said, "552 5.3.4"), 2u) << said;
  EXPECT_EQ(t.backend.delivers, 0);
}

TEST_F(Lmtp, streams_a_large_message_in_chunks) {
  std::string body;
  for (int i = 0; body.size() < (5u << 20); ++i)
    body += fmt::format("{} line of some length, with text\r\n", i);
  std::string said = t.talk(kHello + kAnn + "DATA\r\n" + body + ".\r\nQUIT\r\n");
  EXPECT_EQ(count_of(said, "Delivered"), 1u) << said;
  EXPECT_EQ(t.backend.uploads, 1);
  EXPECT_TRUE(inbox("ann@x.org").ends_with("+0000\r\n" + body));
  EXPECT_TRUE(t.backend.dropped.empty());
}

TEST_F(Lmtp, gives_an_upload_up_when_the_message_turns_out_too_large_or_the_client_goes) {
  t.config.session.message_bytes_max = 2 << 20;
  std::string said = t.talk(kHello + kAnn + "DATA\r\n" + std::string(3 << 20, 'x') + "\r\n.\r\nQUIT\r\n");
  EXPECT_NE(said.find("354 End with CRLF.CRLF\r\n552"), said.npos);
  EXPECT_EQ(t.backend.dropped.size(), 1u);
  EXPECT_TRUE(t.backend.upload_data.empty());
}

TEST_F(Lmtp, takes_a_hundred_recipients_and_asks_to_come_back_for_more) {
  t.config.session.recipients_max = 100;
  std::string script = kHello + "MAIL FROM:<a@b>\r\n";
  for (int i = 0; i < 102; ++i) {
    t.backend.add(fmt::format("u{}@x.org", i));
    script += fmt::format("RCPT TO:<u{}@x.org>\r\n", i);
  }
  std::string said = t.talk(script + "DATA\r\nx\r\n.\r\nQUIT\r\n");
  EXPECT_EQ(count_of(said, "250 2.1.5 OK"), 100u);
  EXPECT_EQ(count_of(said, "452 4.5.3"), 2u);
  EXPECT_EQ(count_of(said, "Delivered"), 100u);
  EXPECT_EQ(t.backend.resolves, 1);
}

TEST_F(Lmtp, keeps_the_order_of_commands) {
  std::string said = t.talk(
      "MAIL FROM:<a@b>\r\nLHLO me\r\nRCPT TO:<ann@x.org>\r\nDATA\r\nMAIL FROM:<a@b>\r\n"
      "MAIL FROM:<a@b>\r\nDATA\r\nRSET\r\nRCPT TO:<ann@x.org>\r\nVRFY ann\r\nQUIT\r\n");
  EXPECT_EQ(count_of(said, "503 5.5.1"), 6u) << said;
}

TEST_F(Lmtp, ends_with_whoever_only_talks_nonsense) {
  std::string script;
  for (int i = 0; i < 200; ++i) script += "nonsense\r\n";
  EXPECT_EQ(count_of(t.talk(script), "500 "), lmtp::kBadCommandsMax);
}

TEST_F(Lmtp, says_421_to_a_silent_client) {
  t.config.session.idle = 300 * kMillisecond;
  t.half_close = false;
  EXPECT_TRUE(t.talk(kHello).ends_with("421 4.4.2 Nothing was said for too long\r\n"));
}

Task<std::string> read_rest(Loop& loop, Stream& stream) { co_return co_await read_until(loop, stream, {}); }

TEST_F(Lmtp, says_421_to_idle_clients_when_it_shuts_down) {
  auto client = t.connect();
  t.loop->run_until_done(send_and_read(*t.loop, *client, kHello, "ENHANCEDSTATUSCODES\r\n"));
  t.loop->run_until_done(t.server->stop(t.loop->now() + 5 * kSecond));
  EXPECT_EQ(t.loop->run_until_done(read_rest(*t.loop, *client)),
            "421 4.3.2 Shutting down, please come again\r\n");
}

TEST_F(Lmtp, turns_away_what_is_over_the_connection_limit) {
  t.config.connections_max = 1;
  t.shared = std::make_unique<ListenerShared>(t.config);
  auto first = t.connect();
  t.loop->run_until_done(read_until(*t.loop, *first, "\r\n"));
  EXPECT_EQ(t.talk(""), "421 4.3.2 Too many connections\r\n");
}

TEST_F(Lmtp, believes_a_proxy_header_from_a_trusted_peer_and_demands_one) {
  t.config.proxy_unix = true;
  t.talk("PROXY TCP4 192.0.2.9 10.0.0.1 4000 24\r\n" + kHello + kAnn + "DATA\r\nx\r\n.\r\nQUIT\r\n");
  EXPECT_NE(inbox("ann@x.org").find("from me ([192.0.2.9])"), std::string::npos) << inbox("ann@x.org");
  EXPECT_EQ(t.talk(kHello), "");
}

}  // namespace
}  // namespace canopy::frontend
