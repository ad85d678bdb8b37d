#include <gtest/gtest.h>

#include "proto-frontends/lmtp/parser.h"
#include "proto-frontends/lmtp/trace.h"

namespace canopy::lmtp {
namespace {

std::string decode(std::string_view bytes, size_t piece, std::string* rest = nullptr) {
  DotDecoder decoder;
  std::string content, waiting;
  bool ended = false;
  for (size_t at = 0; at < bytes.size() && !ended; at += piece) {
    waiting += bytes.substr(at, piece);
    std::string_view input = waiting;
    ended = decoder.decode(input, content);
    waiting = input;
    if (ended && rest != nullptr)
      *rest = waiting + std::string(bytes.substr(std::min(bytes.size(), at + piece)));
  }
  return ended ? content : content + "<open>";
}

struct Row {
  std::string_view wire, content, rest;
};
// Line ends other than CR LF are what smuggling is made of: none of them may end the content.
const Row kRows[] = {
    {".\r\n", "", ""},
    {"a\r\n.\r\n", "a\r\n", ""},
    {"a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n"},
    {"..a\r\n.\r\n", ".a\r\n", ""},
    {".a\r\n.\r\n", "a\r\n", ""},
    {"a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n", ""},
    {"a\r\n.\nMAIL\r\n.\r\n", "a\r\n\r\nMAIL\r\n", ""},
    {"a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n", ""},
    {"a\r.\r\n.\r\n", "a\r.\r\n", ""},
    {"a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", ""},
    {"a\r\r\n.\r\n", "a\r\r\n", ""},
    {"a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", ""},
    {"\r\n.\r\n", "\r\n", ""},
    {"\r\r\n.\r\n", "\r\r\n", ""},
    {"a\r\n\r\n.\r\n", "a\r\n\r\n", ""},
    {"a.\r\n.\r\n", "a.\r\n", ""},
};

TEST(DotDecoder, decodes_every_row_the_same_whole_and_in_pieces_of_any_size) {
  for (const Row& row : kRows)
    for (size_t piece = 1; piece <= row.wire.size(); ++piece) {
      std::string rest;
      EXPECT_EQ(decode(row.wire, piece, &rest), row.content)
          << testing::PrintToString(row.wire) << " by " << piece;
      EXPECT_EQ(rest, row.rest);
    }
}

TEST(DotDecoder, never_ends_on_anything_but_the_exact_five_bytes) {
  for (std::string_view wire :
       {"a\n.\n", "a\r.\r", "a\n.\r\n", "a\r\n.\n", "a\r\n.\r", "a\r\n. \r\n", "a\r\n..\r\n"})
    for (size_t piece = 1; piece <= wire.size(); ++piece)
      EXPECT_TRUE(decode(wire, piece).ends_with("<open>")) << testing::PrintToString(wire);
}

std::vector<std::string> events(std::string_view bytes, size_t piece) {
  Parser parser;
  std::string content, waiting;
  std::vector<std::string> said;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    waiting += bytes.substr(at, piece);
    std::string_view input = waiting;
    for (;;) {
      Event event = parser.next(input, content);
      if (event.kind == Event::Kind::kNeedMore) break;
      if (event.kind == Event::Kind::kContent) continue;
      if (event.kind == Event::Kind::kContentEnd) {
        said.push_back("content " + content);
        content.clear();
        continue;
      }
      const Command& command = event.command;
      said.push_back(fmt::format("{} {} {} {} {}", static_cast<int>(command.verb), command.refusal,
                                 command.address, command.size, command.argument));
      if (command.verb == Verb::kData && command.refusal.empty()) parser.begin_data();
      if (command.verb == Verb::kBdat && command.refusal.empty()) parser.begin_chunk(command.size);
    }
    waiting = input;
  }
  return said;
}

TEST(LmtpParser, gives_the_same_events_whole_and_one_byte_at_a_time) {
  std::string bytes =
      "LHLO there\r\nMAIL FROM:<a@b.org> SIZE=10\r\nRCPT TO:<c@d.org>\r\nDATA\r\nhello\r\n..dot\r\n.\r\n"
      "BDAT 5\r\na\r\nb.BDAT 0 LAST\r\nbad\nline\r\n" +
      std::string(5000, 'x') + "\r\nNOOP\r\nQUIT\r\n";
  auto whole = events(bytes, bytes.size());
  ASSERT_EQ(whole.size(), 13u);
  EXPECT_EQ(whole[4], "content hello\r\n.dot\r\n");
  EXPECT_EQ(whole[6], "content a\r\nb.");
  for (size_t piece : {1, 2, 3, 7, 100, 4096}) EXPECT_EQ(events(bytes, piece), whole) << piece;
}

TEST(LmtpCommand, understands_paths_and_parameters) {
  Command mail = parse_command("mail from:<John.Doe@Example.ORG> size=1234 BODY=8bitmime SMTPUTF8");
  EXPECT_EQ(mail.verb, Verb::kMail);
  EXPECT_EQ(mail.address, "John.Doe@Example.ORG");
  EXPECT_EQ(mail.size, 1234u);
  EXPECT_EQ(mail.body, Body::k8BitMime);
  EXPECT_TRUE(mail.smtputf8);
  EXPECT_EQ(parse_command("MAIL FROM:<>").address, "");
  EXPECT_EQ(parse_command("MAIL FROM:<>").refusal, "");
  EXPECT_EQ(parse_command("RCPT TO:<@relay,@other:user@dom>").address, "user@dom");
  EXPECT_EQ(parse_command("RCPT TO:<\"with space\"@dom>").address, "with space@dom");
  EXPECT_EQ(parse_command("RCPT TO:<postmaster>").address, "postmaster");
  EXPECT_EQ(parse_command("RCPT TO:<gr\xc3\xbcn@dom>").address, "gr\xc3\xbcn@dom");
  Command bdat = parse_command("BDAT 86 LAST");
  EXPECT_EQ(bdat.size, 86u);
  EXPECT_TRUE(bdat.last);
}

TEST(LmtpCommand, refuses_what_is_not_valid_with_a_reply) {
  struct Refused {
    std::string_view line, code;
  };
  for (auto [line, code] :
       std::initializer_list<Refused>{{"MAIL FROM:a@b", "501"},
                                      {"MAIL TO:<a@b>", "501"},
                                      {"MAIL FROM:<a@b> SIZE=x", "501"},
                                      {"MAIL FROM:<a@b> SIZE=99999999999999999999", "501"},
                                      {"MAIL FROM:<a@b> FOO=1", "555"},
                                      {"MAIL FROM:<a@b>SIZE=1", "501"},
                                      {"MAIL FROM:<gr\xc3\xbcn@dom>", "553"},
                                      {"RCPT TO:<>", "501"},
                                      {"RCPT TO:<a@b@c>", "501"},
                                      {"RCPT TO:<\"a@evil\"@b>", "501"},
                                      {"RCPT TO:<a b@c>", "501"},
                                      {"RCPT TO:<a@.b>", "501"},
                                      {"RCPT TO:<\xff@b>", "553"},
                                      {"BDAT", "501"},
                                      {"BDAT -1", "501"},
                                      {"BDAT 1 FIRST", "501"},
                                      {"LHLO", "501"},
                                      {"EHLO x", "500"},
                                      {"DATA now", "501"},
                                      {"", "500"}})
    EXPECT_TRUE(parse_command(line).refusal.starts_with(code))
        << line << " -> " << parse_command(line).refusal;
}

TEST(ReceivedField, cannot_be_broken_out_of_by_what_a_client_says_about_itself) {
  TraceInfo info{
      .helo = "evil)\r\nX: y", .client = "192.0.2.1", .hostname = "mx", .recipient = "a@b", .id = "1"};
  std::string field = received_field(info);
  EXPECT_EQ(field.find("\r\nX"), field.npos);
  EXPECT_NE(field.find("from evil???X:?y ([192.0.2.1])"), field.npos);
  EXPECT_NE(field.find("\r\n\tfor <a@b>;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n"), field.npos);
}

}  // namespace
}  // namespace canopy::lmtp
