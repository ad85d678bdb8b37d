// Small questions about bytes that every text protocol asks.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace canopy::frontend {

bool equals_ignoring_case(std::string_view a, std::string_view b);  // ASCII
bool is_ascii(std::string_view text);
bool is_utf8(std::string_view text);       // RFC 3629: no overlong forms, no surrogates
bool has_controls(std::string_view text);  // bytes below space, and DEL
// The next word between spaces, moved off the front of `rest`; nullopt when there is none.
std::optional<std::string_view> take_word(std::string_view& rest);
// For one log field or one trace header: everything but printable ASCII and UTF-8 letters becomes '?', cut to
// `bytes_max`.
std::string printable(std::string_view text, size_t bytes_max);

}  // namespace canopy::frontend
