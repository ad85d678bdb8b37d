#include "proto-frontends/pop3/stuffing.h"

#include <cstring>

namespace canopy::pop3 {

void Stuffer::append(std::string_view part, std::string& out) {
  while (!part.empty() && !done_) {
    if (line_start_ && part.front() == '.') out.push_back('.');
    const void* found = std::memchr(part.data(), '\n', part.size());
    if (found == nullptr) {
      out.append(part);
      line_empty_ = line_empty_ && part == "\r" && !after_cr_;
      line_start_ = false;
      after_cr_ = part.back() == '\r';
      return;
    }
    size_t newline = static_cast<size_t>(static_cast<const char*>(found) - part.data());
    bool crlf = newline > 0 ? part[newline - 1] == '\r' : after_cr_;
    size_t text = newline - (newline > 0 && crlf ? 1 : 0);
    line_empty_ = line_empty_ && text == 0 && (!after_cr_ || newline == 0);
    if (crlf) {
      out.append(part.data(), newline + 1);
    } else {
      out.append(part.data(), newline);
      out.append("\r\n");
    }
    part.remove_prefix(newline + 1);
    line_ended();
  }
}

void Stuffer::line_ended() {
  bool header_ends = !in_body_ && line_empty_;
  line_start_ = line_empty_ = true;
  after_cr_ = false;
  if (lines_left_ < 0) return;
  if (in_body_) --lines_left_;
  if (header_ends) in_body_ = true;
  done_ = in_body_ && lines_left_ == 0;
}

void Stuffer::finish(std::string& out) {
  if (!line_start_) out.append(after_cr_ ? "\n" : "\r\n");
  out.append(".\r\n");
}

}  // namespace canopy::pop3
