// LMTP's parser: however the bytes are cut, the events are the same, and what waits stays bounded.
#include <cstdint>

#include "daemon/base/check.h"
#include "proto-frontends/lmtp/parser.h"
#include "proto-frontends/lmtp/trace.h"

namespace canopy::lmtp {
namespace {

std::string transcript(std::string_view bytes, size_t piece) {
  Parser parser;
  std::string said, content, waiting;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    waiting += bytes.substr(at, piece);
    std::string_view input = waiting;
    for (Event event = parser.next(input, content); event.kind != Event::Kind::kNeedMore;
         event = parser.next(input, content)) {
      if (event.kind == Event::Kind::kContent) continue;
      if (event.kind == Event::Kind::kContentEnd) {
        said += "[" + content + "]";
        content.clear();
        continue;
      }
      const Command& command = event.command;
      said += fmt::format("{}/{}/{}/{}\n", static_cast<int>(command.verb), command.refusal, command.address,
                          command.size);
      CANOPY_CHECK(command.address.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
      if (!command.refusal.empty()) continue;
      if (command.verb == Verb::kData) parser.begin_data();
      if (command.verb == Verb::kBdat) parser.begin_chunk(command.size);
      if (command.verb == Verb::kLhlo) {
        TraceInfo trace;
        trace.helo = command.argument;
        trace.hostname = "mx";
        std::string field = received_field(trace);
        CANOPY_CHECK(field.find("\n") == field.find("\n\tby"));
      }
    }
    waiting = input;
    CANOPY_CHECK(waiting.size() <= kCommandBytesMax + 1 + piece);
  }
  return said + "{" + content + "}";
}

}  // namespace
}  // namespace canopy::lmtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (size > 16'384) return 0;
  std::string whole = canopy::lmtp::transcript(bytes, size + 1);
  CANOPY_CHECK(canopy::lmtp::transcript(bytes, 1) == whole);
  CANOPY_CHECK(canopy::lmtp::transcript(bytes, 7) == whole);
  return 0;
}
