#include "tools/canopy-bench/patterns.h"

namespace canopy::bench {

Result<std::string> name_from_pattern(std::string_view pattern, uint32_t number) {
  size_t percent = pattern.find('%');
  if (percent == std::string_view::npos) return std::string(pattern);
  size_t end = pattern.find('d', percent);
  std::string_view width =
      end == std::string_view::npos ? "x" : pattern.substr(percent + 1, end - percent - 1);
  if (width.size() > 2 || !std::ranges::all_of(width, [](char c) { return c >= '0' && c <= '9'; }))
    return fail(Code::kInvalidArgument, std::string(pattern), "a pattern holds one %d or %0Nd");
  size_t digits = width.empty() ? 0 : static_cast<size_t>(width.back() - '0');
  return fmt::format("{}{:0{}}{}", pattern.substr(0, percent), number, digits, pattern.substr(end + 1));
}

Result<std::vector<std::string>> names_from_pattern(std::string_view pattern, uint32_t count) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < count; ++i) {
    CANOPY_ASSIGN(names.emplace_back(), name_from_pattern(pattern, i));
  }
  return names;
}

}  // namespace canopy::bench
