// A foldering method: which `x.sub` folders stand between a place and a name (docs/formats/tree.md,
// "Foldering"). `flat`; `2-1`: letters of the name; `hash-2-1`: hex digits of the name's XXH64. Immutable
// values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/error.h"

namespace canopy {

inline constexpr uint32_t kFolderingLevelsMax = 4;
inline constexpr uint32_t kFolderingLettersMax = 4;  // a level

class Foldering {
 public:
  Foldering() = default;  // flat

  // kInvalidArgument unless `text` is exactly one of the canonical forms.
  static Result<Foldering> parse(std::string_view text);
  std::string to_string() const;

  uint32_t levels() const { return levels_; }
  uint32_t letters(uint32_t level) const { return letters_[level]; }
  bool hashed() const { return hashed_; }

  // Appends "js.sub/m.sub/" for the prepared name `jsmith` under 2-1; nothing when flat.
  void append_folders(std::string& out, std::string_view name) const;

  bool operator==(const Foldering&) const = default;

 private:
  std::array<uint8_t, kFolderingLevelsMax> letters_{};
  uint8_t levels_ = 0;
  bool hashed_ = false;
};

}  // namespace canopy
