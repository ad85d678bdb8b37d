#include "daemon/store/memory/sparse_bytes.h"

#include <algorithm>
#include <cstring>

namespace canopy {

size_t SparseBytes::read(uint64_t offset, std::span<char> into) const {
  if (offset >= size_) return 0;
  size_t total = std::min<uint64_t>(into.size(), size_ - offset);
  std::memset(into.data(), 0, total);
  uint64_t end = offset + total;
  for (auto page = pages_.lower_bound(offset / kPageBytes); page != pages_.end(); ++page) {
    uint64_t start = page->first * kPageBytes;
    if (start >= end) break;
    uint64_t from = std::max(start, offset);
    uint64_t to = std::min(start + page->second.size(), end);
    if (from < to)
      std::memcpy(into.data() + (from - offset), page->second.data() + (from - start), to - from);
  }
  return total;
}

void SparseBytes::write(uint64_t offset, std::string_view bytes) {
  uint64_t end = offset + bytes.size();
  while (!bytes.empty()) {
    uint64_t within = offset % kPageBytes;
    size_t part = std::min<uint64_t>(bytes.size(), kPageBytes - within);
    std::string& page = pages_[offset / kPageBytes];
    if (page.size() < within + part) page.resize(within + part);
    page.replace(within, part, bytes.substr(0, part));
    bytes.remove_prefix(part);
    offset += part;
  }
  size_ = std::max(size_, end);
}

void SparseBytes::resize(uint64_t size) {
  if (size < size_) {
    uint64_t last = size / kPageBytes;
    uint64_t within = size % kPageBytes;
    pages_.erase(pages_.lower_bound(within == 0 ? last : last + 1), pages_.end());
    auto page = pages_.find(last);
    if (page != pages_.end() && page->second.size() > within) page->second.resize(within);
  }
  size_ = size;
}

void SparseBytes::punch(uint64_t offset, uint64_t size) {
  uint64_t end = offset + size;
  for (auto page = pages_.lower_bound(offset / kPageBytes); page != pages_.end();) {
    uint64_t start = page->first * kPageBytes;
    if (start >= end) break;
    uint64_t from = std::max(start, offset);
    uint64_t to = std::min(start + kPageBytes, end);
    if (from == start && to == start + kPageBytes) {
      page = pages_.erase(page);
      continue;
    }
    uint64_t held = std::min(to, start + page->second.size());
    if (from < held) std::memset(page->second.data() + (from - start), 0, held - from);
    ++page;
  }
}

void SparseBytes::reserve(uint64_t offset, uint64_t size) {
  if (size == 0) return;
  for (uint64_t page = offset / kPageBytes; page <= (offset + size - 1) / kPageBytes; ++page)
    pages_.try_emplace(page);
}

std::optional<uint64_t> SparseBytes::data_at(uint64_t offset) const {
  if (offset >= size_) return std::nullopt;
  auto page = pages_.lower_bound(offset / kPageBytes);
  if (page == pages_.end() || page->first * kPageBytes >= size_) return std::nullopt;
  return std::max(offset, page->first * kPageBytes);
}

std::optional<uint64_t> SparseBytes::hole_at(uint64_t offset) const {
  if (offset >= size_) return std::nullopt;
  uint64_t page = offset / kPageBytes;
  for (auto held = pages_.find(page); held != pages_.end() && held->first == page; ++held) ++page;
  return std::min(size_, std::max(offset, page * kPageBytes));
}

uint64_t SparseBytes::pages_missing(uint64_t offset, uint64_t size) const {
  if (size == 0) return 0;
  uint64_t first = offset / kPageBytes, last = (offset + size - 1) / kPageBytes;
  uint64_t held = 0;
  for (auto page = pages_.lower_bound(first); page != pages_.end() && page->first <= last; ++page) ++held;
  return last - first + 1 - held;
}

}  // namespace canopy
