// Memory for arrays that may become large: of 2 MiB or more in huge pages where the system gives them, below
// that by operator new. Elements made without a value (resize()) are left as the memory is: whoever makes
// them fills them, usually from a file. So a vector of millions of bytes is read in at the price of its bytes
// and not of a page fault each 4 KiB.
#pragma once

#include <cstddef>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace canopy {

inline constexpr size_t kHugePageBytes = 2u << 20;

// At least kHugePageBytes; throws std::bad_alloc like operator new.
void* take_large(size_t bytes);
void give_large(void* at, size_t bytes);

// Brings in the pages of memory that is about to be overwritten whole, at once. Only a hint.
void expect_overwrite(std::span<char> bytes);

template <class T>
struct LargeArrayAllocator {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
  using value_type = T;

  LargeArrayAllocator() = default;
  template <class Other>
  explicit LargeArrayAllocator(const LargeArrayAllocator<Other>&) {}

  T* allocate(size_t count) {
    if (count > static_cast<size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    const size_t bytes = count * sizeof(T);
    return static_cast<T*>(bytes < kHugePageBytes ? ::operator new(bytes) : take_large(bytes));
  }
  void deallocate(T* at, size_t count) {
    const size_t bytes = count * sizeof(T);
    if (bytes < kHugePageBytes) {
      ::operator delete(at, bytes);
    } else {
      give_large(at, bytes);
    }
  }
  template <class... Values>
  void construct(T* at, Values&&... values) {
    if constexpr (sizeof...(Values) > 0) ::new (static_cast<void*>(at)) T(std::forward<Values>(values)...);
  }
  bool operator==(const LargeArrayAllocator&) const = default;
};

}  // namespace canopy
