#include "proto-frontends/lmtp/parser.h"

namespace canopy::lmtp {

Event Parser::next(std::string_view& input, std::string& content) {
  switch (mode_) {
    case Mode::kCommands: return next_command(input);
    case Mode::kData:
      if (input.empty()) return {};
      if (!dots_.decode(input, content)) return {Event::Kind::kContent, {}};
      mode_ = Mode::kCommands;
      return {Event::Kind::kContentEnd, {}};
    case Mode::kChunk: break;
  }
  if (input.empty() && chunk_left_ > 0) return {};
  size_t size = std::min<uint64_t>(chunk_left_, input.size());
  content.append(input.substr(0, size));
  input.remove_prefix(size);
  chunk_left_ -= size;
  if (chunk_left_ > 0) return {Event::Kind::kContent, {}};
  mode_ = Mode::kCommands;
  return {Event::Kind::kContentEnd, {}};
}

Event Parser::next_command(std::string_view& input) {
  using Status = frontend::LineScanner::Status;
  auto found = lines_.next(input, kCommandBytesMax);
  Event event{Event::Kind::kCommand, {}};
  switch (found.status) {
    case Status::kNeedMore: return {};
    case Status::kLine: event.command = parse_command(found.line); break;
    case Status::kTooLong: event.command.refusal = "500 5.5.2 The line is too long"; break;
    case Status::kMalformed:
      event.command.refusal = "500 5.5.2 A line ends with CR LF and has no CR, LF or NUL in it";
      break;
  }
  return event;
}

}  // namespace canopy::lmtp
