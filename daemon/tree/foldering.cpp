#include "daemon/tree/foldering.h"

#include <xxhash.h>

#include "daemon/base/bytes.h"
#include "daemon/tree/layout.h"
#include "daemon/tree/mount_pattern.h"

namespace canopy {

namespace {

constexpr std::string_view kFlat = "flat";
constexpr std::string_view kHashPrefix = "hash-";

bool is_folder_letter(uint32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
}

}  // namespace

Result<Foldering> Foldering::parse(std::string_view text) {
  auto refuse = [text](std::string_view why) {
    return fail(Code::kInvalidArgument, std::string(text.substr(0, 64)),
                fmt::format("{}; a foldering is flat, or counts as in 2-1 or hash-2-1", why));
  };
  Foldering foldering;
  if (text == kFlat) return foldering;
  std::string_view rest = text;
  if (rest.starts_with(kHashPrefix)) {
    foldering.hashed_ = true;
    rest.remove_prefix(kHashPrefix.size());
  }
  for (;;) {
    if (foldering.levels_ == kFolderingLevelsMax) return refuse("more than 4 levels");
    if (rest.empty() || rest[0] < '0' || rest[0] > '9') return refuse("a letter count is missing");
    if (rest[0] == '0' || rest[0] > '4' || (rest.size() > 1 && rest[1] != '-')) {
      return refuse("a level takes 1 to 4 letters");
    }
    foldering.letters_[foldering.levels_++] = static_cast<uint8_t>(rest[0] - '0');
    if (rest.size() == 1) return foldering;
    rest.remove_prefix(2);
  }
}

std::string Foldering::to_string() const {
  if (levels_ == 0) return std::string(kFlat);
  std::string out(hashed_ ? kHashPrefix : std::string_view());
  for (uint32_t level = 0; level < levels_; ++level) {
    if (level > 0) out += '-';
    out += static_cast<char>('0' + letters_[level]);
  }
  return out;
}

void Foldering::append_folders(std::string& out, std::string_view name) const {
  if (levels_ == 0) return;
  std::string digits;
  if (hashed_) {
    digits = hex64(XXH64(name.data(), name.size(), 0));
    name = digits;
  }
  size_t at = 0;
  for (uint32_t level = 0; level < levels_; ++level) {
    for (uint32_t letter = 0; letter < letters_[level]; ++letter) {
      size_t begin = at;
      bool good = at < name.size() && is_folder_letter(next_code_point(name, at));
      if (good) {
        out.append(name.substr(begin, at - begin));
      } else {
        out += '_';
      }
    }
    out += kFolderSuffix;
    out += '/';
  }
}

}  // namespace canopy
