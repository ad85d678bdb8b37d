#include "daemon/account/log_end.h"

#include <algorithm>
#include <charconv>

namespace canopy {

LogEnd LogEnd::of(const std::vector<SliceInfo>& slices) {
  LogEnd end;
  for (const SliceInfo& slice : slices) {
    const SliceId id = slice.entry.id;
    end = std::max(end, LogEnd{.epoch = id.epoch, .number = id.number, .length = slice.entry.length});
  }
  return end;
}

std::string LogEnd::to_text() const {
  return fmt::format("{} {}", slice_file_name({.number = number, .epoch = epoch}), length);
}

std::optional<LogEnd> LogEnd::parse(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const std::optional<SliceId> id = parse_slice_file_name(text.substr(0, space));
  LogEnd end;
  const char* last = text.data() + text.size();
  const auto read = std::from_chars(text.data() + space + 1, last, end.length);
  if (!id || read.ec != std::errc() || read.ptr != last) return std::nullopt;
  end.epoch = id->epoch;
  end.number = id->number;
  return end;
}

}  // namespace canopy
