#include "proto-frontends/common/line_scanner.h"

namespace canopy::frontend {

size_t LineScanner::find_end(std::string_view input, size_t& text_bytes) const {
  for (size_t from = 0;;) {
    size_t newline = input.find('\n', from);
    if (newline == input.npos) return newline;
    bool after_cr = newline > 0 && input[newline - 1] == '\r';
    if (after_cr || end_ == LineEnd::kAnyNewline) {
      text_bytes = after_cr ? newline - 1 : newline;
      return newline;
    }
    from = newline + 1;
  }
}

LineScanner::Found LineScanner::next(std::string_view& input, size_t line_bytes_max) {
  size_t text_bytes = 0;
  size_t newline = find_end(input, text_bytes);
  if (newline == input.npos) {
    // A CR at the end may be half of the line's end, so it stays.
    size_t held = !input.empty() && input.back() == '\r' ? 1 : 0;
    if (discarding_ || input.size() - held > line_bytes_max) {
      discarding_ = true;
      input.remove_prefix(input.size() - held);
    }
    return {};
  }
  std::string_view line = input.substr(0, text_bytes);
  input.remove_prefix(newline + 1);
  bool too_long = discarding_ || line.size() > line_bytes_max;
  discarding_ = false;
  if (too_long) return {Status::kTooLong, {}};
  if (end_ == LineEnd::kCrLf && line.find_first_of(std::string_view("\r\n\0", 3)) != line.npos)
    return {Status::kMalformed, {}};
  return {Status::kLine, line};
}

}  // namespace canopy::frontend
