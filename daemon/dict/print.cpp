#include <charconv>

#include "daemon/base/base64.h"
#include "daemon/dict/dict.h"
#include "daemon/dict/text.h"

namespace canopy::dict {

namespace {

bool is_bare(std::string_view text) {
  for (char c : text) {
    if (!kBareByte[static_cast<uint8_t>(c)]) return false;
  }
  return !text.empty();
}

// One character that is not plain ASCII; answers how many bytes of `rest` it took.
size_t append_special(std::string& out, std::string_view rest) {
  uint8_t c = static_cast<uint8_t>(rest[0]);
  uint32_t code_point = 0;
  switch (c) {
    case '"': out += "\\\""; return 1;
    case '\\': out += "\\\\"; return 1;
    case '\n': out += "\\n"; return 1;
    case '\r': out += "\\r"; return 1;
    case '\t': out += "\\t"; return 1;
    default: break;
  }
  uint32_t length = c < 0x80 ? 0 : utf8_sequence(rest, code_point);
  if (length == 0) {
    fmt::format_to(std::back_inserter(out), "\\x{:02x}", c);
    return 1;
  }
  if (is_hidden(code_point)) {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", code_point);
  } else {
    out.append(rest.substr(0, length));
  }
  return length;
}

void append_string(std::string& out, std::string_view text) {
  if (is_bare(text)) {
    out.append(text);
    return;
  }
  out += '"';
  size_t at = 0;
  while (at < text.size()) {
    size_t plain = at;
    while (at < text.size() && kPlainByte[static_cast<uint8_t>(text[at])]) ++at;
    out.append(text.substr(plain, at - plain));
    if (at < text.size()) at += append_special(out, text.substr(at));
  }
  out += '"';
}

class Printer {
 public:
  Printer(std::string& out, Style style) : out_(out), pretty_(style == Style::kPretty) {}

  void value(const Value& value, uint32_t level) {
    switch (value.kind()) {
      case Kind::kNull: out_ += "#NULL#"; return;
      case Kind::kString: append_string(out_, *value.string()); return;
      case Kind::kNumber: number(*value.number()); return;
      case Kind::kDate: out_ += "#T" + value.date()->to_string(); return;
      case Kind::kData:
        out_ += '[';
        append_base64(out_, value.data()->bytes);
        out_ += ']';
        return;
      case Kind::kArray: array(*value.array(), level); return;
      case Kind::kDict: dict(*value.dict(), level); return;
    }
  }

  void dict(const Dict& dict, uint32_t level, std::span<const PrintedEntry> more = {}) {
    const bool any = !dict.empty() || !more.empty();
    out_ += '{';
    for (const Entry& entry : dict) {
      for (; !more.empty() && more.front().key < entry.key; more = more.subspan(1))
        printed(more.front(), level);
      if (!more.empty() && more.front().key == entry.key) continue;
      key(entry.key, level);
      value(entry.value, level + 1);
      out_ += ';';
    }
    for (const PrintedEntry& entry : more) printed(entry, level);
    if (any) line(level);
    out_ += '}';
  }

 private:
  void key(std::string_view key, uint32_t level) {
    line(level + 1);
    append_string(out_, key);
    out_ += pretty_ ? " = " : "=";
  }
  void printed(const PrintedEntry& entry, uint32_t level) {
    key(entry.key, level);
    out_ += entry.value;
    out_ += ';';
  }

  void number(int64_t number) {
    char digits[24];
    digits[0] = '#';
    char* end = std::to_chars(digits + 1, digits + sizeof(digits), number).ptr;
    out_.append(digits, static_cast<size_t>(end - digits));
  }

  // Arrays of plain values stay on one line; one that holds an array or a dictionary takes a line for each
  // element.
  void array(const Array& array, uint32_t level) {
    bool lines = false;
    for (const Value& element : array) lines |= element.kind() >= Kind::kArray;
    out_ += '(';
    for (size_t i = 0; i < array.size(); ++i) {
      if (i > 0) out_ += pretty_ && !lines ? ", " : ",";
      if (lines) line(level + 1);
      value(array[i], level + 1);
    }
    if (lines) line(level);
    out_ += ')';
  }

  void line(uint32_t level) {
    if (!pretty_) return;
    out_ += '\n';
    out_.append(2 * level, ' ');
  }

  std::string& out_;
  bool pretty_;
};

uint32_t depth_of_dict(const Dict& dict) {
  uint32_t deepest = 0;
  for (const Entry& entry : dict) deepest = std::max(deepest, depth_of(entry.value));
  return deepest + 1;
}

}  // namespace

std::string print(const Value& value, Style style) {
  std::string out;
  Printer(out, style).value(value, 0);
  if (style == Style::kPretty) out += '\n';
  return out;
}

std::string print(const Dict& dict, Style style) {
  std::string out;
  out.reserve(64 + dict.size() * 32);
  Printer(out, style).dict(dict, 0);
  if (style == Style::kPretty) out += '\n';
  return out;
}

Result<std::string> print_file(const Dict& dict, std::string_view name, std::span<const PrintedEntry> more) {
  if (depth_of_dict(dict) > kDictDepthMax) {
    return fail(Code::kTooLarge, std::string(name),
                fmt::format("nested deeper than {} levels", kDictDepthMax));
  }
  std::string text;
  size_t bytes = 64 + dict.size() * 64;
  for (const PrintedEntry& entry : more) bytes += entry.key.size() + entry.value.size();
  text.reserve(bytes);
  Printer(text, Style::kPretty).dict(dict, 0, more);
  text += '\n';
  if (text.size() > kDictBytesMax) {
    return fail(Code::kTooLarge, std::string(name), fmt::format("longer than {} bytes", kDictBytesMax));
  }
  return text;
}

uint32_t depth_of(const Value& value) {
  uint32_t deepest = 0;
  if (const Array* array = value.array()) {
    for (const Value& element : *array) deepest = std::max(deepest, depth_of(element));
    return deepest + 1;
  }
  if (const Dict* dict = value.dict()) return depth_of_dict(*dict);
  return 0;
}

}  // namespace canopy::dict
