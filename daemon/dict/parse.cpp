#include <algorithm>
#include <charconv>

#include "daemon/base/base64.h"
#include "daemon/dict/dict.h"
#include "daemon/dict/text.h"

namespace canopy::dict {

// Recursive descent over the whole text. Every method answers false once error_ is set. Entries and elements
// gather on stacks that all levels share and move into place when their dictionary or array ends, so that no
// vector grows twice.
class Parser {
 public:
  Parser(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  Result<Value> run() {
    if (text_.size() > kDictBytesMax) {
      return fail(Code::kTooLarge, std::string(name_), fmt::format("longer than {} bytes", kDictBytesMax));
    }
    Value value;
    if (!skip_space() || !parse_value(value, 0) || !skip_space()) return fail(*std::move(error_));
    if (at_ != text_.size()) {
      refuse(at_, "something stands after the value");
      return fail(*std::move(error_));
    }
    return value;
  }

 private:
  // At the place `offset` the text breaks the rule that `message` states.
  bool refuse(size_t offset, std::string message, Code code = Code::kInvalidArgument) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset; ++i) {
      if (text_[i] == '\n') {
        ++line;
        column = 1;
      } else if ((static_cast<uint8_t>(text_[i]) & 0xc0) != 0x80) {
        ++column;
      }
    }
    error_ = Error(code, fmt::format("{}:{}:{}", name_, line, column), std::move(message));
    return false;
  }

  bool at(char c) const { return at_ < text_.size() && text_[at_] == c; }

  bool skip_space() {
    while (at_ < text_.size()) {
      char c = text_[at_];
      if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
        ++at_;
      } else if (text_.substr(at_, 2) == "//") {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (text_.substr(at_, 2) == "/*") {
        size_t end = text_.find("*/", at_ + 2);
        if (end == std::string_view::npos) return refuse(at_, "the comment that begins here has no end");
        at_ = end + 2;
      } else {
        return true;
      }
    }
    return true;
  }

  bool parse_value(Value& out, uint32_t depth) {
    if (at_ >= text_.size()) return refuse(at_, "the text ends where a value must stand");
    switch (text_[at_]) {
      case '{': return parse_dict(out, depth + 1);
      case '(': return parse_array(out, depth + 1);
      case '[': return parse_data(out);
      case '#': return parse_hash(out);
      default: break;
    }
    std::string text;
    if (!parse_string(text, "a value")) return false;
    out = Value(std::move(text));
    return true;
  }

  bool check_depth(uint32_t depth) {
    if (depth <= kDictDepthMax) return true;
    return refuse(at_, fmt::format("nested deeper than {} levels", kDictDepthMax), Code::kTooLarge);
  }

  bool parse_dict(Value& out, uint32_t depth) {
    if (!check_depth(depth)) return false;
    size_t begin = at_++;
    size_t base = entries_.size();
    bool sorted = true;
    if (!skip_space()) return false;
    while (!at('}')) {
      size_t key_at = at_;
      Entry entry;
      if (at_ >= text_.size()) return refuse(begin, "the dictionary that begins here has no '}'");
      if (!parse_string(entry.key, "a key")) return false;
      if (entry.key.empty()) return refuse(key_at, "a key is empty");
      if (!skip_space()) return false;
      if (!at('=')) return refuse(at_, "'=' must follow the key");
      ++at_;
      if (!skip_space() || !parse_value(entry.value, depth) || !skip_space()) return false;
      if (entries_.size() > base) {
        int order = entries_.back().key.compare(entry.key);
        if (order == 0)
          return refuse(key_at, fmt::format("the key {} stands twice", print(Value(entry.key))));
        sorted = sorted && order < 0;
      }
      entries_.push_back(std::move(entry));
      if (at(';')) {
        ++at_;
        if (!skip_space()) return false;
      } else if (!at('}')) {
        return refuse(at_, "';' or '}' must follow the entry");
      }
    }
    ++at_;
    Dict dict;
    auto first = entries_.begin() + static_cast<ptrdiff_t>(base);
    dict.entries_.assign(std::move_iterator(first), std::move_iterator(entries_.end()));
    entries_.erase(first, entries_.end());
    if (!sorted && !sort(dict, begin)) return false;
    out = Value(std::move(dict));
    return true;
  }

  bool sort(Dict& dict, size_t begin) {
    auto by_key = [](const Entry& a, const Entry& b) { return a.key < b.key; };
    auto same_key = [](const Entry& a, const Entry& b) { return a.key == b.key; };
    std::sort(dict.entries_.begin(), dict.entries_.end(), by_key);
    auto twice = std::adjacent_find(dict.entries_.begin(), dict.entries_.end(), same_key);
    if (twice == dict.entries_.end()) return true;
    return refuse(begin, fmt::format("the key {} stands twice in this dictionary", print(Value(twice->key))));
  }

  bool parse_array(Value& out, uint32_t depth) {
    if (!check_depth(depth)) return false;
    size_t begin = at_++;
    size_t base = elements_.size();
    if (!skip_space()) return false;
    if (!at(')')) {
      for (;;) {
        Value element;
        if (at_ >= text_.size()) return refuse(begin, "the array that begins here has no ')'");
        if (!parse_value(element, depth) || !skip_space()) return false;
        elements_.push_back(std::move(element));
        if (at(')')) break;
        if (!at(',')) return refuse(at_, "',' or ')' must follow the element");
        ++at_;
        if (!skip_space()) return false;
      }
    }
    ++at_;
    auto first = elements_.begin() + static_cast<ptrdiff_t>(base);
    Array array(std::move_iterator(first), std::move_iterator(elements_.end()));
    elements_.erase(first, elements_.end());
    out = Value(std::move(array));
    return true;
  }

