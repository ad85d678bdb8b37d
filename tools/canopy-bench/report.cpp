#include "tools/canopy-bench/report.h"

#include <cmath>

namespace canopy::bench {
namespace {

std::string cell(const Json& row, const std::string& column) {
  auto found = row.find(column);
  if (found == row.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_number_float()) return found->dump();
  double value = found->get<double>();
  if (std::abs(value) >= 100) return fmt::format("{:.0f}", value);
  return fmt::format("{:.{}f}", value, std::abs(value) >= 10 ? 1 : 2);
}

bool is_text(const Json& row, const std::string& column) {
  auto found = row.find(column);
  return found != row.end() && found->is_string();
}

}  // namespace

double rounded(double value) {
  if (value == 0 || !std::isfinite(value)) return 0;
  return std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr);
}

std::string Report::to_json() const {
  return Json{{"scenario", scenario_}, {"rows", rows_}, {"notes", notes_}}.dump();
}

std::string Report::to_table() const {
  std::vector<std::string> columns;
  for (const Json& row : rows_)
    for (const auto& [column, value] : row.items())
      if (std::ranges::find(columns, column) == columns.end()) columns.push_back(column);

  std::string text = scenario_ + "\n";
  std::vector<std::string> lines(rows_.size() + 1);
  for (const std::string& column : columns) {
    size_t width = column.size();
    for (const Json& row : rows_) width = std::max(width, cell(row, column).size());
    bool left = !rows_.empty() && is_text(rows_.front(), column);
    lines[0] += left ? fmt::format("  {:<{}}", column, width) : fmt::format("  {:>{}}", column, width);
    for (size_t i = 0; i < rows_.size(); ++i) {
      std::string value = cell(rows_[i], column);
      lines[i + 1] += left ? fmt::format("  {:<{}}", value, width) : fmt::format("  {:>{}}", value, width);
    }
  }
  for (const std::string& line : lines) text += line + "\n";
  for (const std::string& note : notes_) text += "  * " + note + "\n";
  return text;
}

}  // namespace canopy::bench
