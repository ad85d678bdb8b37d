// What a scenario measured: rows of named figures, printed as one table or as JSON. Not thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace canopy::bench {

using Json = nlohmann::ordered_json;

class Report {
 public:
  explicit Report(std::string scenario) : scenario_(std::move(scenario)) {}

  void add_row(Json row) { rows_.push_back(std::move(row)); }  // an object; its keys are the table's columns
  void add_note(std::string sentence) { notes_.push_back(std::move(sentence)); }
  const std::vector<Json>& rows() const { return rows_; }

  std::string to_json() const;   // one line: {"scenario":…,"rows":[…],"notes":[…]}
  std::string to_table() const;  // columns in the order in which they first occur

 private:
  std::string scenario_;
  std::vector<Json> rows_;
  std::vector<std::string> notes_;
};

// To four significant digits: a noisy machine gives no more.
double rounded(double value);

}  // namespace canopy::bench
