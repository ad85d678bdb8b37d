#include "daemon/store/set/store_config.h"

#include <xxhash.h>

#include "daemon/store/marker.h"

namespace canopy {
namespace {

constexpr std::string_view kRowsKey = "Rows", kSupersededKey = "Superseded", kBeforeKey = "RowsBefore",
                           kMovingKey = "Relocation";

std::unexpected<Error> damaged(std::string_view file, std::string_view key, std::string why) {
  return fail(Code::kDamaged, fmt::format("{}: {}", file, key), std::move(why));
}

dict::Array print_rows(std::span<const MountRow> rows) {
  dict::Array array;
  for (const MountRow& row : rows) {
    std::string text = row.pattern + " " + row.store;
    if (!row.prefix.empty()) text += " " + row.prefix;
    array.emplace_back(std::move(text));
  }
  return array;
}

Result<std::vector<MountRow>> parse_rows(const dict::Dict& dict, std::string_view key) {
  std::vector<MountRow> rows;
  const dict::Value* value = dict.find(key);
  if (value == nullptr) return rows;
  if (value->array() == nullptr) return damaged(kMountsSettingsFile, key, "is an array of rows");
  for (const dict::Value& element : *value->array()) {
    if (element.string() == nullptr)
      return damaged(kMountsSettingsFile, key, "a row is a string \"PATTERN STORE [PREFIX]\"");
    auto row = parse_mount_row(*element.string());
    if (!row) return damaged(kMountsSettingsFile, key, row.error().to_string());
    rows.push_back(std::move(*row));
  }
  return rows;
}

}  // namespace

Result<void> check_store_config(const StoreConfig& config) {
  auto refuse = [&](std::string why) { return fail(Code::kInvalidArgument, config.name, std::move(why)); };
  auto row = parse_mount_row("/ " + config.name);
  if (config.name.empty() || config.name.front() == '.' || !row || row->store != config.name ||
      config.name.size() > kMountStoreNameBytesMax)
    return refuse("a store's name is 1 to 64 letters, digits, '.', '_' and '-', and does not begin with '.'");
  for (char c : config.name)
    if (!isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-')
      return refuse("a store's name has letters, digits, '.', '_' and '-'");
  if (config.name == kRootStoreName) return refuse("the root store is the daemon's own directory (--dir)");
  const bool local = config.is_local() && config.directory().starts_with('/');
  if (!local && !config.address.starts_with("nfs://"))
    return refuse("its address is dir:/PATH or nfs://HOST/EXPORT?version=3");
  return {};
}

StoresConfig StoresConfig::root_only() {
  return {{}, std::make_shared<const Mounts>(Mounts::single(kRootStoreName))};
}

Result<void> StoresConfig::check() const {
  if (stores.size() > kStoresMax)
    return fail(Code::kTooLarge, std::string(kStoresSettingsFile),
                fmt::format("more than {} stores", kStoresMax));
  std::map<uint64_t, std::string_view> salts;
  for (const auto& [name, config] : stores) {
    CANOPY_TRY(check_store_config(config));
    auto [other, fresh] = salts.emplace(file_id_salt(config.id), name);
    if (!fresh)
      return fail(Code::kInvalidArgument, name,
                  fmt::format("the ids of the stores {} and {} are too alike", other->second, name));
  }
  for (const std::string& name : mounts->stores())
    if (name != kRootStoreName && !stores.contains(name))
      return fail(Code::kInvalidArgument, name, "a row of the mount table names a store that is not there");
  return {};
}

dict::Dict print_stores(const std::map<std::string, StoreConfig>& stores) {
  dict::Dict out;
  for (const auto& [name, config] : stores) {
    dict::Dict one{{"Address", config.address}, {"Id", config.id}};
    if (config.fast) one.set("Role", "fast");
    if (config.shared) one.set("Shared", dict::Value::boolean(true));
    if (config.reserve_bytes) one.set("ReserveBytes", *config.reserve_bytes);
    out.set(name, std::move(one));
  }
  return out;
}

Result<std::map<std::string, StoreConfig>> parse_stores(const dict::Dict& dict) {
  std::map<std::string, StoreConfig> stores;
  for (const dict::Entry& entry : dict) {
    if (entry.key.starts_with('.')) continue;
    const dict::Dict* one = entry.value.dict();
    if (one == nullptr) return damaged(kStoresSettingsFile, entry.key, "is a dictionary");
    StoreConfig config;
    config.name = entry.key;
    config.address = one->string_or("Address", "");
    config.id = one->string_or("Id", "");
    config.fast = one->string_or("Role", "") == "fast";
    config.shared = one->bool_or("Shared", false);
    const int64_t reserve = one->number_or("ReserveBytes", -1);
    if (reserve >= 0) config.reserve_bytes = static_cast<uint64_t>(reserve);
    if (auto good = check_store_config(config); !good)
      return damaged(kStoresSettingsFile, entry.key, good.error().message());
    if (config.id.empty()) return damaged(kStoresSettingsFile, entry.key, "has no Id");
    stores[config.name] = std::move(config);
  }
  return stores;
}

dict::Dict print_mounts(const StoresConfig& config) {
  dict::Dict out{{kRowsKey, print_rows(config.mounts->table().rows())}};
  if (!config.relocation.empty()) out.set(kMovingKey, config.relocation);
  if (config.mounts->superseded().empty()) return out;
  out.set(kSupersededKey, print_rows(config.mounts->superseded()));
  if (!config.rows_before.empty()) out.set(kBeforeKey, print_rows(config.rows_before));
  return out;
}

Result<void> parse_mounts(const dict::Dict& dict, StoresConfig& into) {
  CANOPY_ASSIGN(auto rows, parse_rows(dict, kRowsKey));
  CANOPY_ASSIGN(auto superseded, parse_rows(dict, kSupersededKey));
  CANOPY_ASSIGN(into.rows_before, parse_rows(dict, kBeforeKey));
  if (const dict::Value* how = dict.find(kMovingKey); how != nullptr && how->dict() != nullptr)
    into.relocation = *how->dict();
  if (rows.empty()) rows.push_back({"/", std::string(kRootStoreName), ""});
  auto made = Mounts::make(std::move(rows), std::move(superseded));
  if (!made) return damaged(kMountsSettingsFile, kRowsKey, made.error().to_string());
  into.mounts = std::make_shared<const Mounts>(std::move(*made));
  return {};
}

uint64_t file_id_salt(std::string_view marker_id) {
  const uint64_t salt = XXH64(marker_id.data(), marker_id.size(), 0) & ~((1ull << 40) - 1) & ~(1ull << 63);
  return salt == 0 ? 1ull << 40 : salt;  // 0 is the root store's
}

}  // namespace canopy
