// What the files of the accounts view (accounts_*.cpp) share.
#pragma once

#include <cerrno>

#include "daemon/dict/text.h"
#include "daemon/wire/canopy.pb.h"
#include "fuse/place.h"
#include "fuse/view.h"

namespace canopy::mount {

inline constexpr std::string_view kLastErrorName = ".last-error";
inline constexpr std::string_view kFlagsAttribute = "user.canopy.flags";
inline constexpr std::string_view kSystemFlags[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted",
                                                    "\\Draft"};

inline Place inside(const Place& account, Place::Kind kind) {
  Place place;
  place.kind = kind;
  place.name = account.name;
  return place;
}

inline v1::AccountRef account_ref(const std::string& name) {
  v1::AccountRef ref;
  ref.set_name(name);
  return ref;
}

inline std::unexpected<Error> absent(std::string name) {
  return refuse(ENOENT, std::move(name), "there is no such thing");
}

// What a message of the protocol can hold as text: names, flags, settings.
inline bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    uint32_t code_point = 0;
    const uint32_t size = dict::utf8_sequence(bytes, code_point);
    if (size == 0) return false;
    bytes.remove_prefix(size);
  }
  return true;
}

}  // namespace canopy::mount
