#include "daemon/tree/mount_pattern.h"

#include <charconv>

#include "daemon/tree/layout.h"
#include "daemon/tree/mount_table.h"

namespace canopy {

namespace {

constexpr uint32_t kCodePointMax = 0x10ffff;
constexpr uint32_t kNotUtf8 = 0x110000;  // + the byte

std::unexpected<Error> refuse_pattern(std::string_view pattern, std::string message) {
  return fail(Code::kInvalidArgument, std::string(pattern), std::move(message));
}

// One end of a range in brackets: a character, or \u{HEX}. Moves `at` past it.
Result<uint32_t> read_member(std::string_view text, size_t& at) {
  uint32_t c = next_code_point(text, at);
  if (c >= kNotUtf8) return refuse_pattern(text, "is not UTF-8");
  if (c != '\\') return c;
  size_t close = text.find('}', at);
  if (text.substr(at, 2) != "u{" || close == std::string_view::npos)
    return refuse_pattern(text, "'\\' in brackets begins \\u{HEX}");
  uint32_t value = 0;
  auto [stop, problem] = std::from_chars(text.data() + at + 2, text.data() + close, value, 16);
  if (problem != std::errc() || stop != text.data() + close || value > kCodePointMax) {
    return refuse_pattern(text, "\\u{HEX} must be a code point");
  }
  at = close + 1;
  return value;
}

// What stands between '[' and ']'; `at` is past the '[' and moves past the ']'.
Result<PatternPlace> read_class(std::string_view text, size_t& at) {
  PatternPlace place;
  while (at < text.size() && text[at] != ']') {
    CodePointRange range;
    CANOPY_ASSIGN(range.first, read_member(text, at));
    range.last = range.first;
    if (at + 1 < text.size() && text[at] == '-' && text[at + 1] != ']') {
      ++at;
      CANOPY_ASSIGN(range.last, read_member(text, at));
    }
    if (range.last < range.first) return refuse_pattern(text, "a range in brackets runs backwards");
    place.ranges.push_back(range);
  }
  if (at >= text.size()) return refuse_pattern(text, "'[' has no ']'");
  ++at;
  if (place.ranges.empty()) return refuse_pattern(text, "brackets hold no character");
  std::sort(place.ranges.begin(), place.ranges.end(), [](auto a, auto b) { return a.first < b.first; });
  std::vector<CodePointRange> merged;
  for (CodePointRange range : place.ranges) {
    if (!merged.empty() && range.first <= merged.back().last + 1) {
      merged.back().last = std::max(merged.back().last, range.last);
    } else {
      merged.push_back(range);
    }
  }
  place.ranges = std::move(merged);
  return place;
}

// True when some name that begins with heartbeat.data matches; `*` takes care of itself.
bool names_register(const PatternElement& element) {
  if (element.any() || element.places().size() < kHeartbeatElement.size()) return false;
  for (size_t i = 0; i < kHeartbeatElement.size(); ++i) {
    if (!element.places()[i].contains(static_cast<uint8_t>(kHeartbeatElement[i]))) return false;
  }
  return true;
}

void print_member(std::string& out, uint32_t c) {
  bool plain = c > 0x20 && c < 0x7f && c != '\\' && c != ']' && c != '[' && c != '-' && c != '/';
  if (plain || (c >= 0xa1 && c < 0x2000)) {
    append_utf8(out, c);
  } else {
    fmt::format_to(std::back_inserter(out), "\\u{{{:X}}}", c);
  }
}

}  // namespace

uint32_t next_code_point(std::string_view utf8, size_t& at) {
  auto byte = [utf8](size_t i) { return i < utf8.size() ? static_cast<uint8_t>(utf8[i]) : 0u; };
  uint32_t lead = byte(at);
  uint32_t length = lead < 0x80                   ? 1
                    : lead >= 0xc2 && lead < 0xe0 ? 2
                    : lead >= 0xe0 && lead < 0xf0 ? 3
                    : lead >= 0xf0 && lead < 0xf5 ? 4
                                                  : 0;
  uint32_t c = length <= 1 ? lead : lead & (0x7fu >> length);
  bool good = length > 0;
  for (uint32_t i = 1; good && i < length; ++i) {
    good = (byte(at + i) & 0xc0) == 0x80;
    c = c << 6 | (byte(at + i) & 0x3f);
  }
  constexpr uint32_t kLeast[5] = {0, 0, 0x80, 0x800, 0x10000};
  good = good && c >= kLeast[length] && c <= kCodePointMax && !(c >= 0xd800 && c < 0xe000);
  if (!good) {
    ++at;
    return kNotUtf8 + lead;
  }
  at += length;
  return c;
}

void append_utf8(std::string& out, uint32_t c) {
  auto tail = [c](uint32_t shift) { return static_cast<char>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += {static_cast<char>(0xc0 | c >> 6), tail(0)};
  } else if (c < 0x10000) {
    out += {static_cast<char>(0xe0 | c >> 12), tail(6), tail(0)};
  } else {
    out += {static_cast<char>(0xf0 | c >> 18), tail(12), tail(6), tail(0)};
  }
}

std::string print_place(const std::vector<CodePointRange>& ranges, bool literal) {
  std::string out;
  if (literal) {
    append_utf8(out, ranges[0].first);
    return out;
  }
  out += '[';
  for (CodePointRange range : ranges) {
    print_member(out, range.first);
    if (range.last == range.first) continue;
    if (range.last > range.first + 1) out += '-';
    print_member(out, range.last);
  }
  out += ']';
  return out;
}

bool PatternPlace::contains(uint32_t c) const {
  for (CodePointRange range : ranges) {
    if (c >= range.first && c <= range.last) return true;
  }
  return false;
}

bool PatternPlace::meets(const PatternPlace& other) const {
  for (CodePointRange a : ranges) {
    for (CodePointRange b : other.ranges) {
      if (a.first <= b.last && b.first <= a.last) return true;
    }
  }
  return false;
}

Result<PatternElement> PatternElement::parse(std::string_view text) {
  PatternElement element;
  if (text == "*") {
    element.text_ = text;
    element.any_ = true;
    element.all_literal_ = false;
    return element;
  }
  if (text.empty() || text == "." || text == "..")
    return refuse_pattern(text, "an element of a pattern is empty, '.' or '..'");
  for (size_t at = 0; at < text.size();) {
    PatternPlace place;
    if (text[at] == '[') {
      ++at;
      CANOPY_ASSIGN(place, read_class(text, at));
      element.all_literal_ = false;
    } else {
      uint32_t c = next_code_point(text, at);
      if (c >= kNotUtf8) return refuse_pattern(text, "is not UTF-8");
      if (c <= 0x20 || c == 0x7f)
        return refuse_pattern(text, "a pattern holds no spaces and no control characters");
      if (c == '*' || c == ']' || c == '\\')
        return refuse_pattern(text, "'*' stands for a whole element; ']' and '\\' belong into brackets");
      place.ranges.push_back({c, c});
      place.literal = true;
      ++element.literals_;
    }
    element.text_ += print_place(place.ranges, place.literal);
    element.places_.push_back(std::move(place));
  }
  return element;
}

bool PatternElement::matches(std::string_view element) const {
  if (all_literal_) return element == text_;
  // A wildcard never moves the controller's register or a store's own files.
  if (any_) return !element.empty() && element[0] != '.' && !element.starts_with(kHeartbeatElement);
  size_t at = 0;
  for (const PatternPlace& place : places_) {
    if (at >= element.size() || !place.contains(next_code_point(element, at))) return false;
  }
  return at == element.size();
}

bool PatternElement::meets(const PatternElement& other) const {
  if (any_ && other.any_) return true;
  // What the wildcard leaves out no other pattern may name either (MountPattern::parse), so it meets
  // everything.
  if (any_ || other.any_) return true;
  if (places_.size() != other.places_.size()) return false;
  for (size_t i = 0; i < places_.size(); ++i) {
    if (!places_[i].meets(other.places_[i])) return false;
  }
  return true;
}

Result<MountPattern> MountPattern::parse(std::string_view text) {
  MountPattern pattern;
  if (text.empty() || text == "/") return pattern;
  if (text.size() > kMountPatternBytesMax) {
    return refuse_pattern(text.substr(0, 64),
                          fmt::format("a pattern is longer than {} bytes", kMountPatternBytesMax));
  }
  for (size_t at = 0; at <= text.size();) {
    size_t slash = std::min(text.find('/', at), text.size());
    Result<PatternElement> element = PatternElement::parse(text.substr(at, slash - at));
    if (!element) return refuse_pattern(text, element.error().message());
    pattern.literals_ += element->literals();
    pattern.elements_.push_back(*std::move(element));
    at = slash + 1;
  }
  if (pattern.elements_.size() > kMountElementsMax) {
    return refuse_pattern(text, fmt::format("a pattern has more than {} elements", kMountElementsMax));
  }
  if (pattern.elements_[0].text() != kTreeRoot) {
    return refuse_pattern(
        text,
        "a row names the base directory ('/') or something in SharedDomains; Settings lies on the "
        "root store");
  }
  if (pattern.elements_.size() == 1) return pattern;
  if (names_register(pattern.elements_[1]))
    return refuse_pattern(text, "the controller's register stays on the root store");
  for (const PatternElement& element : pattern.elements_) {
    if (!element.any() && element.places()[0].contains('.'))
      return refuse_pattern(text, "no element of the tree begins with '.'");
  }
  return pattern;
}

std::string MountPattern::to_string() const {
  std::string out;
  for (const PatternElement& element : elements_) {
    if (!out.empty()) out += '/';
    out += element.text();
  }
  return out.empty() ? "/" : out;
}

bool MountPattern::meets(const MountPattern& other) const {
  if (elements_.size() != other.elements_.size()) return false;
  for (size_t i = 0; i < elements_.size(); ++i) {
    if (!elements_[i].meets(other.elements_[i])) return false;
  }
  return true;
}

}  // namespace canopy
