#include "tools/canopy-bench/mail.h"

#include <charconv>
#include <cmath>

namespace canopy::bench {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr size_t kLineBytes = 76;

std::string message(Random& random, size_t bytes, uint32_t number) {
  std::string text = fmt::format(
      "From: Sender {0} <sender{0}@example.com>\r\nTo: user@example.com\r\nSubject: Message number {0}\r\n"
      "Date: Mon, 05 Oct 2026 10:00:00 +0000\r\nMessage-ID: <{0}.{1:x}@example.com>\r\nMIME-Version: 1.0\r\n"
      "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n",
      number, random.next());
  while (text.size() + 2 < bytes) {
    size_t line = std::min(kLineBytes, bytes - text.size() - 2);
    for (size_t i = 0; i < line; ++i) text += kLetters[random.below(64)];
    text += "\r\n";
  }
  return text;
}

}  // namespace

uint64_t Random::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

Result<SizeRange> SizeRange::parse(std::string_view text) {
  SizeRange range;
  const char* end = text.data() + text.size();
  auto first = std::from_chars(text.data(), end, range.least);
  bool good = first.ec == std::errc{};
  range.most = range.least;
  if (good && first.ptr != end) {
    auto second = std::from_chars(first.ptr + 1, end, range.most);
    good = *first.ptr == '-' && second.ec == std::errc{} && second.ptr == end;
  }
  if (!good || range.least < 512 || range.most < range.least || range.most > 64u << 20)
    return fail(Code::kInvalidArgument, "--sizes", "must be LEAST-MOST in bytes, from 512 to 67108864");
  return range;
}

Mail Mail::generate(SizeRange sizes, uint32_t count, uint64_t seed) {
  Random random(seed);
  Mail mail;
  double ratio = static_cast<double>(sizes.most) / sizes.least;
  for (uint32_t i = 0; i < count; ++i)
    mail.messages.push_back(
        message(random, static_cast<size_t>(sizes.least * std::pow(ratio, random.unit())), i));
  return mail;
}

}  // namespace canopy::bench
