// Rows of a CSV file (RFC 4180: fields may be quoted and hold line breaks), one at a time, with the place
// after each.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/error.h"

namespace canopy::ctl {

inline constexpr size_t kCsvFieldBytesMax = 1u << 20;
inline constexpr size_t kCsvFieldsMax = 64;

class CsvReader {
 public:
  struct Place {
    uint64_t offset = 0;
    uint64_t line = 1;
  };
  struct Row {
    std::vector<std::string> fields;
    uint64_t line = 0;  // where it begins, from 1
  };

  static Result<CsvReader> open(const std::string& path, Place start);
  // nullopt at the end; empty lines are passed over. kInvalidArgument names the line of a malformed row.
  Result<std::optional<Row>> next();
  Place place() const { return place_; }  // of the next row

 private:
  struct Close {
    void operator()(FILE* file) const { std::fclose(file); }
  };
  CsvReader(std::string path, FILE* file, Place start) : path_(std::move(path)), file_(file), place_(start) {}
  Result<bool> take_row(Row& row);  // false at the end
  int take();

  std::string path_;
  std::unique_ptr<FILE, Close> file_;
  Place place_;
};

}  // namespace canopy::ctl
