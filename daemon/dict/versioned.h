// The envelope of settings and info files: the writer's epoch and a version, the request that made the file,
// and the requests that changed it lately (docs/formats/dictionary.md, "Versioned files"; DESIGN "Settings
// and info"). Of two files the one with the higher Version counts. Pure; any thread.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/limits.h"
#include "daemon/dict/value.h"

namespace canopy::dict {

inline constexpr std::string_view kEpochKey = ".epoch";        // 16 hex digits
inline constexpr std::string_view kVersionKey = ".version";    // #n, from 1
inline constexpr std::string_view kCreatedKey = ".created";    // data of 16 bytes
inline constexpr std::string_view kRequestsKey = ".requests";  // array of ("id", #seconds, epoch, #version)

struct Version {
  uint64_t epoch = 0;   // of the process that wrote the file
  uint64_t number = 0;  // rises with every replacement; at most int64's maximum
  auto operator<=>(const Version&) const = default;
  bool none() const { return epoch == 0 && number == 0; }
  std::string to_string() const;  // "0000000100000005/7"

  // The version of this file's replacement by a process of `own_epoch`: always higher than this one, provided
  // that own_epoch is at least this epoch; kFenced otherwise.
  Result<Version> next(uint64_t own_epoch) const;
};

// A request that changed the file, and the version that it made.
struct AnsweredRequest {
  std::array<char, kRequestIdBytes> id{};
  int64_t unix_seconds = 0;
  Version version;
  bool operator==(const AnsweredRequest&) const = default;
};

struct VersionedDict {
  Version version;
  Dict dict;                                   // without the reserved keys
  std::string created = {};                    // by this request; kRequestIdBytes, or empty: not known
  std::vector<AnsweredRequest> requests = {};  // the oldest first

  // Null when it is not remembered, or `id` is empty. Valid until the next change.
  const AnsweredRequest* answered(std::string_view id) const;
  // That `id` made the present version; forgets what is older than an hour, or too much. An empty id is none.
  void remember(std::string_view id, int64_t unix_seconds);
  void forget_all_but(size_t newest);  // requests

  bool operator==(const VersionedDict&) const = default;
};

// None when both keys are absent (a file that was made by hand: any other is newer); kDamaged when one is
// missing or malformed.
Result<Version> version_of(const Dict& dict, std::string_view name = "dictionary");
void put_version(Dict& dict, Version version);  // not a none
void strip_reserved(Dict& dict);                // the keys above
// Keys that begin with '.' at the top level are Canopy's: kInvalidArgument names the first one. For
// dictionaries that come from clients.
Result<> refuse_reserved_keys(const Dict& dict, std::string_view name = "dictionary");

// A whole file. A text that does not parse is kDamaged here: files are replaced whole, so no half-written one
// exists.
Result<VersionedDict> parse_versioned(std::string_view text, std::string_view name);
Result<std::string> print_versioned(const VersionedDict& file, std::string_view name);

}  // namespace canopy::dict
