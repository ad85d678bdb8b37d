// The Unicode part of account names, over ICU: RFC 8264 IdentifierClass and RFC 8265 UsernameCaseMapped.
// Pure; any thread. Callers outside tree/ use names.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/error.h"

namespace canopy::precis {

// RFC 8264 section 8, as it falls for IdentifierClass.
enum class Category : uint8_t { kValid, kContextJ, kContextO, kDisallowed, kFreeformOnly, kUnassigned };
Category category_of(int32_t code_point);

// One round of UsernameCaseMapped: width mapping, IdentifierClass, toLowerCase, NFC, IdentifierClass, bidi
// rule.
Result<std::string> username_case_mapped_once(std::string_view utf8);

std::string icu_unicode_version();  // "15.0"

}  // namespace canopy::precis
