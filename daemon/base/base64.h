// Base64 with padding, RFC 4648 section 4. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace canopy {

void append_base64(std::string& out, std::string_view bytes);
std::string base64_encode(std::string_view bytes);
// Strict: nothing but the alphabet, padding to full groups of four, unused bits zero.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace canopy
