// One POP3 command line as a value (RFC 1939, 2449, 2595, 5034, 6856). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace canopy::pop3 {

enum class Verb {
  kUser,
  kPass,
  kAuth,
  kCapa,
  kStls,
  kUtf8,
  kLang,
  kQuit,  // AUTHORIZATION (QUIT, CAPA, LANG: both)
  kStat,
  kList,
  kRetr,
  kDele,
  kNoop,
  kRset,
  kTop,
  kUidl,
  kUnknown  // TRANSACTION
};

inline constexpr size_t kCommandBytesMax = 512;     // RFC 2449 section 4 asks for 255
inline constexpr size_t kSaslBytesMax = 12 * 1024;  // RFC 4422: of a message of the exchange, base64

struct Command {
  Verb verb = Verb::kUnknown;
  std::string_view refusal;         // not empty: the reply; the rest is not set then
  std::optional<uint32_t> message;  // RETR, DELE, TOP; LIST and UIDL when given
  uint64_t lines = 0;               // TOP
  std::string text;  // USER's name, PASS's password (with its spaces), AUTH's mechanism, LANG's tag
  std::optional<std::string> initial;  // AUTH's initial response, base64 or "="
};

// `line`: without its end.
Command parse_command(std::string_view line);

}  // namespace canopy::pop3
