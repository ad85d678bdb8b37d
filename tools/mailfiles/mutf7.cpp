// Modified UTF-7: printable ASCII stands for itself, '&' is "&-", everything else is UTF-16 in base64 between
// '&' and
// '-', with ',' in place of '/' and no padding.
#include <cstddef>

#include "tools/mailfiles/mail_item.h"

namespace canopy::mailfiles {

static constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

// The code point at `at`, which moves on; a malformed byte stands for U+FFFD.
static char32_t take_code_point(std::string_view utf8, size_t& at) {
  const auto first = static_cast<unsigned char>(utf8[at++]);
  if (first < 0x80) return first;
  const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
  if (more == 0) return 0xFFFD;
  char32_t value = first & (0x3Fu >> more);
  for (int i = 0; i < more; ++i) {
    if (at >= utf8.size() || (static_cast<unsigned char>(utf8[at]) & 0xC0) != 0x80) return 0xFFFD;
    value = value << 6 | (static_cast<unsigned char>(utf8[at++]) & 0x3F);
  }
  return value;
}

static void put_utf8(std::string& out, char32_t value) {
  if (value < 0x80) {
    out += static_cast<char>(value);
  } else if (value < 0x800) {
    out += static_cast<char>(0xC0 | value >> 6);
    out += static_cast<char>(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    out += static_cast<char>(0xE0 | value >> 12);
    out += static_cast<char>(0x80 | (value >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (value & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | value >> 18);
    out += static_cast<char>(0x80 | (value >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (value >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (value & 0x3F));
  }
}

static void put_base64(std::string& out, const std::u16string& units) {
  uint32_t bits = 0;
  int held = 0;
  for (const char16_t unit : units) {
    bits = bits << 16 | unit;
    held += 16;
    while (held >= 6) {
      held -= 6;
      out += kAlphabet[bits >> held & 0x3F];
    }
    bits &= (1u << held) - 1;
  }
  if (held > 0) out += kAlphabet[bits << (6 - held) & 0x3F];
}

std::string encode_mutf7(std::string_view utf8, bool escape_separators) {
  std::string out;
  std::u16string pending;
  const auto flush = [&] {
    if (pending.empty()) return;
    out += '&';
    put_base64(out, pending);
    out += '-';
    pending.clear();
  };
  for (size_t at = 0; at < utf8.size();) {
    const char32_t point = take_code_point(utf8, at);
    const bool separator = escape_separators && (point == '.' || point == '/');
    if (point >= 0x20 && point < 0x7F && !separator) {
      flush();
      out += static_cast<char>(point);
      if (point == '&') out += '-';
    } else if (point >= 0x10000) {
      pending += static_cast<char16_t>(0xD800 + ((point - 0x10000) >> 10));
      pending += static_cast<char16_t>(0xDC00 + ((point - 0x10000) & 0x3FF));
    } else {
      pending += static_cast<char16_t>(point);
    }
  }
  flush();
  return out;
}

static Result<void> put_decoded(std::string& out, std::string_view base64, std::string_view whole) {
  uint32_t bits = 0;
  int held = 0;
  char32_t high = 0;
  for (const char digit : base64) {
    const size_t value = kAlphabet.find(digit);
    if (value == std::string_view::npos)
      return fail(Code::kInvalidArgument, std::string(whole), "not modified UTF-7: a byte that is no digit");
    bits = bits << 6 | static_cast<uint32_t>(value);
    held += 6;
    if (held < 16) continue;
    held -= 16;
    const char32_t unit = bits >> held & 0xFFFF;
    bits &= (1u << held) - 1;
    if (unit >= 0xD800 && unit < 0xDC00) {
      high = unit;
    } else if (unit >= 0xDC00 && unit < 0xE000) {
      if (high == 0)
        return fail(Code::kInvalidArgument, std::string(whole), "not modified UTF-7: half a pair");
      put_utf8(out, 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00));
      high = 0;
    } else {
      put_utf8(out, unit);
    }
  }
  return {};
}

Result<std::string> decode_mutf7(std::string_view encoded) {
  std::string out;
  for (size_t at = 0; at < encoded.size(); ++at) {
    if (encoded[at] != '&') {
      out += encoded[at];
      continue;
    }
    const size_t end = encoded.find('-', at);
    if (end == std::string_view::npos)
      return fail(Code::kInvalidArgument, std::string(encoded), "not modified UTF-7: '&' without '-'");
    if (end == at + 1) {
      out += '&';
    } else {
      CANOPY_TRY(put_decoded(out, encoded.substr(at + 1, end - at - 1), encoded));
    }
    at = end;
  }
  return out;
}

}  // namespace canopy::mailfiles
