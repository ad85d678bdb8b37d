#include "daemon/base/crc32c.h"

#include <nmmintrin.h>

#include <array>
#include <cstring>

namespace canopy {
namespace {

// The CPU takes a word each cycle but answers after three, so that three lanes at once cost what one does.
constexpr size_t kLaneBytes = 1024;
constexpr size_t kLaneBytesLog2 = 10;
static_assert(size_t{1} << kLaneBytesLog2 == kLaneBytes);

// A linear map of the 32 bits of a state: what each bit alone becomes.
using Columns = std::array<uint32_t, 32>;

constexpr uint32_t mapped(const Columns& columns, uint32_t state) {
  uint32_t out = 0;
  for (size_t bit = 0; bit < 32; ++bit) out ^= (state >> bit & 1) != 0 ? columns[bit] : 0;
  return out;
}

// What kLaneBytes bytes of zero do to a state, by its bytes: four look-ups.
constexpr std::array<std::array<uint32_t, 256>, 4> make_shift() {
  Columns columns{};
  for (size_t bit = 0; bit < 32; ++bit) {  // one byte of zero
    uint32_t state = uint32_t{1} << bit;
    for (int i = 0; i < 8; ++i) state = (state & 1) != 0 ? state >> 1 ^ 0x82F63B78u : state >> 1;
    columns[bit] = state;
  }
  for (size_t i = 0; i < kLaneBytesLog2; ++i) {  // twice as many each time
    Columns twice{};
    for (size_t bit = 0; bit < 32; ++bit) twice[bit] = mapped(columns, columns[bit]);
    columns = twice;
  }
  std::array<std::array<uint32_t, 256>, 4> shift{};
  for (size_t byte = 0; byte < 4; ++byte) {
    for (uint32_t value = 0; value < 256; ++value) shift[byte][value] = mapped(columns, value << (8 * byte));
  }
  return shift;
}

constexpr auto kShift = make_shift();

uint32_t shifted(uint64_t state) {
  return kShift[0][state & 0xff] ^ kShift[1][state >> 8 & 0xff] ^ kShift[2][state >> 16 & 0xff] ^
         kShift[3][state >> 24 & 0xff];
}

uint64_t extended(uint64_t state, const char* at) {
  uint64_t word;
  std::memcpy(&word, at, 8);
  return _mm_crc32_u64(state, word);
}

}  // namespace

uint32_t crc32c(uint32_t crc, std::string_view bytes) {
  uint64_t state = static_cast<uint32_t>(~crc);
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 3 * kLaneBytes; left -= 3 * kLaneBytes, at += 3 * kLaneBytes) {
    uint64_t second = 0, third = 0;
    for (size_t i = 0; i < kLaneBytes; i += 8) {
      state = extended(state, at + i);
      second = extended(second, at + kLaneBytes + i);
      third = extended(third, at + 2 * kLaneBytes + i);
    }
    state = shifted(shifted(state) ^ second) ^ third;
  }
  for (; left >= 8; left -= 8, at += 8) state = extended(state, at);
  auto tail = static_cast<uint32_t>(state);
  for (; left > 0; --left, ++at) tail = _mm_crc32_u8(tail, static_cast<unsigned char>(*at));
  return ~tail;
}

}  // namespace canopy