  bool parse_data(Value& out) {
    size_t begin = at_++;
    size_t end = text_.find(']', at_);
    if (end == std::string_view::npos) return refuse(begin, "the data block that begins here has no ']'");
    std::string digits(text_.substr(at_, end - at_));
    std::erase_if(digits, [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; });
    std::optional<std::string> bytes = base64_decode(digits);
    if (!bytes) return refuse(begin, "the data block is not base64 with padding");
    at_ = end + 1;
    out = Value(Data{*std::move(bytes)});
    return true;
  }

  // #NULL#, #T23-10-2026_12:30:00, #123
  bool parse_hash(Value& out) {
    size_t begin = at_;
    size_t end = begin + 1;
    while (end < text_.size() &&
           (kBareByte[static_cast<uint8_t>(text_[end])] || text_[end] == ':' || text_[end] == '#')) {
      ++end;
    }
    std::string_view token = text_.substr(begin + 1, end - begin - 1);
    at_ = end;
    if (token == "NULL#") {
      out = Value(Null{});
      return true;
    }
    if (token.starts_with('T')) {
      std::optional<Date> date = Date::parse(token.substr(1));
      if (!date)
        return refuse(begin, "a date is #TDD-MM-YYYY or #TDD-MM-YYYY_HH:MM:SS, a day and time that exist");
      out = Value(*date);
      return true;
    }
    std::string_view digits = token.starts_with('-') ? token.substr(1) : token;
    bool canonical = !digits.empty() && (digits[0] != '0' || token == "0");
    int64_t number = 0;
    auto [stop, problem] = std::from_chars(token.data(), token.data() + token.size(), number);
    if (!canonical || stop != token.data() + token.size() || problem == std::errc::invalid_argument) {
      return refuse(begin, "'#' begins a decimal number without leading zeros, #T a date, #NULL# is null");
    }
    if (problem != std::errc()) return refuse(begin, "the number does not fit 64 bits");
    out = Value(number);
    return true;
  }

  bool parse_string(std::string& out, std::string_view what) {
    if (at('"')) return parse_quoted(out);
    size_t begin = at_;
    while (at_ < text_.size() && kBareByte[static_cast<uint8_t>(text_[at_])]) ++at_;
    if (at_ == begin)
      return refuse(at_, fmt::format("{} must stand here; other characters need quotes", what));
    out.assign(text_.substr(begin, at_ - begin));
    return true;
  }

  bool parse_quoted(std::string& out) {
    size_t begin = at_++;
    for (;;) {
      size_t plain = at_;
      while (at_ < text_.size() && kPlainByte[static_cast<uint8_t>(text_[at_])]) ++at_;
      if (at_ > plain) out.append(text_.substr(plain, at_ - plain));
      if (at_ >= text_.size()) return refuse(begin, "the string that begins here has no closing quote");
      uint8_t c = static_cast<uint8_t>(text_[at_]);
      if (c == '"') {
        ++at_;
        return true;
      }
      if (c == '\\') {
        if (!parse_escape(out)) return false;
        continue;
      }
      if (c < 0x80) return refuse(at_, "a control character in a string must be escaped");
      uint32_t code_point = 0;
      uint32_t length = utf8_sequence(text_.substr(at_, 4), code_point);
      if (length == 0) return refuse(at_, "these bytes are no UTF-8; a byte by itself is written \\xHH");
      out.append(text_.substr(at_, length));
      at_ += length;
    }
  }

  bool parse_escape(std::string& out) {
    size_t begin = at_++;
    char c = at_ < text_.size() ? text_[at_++] : '\0';
    switch (c) {
      case '"':
      case '\\': out += c; return true;
      case 'n': out += '\n'; return true;
      case 'r': out += '\r'; return true;
      case 't': out += '\t'; return true;
      case 'x': return parse_hex_escape(out, begin, 2);
      case 'u': return parse_hex_escape(out, begin, 4);
      case 'U': return parse_hex_escape(out, begin, 8);
      default: return refuse(begin, "the escapes are \\\" \\\\ \\n \\r \\t \\xHH \\uHHHH \\UHHHHHHHH");
    }
  }

  bool parse_hex_escape(std::string& out, size_t begin, size_t digits) {
    uint32_t value = 0;
    const char* first = text_.data() + at_;
    const char* last = first + std::min(digits, text_.size() - at_);
    auto [stop, problem] = std::from_chars(first, last, value, 16);
    if (problem != std::errc() || static_cast<size_t>(stop - first) != digits) {
      return refuse(begin, fmt::format("this escape takes {} hexadecimal digits", digits));
    }
    at_ += digits;
    if (digits == 2) {
      out += static_cast<char>(value);
      return true;
    }
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
      return refuse(begin, "no such Unicode character");
    char bytes[4];
    out.append(bytes, encode_utf8(bytes, value));
    return true;
  }

  std::string_view text_;
  std::string_view name_;
  size_t at_ = 0;
  std::vector<Entry> entries_;
  std::vector<Value> elements_;
  std::optional<Error> error_;
};

Result<Value> parse(std::string_view text, std::string_view name) { return Parser(text, name).run(); }

Result<Dict> parse_dict(std::string_view text, std::string_view name) {
  CANOPY_ASSIGN(Value value, parse(text, name));
  if (value.dict() == nullptr) {
    return fail(Code::kInvalidArgument, fmt::format("{}:1:1", name),
                fmt::format("must be a dictionary, is of kind {}", kind_name(value.kind())));
  }
  return std::move(*value.dict());
}

}  // namespace canopy::dict
