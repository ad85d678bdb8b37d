#include "daemon/store/departure.h"

#include <fmt/format.h>

#include "daemon/dict/versioned.h"
#include "daemon/store/set/store_set.h"

namespace canopy {
namespace {

constexpr std::string_view kStoreKey = "Store", kPathKey = "Path", kStagedKey = "Staged", kFileKey = "File";

std::string fixed(std::string_view store, std::string_view path) {
  return fmt::format("{}/{}/{}", kStoresElement, store, path);
}

}  // namespace

std::string Departure::target() const { return fixed(store, path); }
std::string Departure::waits_at() const { return fixed(store, staged); }

dict::Dict print_departure(const Departure& departure) {
  dict::Dict out{{kStoreKey, departure.store}, {kPathKey, departure.path}, {kStagedKey, departure.staged}};
  out.set(kFileKey, dict::Value(static_cast<int64_t>(departure.file_id)));
  return out;
}

Task<Result<std::optional<Departure>>> read_departure(Store& store, std::string directory) {
  const std::string path = fmt::format("{}/{}", directory, kDepartureFile);
  auto text = co_await read_file(store, path, kDepartureBytesMax);
  if (!text && text.error().code() == Code::kNotFound) co_return std::optional<Departure>();
  if (!text) co_return fail(std::move(text).error());
  CANOPY_CO_ASSIGN(const dict::VersionedDict file, dict::parse_versioned(*text, path));
  Departure departure;
  departure.store = file.dict.string_or(kStoreKey, "");
  if (departure.store.empty()) co_return std::optional<Departure>();  // called off
  departure.path = file.dict.string_or(kPathKey, "");
  departure.staged = file.dict.string_or(kStagedKey, "");
  departure.file_id = static_cast<uint64_t>(file.dict.number_or(kFileKey, 0));
  if (departure.path.empty() || departure.staged.empty())
    co_return fail(Code::kDamaged, path, "it does not say where the account goes");
  co_return std::optional<Departure>(std::move(departure));
}

Task<Result<bool>> has_arrived(Store& store, Departure departure) {
  auto there = co_await store.attributes(departure.target());
  if (there) co_return there->type == FileType::kDirectory && there->file_id == departure.file_id;
  if (there.error().code() == Code::kNotFound || there.error().code() == Code::kNotDirectory) co_return false;
  co_return fail(std::move(there).error());
}

Task<Result<bool>> has_departed(Store& store, std::string directory) {
  auto departure = co_await read_departure(store, std::move(directory));
  if (!departure) co_return fail(std::move(departure).error());
  if (!*departure) co_return false;
  co_return co_await has_arrived(store, std::move(**departure));
}

}  // namespace canopy
