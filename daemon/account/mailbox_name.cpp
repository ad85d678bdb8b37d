#include "daemon/account/mailbox_name.h"

#include <strings.h>

#include "daemon/base/limits.h"

namespace canopy {
namespace {

// The bytes of the character at the front, when it is well-formed UTF-8 (Unicode 15, table 3-7) and no C0,
// DEL or C1 control; 0 otherwise.
size_t clean_character(std::string_view text) {
  auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return lead < 0x20 || lead == 0x7f ? 0 : 1;
  size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  if (lead < 0xc2 || lead > 0xf4 || text.size() <= more) return 0;
  uint32_t point = lead & (0x3f >> more);
  for (size_t k = 1; k <= more; ++k) {
    auto next = static_cast<uint8_t>(text[k]);
    if ((next & 0xc0) != 0x80) return 0;
    point = point << 6 | (next & 0x3f);
  }
  bool overlong = (more == 2 && point < 0x800) || (more == 3 && point < 0x10000);
  bool no_character = point > 0x10ffff || (point >= 0xd800 && point < 0xe000);
  return overlong || no_character || (point >= 0x80 && point < 0xa0) ? 0 : more + 1;
}

bool is_clean_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    size_t bytes = clean_character(text.substr(i));
    if (bytes == 0) return false;
    i += bytes;
  }
  return true;
}

}  // namespace

std::string shown_mailbox_name(std::string_view name) {
  if (is_clean_utf8(name)) return std::string(name);
  std::string shown;
  while (!name.empty()) {
    size_t bytes = clean_character(name);
    if (bytes > 0) {
      shown += name.substr(0, bytes);
    } else {
      shown += fmt::format("\\x{:02x}", static_cast<uint8_t>(name[0]));
    }
    name.remove_prefix(std::max<size_t>(bytes, 1));
  }
  return shown;
}

Result<std::string> canonical_mailbox_name(std::string_view name) {
  auto refuse = [&](const std::string& rule) {
    return fail(Code::kInvalidArgument, shown_mailbox_name(name.substr(0, 200)), "a mailbox name " + rule);
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
