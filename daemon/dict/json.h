// Dictionaries as JSON, for --json and HTTP (docs/formats/dictionary.md, "JSON"). Takes and gives text, so
// that the JSON library stays out of callers. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/dict/value.h"

namespace canopy::dict {

// Strings, whole numbers, null, arrays and objects as they are; a date {"$date":"2026-10-23T12:30:00Z"}, data
// {"$data":BASE64}, a string or key that is no UTF-8 is refused by JSON and becomes {"$bytes":BASE64}, a
// dictionary with a key that begins with '$' or is no UTF-8 {"$dict":[[KEY,VALUE],…]}. indent < 0: one line.
std::string to_json(const Value& value, int indent = -1);
std::string to_json(const Dict& dict, int indent = -1);
// The inverse; true and false become YES and NO. kInvalidArgument for what has no place in a dictionary:
// fractions, numbers beyond 64 bits, empty or repeated keys, unknown "$" forms; kTooLarge over the limits of
// dict.h.
Result<Value> from_json(std::string_view text, std::string_view name = "JSON");

}  // namespace canopy::dict
