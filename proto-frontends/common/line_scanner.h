// Cuts command lines out of a byte stream without I/O. It holds no bytes itself: the caller keeps what was
// not consumed and shows it again with more behind it, so memory is bounded by the longest line allowed.
#pragma once

#include <cstddef>
#include <string_view>

namespace canopy::frontend {

enum class LineEnd {
  kCrLf,        // only CR LF ends a line; a bare CR, LF or NUL inside is reported as kMalformed (RFC 5321
                // section 2.3.8)
  kAnyNewline,  // LF ends a line, a CR before it is dropped
};

class LineScanner {
 public:
  enum class Status { kNeedMore, kLine, kTooLong, kMalformed };
  struct Found {
    Status status = Status::kNeedMore;
    std::string_view line;  // without its end; points into the input
  };

  explicit LineScanner(LineEnd end) : end_(end) {}

  // Takes the next line off the front of `input`. Of a line of more than `line_bytes_max` bytes (its end not
  // counted) nothing is kept: its bytes are consumed as they come, and kTooLong is reported once, at its end.
  Found next(std::string_view& input, size_t line_bytes_max);

 private:
  // The offset of the line's LF, or npos; `text_bytes` is the length of the line without its end.
  size_t find_end(std::string_view input, size_t& text_bytes) const;

  LineEnd end_;
  bool discarding_ = false;
};

}  // namespace canopy::frontend
