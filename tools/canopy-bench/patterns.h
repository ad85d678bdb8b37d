// Names of many accounts from one pattern, and lists of numbers on the command line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"

namespace canopy::bench {

// "user%05d@company.com" and 7: "user00007@company.com". A pattern without %d is the name itself. Only %d and
// %0Nd.
Result<std::string> name_from_pattern(std::string_view pattern, uint32_t number);
// The names of accounts 0 to count-1.
Result<std::vector<std::string>> names_from_pattern(std::string_view pattern, uint32_t count);

}  // namespace canopy::bench
