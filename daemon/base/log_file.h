// Whether a log can be kept in a file: log_start() has nobody to tell that it cannot.
#pragma once

#include <string>

#include "daemon/base/error.h"

namespace canopy {

// Opens the file for appending, and makes it when it is not there. Fine when `path` is empty: standard error.
Result<void> check_log_file(const std::string& path);

}  // namespace canopy
