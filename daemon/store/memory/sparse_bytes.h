// The content of a file in memory: pages that were never written, or were punched out, take no room and read
// as zeros.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace canopy {

class SparseBytes {
 public:
  static constexpr uint64_t kPageBytes = 4096;

  uint64_t size() const { return size_; }
  uint64_t allocated() const { return pages_.size() * kPageBytes; }

  size_t read(uint64_t offset, std::span<char> into) const;
  void write(uint64_t offset, std::string_view bytes);  // grows the size where needed
  void resize(uint64_t size);
  // Zeros a range without changing the size; whole pages of it become holes.
  void punch(uint64_t offset, uint64_t size);
  // Gives every page of the range room, holding zeros, without changing the size.
  void reserve(uint64_t offset, uint64_t size);

  // At or after `offset`, in pages, below the size; nullopt at or past the end.
  std::optional<uint64_t> data_at(uint64_t offset) const;
  std::optional<uint64_t> hole_at(uint64_t offset) const;  // the end of the file counts as a hole

  // Pages that a write of this range would add: what a full store is measured by.
  uint64_t pages_missing(uint64_t offset, uint64_t size) const;

 private:
  std::map<uint64_t, std::string> pages_;  // by index; a page shorter than kPageBytes ends in zeros
  uint64_t size_ = 0;
};

}  // namespace canopy
