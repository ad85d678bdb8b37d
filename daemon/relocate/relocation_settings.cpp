#include "daemon/relocate/relocation_settings.h"

#include <charconv>

namespace canopy {
namespace {

constexpr uint32_t kDayMinutes = 24 * 60;

// "HH:MM"
std::optional<uint32_t> parse_time(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  uint32_t hours = 0, minutes = 0;
  auto take = [](std::string_view digits, uint32_t& number) {
    const char* end = digits.data() + digits.size();
    const auto [stop, wrong] = std::from_chars(digits.data(), end, number);
    return wrong == std::errc() && stop == end;
  };
  if (!take(text.substr(0, 2), hours) || !take(text.substr(3), minutes)) return std::nullopt;
  if (hours >= 24 || minutes >= 60) return std::nullopt;
  return hours * 60 + minutes;
}

Result<uint32_t> number_of(const dict::Dict& settings, std::string_view key, uint32_t fallback,
                           uint32_t least, uint32_t most) {
  const dict::Value* value = settings.find(key);
  if (value == nullptr) return fallback;
  if (value->number() == nullptr || *value->number() < least || *value->number() > most)
    return fail(Code::kInvalidArgument, std::string(key), fmt::format("a number from {} to {}", least, most));
  return static_cast<uint32_t>(*value->number());
}

}  // namespace

Result<DayWindow> DayWindow::parse(std::string_view text) {
  const size_t dash = text.find('-');
  const auto from = parse_time(text.substr(0, dash));
  const auto until = dash == std::string_view::npos ? std::nullopt : parse_time(text.substr(dash + 1));
  if (!from || !until || *from == *until)
    return fail(Code::kInvalidArgument, std::string(text),
                "a window is two different times of the day in UTC, as 01:00-05:00");
  return DayWindow{*from, *until};
}

std::string DayWindow::to_string() const {
  return fmt::format("{:02}:{:02}-{:02}:{:02}", from_minute / 60, from_minute % 60, until_minute / 60,
                     until_minute % 60);
}

bool DayWindow::contains(int64_t unix_seconds) const {
  const auto minute = static_cast<uint32_t>(unix_seconds / 60 % kDayMinutes);
  if (from_minute < until_minute) return minute >= from_minute && minute < until_minute;
  return minute >= from_minute || minute < until_minute;
}

Result<RelocationSettings> RelocationSettings::parse(const dict::Dict& settings) {
  RelocationSettings out;
  if (const dict::Value* paused = settings.find("Paused")) {
    if (!paused->boolean()) return fail(Code::kInvalidArgument, "Paused", "YES or NO");
    out.paused = *paused->boolean();
  }
  CANOPY_ASSIGN(out.rate, number_of(settings, "Rate", 0, 0, kRateMax));
  CANOPY_ASSIGN(out.concurrency, number_of(settings, "Concurrency", kConcurrencyDefault, 1, kConcurrencyMax));
  if (const dict::Value* window = settings.find("Window")) {
    if (window->string() == nullptr)
      return fail(Code::kInvalidArgument, "Window", "text, as \"01:00-05:00\"");
    CANOPY_ASSIGN(out.window, DayWindow::parse(*window->string()));
  }
  return out;
}

dict::Dict RelocationSettings::to_dict() const {
  dict::Dict out;
  if (paused) out.set("Paused", dict::Value::boolean(true));
  if (rate != 0) out.set("Rate", static_cast<int64_t>(rate));
  if (concurrency != kConcurrencyDefault) out.set("Concurrency", static_cast<int64_t>(concurrency));
  if (window) out.set("Window", window->to_string());
  return out;
}

}  // namespace canopy
