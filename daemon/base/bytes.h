// Little-endian integers in byte strings, and hexadecimal. Byte strings are std::string and std::string_view.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace canopy {

static_assert(std::endian::native == std::endian::little, "formats are little-endian and copied as they lie");

template <class T>
void put_le(std::string& out, T value) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}

template <class T>
T get_le(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

// Unsigned LEB128, at most 10 bytes.
void put_varint(std::string& out, uint64_t value);

// Reads a byte string from the front. Every getter answers nullopt, and reads nothing more, once bytes are
// missing.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <class T>
  std::optional<T> le() {
    if (rest_.size() < sizeof(T)) return std::nullopt;
    T value = get_le<T>(rest_.data());
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  std::optional<uint64_t> varint();
  std::optional<std::string_view> take(uint64_t size);
  std::optional<std::string_view> sized();  // a varint length, then that many bytes

  bool empty() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

void put_sized(std::string& out, std::string_view bytes);

std::string to_hex(std::string_view bytes);
std::string hex64(uint64_t value);                             // 16 lower-case digits
std::optional<uint64_t> parse_hex64(std::string_view digits);  // exactly 16 digits
std::optional<std::string> from_hex(std::string_view digits);

}  // namespace canopy
