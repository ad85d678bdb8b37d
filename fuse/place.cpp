#include "fuse/place.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace canopy::mount {
namespace {

constexpr std::string_view kMessageSuffix = ".eml";
constexpr std::string_view kAccountFiles[] = {"settings", "info", "location"};

uint32_t number_of(std::string_view digits) {
  uint32_t number = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() ? number : 0;
}

std::string_view take_field(std::string_view& rest) {
  const size_t end = std::min(rest.find('\0'), rest.size());
  const std::string_view field = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return field;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool Place::is_directory() const {
  return kind == Kind::kAccounts || kind == Kind::kDomain || kind == Kind::kAccount || kind == Kind::kMailbox;
}

std::string Place::key() const {
  std::string key(1, static_cast<char>(kind));
  key += name;
  if (kind == Kind::kMailbox) key += fmt::format("{}{}", '\0', mailbox_id);
  if (kind == Kind::kMessage || kind == Kind::kDraft)
    key += fmt::format("{0}{1}{0}{2}{0}{3}", '\0', mailbox_id, uid_validity, uid);
  return key;
}

Place Place::of_key(std::string_view key) {
  Place place;
  place.kind = static_cast<Kind>(key.front());
  key.remove_prefix(1);
  place.name = take_field(key);
  place.mailbox_id = number_of(take_field(key));
  place.uid_validity = number_of(take_field(key));
  place.uid = number_of(take_field(key));
  return place;
}

std::string element_of_level(std::string_view level, bool top) {
  std::string element;
  for (const char c : level) {
    const bool plain = c != '%' && c != '/' && c != '\0' && !(c == '.' && element.empty());
    element += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  const bool hides = (top && std::ranges::find(kAccountFiles, element) != std::end(kAccountFiles)) ||
                     uid_of_element(element) != 0;
  if (hides)
    element = fmt::format("%{:02X}{}", static_cast<unsigned char>(element.front()), element.substr(1));
  return element;
}

std::string level_of_element(std::string_view element) {
  std::string level;
  for (size_t i = 0; i < element.size(); ++i) {
    const bool escape = element[i] == '%' && i + 2 < element.size() && hex_digit(element[i + 1]) >= 0 &&
                        hex_digit(element[i + 2]) >= 0;
    if (!escape) {
      level += element[i];
      continue;
    }
    level += static_cast<char>(hex_digit(element[i + 1]) * 16 + hex_digit(element[i + 2]));
    i += 2;
  }
  return level;
}

uint32_t uid_of_element(std::string_view element) {
  if (!element.ends_with(kMessageSuffix)) return 0;
  element.remove_suffix(kMessageSuffix.size());
  return element.starts_with('0') || element.starts_with('-') || element.starts_with('+')
             ? 0
             : number_of(element);
}

std::string element_of_uid(uint32_t uid) { return fmt::format("{}{}", uid, kMessageSuffix); }

}  // namespace canopy::mount
