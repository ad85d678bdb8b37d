#include "daemon/account/remembered_requests.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace canopy {
namespace {
constexpr size_t kPieceBytes = 16u << 10;
constexpr size_t kIndexMin = 64;
}  // namespace

void RememberedRequests::clear() { *this = RememberedRequests(); }

void RememberedRequests::add_piece(size_t bytes) {
  Piece piece;
  piece.bytes = std::make_unique_for_overwrite<char[]>(bytes);
  piece.size = bytes;
  pieces_.push_back(std::move(piece));
}

void RememberedRequests::expect(size_t count, size_t result_bytes) {
  entries_.reserve(entries_.size() + count);
  if (result_bytes > 0) add_piece(result_bytes);
}

void RememberedRequests::add_new(const RequestId& id, int64_t time_ns, std::string_view result) {
  if (pieces_.empty() || pieces_.back().size - pieces_.back().used < result.size()) {
    add_piece(std::max(result.size(), kPieceBytes));
  }
  Piece& piece = pieces_.back();
  char* at = piece.bytes.get() + piece.used;
  if (!result.empty()) std::memcpy(at, result.data(), result.size());
  piece.used += result.size();
  ++piece.entries;
  entries_.push_back({id, time_ns, std::string_view(at, result.size())});
  if (index_.empty()) return;
  if ((index_used_ + 1) * 10 > index_.size() * 7) {
    index_.clear();
    return;
  }
  size_t slot = slot_of(id);
  while (index_[slot] != 0) slot = (slot + 1) & (index_.size() - 1);
  index_[slot] = static_cast<uint32_t>(entries_.size());
  ++index_used_;
}

void RememberedRequests::add(const RequestId& id, int64_t time_ns, std::string_view result) {
  if (find(id) == nullptr) add_new(id, time_ns, result);
}

void RememberedRequests::forget_oldest() {
  ++first_;
  while (pieces_.front().entries == 0) pieces_.pop_front();  // a piece that nothing was put into
  if (--pieces_.front().entries == 0 && pieces_.size() > 1) pieces_.pop_front();
  if (first_ * 2 < entries_.size() || first_ < kIndexMin) return;
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(first_));
  first_ = 0;
  index_.clear();
}

void RememberedRequests::forget_before(int64_t time_ns) {
  while (size() > 0 && begin()->time_ns < time_ns) forget_oldest();
}

// The clients chose the ids at random; only their first bytes, which some make from a name or counter, are
// left out.
size_t RememberedRequests::slot_of(const RequestId& id) const {
  uint64_t word;
  std::memcpy(&word, id.data() + 4, sizeof word);
  return (word * 0x9e3779b97f4a7c15u) >> (64 - std::countr_zero(index_.size()));
}

void RememberedRequests::make_index() const {
  index_.assign(std::bit_ceil(std::max(kIndexMin, size() * 2)), 0);
  index_used_ = size();
  for (size_t i = first_; i < entries_.size(); ++i) {
    size_t slot = slot_of(entries_[i].id);
    while (index_[slot] != 0) slot = (slot + 1) & (index_.size() - 1);
    index_[slot] = static_cast<uint32_t>(i + 1);
  }
}

const RememberedRequest* RememberedRequests::find(const RequestId& id) const {
  if (size() == 0) return nullptr;
  if (index_.empty()) make_index();
  for (size_t slot = slot_of(id); index_[slot] != 0; slot = (slot + 1) & (index_.size() - 1)) {
    size_t at = index_[slot] - 1;
    if (at >= first_ && entries_[at].id == id) return &entries_[at];
  }
  return nullptr;
}

size_t RememberedRequests::memory_bytes() const {
  size_t total = entries_.capacity() * sizeof(RememberedRequest) + index_.capacity() * sizeof(uint32_t);
  for (const Piece& piece : pieces_) total += piece.size;
  return total;
}

}  // namespace canopy
