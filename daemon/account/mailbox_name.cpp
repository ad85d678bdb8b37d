#include "daemon/account/mailbox_name.h"

#include <strings.h>

#include "daemon/base/limits.h"

namespace canopy {
namespace {

// Well-formed UTF-8 (Unicode 15, table 3-7) without C0, DEL and C1 controls.
bool is_clean_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    auto lead = static_cast<uint8_t>(text[i]);
    if (lead < 0x80) {
      if (lead < 0x20 || lead == 0x7f) return false;
      ++i;
      continue;
    }
    size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i <= more) return false;
    uint32_t point = lead & (0x3f >> more);
    for (size_t k = 1; k <= more; ++k) {
      auto next = static_cast<uint8_t>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3f);
    }
    bool overlong = (more == 2 && point < 0x800) || (more == 3 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ||
        (point >= 0x80 && point < 0xa0)) {
      return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace

Result<std::string> canonical_mailbox_name(std::string_view name) {
  auto refuse = [&](std::string rule) {
    return fail(Code::kInvalidArgument, std::string(name.substr(0, 200)), "a mailbox name " + rule);
  };
  if (name.empty()) return refuse("must not be empty");
  if (name.size() > kMailboxNameBytesMax)
    return refuse(fmt::format("has at most {} bytes", kMailboxNameBytesMax));
  if (!is_clean_utf8(name)) return refuse("is UTF-8 without control characters");
  uint32_t levels = 0;
  for (size_t begin = 0; begin <= name.size(); ++levels) {
    size_t end = std::min(name.find('/', begin), name.size());
    std::string_view level = name.substr(begin, end - begin);
    if (level.empty()) return refuse("has no empty level");
    if (level == "." || level == "..") return refuse("has no level '.' or '..'");
    begin = end + 1;
  }
  if (levels > kMailboxLevelsMax) return refuse(fmt::format("has at most {} levels", kMailboxLevelsMax));
  std::string canonical(name);
  bool inbox = name.size() >= kInbox.size() && strncasecmp(name.data(), kInbox.data(), kInbox.size()) == 0;
  if (inbox && (name.size() == kInbox.size() || name[kInbox.size()] == '/')) {
    canonical.replace(0, kInbox.size(), kInbox);
  }
  return canonical;
}

}  // namespace canopy
