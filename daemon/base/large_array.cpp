#include "daemon/base/large_array.h"

#include <sys/mman.h>

#include <cstdint>

namespace canopy {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kWorthExpecting = 16 * kPageBytes;

uintptr_t round_up(uintptr_t value, size_t to) { return (value + to - 1) & ~uintptr_t{to - 1}; }

}  // namespace

void* take_large(size_t bytes) {
  const size_t length = round_up(bytes, kPageBytes);
  void* raw =
      mmap(nullptr, length + kHugePageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) throw std::bad_alloc();
  const auto begin = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t at = round_up(begin, kHugePageBytes);
  if (at > begin) munmap(raw, at - begin);
  const uintptr_t end = begin + length + kHugePageBytes;
  if (end > at + length) munmap(reinterpret_cast<void*>(at + length), end - at - length);
  void* array = reinterpret_cast<void*>(at);
  (void)madvise(array, length, MADV_HUGEPAGE);  // refused where there are none
  return array;
}

void give_large(void* at, size_t bytes) { munmap(at, round_up(bytes, kPageBytes)); }

void expect_overwrite(std::span<char> bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t first = round_up(begin, kPageBytes);
  const uintptr_t end = (begin + bytes.size()) & ~uintptr_t{kPageBytes - 1};
  if (bytes.size() < kWorthExpecting || end <= first) return;
#ifdef MADV_POPULATE_WRITE
  (void)madvise(reinterpret_cast<void*>(first), end - first, MADV_POPULATE_WRITE);
#endif
}

}  // namespace canopy
