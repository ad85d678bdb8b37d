// Messages as POP3's multi-line responses (RFC 1939 section 3), without I/O, part by part.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace canopy::pop3 {

// Appends message parts to a response. A dot that begins a line is doubled; a bare LF, which POP3 cannot
// carry, goes out as CR LF (LMTP stores none, an import might). Memory: none but the caller's output.
class Stuffer {
 public:
  // `lines_max` < 0: the whole message. Otherwise TOP: the header, the empty line and that many lines of the
  // body.
  explicit Stuffer(int64_t lines_max = -1) : lines_left_(lines_max) {}

  void append(std::string_view part, std::string& out);
  // The line end that the last line may lack, and the dot.
  void finish(std::string& out);
  // TOP has all its lines: the rest of the message need not be fetched.
  bool done() const { return done_; }

 private:
  void line_ended();

  int64_t lines_left_;
  bool in_body_ = false;
  bool line_start_ = true;  // the next byte begins a line
  bool line_empty_ = true;  // nothing but perhaps a CR has come in this line
  bool after_cr_ = false;
  bool done_ = false;
};

}  // namespace canopy::pop3
