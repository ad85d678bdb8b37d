#include "daemon/wire/framing_log.h"

#include <google/protobuf/stubs/logging.h>

#include "daemon/base/log.h"

namespace canopy::wire {

static void log_line(google::protobuf::LogLevel, const char* file, int line, const std::string& message) {
  log_event(LogLevel::kDebug, "protobuf", fmt::format("{}:{}", file, line), {{"message", message}});
}

void log_protobuf() { google::protobuf::SetLogHandler(log_line); }

}  // namespace canopy::wire
