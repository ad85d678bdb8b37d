// One LMTP command line as a value (RFC 2033 on top of RFC 5321). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace canopy::lmtp {

enum class Verb {
  kLhlo,
  kMail,
  kRcpt,
  kData,
  kBdat,
  kRset,
  kNoop,
  kVrfy,
  kQuit,
  kStartTls,
  kSmtpHello,
  kUnknown
};

enum class Body { k7Bit, k8BitMime, kBinaryMime };

struct Command {
  Verb verb = Verb::kUnknown;
  std::string_view refusal;  // not empty: the whole reply, without its line end; the rest is not set then
  std::string argument;      // LHLO's name
  std::string address;       // MAIL, RCPT: "local@domain"; empty is the null reverse-path
  uint64_t size = 0;         // MAIL SIZE=, BDAT's number of bytes
  bool last = false;         // BDAT LAST
  Body body = Body::k7Bit;
  bool smtputf8 = false;
};

// `line`: without its end. A command that is no valid one carries its refusal.
Command parse_command(std::string_view line);

}  // namespace canopy::lmtp
