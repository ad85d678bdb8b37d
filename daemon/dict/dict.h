// Text of settings and info files: reading and writing (docs/formats/dictionary.md). Pure; any thread. For
// every value v within the limits, parse(print(v)) is v; for every text, printing what was parsed is
// canonical: equal values give equal bytes.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/base/limits.h"
#include "daemon/dict/value.h"

namespace canopy::dict {

// Reads one value and nothing after it but white space and comments. A text that breaks a rule is refused
// with kInvalidArgument, one over kDictBytesMax or deeper than kDictDepthMax with kTooLarge; the error's
// object is "NAME:LINE:COLUMN" (from 1; columns count characters). Memory: bounded by about 80 times the
// text.
Result<Value> parse(std::string_view text, std::string_view name = "dictionary");
// The same for a text that must be a dictionary, as files are.
Result<Dict> parse_dict(std::string_view text, std::string_view name = "dictionary");

enum class Style {
  kCompact,  // {Key=Value;List=(a,b);}
  kPretty,   // one entry a line, indented by two spaces, a newline at the end: the form of files
};
std::string print(const Value& value, Style style = Style::kCompact);
std::string print(const Dict& dict, Style style = Style::kCompact);
// An entry of a file whose value is text already, as it is printed there.
struct PrintedEntry {
  std::string_view key;
  std::string value;
};
// The pretty text, or kTooLarge when it could not be read back: over kDictBytesMax or deeper than
// kDictDepthMax. `more`: in the order of the keys; they count where
// the dictionary has them too.
Result<std::string> print_file(const Dict& dict, std::string_view name = "dictionary",
                               std::span<const PrintedEntry> more = {});

// Levels of arrays and dictionaries: 0 for a string, 1 for an empty dictionary.
uint32_t depth_of(const Value& value);

}  // namespace canopy::dict
