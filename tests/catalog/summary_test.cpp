// What a summary says of a message: the examples of the RFCs, exact sizes, and messages that mean harm.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/catalog/message_summary.h"

namespace canopy {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

// Lines without their ends become lines that end in CRLF.
std::string crlf(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\n') out.push_back('\r');
    out.push_back(c);
  }
  return out;
}

MessageSummary summarize(std::string_view message, size_t piece = 1u << 20) {
  Summarizer summarizer;
  for (size_t at = 0; at < message.size(); at += piece) summarizer.feed(message.substr(at, piece));
  return summarizer.finish();
}

// RFC 9051 section 7.5.2, "envelope": the message of its example.
TEST(Summary, HoldsTheEnvelope) {
  MessageSummary summary = summarize(crlf(R"(Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
From: Terry Gray <gray@cac.washington.edu>
Subject: IMAP4rev2 WG mtg
  summary and minutes
To: imap@cac.washington.edu
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
Message-Id: <B27397-0100000@cac.washington.edu>
In-Reply-To: <one@example.org>

text
)"));
  EXPECT_EQ(summary.date, "Wed, 17 Jul 1996 02:23:25 -0700 (PDT)");
  EXPECT_EQ(summary.subject, "IMAP4rev2 WG mtg summary and minutes");
  MailAddress gray{"Terry Gray", "gray", "cac.washington.edu"};
  EXPECT_THAT(summary.from, ElementsAre(gray));
  EXPECT_THAT(summary.sender, ElementsAre(gray));
  EXPECT_THAT(summary.reply_to, ElementsAre(gray));
  EXPECT_THAT(summary.to, ElementsAre(MailAddress{"", "imap", "cac.washington.edu"}));
  EXPECT_THAT(summary.cc, ElementsAre(MailAddress{"", "minutes", "CNRI.Reston.VA.US"},
                                      MailAddress{"John Klensin", "KLENSIN", "MIT.EDU"}));
  EXPECT_TRUE(summary.bcc.empty());
  EXPECT_EQ(summary.message_id, "<B27397-0100000@cac.washington.edu>");
  EXPECT_EQ(summary.in_reply_to, "<one@example.org>");
  EXPECT_EQ(summary.structure,
            R"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 1 NIL NIL NIL NIL))");
}

TEST(Summary, DecodesWords) {
  MessageSummary summary = summarize(crlf(R"(Subject: =?ISO-8859-1?Q?Gr=FC=DFe?= =?UTF-8?B?IGF1cyBLw7Zsbg==?=
From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>
To: Undisclosed: a@example.org, "B, b" <b@example.org>;, c@example.org

)"));
  EXPECT_EQ(summary.subject, "Grüße aus Köln");
  EXPECT_THAT(summary.from, ElementsAre(MailAddress{"Jürgen", "j", "example.org"}));
  EXPECT_THAT(summary.to, ElementsAre(MailAddress{"", "Undisclosed", ""}, MailAddress{"", "a", "example.org"},
                                      MailAddress{"B, b", "b", "example.org"}, MailAddress{},
                                      MailAddress{"", "c", "example.org"}));
}

const char* const kNested = R"(From: a@example.org
Subject: outer
Content-Type: multipart/mixed; boundary="out"

preamble
--out
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

one
two
--out
Content-Type: multipart/alternative; boundary=out-in

--out-in

plain
--out-in
Content-Type: text/html
Content-ID: <part@example.org>
Content-Description: =?utf-8?q?h=C3=BCbsch?=

<p>
--out-in--
--out
Content-Type: message/rfc822
Content-Disposition: attachment; filename="a \"b\".eml"; size=3

Subject: inner
From: b@example.org

hello
--out
Content-Type: image/png; name*=utf-8''%e2%82%ac.png
Content-Transfer-Encoding: base64
Content-Language: en, de

QUJD
--out--
epilogue
)";

TEST(Summary, PrintsTheStructureWithExactSizes) {
  std::string expected =
      R"((("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 8 1 NIL NIL NIL NIL))"
      R"((("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 0 NIL NIL NIL NIL))"
      R"(("text" "html" NIL "<part@example.org>" "hübsch" "7bit" 3 0 NIL NIL NIL NIL))"
      R"( "alternative" ("boundary" "out-in") NIL NIL NIL))"
      R"(("message" "rfc822" NIL NIL NIL "7bit" 44)"
      R"( (NIL "inner" ((NIL NIL "b" "example.org")) ((NIL NIL "b" "example.org")))"
      R"( ((NIL NIL "b" "example.org")))"
      R"( NIL NIL NIL NIL NIL))"
      R"( ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 0 NIL NIL NIL NIL) 3 NIL)"
      R"( ("attachment" ("filename" "a \"b\".eml" "size" "3")) NIL NIL))"
      R"(("image" "png" ("name" "€.png") NIL NIL "base64" 4 NIL NIL ("en" "de") NIL))"
      R"( "mixed" ("boundary" "out") NIL NIL NIL))";
  EXPECT_EQ(summarize(crlf(kNested)).structure, expected);
}

