#include "proto-frontends/pop3/command.h"

#include <array>
#include <charconv>

#include "proto-frontends/common/text.h"

namespace canopy::pop3 {
namespace {

using frontend::equals_ignoring_case;
using frontend::take_word;

Command refused(Verb verb, std::string_view reply) {
  Command command;
  command.verb = verb;
  command.refusal = reply;
  return command;
}

// Decimal digits only; a number that does not fit is as wrong as a letter.
template <class T>
bool parse_number(std::string_view digits, T& number) {
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return !digits.empty() && error == std::errc() && end == digits.data() + digits.size();
}

Command parse_numbers(Verb verb, std::string_view rest) {
  Command command;
  command.verb = verb;
  auto message = take_word(rest);
  bool optional = verb == Verb::kList || verb == Verb::kUidl;
  if (!message) return optional ? command : refused(verb, "-ERR A message number is missing");
  uint32_t number = 0;
  if (!parse_number(*message, number) || number == 0) return refused(verb, "-ERR Not a message number");
  command.message = number;
  if (verb == Verb::kTop) {
    auto lines = take_word(rest);
    if (!lines || !parse_number(*lines, command.lines))
      return refused(verb, "-ERR Syntax: TOP message lines");
  }
  if (take_word(rest)) return refused(verb, "-ERR Too many arguments");
  return command;
}

Command parse_text(Verb verb, std::string_view rest, std::string_view missing) {
  Command command;
  command.verb = verb;
  command.text = rest;
  if (rest.empty()) return refused(verb, missing);
  if (rest.find('\0') != rest.npos) return refused(verb, "-ERR NUL is not allowed here");
  return command;
}

Command parse_auth(std::string_view rest) {
  Command command;
  command.verb = Verb::kAuth;
  if (auto mechanism = take_word(rest)) command.text = *mechanism;
  if (auto initial = take_word(rest)) command.initial.emplace(*initial);
  if (take_word(rest)) return refused(Verb::kAuth, "-ERR Syntax: AUTH mechanism [initial-response]");
  return command;
}

}  // namespace

Command parse_command(std::string_view line) {
  static constexpr std::array<std::pair<std::string_view, Verb>, 16> kVerbs = {{
      {"RETR", Verb::kRetr},
      {"DELE", Verb::kDele},
      {"LIST", Verb::kList},
      {"UIDL", Verb::kUidl},
      {"USER", Verb::kUser},
      {"PASS", Verb::kPass},
      {"STAT", Verb::kStat},
      {"QUIT", Verb::kQuit},
      {"NOOP", Verb::kNoop},
      {"RSET", Verb::kRset},
      {"TOP", Verb::kTop},
      {"CAPA", Verb::kCapa},
      {"AUTH", Verb::kAuth},
      {"STLS", Verb::kStls},
      {"UTF8", Verb::kUtf8},
      {"LANG", Verb::kLang},
  }};
  std::string_view word = line.substr(0, line.find(' '));
  // One space divides; a password may begin with another one.
  std::string_view rest = line.size() > word.size() ? line.substr(word.size() + 1) : std::string_view();
  Verb verb = Verb::kUnknown;
  for (const auto& [name, candidate] : kVerbs)
    if (equals_ignoring_case(word, name)) verb = candidate;
  switch (verb) {
    case Verb::kUnknown: return refused(verb, "-ERR Command not known");
    case Verb::kRetr:
    case Verb::kDele:
    case Verb::kList:
    case Verb::kUidl:
    case Verb::kTop: return parse_numbers(verb, rest);
    case Verb::kUser: return parse_text(verb, rest, "-ERR Syntax: USER name");
    case Verb::kPass: return parse_text(verb, rest, "-ERR Syntax: PASS password");
    case Verb::kAuth: return parse_auth(rest);
    case Verb::kLang: {
      Command command;
      command.verb = verb;
      if (auto tag = take_word(rest)) command.text = *tag;
      return command;
    }
    default: break;
  }
  if (take_word(rest)) return refused(verb, "-ERR The command takes no argument");
  Command command;
  command.verb = verb;
  return command;
}

}  // namespace canopy::pop3
