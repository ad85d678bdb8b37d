// The content of DATA (RFC 5321 sections 4.1.1.4 and 4.5.2), without I/O, in constant memory.
//
// Rules: only CR LF . CR LF ends the content (the CR LF before the dot may be the end of the DATA line
// itself). A dot at the start of a line is dropped when CR LF stands before it. A bare LF never begins a line
// in that sense and never ends the content; it is stored as CR LF, so that no later program sees two lines
// where we saw one. A bare CR stays.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace canopy::lmtp {

class DotDecoder {
 public:
  // Appends what the front of `input` means to `content` and removes it from `input`. True once the end has
  // come: what is left of `input` then are commands.
  bool decode(std::string_view& input, std::string& content);

 private:
  // What came before the next byte. kCr and kLineDotCr hold back bytes that may belong to the end.
  enum class State { kLine, kText, kCr, kLineDot, kLineDotCr };
  bool step(char c, std::string& content);

  State state_ = State::kLine;
};

}  // namespace canopy::lmtp
