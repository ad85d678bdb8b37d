#include "proto-frontends/lmtp/trace.h"

#include <ctime>

#include <fmt/format.h>

#include "proto-frontends/common/text.h"

namespace canopy::lmtp {
namespace {

// What a client says about itself must not close the comment or the field that it stands in.
std::string word(std::string_view text) {
  std::string safe = frontend::printable(text, 255);
  for (char& c : safe)
    if (std::string_view("()<>\\\";, ").find(c) != std::string_view::npos) c = '?';
  return safe;
}

std::string rfc5322_date(int64_t unix_seconds) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::time_t at = unix_seconds;
  std::tm utc{};
  gmtime_r(&at, &utc);
  return fmt::format("{}, {} {} {} {:02}:{:02}:{:02} +0000", kDays[utc.tm_wday], utc.tm_mday,
                     kMonths[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

}  // namespace

std::string received_field(const TraceInfo& info) {
  std::string field = "Received: from " + word(info.helo);
  if (!info.client.empty()) field += fmt::format(" ([{}])", info.client);
  field += fmt::format("\r\n\tby {} (Canopy) with {}LMTP{} id {}", word(info.hostname),
                       info.utf8 ? "UTF8" : "", info.tls ? "S" : "", info.id);
  if (!info.recipient.empty() && (info.utf8 || frontend::is_ascii(info.recipient)))
    field += fmt::format("\r\n\tfor <{}>", frontend::printable(info.recipient, 512));
  return field + ";\r\n\t" + rfc5322_date(info.unix_seconds) + "\r\n";
}

}  // namespace canopy::lmtp
