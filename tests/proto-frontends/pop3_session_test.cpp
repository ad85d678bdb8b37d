#include <gtest/gtest.h>

#include "daemon/base/base64.h"
#include "tests/proto-frontends/fake_backend.h"

namespace canopy::frontend {
namespace {

const std::string kLogin = "USER ann\r\nPASS secret\r\n";

class Pop3 : public testing::Test {
 protected:
  Pop3() {
    auto& ann = t.backend.add("ann@x.org");
    FakeBackend::put(ann, "Subject: 1\r\n\r\nhello\r\n.dot\r\n");
    FakeBackend::put(ann, "Subject: 2\r\n\r\nline 1\r\nline 2\r\nline 3");
    FakeBackend::put(ann, "Subject: 3\r\n\r\nbare\nlf\n.\nx\r\n");
  }
  FakeBackend::Account& ann() { return t.backend.accounts["ann@x.org"]; }
  Fixture t{Protocol::kPop3};
};

TEST_F(Pop3, answers_a_whole_session_the_same_whole_and_one_byte_at_a_time) {
  std::string script = kLogin + "STAT\r\nLIST\r\nLIST 2\r\nUIDL\r\nUIDL 3\r\nRETR 1\r\nNOOP\r\nQUIT\r\n";
  std::string said = t.talk(script);
  EXPECT_EQ(said,
            "+OK mx.x.org Canopy POP3\r\n+OK Now the password\r\n+OK 3 messages\r\n+OK 3 90\r\n"
            "+OK 3 messages (90 octets)\r\n1 27\r\n2 36\r\n3 27\r\n.\r\n"
            "+OK 2 36\r\n+OK\r\n1 7.1\r\n2 7.2\r\n3 7.3\r\n.\r\n+OK 3 7.3\r\n"
            "+OK 27 octets\r\nSubject: 1\r\n\r\nhello\r\n..dot\r\n.\r\n+OK\r\n+OK Bye\r\n");
  for (size_t piece : {1, 2, 7}) EXPECT_EQ(t.talk(script, piece), said) << piece;
  EXPECT_EQ(t.talk("user ann\nPASS secret\nstat\nquit\n").substr(0, 24), said.substr(0, 24))
      << "LF alone ends a line";
  EXPECT_EQ(t.backend.locks_held, 0);
}

TEST_F(Pop3, ends_every_message_with_a_whole_line_and_stuffs_what_a_client_could_take_for_the_end) {
  std::string said = t.talk(kLogin + "RETR 2\r\nRETR 3\r\nQUIT\r\n");
  EXPECT_NE(said.find("line 3\r\n.\r\n"), said.npos);
  EXPECT_NE(said.find("Subject: 3\r\n\r\nbare\r\nlf\r\n..\r\nx\r\n.\r\n"), said.npos) << said;
  EXPECT_EQ(t.backend.fetches, 1) << "pipelined RETRs are fetched together";
}

TEST_F(Pop3, reads_ahead_for_a_client_that_goes_through_the_list_without_pipelining) {
  auto client = t.connect();
  auto ask = [&](std::string line, std::string end) {
    return t.loop->run_until_done(send_and_read(*t.loop, *client, std::move(line), std::move(end)));
  };
  ask("", "POP3\r\n");
  ask(kLogin, "3 messages\r\n");
  for (int i = 1; i <= 3; ++i)
    EXPECT_TRUE(ask(fmt::format("RETR {}\r\n", i), "\r\n.\r\n").starts_with("+OK"));
  EXPECT_EQ(t.backend.fetches, 1);
  ask("QUIT\r\n", "Bye\r\n");
}

TEST_F(Pop3, top_sends_the_header_and_as_many_lines_as_were_asked_for) {
  std::string said = t.talk(kLogin + "TOP 2 0\r\nTOP 2 2\r\nTOP 2 99\r\nQUIT\r\n");
  EXPECT_NE(said.find("+OK Top follows\r\nSubject: 2\r\n\r\n.\r\n+OK Top follows\r\nSubject: 2\r\n\r\nline "
                      "1\r\nline 2\r\n.\r\n"
                      "+OK Top follows\r\nSubject: 2\r\n\r\nline 1\r\nline 2\r\nline 3\r\n.\r\n"),
            said.npos)
      << said;
}

TEST_F(Pop3, removes_at_quit_what_was_marked_and_nothing_without_quit) {
  std::string said = t.talk(kLogin + "DELE 1\r\nDELE 1\r\nRETR 1\r\nSTAT\r\nRSET\r\nSTAT\r\nDELE 2\r\n");
  EXPECT_NE(said.find("+OK Marked as deleted\r\n-ERR No such message\r\n-ERR No such message\r\n+OK 2 "
                      "63\r\n+OK\r\n+OK 3 90\r\n"),
            said.npos)
      << said;
  EXPECT_EQ(ann().messages.size(), 3u);
  said = t.talk(kLogin + "DELE 2\r\nUIDL\r\nQUIT\r\n");
  EXPECT_NE(said.find("+OK\r\n1 7.1\r\n3 7.3\r\n.\r\n+OK Bye\r\n"), said.npos) << said;
  EXPECT_FALSE(ann().messages.contains(2));
  EXPECT_EQ(t.backend.locks_held, 0);
}

TEST_F(Pop3, says_so_when_deletions_fail) {
  t.backend.expunge_fails.emplace(Code::kStoreUnavailable, "store", "down");
  EXPECT_TRUE(t.talk(kLogin + "DELE 1\r\nQUIT\r\n")
                  .ends_with("-ERR [SYS/TEMP] Some deleted messages were not removed\r\n"));
  EXPECT_EQ(t.backend.locks_held, 0);
}

TEST_F(Pop3, a_temporary_state_is_never_an_empty_maildrop_or_a_wrong_password) {
  t.backend.list_fails.emplace(Code::kStoreUnavailable, "store", "down");
  std::string said = t.talk(kLogin + "STAT\r\nQUIT\r\n");
  EXPECT_NE(said.find("-ERR [SYS/TEMP]"), said.npos);
  EXPECT_NE(said.find("-ERR Log in first"), said.npos) << said;
  EXPECT_EQ(t.backend.locks_held, 0) << "the lock is given back";
  for (Code code :
       {Code::kConnectionLost, Code::kDeadlineExceeded, Code::kInternal, Code::kTryAgain, Code::kSuspended}) {
    t.backend.down.emplace(code, "backend", "down");
    said = t.talk(kLogin + "QUIT\r\n");
    EXPECT_EQ(count_of(said, "-ERR [SYS/TEMP]"), 1u) << said;
  }
}

TEST_F(Pop3, one_session_has_the_maildrop) {
  auto first = t.connect();
  t.loop->run_until_done(send_and_read(*t.loop, *first, kLogin, "messages\r\n"));
  EXPECT_EQ(count_of(t.talk(kLogin + "QUIT\r\n"), "-ERR [IN-USE]"), 1u);
  t.loop->run_until_done(send_and_read(*t.loop, *first, "QUIT\r\n", "Bye\r\n"));
  EXPECT_EQ(count_of(t.talk(kLogin + "QUIT\r\n"), "+OK 3 messages"), 1u);
}

TEST_F(Pop3, gives_the_maildrop_back_when_the_client_just_goes) {
  t.talk(kLogin);
  EXPECT_EQ(t.backend.locks_held, 0);
}

TEST_F(Pop3, refuses_wrong_passwords_and_ends_after_a_few) {
  std::string script;
  for (int i = 0; i < 6; ++i) script += "USER ann\r\nPASS wrong\r\n";
  std::string said = t.talk(script);
  EXPECT_EQ(count_of(said, "-ERR [AUTH] "), pop3::kFailedLoginsMax) << said;
  EXPECT_EQ(
      count_of(t.talk("USER nobody\r\nPASS secret\r\nQUIT\r\n"), "-ERR [AUTH] Name or password is wrong"),
      1u);
}

TEST_F(Pop3, takes_no_password_in_the_clear_unless_told_to) {
  t.config.session.plaintext_auth = false;
  std::string said = t.talk("CAPA\r\nUSER ann\r\nPASS secret\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\nQUIT\r\n");
  EXPECT_EQ(count_of(said, "-ERR Passwords are only taken under TLS"), 3u) << said;
  EXPECT_EQ(count_of(said, "USER\r\n") + count_of(said, "SASL"), 1u) << "only UTF8 USER: " << said;
}

TEST_F(Pop3, authenticates_with_plain_in_one_and_in_two_steps) {
  std::string plain = base64_encode(std::string("\0ann@x.org\0secret", 17));
  EXPECT_EQ(count_of(t.talk("AUTH PLAIN " + plain + "\r\nQUIT\r\n"), "+OK 3 messages\r\n"), 1u);
  std::string said = t.talk("AUTH plain\r\n" + plain + "\r\nQUIT\r\n");
  EXPECT_NE(said.find("POP3\r\n+ \r\n+OK 3 messages\r\n"), said.npos) << said;
  said = t.talk("AUTH PLAIN\r\n*\r\nAUTH PLAIN not-base64\r\nAUTH FOO\r\nAUTH\r\nQUIT\r\n");
  EXPECT_NE(
      said.find(
          "-ERR Given up\r\n-ERR Not base64\r\n-ERR Mechanism not known\r\n+OK Mechanisms follow\r\nPLAIN\r\n"
          "SCRAM-SHA-256\r\n.\r\n"),
      said.npos)
      << said;
}

TEST_F(Pop3, relays_the_rounds_of_scram) {
  std::string said = t.talk("AUTH SCRAM-SHA-256 " + base64_encode("n,,n=ann") + "\r\n" +
                            base64_encode("proof") + "\r\n\r\nQUIT\r\n");
  EXPECT_NE(said.find("+ " + base64_encode("server-first:n,,n=ann") + "\r\n+ " +
                      base64_encode("v=signature") + "\r\n+OK 3 messages\r\n"),
            said.npos)
      << said;
}

TEST_F(Pop3, streams_a_large_message_and_never_ends_one_that_it_could_not_read) {
  std::string large = "Subject: L\r\n\r\n";
  while (large.size() < (3u << 20)) large += ".line with a dot\r\n";
  FakeBackend::put(ann(), large);
  std::string said = t.talk(kLogin + "RETR 4\r\nTOP 4 1\r\nQUIT\r\n");
  EXPECT_EQ(count_of(said, "\r\n..line with a dot"), (large.size() - 14) / 18 + 1);
  EXPECT_TRUE(said.ends_with("+OK Top follows\r\nSubject: L\r\n\r\n..line with a dot\r\n.\r\n+OK Bye\r\n"));
  t.backend.fetch_fails_at = 1 << 20;
  said = t.talk(kLogin + "RETR 4\r\nQUIT\r\n");
  EXPECT_TRUE(said.find("\r\n.\r\n") == said.npos);
  EXPECT_FALSE(said.ends_with("Bye\r\n"));
  t.backend.fetch_fails_at = 0;
  EXPECT_NE(t.talk(kLogin + "RETR 4\r\nQUIT\r\n").find("-ERR [SYS/TEMP]"), std::string::npos);
}

TEST_F(Pop3, tells_when_a_message_has_gone_meanwhile) {
  auto client = t.connect();
  t.loop->run_until_done(send_and_read(*t.loop, *client, kLogin, "messages\r\n"));
  ann().messages.erase(1);
  EXPECT_EQ(t.loop->run_until_done(send_and_read(*t.loop, *client, "RETR 1\r\n", "\r\n")),
            "-ERR The message is no longer there\r\n");
  EXPECT_TRUE(
      t.loop->run_until_done(send_and_read(*t.loop, *client, "RETR 2\r\n", ".\r\n")).starts_with("+OK 36"));
  t.loop->run_until_done(send_and_read(*t.loop, *client, "QUIT\r\n", "Bye\r\n"));
}

TEST_F(Pop3, announces_its_capabilities_and_languages) {
  std::string said = t.talk("CAPA\r\nLANG\r\nLANG en\r\nLANG xx\r\nUTF8\r\nQUIT\r\n");
  for (std::string_view line :
       {"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "USER",
        "SASL PLAIN SCRAM-SHA-256", "UTF8 USER", "LANG", "IMPLEMENTATION Canopy"})
    EXPECT_EQ(count_of(said, fmt::format("\r\n{}\r\n", line)), 1u) << line;
  EXPECT_NE(said.find("+OK en Texts are in English\r\n-ERR There are no texts in that language\r\n+OK UTF-8"),
            said.npos);
}

TEST_F(Pop3, refuses_bad_numbers_and_long_lines) {
  std::string said =
      t.talk(kLogin + "RETR 0\r\nRETR 4\r\nRETR -1\r\nRETR 99999999999\r\nTOP 1\r\nRETR\r\nFOO\r\n" +
             std::string(1000, 'x') + "\r\nQUIT\r\n");
  EXPECT_EQ(count_of(said, "-ERR "), 8u) << said;
}

TEST_F(Pop3, says_goodbye_to_idle_clients_when_it_shuts_down_and_gives_their_maildrops_back) {
  auto client = t.connect();
  t.loop->run_until_done(send_and_read(*t.loop, *client, kLogin, "messages\r\n"));
  t.loop->run_until_done(t.server->stop(t.loop->now() + 5 * kSecond));
  EXPECT_EQ(t.loop->run_until_done(read_until(*t.loop, *client, {})),
            "-ERR [SYS/TEMP] Shutting down, please come again\r\n");
  EXPECT_EQ(t.backend.locks_held, 0);
}

}  // namespace
}  // namespace canopy::frontend
