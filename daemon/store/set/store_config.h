// What a tree says of its stores: `Settings/Stores.settings` and `Settings/Mounts.settings`
// (docs/formats/tree.md), as values. Pure; any thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "daemon/dict/dict.h"
#include "daemon/tree/mounts.h"

namespace canopy {

inline constexpr std::string_view kStoresSettingsFile = "Settings/Stores.settings";
inline constexpr std::string_view kMountsSettingsFile = "Settings/Mounts.settings";
inline constexpr std::string_view kRootStoreName = "root";  // the one that holds Settings
inline constexpr size_t kStoresMax = 1024;

struct StoreConfig {
  std::string name;
  std::string address;                         // "dir:/path" or "nfs://HOST/EXPORT?…"
  std::string id;                              // of its marker
  bool fast = false;                           // for settings and info; plans leave accounts off it
  bool shared = false;                         // dir: other machines write to it, too
  std::optional<uint64_t> reserve_bytes = {};  // absent: by its size (capacity.h)

  bool is_local() const { return address.starts_with("dir:"); }
  std::string directory() const { return address.substr(4); }  // of a local one
  bool is_same_place(const StoreConfig& other) const {         // nothing need be opened anew
    return address == other.address && id == other.id && shared == other.shared;
  }
  bool operator==(const StoreConfig&) const = default;
};

// kInvalidArgument names the field.
Result<void> check_store_config(const StoreConfig& config);

struct StoresConfig {
  std::map<std::string, StoreConfig> stores;  // without the root store
  std::shared_ptr<const Mounts> mounts;
  std::vector<MountRow> rows_before =
      {};                      // of the table before this one, while what it put elsewhere is moved
  dict::Dict relocation = {};  // how that is moved (relocate/relocation_settings.h)

  static StoresConfig root_only();
  // That all rows name stores which are there, and no two stores have one id.
  Result<void> check() const;
};

// The dictionaries of the two files and back. kDamaged names the file and the key.
dict::Dict print_stores(const std::map<std::string, StoreConfig>& stores);
Result<std::map<std::string, StoreConfig>> parse_stores(const dict::Dict& dict);
dict::Dict print_mounts(const StoresConfig& config);
Result<void> parse_mounts(const dict::Dict& dict, StoresConfig& into);

// What tells a store's file ids from other stores': bits 40 to 62 of all ids of it are mixed with these,
// drawn from its marker's id. Ids below 2^40 are unique over stores whose salts differ. (Bit 63 is the
// mount's.)
uint64_t file_id_salt(std::string_view marker_id);

}  // namespace canopy
