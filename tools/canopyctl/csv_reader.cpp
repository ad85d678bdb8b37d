#include "tools/canopyctl/csv_reader.h"

#include <cerrno>

namespace canopy::ctl {

Result<CsvReader> CsvReader::open(const std::string& path, Place start) {
  FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) return fail_errno(errno, path, "open");
  CsvReader reader(path, file, start);
  if (std::fseek(file, static_cast<long>(start.offset), SEEK_SET) != 0)
    return fail_errno(errno, path, "seek in");
  if (start.offset == 0) {  // a byte order mark is no part of the first field
    char mark[3] = {};
    const size_t got = std::fread(mark, 1, 3, file);
    if (got == 3 && std::string_view(mark, 3) == "\xEF\xBB\xBF") {
      reader.place_.offset = 3;
    } else if (std::fseek(file, 0, SEEK_SET) != 0) {
      return fail_errno(errno, path, "seek in");
    }
  }
  return reader;
}

int CsvReader::take() {
  const int byte = std::getc(file_.get());
  if (byte == EOF) return EOF;
  ++place_.offset;
  if (byte == '\n') ++place_.line;
  return byte;
}

Result<std::optional<CsvReader::Row>> CsvReader::next() {
  for (;;) {
    Row row;
    row.line = place_.line;
    CANOPY_ASSIGN(const bool any, take_row(row));
    if (!any) return std::nullopt;
    if (row.fields.size() > 1 || !row.fields[0].empty()) return row;
  }
}

Result<bool> CsvReader::take_row(Row& row) {
  const std::string where = path_ + ":" + std::to_string(row.line);
  std::string field;
  bool quoted = false;      // inside quotes
  bool was_quoted = false;  // the field began with a quote, and that has ended
  for (bool any = false;; any = true) {
    const int byte = take();
    if (byte == EOF) {
      if (std::ferror(file_.get())) return fail_errno(errno, path_, "read");
      if (quoted) return fail(Code::kInvalidArgument, where, "a quoted field does not end");
      if (any) row.fields.push_back(std::move(field));
      return any;
    }
    if (quoted) {
      if (byte != '"') {
        field += static_cast<char>(byte);
      } else if (const int after = std::getc(file_.get()); after == '"') {
        ++place_.offset;
        field += '"';
      } else {
        std::ungetc(after, file_.get());
        quoted = false;
        was_quoted = true;
      }
    } else if (byte == '\n' || (byte == '\r' && was_quoted) || byte == ',') {
      if (byte == '\r') continue;
      if (byte == '\n' && !was_quoted && field.ends_with('\r')) field.pop_back();
      row.fields.push_back(std::move(field));
      if (byte == '\n') return true;
      field.clear();
      was_quoted = false;
    } else if (byte == '"' && field.empty() && !was_quoted) {
      quoted = true;
    } else if (was_quoted) {
      return fail(Code::kInvalidArgument, where, "there is text after the end of a quoted field");
    } else {
      field += static_cast<char>(byte);
    }
    if (field.size() > kCsvFieldBytesMax) return fail(Code::kTooLarge, where, "a field is over 1 MiB");
    if (row.fields.size() > kCsvFieldsMax) return fail(Code::kTooLarge, where, "a row has over 64 fields");
  }
}

}  // namespace canopy::ctl
