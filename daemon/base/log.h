// Structured logs: one event a line, as key=value, with the object that the event is about.
//   log_event(LogLevel::kWarning, "slice-sealed", "jsmith@company.com", {{"slice", name}});
// prints: 2026-11-24T10:11:12.123456Z warning slice-sealed object=jsmith@company.com slice=…
// Thread-safe. Before log_start() lines go to stderr at level info.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace canopy {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

struct LogField {
  std::string_view key;
  std::string value;
  LogField(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  LogField(std::string_view k, T v) : key(k), value(fmt::format("{}", v)) {}
};

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  std::string file;  // empty: stderr
};

void log_start(const LogOptions& options);
bool log_enabled(LogLevel level);
void log_event(LogLevel level, std::string_view event, std::string_view object,
               std::initializer_list<LogField> fields = {});

}  // namespace canopy
