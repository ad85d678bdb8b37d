// What the files of the accounts view (accounts_*.cpp) share.
#pragma once

#include <cerrno>

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

}  // namespace canopy::mount
