// POP3: commands are the same however they are cut; a stuffed message is too, has no end but its own, and
// comes out of a client's unstuffing as it went in (with whole lines).
#include <cstdint>

#include "daemon/base/base64.h"
#include "daemon/base/check.h"
#include "proto-frontends/common/line_scanner.h"
#include "proto-frontends/pop3/command.h"
#include "proto-frontends/pop3/stuffing.h"

namespace canopy::pop3 {
namespace {

std::string commands(std::string_view bytes, size_t piece) {
  using Status = frontend::LineScanner::Status;
  frontend::LineScanner scanner(frontend::LineEnd::kAnyNewline);
  std::string said, waiting;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    waiting += bytes.substr(at, piece);
    std::string_view input = waiting;
    for (auto found = scanner.next(input, kCommandBytesMax); found.status != Status::kNeedMore;
         found = scanner.next(input, kCommandBytesMax)) {
      Command command = parse_command(found.line);
      said += fmt::format("{}/{}/{}/{}/{}\n", static_cast<int>(command.verb), command.refusal,
                          command.message.value_or(0), command.lines, command.text);
      if (command.initial) said += base64_decode(*command.initial).value_or("-");
    }
    waiting = input;
    CANOPY_CHECK(waiting.size() <= kCommandBytesMax + 1 + piece);
  }
  return said;
}

std::string stuffed(std::string_view message, size_t piece, int64_t lines) {
  Stuffer stuffer(lines);
  std::string out;
  for (size_t at = 0; at < message.size(); at += piece) stuffer.append(message.substr(at, piece), out);
  stuffer.finish(out);
  return out;
}

// What a client makes of it; also the check that the only end is at the end.
std::string unstuffed(std::string_view wire) {
  std::string message;
  while (true) {
    size_t newline = wire.find('\n');
    CANOPY_CHECK(newline != wire.npos && newline > 0 && wire[newline - 1] == '\r');
    std::string_view line = wire.substr(0, newline + 1);
    wire.remove_prefix(newline + 1);
    if (line == ".\r\n") break;
    if (line.starts_with('.')) line.remove_prefix(1);
    message += line;
  }
  CANOPY_CHECK(wire.empty());
  return message;
}

std::string with_whole_lines(std::string_view message) {
  std::string whole;
  for (size_t i = 0; i < message.size(); ++i) {
    if (message[i] == '\n' && (i == 0 || message[i - 1] != '\r')) whole += '\r';
    whole += message[i];
  }
  if (!whole.empty() && whole.back() != '\n') whole += whole.back() == '\r' ? "\n" : "\r\n";
  return whole;
}

}  // namespace
}  // namespace canopy::pop3

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canopy::pop3;
  if (size == 0 || size > 16'384) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::string whole = commands(bytes, size + 1);
  CANOPY_CHECK(commands(bytes, 1) == whole);
  CANOPY_CHECK(commands(bytes, 5) == whole);
  std::string wire = stuffed(bytes, size + 1, -1);
  CANOPY_CHECK(stuffed(bytes, 1, -1) == wire);
  CANOPY_CHECK(unstuffed(wire) == with_whole_lines(bytes));
  int64_t lines = data[0] % 8;
  std::string top = stuffed(bytes, size + 1, lines);
  CANOPY_CHECK(stuffed(bytes, 1, lines) == top);
  CANOPY_CHECK(with_whole_lines(bytes).starts_with(unstuffed(top)));
  return 0;
}
