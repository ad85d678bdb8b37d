#include "daemon/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace canopy {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::shared_ptr<spdlog::logger> make_logger(const LogOptions& options) {
  std::shared_ptr<spdlog::logger> logger;
  if (options.file.empty()) {
    logger = std::make_shared<spdlog::logger>("canopy", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  } else {
    logger = std::make_shared<spdlog::logger>(
        "canopy", std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file, false));
  }
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%fZ %l %v", spdlog::pattern_time_type::utc);
  logger->set_level(to_spdlog(options.level));
  logger->flush_on(spdlog::level::info);
  return logger;
}

// The one process-wide object: a log line must be possible from anywhere, before main() has built anything.
std::shared_ptr<spdlog::logger>& current() {
  static std::shared_ptr<spdlog::logger> logger = make_logger({});
  return logger;
}

bool needs_quotes(std::string_view value) {
  if (value.empty()) return true;
  for (char c : value) {
    if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c == 0x7f) return true;
  }
  return false;
}

void append_value(fmt::memory_buffer& line, std::string_view value) {
  if (!needs_quotes(value)) {
    line.append(value);
    return;
  }
  line.push_back('"');
  for (char c : value) {
    if (c == '"' || c == '\\') {
      line.push_back('\\');
      line.push_back(c);
    } else if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) {
      fmt::format_to(std::back_inserter(line), "\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      line.push_back(c);
    }
  }
  line.push_back('"');
}

}  // namespace

void log_start(const LogOptions& options) { current() = make_logger(options); }

bool log_enabled(LogLevel level) { return current()->should_log(to_spdlog(level)); }

void log_event(LogLevel level, std::string_view event, std::string_view object,
               std::initializer_list<LogField> fields) {
  if (!log_enabled(level)) return;
  fmt::memory_buffer line;
  line.append(event);
  if (!object.empty()) {
    line.append(std::string_view(" object="));
    append_value(line, object);
  }
  for (const LogField& field : fields) {
    line.push_back(' ');
    line.append(field.key);
    line.push_back('=');
    append_value(line, field.value);
  }
  current()->log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace canopy
