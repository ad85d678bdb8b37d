#include "proto-frontends/lmtp/command.h"

#include <array>
#include <charconv>
#include <optional>

#include "proto-frontends/common/text.h"

namespace canopy::lmtp {
namespace {

using frontend::equals_ignoring_case;
using frontend::has_controls;
using frontend::is_ascii;
using frontend::is_utf8;
using frontend::take_word;

constexpr size_t kPathBytesMax = 512;  // beyond RFC 5321's 256, for UTF-8 addresses

Command refused(Verb verb, std::string_view reply) {
  Command command;
  command.verb = verb;
  command.refusal = reply;
  return command;
}

struct Path {
  std::string address;
  std::string_view rest;  // behind the '>'
};

// The content of a quoted local part, moved behind its closing quote. Quoted pairs are resolved.
std::optional<std::string> take_quoted(std::string_view& rest) {
  std::string text;
  for (size_t i = 1; i < rest.size(); ++i) {
    if (rest[i] == '"') {
      rest.remove_prefix(i + 1);
      return text;
    }
    if (rest[i] == '\\') {
      ++i;
      if (i == rest.size()) return std::nullopt;
    }
    text.push_back(rest[i]);
  }
  return std::nullopt;
}

bool is_atom_text(char c) {
  auto byte = static_cast<unsigned char>(c);
  return byte > ' ' && byte != 0x7f && std::string_view("()<>[]:;@\\,\"").find(c) == std::string_view::npos;
}

bool is_local_part(std::string_view local) {
  for (char c : local)
    if (!is_atom_text(c)) return false;
  return !local.empty();
}

bool is_domain(std::string_view domain) {
  if (domain.empty()) return false;
  bool literal = domain.front() == '[' && domain.back() == ']' && domain.size() > 2;
  for (char c : literal ? domain.substr(1, domain.size() - 2) : domain) {
    auto byte = static_cast<unsigned char>(c);
    bool plain =
        std::isalnum(byte) || c == '-' || c == '.' || c == '_' || byte >= 0x80 || (literal && c == ':');
    if (!plain) return false;
  }
  return domain.front() != '.' && domain.back() != '.';
}

// "<user@domain>", "<>", "<@relay:user@domain>" (the route is dropped, RFC 5321 appendix C), "<postmaster>".
std::optional<Path> parse_path(std::string_view text) {
  if (text.empty() || text.front() != '<') return std::nullopt;
  text.remove_prefix(1);
  if (text.starts_with('@')) {
    size_t colon = text.find(':');
    if (colon == text.npos || colon > text.find('>')) return std::nullopt;
    text.remove_prefix(colon + 1);
  }
  std::string local;
  if (text.starts_with('"')) {
    std::optional<std::string> quoted = take_quoted(text);
    // An '@' in a name would say something else once the quotes are gone.
    if (!quoted || quoted->empty() || has_controls(*quoted) || quoted->find('@') != quoted->npos)
      return std::nullopt;
    local = std::move(*quoted);
  } else {
    size_t end = text.find_first_of("@>");
    if (end == text.npos) return std::nullopt;
    local = text.substr(0, end);
    text.remove_prefix(end);
    if (local.empty()) {
      if (text.starts_with('@')) return std::nullopt;
      return Path{.address = {}, .rest = text.substr(1)};
    }
    if (!is_local_part(local)) return std::nullopt;
  }
  size_t close = text.find('>');
  if (close == text.npos) return std::nullopt;
  std::string_view domain = text.substr(0, close);
  if (!domain.empty()) {
    if (domain.front() != '@' || !is_domain(domain.substr(1))) return std::nullopt;
  }
  return Path{.address = local + std::string(domain), .rest = text.substr(close + 1)};
}

bool parse_number(std::string_view digits, uint64_t& number) {
  if (digits.empty() || digits.size() > 20) return false;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size();
}

// Answers the refusal, or "" when the parameter was understood.
std::string_view take_mail_parameter(std::string_view parameter, Command& command) {
  size_t equals = parameter.find('=');
  std::string_view key = parameter.substr(0, equals);
  std::string_view value = equals == parameter.npos ? std::string_view() : parameter.substr(equals + 1);
  if (equals_ignoring_case(key, "SIZE")) {
    return parse_number(value, command.size) ? "" : "501 5.5.4 SIZE is not a number";
  }
  if (equals_ignoring_case(key, "BODY")) {
    if (equals_ignoring_case(value, "7BIT"))
      command.body = Body::k7Bit;
    else if (equals_ignoring_case(value, "8BITMIME"))
      command.body = Body::k8BitMime;
    else if (equals_ignoring_case(value, "BINARYMIME"))
      command.body = Body::kBinaryMime;
    else
      return "501 5.5.4 BODY is not 7BIT, 8BITMIME or BINARYMIME";
    return "";
  }
  if (equals_ignoring_case(parameter, "SMTPUTF8")) {
    command.smtputf8 = true;
    return "";
  }
  return "555 5.5.4 Parameter not known";
}

Command parse_mail(std::string_view rest, Verb verb) {
  std::string_view keyword = verb == Verb::kMail ? "FROM:" : "TO:";
  if (rest.size() < keyword.size() || !equals_ignoring_case(rest.substr(0, keyword.size()), keyword))
    return refused(verb, verb == Verb::kMail ? "501 5.5.4 Syntax: MAIL FROM:<address>"
                                             : "501 5.5.4 Syntax: RCPT TO:<address>");
  rest.remove_prefix(keyword.size());
  while (rest.starts_with(' ')) rest.remove_prefix(1);  // not allowed, but common
  std::optional<Path> path = parse_path(rest);
  if (!path || path->address.size() > kPathBytesMax)
    return refused(verb,
                   verb == Verb::kMail ? "501 5.1.7 Not an address in <>" : "501 5.1.3 Not an address in <>");
  if (verb == Verb::kRcpt && path->address.empty())
    return refused(verb, "501 5.1.3 A recipient has an address");
  if (!is_utf8(path->address)) return refused(verb, "553 5.6.7 The address is not valid UTF-8");
  Command command;
  command.verb = verb;
  command.address = std::move(path->address);
  if (!path->rest.empty() && path->rest.front() != ' ')
    return refused(verb, "501 5.5.4 A space is missing after >");
  while (std::optional<std::string_view> parameter = take_word(path->rest)) {
    if (verb == Verb::kRcpt) return refused(verb, "555 5.5.4 Parameter not known");
    std::string_view refusal = take_mail_parameter(*parameter, command);
    if (!refusal.empty()) return refused(verb, refusal);
  }
  if (verb == Verb::kMail && !command.smtputf8 && !is_ascii(command.address))
    return refused(verb, "553 5.6.7 Such an address needs SMTPUTF8");
  return command;
}

Command parse_bdat(std::string_view rest) {
  Command command;
  command.verb = Verb::kBdat;
  auto size = take_word(rest), last = take_word(rest);
  bool end = last && equals_ignoring_case(*last, "LAST");
  if (!size || !parse_number(*size, command.size) || (last && !end) || take_word(rest))
    return refused(Verb::kBdat, "501 5.5.4 Syntax: BDAT bytes [LAST]");
  command.last = end;
  return command;
}

Command without_argument(Verb verb, std::string_view rest) {
  if (take_word(rest)) return refused(verb, "501 5.5.4 The command takes no argument");
  Command command;
  command.verb = verb;
  return command;
}

}  // namespace

Command parse_command(std::string_view line) {
  static constexpr std::array<std::pair<std::string_view, Verb>, 12> kVerbs = {{
      {"RCPT", Verb::kRcpt},
      {"MAIL", Verb::kMail},
      {"DATA", Verb::kData},
      {"BDAT", Verb::kBdat},
      {"LHLO", Verb::kLhlo},
      {"QUIT", Verb::kQuit},
      {"RSET", Verb::kRset},
      {"NOOP", Verb::kNoop},
      {"VRFY", Verb::kVrfy},
      {"STARTTLS", Verb::kStartTls},
      {"HELO", Verb::kSmtpHello},
      {"EHLO", Verb::kSmtpHello},
  }};
  std::string_view word = line.substr(0, line.find(' '));
  std::string_view rest = line.substr(word.size());
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  Verb verb = Verb::kUnknown;
  for (const auto& [name, candidate] : kVerbs)
    if (equals_ignoring_case(word, name)) verb = candidate;
  switch (verb) {
    case Verb::kMail:
    case Verb::kRcpt: return parse_mail(rest, verb);
    case Verb::kBdat: return parse_bdat(rest);
    case Verb::kLhlo: {
      auto name = take_word(rest);
      if (!name || has_controls(*name) || !is_utf8(*name) || name->size() > 255)
        return refused(verb, "501 5.5.4 Syntax: LHLO name");
      Command command;
      command.verb = verb;
      command.argument = *name;
      return command;
    }
    case Verb::kData:
    case Verb::kRset:
    case Verb::kQuit:
    case Verb::kStartTls: return without_argument(verb, rest);
    case Verb::kSmtpHello: return refused(verb, "500 5.5.1 This is LMTP: say LHLO");
    case Verb::kUnknown: return refused(verb, "500 5.5.2 Command not known");
    case Verb::kNoop:
    case Verb::kVrfy: break;
  }
  Command command;
  command.verb = verb;
  return command;
}

}  // namespace canopy::lmtp
