#include "daemon/base/base64.h"

#include <array>
#include <cstdint>

namespace canopy {

namespace {

constexpr std::string_view kBase64Alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNoBase64Digit = 255;

constexpr std::array<uint8_t, 256> kBase64Values = [] {
  std::array<uint8_t, 256> digits{};
  digits.fill(kNoBase64Digit);
  for (size_t i = 0; i < kBase64Alphabet.size(); ++i)
    digits[static_cast<uint8_t>(kBase64Alphabet[i])] = static_cast<uint8_t>(i);
  return digits;
}();

}  // namespace

void append_base64(std::string& out, std::string_view bytes) {
  size_t at = 0;
  auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
  for (; at + 3 <= bytes.size(); at += 3) {
    uint32_t group = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
    char four[4] = {kBase64Alphabet[group >> 18], kBase64Alphabet[group >> 12 & 63],
                    kBase64Alphabet[group >> 6 & 63], kBase64Alphabet[group & 63]};
    out.append(four, 4);
  }
  size_t left = bytes.size() - at;
  if (left == 0) return;
  uint32_t group = byte(at) << 16 | (left == 2 ? byte(at + 1) << 8 : 0);
  out += kBase64Alphabet[group >> 18];
  out += kBase64Alphabet[group >> 12 & 63];
  out += left == 2 ? kBase64Alphabet[group >> 6 & 63] : '=';
  out += '=';
}

std::string base64_encode(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  append_base64(out, bytes);
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (size_t at = 0; at < text.size(); at += 4) {
    size_t digits = 4;
    if (at + 4 == text.size()) {
      if (text[at + 3] == '=') digits = text[at + 2] == '=' ? 2 : 3;
    }
    uint32_t group = 0;
    for (size_t i = 0; i < 4; ++i) {
      uint8_t digit = i < digits ? kBase64Values[static_cast<uint8_t>(text[at + i])] : 0;
      if (digit == kNoBase64Digit) return std::nullopt;
      group = group << 6 | digit;
    }
    if ((digits == 3 && (group & 0xff) != 0) || (digits == 2 && (group & 0xffff) != 0)) return std::nullopt;
    char three[3] = {static_cast<char>(group >> 16), static_cast<char>(group >> 8), static_cast<char>(group)};
    out.append(three, digits - 1);
  }
  return out;
}

}  // namespace canopy
