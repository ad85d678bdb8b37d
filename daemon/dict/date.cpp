#include <charconv>
#include <chrono>

#include "daemon/dict/value.h"

namespace canopy::dict {

namespace {

constexpr int64_t kSecondsPerDay = 86'400;

struct Fields {
  int year, month, day, hour, minute, second;
};

Fields fields_of(int64_t unix_seconds) {
  int64_t days = unix_seconds / kSecondsPerDay;
  if (unix_seconds % kSecondsPerDay < 0) --days;
  int rest = static_cast<int>(unix_seconds - days * kSecondsPerDay);
  std::chrono::year_month_day day{std::chrono::sys_days{std::chrono::days{days}}};
  return {static_cast<int>(day.year()),
          static_cast<int>(static_cast<unsigned>(day.month())),
          static_cast<int>(static_cast<unsigned>(day.day())),
          rest / 3600,
          rest / 60 % 60,
          rest % 60};
}

std::optional<Date> date_of(const Fields& f, bool has_time) {
  std::chrono::year_month_day day{std::chrono::year{f.year},
                                  std::chrono::month{static_cast<unsigned>(f.month)},
                                  std::chrono::day{static_cast<unsigned>(f.day)}};
  // A leap second has no place in unix time, so 60 is refused.
  if (f.year < 1 || !day.ok() || f.hour > 23 || f.minute > 59 || f.second > 59) return std::nullopt;
  int64_t days = std::chrono::sys_days{day}.time_since_epoch().count();
  return Date{days * kSecondsPerDay + f.hour * 3600 + f.minute * 60 + f.second, has_time};
}

// Reads exactly the digits and separators of `shape`, in which D stands for any digit.
bool has_shape(std::string_view text, std::string_view shape) {
  if (text.size() != shape.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    bool digit = text[i] >= '0' && text[i] <= '9';
    if (shape[i] == 'D' ? !digit : text[i] != shape[i]) return false;
  }
  return true;
}

int number_at(std::string_view text, size_t at, size_t digits) {
  int value = 0;
  std::from_chars(text.data() + at, text.data() + at + digits, value);
  return value;
}

}  // namespace

std::string Date::to_string() const {
  Fields f = fields_of(unix_seconds);
  if (!has_time) return fmt::format("{:02}-{:02}-{:04}", f.day, f.month, f.year);
  return fmt::format("{:02}-{:02}-{:04}_{:02}:{:02}:{:02}", f.day, f.month, f.year, f.hour, f.minute,
                     f.second);
}

std::optional<Date> Date::parse(std::string_view text) {
  bool has_time = has_shape(text, "DD-DD-DDDD_DD:DD:DD");
  if (!has_time && !has_shape(text, "DD-DD-DDDD")) return std::nullopt;
  Fields f{number_at(text, 6, 4), number_at(text, 3, 2), number_at(text, 0, 2), 0, 0, 0};
  if (has_time) {
    f.hour = number_at(text, 11, 2);
    f.minute = number_at(text, 14, 2);
    f.second = number_at(text, 17, 2);
  }
  return date_of(f, has_time);
}

std::string Date::to_iso() const {
  Fields f = fields_of(unix_seconds);
  if (!has_time) return fmt::format("{:04}-{:02}-{:02}", f.year, f.month, f.day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", f.year, f.month, f.day, f.hour, f.minute,
                     f.second);
}

std::optional<Date> Date::parse_iso(std::string_view text) {
  bool has_time = has_shape(text, "DDDD-DD-DDTDD:DD:DDZ");
  if (!has_time && !has_shape(text, "DDDD-DD-DD")) return std::nullopt;
  Fields f{number_at(text, 0, 4), number_at(text, 5, 2), number_at(text, 8, 2), 0, 0, 0};
  if (has_time) {
    f.hour = number_at(text, 11, 2);
    f.minute = number_at(text, 14, 2);
    f.second = number_at(text, 17, 2);
  }
  return date_of(f, has_time);
}

}  // namespace canopy::dict
