#include "daemon/dict/versioned.h"

#include <limits>

#include "daemon/base/bytes.h"
#include "daemon/base/check.h"
#include "daemon/dict/dict.h"

namespace canopy::dict {

namespace {

constexpr uint64_t kNumberMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

}  // namespace

std::string Version::to_string() const { return fmt::format("{}/{}", hex64(epoch), number); }

Result<Version> Version::next(uint64_t own_epoch) const {
  if (own_epoch < epoch) {
    return fail(Code::kFenced, to_string(),
                fmt::format("written by a later epoch than {}", hex64(own_epoch)));
  }
  if (number >= kNumberMax) return fail(Code::kInternal, to_string(), "the version number is used up");
  return Version{own_epoch, number + 1};
}

Result<Version> version_of(const Dict& dict, std::string_view name) {
  const Value* epoch = dict.find(kEpochKey);
  const Value* number = dict.find(kVersionKey);
  if (epoch == nullptr && number == nullptr) return Version{};
  const std::string* digits = epoch ? epoch->string() : nullptr;
  std::optional<uint64_t> parsed = digits ? parse_hex64(*digits) : std::nullopt;
  if (!parsed) {
    return fail(Code::kDamaged, std::string(name), fmt::format("{} is not 16 hexadecimal digits", kEpochKey));
  }
  const int64_t* count = number ? number->number() : nullptr;
  if (count == nullptr || *count < 1) {
    return fail(Code::kDamaged, std::string(name), fmt::format("{} is not a number from #1 up", kVersionKey));
  }
  return Version{*parsed, static_cast<uint64_t>(*count)};
}

void put_version(Dict& dict, Version version) {
  CANOPY_CHECK(version.number >= 1 && version.number <= kNumberMax);
  dict.set(kEpochKey, hex64(version.epoch));
  dict.set(kVersionKey, static_cast<int64_t>(version.number));
}

void strip_version(Dict& dict) {
  dict.erase(kEpochKey);
  dict.erase(kVersionKey);
}

Result<> refuse_reserved_keys(const Dict& dict, std::string_view name) {
  for (const Entry& entry : dict) {
    if (!entry.key.starts_with('.')) continue;
    return fail(Code::kInvalidArgument, fmt::format("{}: {}", name, entry.key),
                "keys that begin with '.' are reserved");
  }
  return {};
}

Result<VersionedDict> parse_versioned(std::string_view text, std::string_view name) {
  Result<Dict> dict = parse_dict(text, name);
  if (!dict) return fail(Code::kDamaged, dict.error().object(), dict.error().message());
  CANOPY_ASSIGN(Version version, version_of(*dict, name));
  strip_version(*dict);
  return VersionedDict{version, *std::move(dict)};
}

Result<std::string> print_versioned(const VersionedDict& file, std::string_view name) {
  Dict whole = file.dict;
  put_version(whole, file.version);
  return print_file(whole, name);
}

}  // namespace canopy::dict
