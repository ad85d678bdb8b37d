#include "proto-frontends/lmtp/dot_decoder.h"

#include <cstring>

namespace canopy::lmtp {

bool DotDecoder::decode(std::string_view& input, std::string& content) {
  while (!input.empty()) {
    if (state_ == State::kText || (state_ == State::kLine && input.front() != '.' && input.front() != '\r')) {
      // The common case: everything up to the next LF, with the CR before it.
      const void* found = std::memchr(input.data(), '\n', input.size());
      if (found == nullptr) {
        // A CR at the very end waits for what follows it.
        size_t size = input.size() - (input.back() == '\r' ? 1 : 0);
        content.append(input.data(), size);
        input.remove_prefix(size);
        if (size > 0) state_ = State::kText;
        if (input.empty()) return false;
        state_ = State::kCr;
        input.remove_prefix(1);
        return false;
      }
      size_t newline = static_cast<size_t>(static_cast<const char*>(found) - input.data());
      bool after_cr = newline > 0 && input[newline - 1] == '\r';
      if (after_cr) {
        content.append(input.data(), newline + 1);
      } else {
        content.append(input.data(), newline);
        content.append("\r\n");
      }
      input.remove_prefix(newline + 1);
      state_ = after_cr ? State::kLine : State::kText;
      continue;
    }
    char c = input.front();
    input.remove_prefix(1);
    if (step(c, content)) return true;
  }
  return false;
}

bool DotDecoder::step(char c, std::string& content) {
  switch (state_) {
    case State::kLine:  // '.' or CR
      state_ = c == '.' ? State::kLineDot : State::kCr;
      return false;
    case State::kCr:
      content.push_back('\r');
      if (c == '\r') return false;
      content.push_back(c);
      state_ = c == '\n' ? State::kLine : State::kText;
      return false;
    case State::kLineDot:  // the dot is dropped
      if (c == '\r') {
        state_ = State::kLineDotCr;
        return false;
      }
      if (c == '\n') content.push_back('\r');
      content.push_back(c);
      state_ = State::kText;
      return false;
    case State::kLineDotCr:
      if (c == '\n') {
        state_ = State::kLine;
        return true;
      }
      content.push_back('\r');
      if (c == '\r') {
        state_ = State::kCr;
        return false;
      }
      content.push_back(c);
      state_ = State::kText;
      return false;
    case State::kText: break;
  }
  return false;
}

}  // namespace canopy::lmtp
