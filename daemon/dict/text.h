// What the reader and the writer of dictionaries share about characters. Internal to dict/.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace canopy::dict {

// A string of these bytes alone is written without quotes.
inline constexpr std::array<bool, 256> kBareByte = [] {
  std::array<bool, 256> bare{};
  for (char c : std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@+")) {
    bare[static_cast<uint8_t>(c)] = true;
  }
  return bare;
}();

// Bytes that stand for themselves in a quoted string: printable ASCII but '"' and '\'.
inline constexpr std::array<bool, 256> kPlainByte = [] {
  std::array<bool, 256> plain{};
  for (int c = 0x20; c < 0x7f; ++c) plain[static_cast<size_t>(c)] = c != '"' && c != '\\';
  return plain;
}();

// The length of the well-formed UTF-8 sequence at the front of `bytes` and its code point; 0 when there is
// none. Overlong forms, surrogates and code points beyond U+10FFFF are not well-formed (Unicode 15.0, table
// 3-7).
inline uint32_t utf8_sequence(std::string_view bytes, uint32_t& code_point) {
  auto byte = [bytes](size_t i) { return i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : 0u; };
  uint32_t lead = byte(0);
  if (bytes.empty()) return 0;
  if (lead < 0x80) {
    code_point = lead;
    return 1;
  }
  uint32_t length = lead >= 0xc2 && lead < 0xe0   ? 2
                    : lead >= 0xe0 && lead < 0xf0 ? 3
                    : lead >= 0xf0 && lead < 0xf5 ? 4
                                                  : 0;
  if (length == 0) return 0;
  code_point = lead & (0x7fu >> length);
  for (uint32_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code_point = code_point << 6 | (byte(i) & 0x3f);
  }
  bool overlong = (length == 3 && code_point < 0x800) || (length == 4 && code_point < 0x10000);
  if (overlong || code_point > 0x10ffff || (code_point >= 0xd800 && code_point < 0xe000)) return 0;
  return length;
}

// Characters beyond ASCII that a file shows as \uXXXX, because an editor would hide them or break a line at
// them.
inline bool is_hidden(uint32_t code_point) {
  return (code_point >= 0x80 && code_point < 0xa0) || (code_point >= 0x200b && code_point <= 0x200f) ||
         (code_point >= 0x2028 && code_point <= 0x202e) || (code_point >= 0x2066 && code_point <= 0x2069) ||
         code_point == 0xfeff;
}

inline uint32_t encode_utf8(char (&out)[4], uint32_t code_point) {
  auto tail = [code_point](uint32_t shift) { return static_cast<char>(0x80 | (code_point >> shift & 0x3f)); };
  if (code_point < 0x80) {
    out[0] = static_cast<char>(code_point);
    return 1;
  }
  if (code_point < 0x800) {
    out[0] = static_cast<char>(0xc0 | code_point >> 6);
    out[1] = tail(0);
    return 2;
  }
  if (code_point < 0x10000) {
    out[0] = static_cast<char>(0xe0 | code_point >> 12);
    out[1] = tail(6);
    out[2] = tail(0);
    return 3;
  }
  out[0] = static_cast<char>(0xf0 | code_point >> 18);
  out[1] = tail(12);
  out[2] = tail(6);
  out[3] = tail(0);
  return 4;
}

}  // namespace canopy::dict
