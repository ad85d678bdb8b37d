// The identity of a store, `.canopy/store`, and the paths of what else Canopy keeps at a store's root
// (docs/formats/store.md). A store whose marker is not the expected one is refused before anything is created
// on it.
#pragma once

#include <string>
#include <string_view>

#include "daemon/runtime/loop.h"
#include "daemon/store/store.h"

namespace canopy {

inline constexpr std::string_view kStoreMarkerPath = ".canopy/store";
inline constexpr std::string_view kStoreStagePath = ".canopy/stage";
inline constexpr size_t kStoreMarkerBytesMax = 4096;
inline constexpr size_t kStoreNameInTableBytesMax = 128;
inline constexpr int64_t kStoreMarkerVersion = 1;

struct StoreMarker {
  std::string id;      // UUID, lower case
  std::string name;    // as the mount table calls the store
  std::string serves;  // for people
  std::string tree;  // the id of the tree's root store; empty: the root store, or made by an earlier version
};

// The text of the marker and back; kDamaged says what is wrong with it. Pure.
std::string print_marker(const StoreMarker& marker);
Result<StoreMarker> parse_marker(std::string_view text, std::string_view object);

enum class StoreContent : bool { kMustBeEmpty, kIsKept };

// Makes a store of a directory and answers its new identity (the id drawn from loop.random()).
// kAlreadyExists: it has a marker, also when another made one at the same time. kNotEmpty: it holds
// something, and `content` does not allow that. kInvalidArgument: the name is no store name (letters, digits,
// '.', '_', '-'). Durable when it answers.
Task<Result<StoreMarker>> create_marker(Store& store, Loop& loop, std::string name, std::string serves,
                                        StoreContent content, std::string tree = "");
// Says in the marker, which says nothing of it yet, which tree the store belongs to. kConflict: it belongs to
// another one. Durable; a crash leaves the marker as it was.
Task<Result<void>> claim_store(Store& store, Loop& loop, std::string tree);

// Reads the marker. What is absent from `id` and `name` (empty) is not compared. The refusals say "store is
// not mounted, empty or wrong": kStoreUnavailable when there is no marker (it may be mounted yet), kConflict
// when it is another store's, kDamaged when it cannot be understood. A store that does not answer gives the
// store's own error. Creates nothing.
Task<Result<StoreMarker>> check_marker(Store& store, std::string id, std::string name);

// ".canopy/stage/EPOCH/SLOT" (16 hexadecimal digits, decimal): where the slot's owner prepares replacements.
std::string stage_path(uint32_t slot, uint64_t epoch);

}  // namespace canopy