TEST(Summary, DoesNotDependOnHowTheMessageIsCut) {
  std::string message = crlf(kNested);
  MessageSummary whole = summarize(message);
  for (size_t piece = 1; piece < 40; ++piece) EXPECT_EQ(summarize(message, piece), whole) << piece;
}

TEST(Summary, TakesBareLineFeedsAsLineEnds) {
  std::string structure =
      summarize("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n").structure;
  EXPECT_EQ(structure, R"((("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 0 NIL NIL NIL NIL))"
                       R"( "mixed" ("boundary" "b") NIL NIL NIL))");
}

TEST(Summary, AMessageThatEndsAnywhereHasAStructure) {
  std::string message = crlf(kNested);
  for (size_t size = 0; size < message.size(); ++size) {
    EXPECT_THAT(summarize(message.substr(0, size)).structure, StartsWith("(")) << size;
  }
}

TEST(Summary, ADigestHoldsMessages) {
  std::string structure =
      summarize(crlf("Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\ny\n--b--\n"))
          .structure;
  EXPECT_THAT(structure, StartsWith(R"((("message" "rfc822" NIL NIL NIL "7bit" 15 (NIL "x" )"));
}

TEST(Summary, AMultipartWithoutPartsHasAnEmptyOne) {
  EXPECT_EQ(summarize(crlf("Content-Type: multipart/mixed; boundary=b\n\nnothing\n")).structure,
            R"((("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL))"
            R"( "mixed" ("boundary" "b") NIL NIL NIL))");
}

TEST(Summary, WhatNestsTooDeeplyIsOpaque) {
  std::string message, expected_inner = R"("application" "octet-stream")";
  for (int i = 0; i < 5000; ++i)
    message += fmt::format("Content-Type: multipart/mixed; boundary=b{0}\r\n\r\n--b{0}\r\n", i);
  std::string structure = summarize(message).structure;
  EXPECT_NE(structure.find(expected_inner), std::string::npos);
  EXPECT_EQ(std::ranges::count(structure.substr(0, structure.find('"')), '('),
            static_cast<long>(kMimeDepthMax));
  std::string messages;
  for (int i = 0; i < 5000; ++i) messages += "Content-Type: message/rfc822\r\n\r\n";
  EXPECT_NE(summarize(messages).structure.find(expected_inner), std::string::npos);
}

TEST(Summary, IsBoundedHoweverLargeTheHeader) {
  std::string many = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
  for (int i = 0; i < 20'000; ++i)
    many += "--b\r\nContent-Type: text/x; name=" + std::string(200, 'n') + "\r\n\r\n\r\n";
  EXPECT_LT(summarize(many).structure.size(), 2 * kMimeFieldBytesMax);
  std::string addresses = "To: ";
  for (int i = 0; i < 100'000; ++i) addresses += "a@b,";
  EXPECT_LE(summarize(addresses + "\r\n\r\n").to.size(), kMimeAddressesMax);
  for (char opening : {'(', '<', '"', ':', '[', '='}) {
    std::string deep = "From: a" + std::string(1u << 20, opening) + "\r\nContent-Type: a/b;" +
                       std::string(1u << 20, opening);
    EXPECT_LT(summarize(deep).structure.size(), 2 * kMimeFieldBytesMax) << opening;
  }
  std::string groups = "From: ";
  for (int i = 0; i < 100'000; ++i) groups += "a:";
  EXPECT_LE(summarize(groups).from.size(), kMimeAddressesMax);
}

TEST(Summary, NoControlCharacterReachesAString) {
  std::string bad =
      "Subject: a\x01"
      "b =?utf-8?q?=0D=0Ac=00d?= \xff\r\nContent-Type: text/plain; name=\"\x02\r\n \x03\"\r\n\r\n";
  MessageSummary summary = summarize(bad);
  for (char c : summary.subject + summary.structure) EXPECT_GE(static_cast<unsigned char>(c), ' ');
  EXPECT_THAT(summary.subject, StartsWith("a b c"));
}

TEST(Summary, IsReadBackFromItsBytes) {
  MessageSummary summary = summarize(crlf(kNested));
  std::string bytes = summary.encode();
  EXPECT_EQ(MessageSummary::decode(bytes), summary);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(MessageSummary::decode(bytes.substr(0, size))) << size;
  EXPECT_FALSE(MessageSummary::decode(bytes + "x"));
}

}  // namespace
}  // namespace canopy
