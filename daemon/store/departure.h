// Departure: the file `moving.to` in the directory of an account that is about to go, or has gone, to another
// store (docs/architecture/relocation.md, "From store to store"; docs/formats/store.md). For one loop's
// thread, with that loop's store.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/dict/dict.h"
#include "daemon/store/store.h"

namespace canopy {

inline constexpr std::string_view kDepartureFile = "moving.to";
inline constexpr uint64_t kDepartureBytesMax = 16'384;

struct Departure {
  std::string store;     // where the copy goes
  std::string path;      // of the directory that it will be there
  std::string staged;    // where it waits on that store until then
  uint64_t file_id = 0;  // of the copy, which it keeps when it is renamed

  std::string target() const;  // fixed places, whatever the mount table says: ".stores/NAME/…"
  std::string waits_at() const;
};

dict::Dict print_departure(const Departure& departure);
// What the file in `directory` says; none where there is no such file, or one that was called off. kDamaged.
Task<Result<std::optional<Departure>>> read_departure(Store& store, std::string directory);
// Whether the copy is at its place, so that what the directory still holds counts no more. kStoreUnavailable:
// nobody knows while the store that it goes to does not answer.
Task<Result<bool>> has_arrived(Store& store, Departure departure);
// Both: whether the account has left `directory`.
Task<Result<bool>> has_departed(Store& store, std::string directory);

}  // namespace canopy
