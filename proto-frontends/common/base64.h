// Base64 as SASL profiles use it (RFC 4648 section 4: padded, no line breaks).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace canopy::frontend {

std::string base64_encode(std::string_view bytes);
// nullopt for anything that base64_encode would not write.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace canopy::frontend
