#include "daemon/account/remembered_requests.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace canopy {
namespace {
constexpr size_t kPieceBytes = 16u << 10;
constexpr size_t kIndexMin = 64;
}  // namespace

void RememberedRequests::clear() { *this = RememberedRequests(); }

uint32_t RememberedRequests::results_end() const {
  return pieces_.empty() ? 0 : pieces_.back().begin + static_cast<uint32_t>(pieces_.back().used);
}

void RememberedRequests::add_piece(size_t bytes) {
  Piece piece;
  piece.bytes = std::make_unique_for_overwrite<char[]>(bytes);
  piece.begin = results_end();
  piece.size = bytes;
  pieces_.push_back(std::move(piece));
}

void RememberedRequests::add_new(const RequestId& id, int64_t time_ns, std::string_view result) {
  while (size() > 0 && result_bytes() + result.size() > kRememberedResultBytesMax) forget_oldest();
  if (pieces_.empty() || pieces_.back().size - pieces_.back().used < result.size()) {
    add_piece(std::max(result.size(), kPieceBytes));
  }
  rows_.push_back({id, time_ns, results_end(), static_cast<uint32_t>(result.size())});
  Piece& piece = pieces_.back();
  if (!result.empty()) std::memcpy(piece.bytes.get() + piece.used, result.data(), result.size());
  piece.used += result.size();
  ++piece.rows;
  if (index_.empty()) return;
  if ((index_used_ + 1) * 10 > index_.size() * 7) {
    index_.clear();
    return;
  }
  size_t slot = slot_of(id);
  while (index_[slot] != 0) slot = (slot + 1) & (index_.size() - 1);
  index_[slot] = static_cast<uint32_t>(rows_.size());
  ++index_used_;
}

void RememberedRequests::add(const RequestId& id, int64_t time_ns, std::string_view result) {
  if (!find(id)) add_new(id, time_ns, result);
}

RememberedRequest RememberedRequests::request(size_t position) const {
  const Row& row = rows_[position];
  RememberedRequest out{row.id, row.time_ns, {}};
  if (row.result_bytes == 0) return out;
  const uint32_t origin = pieces_.front().begin;
  auto after = std::upper_bound(
      pieces_.begin(), pieces_.end(), row.result_at - origin,
      [origin](uint32_t wanted, const Piece& piece) { return wanted < piece.begin - origin; });
  const Piece& piece = *std::prev(after);
  out.result = std::string_view(piece.bytes.get() + (row.result_at - piece.begin), row.result_bytes);
  return out;
}

void RememberedRequests::forget_oldest() {
  ++first_;
  while (pieces_.front().rows == 0) pieces_.pop_front();  // a piece that nothing was put into
  if (--pieces_.front().rows == 0 && pieces_.size() > 1) pieces_.pop_front();
  if (first_ * 2 < rows_.size() || first_ < kIndexMin) return;
  rows_.erase(rows_.begin(), rows_.begin() + static_cast<std::ptrdiff_t>(first_));
  first_ = 0;
  index_.clear();
}

uint64_t RememberedRequests::result_bytes() const {
  return size() == 0 ? 0 : results_end() - rows_[first_].result_at;
}

void RememberedRequests::save(std::string& body) const {
  const size_t at = body.size();
  uint32_t result_at = 0;
  body.resize(at + size() * sizeof(Row));
  for (size_t i = 0; i < size(); ++i) {
    Row row = rows_[first_ + i];
    row.result_at = std::exchange(result_at, result_at + row.result_bytes);
    std::memcpy(body.data() + at + i * sizeof(Row), &row, sizeof row);
  }
  for (size_t i = 0; i < size(); ++i) body.append((*this)[i].result);
}

std::array<std::span<char>, 2> RememberedRequests::make_room(size_t count, uint32_t result_bytes) {
  clear();
  rows_.resize(count);
  std::span<char> results;
  if (count > 0 || result_bytes > 0) {
    add_piece(result_bytes);
    pieces_.back().used = result_bytes;
    pieces_.back().rows = count;
    results = {pieces_.back().bytes.get(), result_bytes};
  }
  return {std::span(reinterpret_cast<char*>(rows_.data()), count * sizeof(Row)), results};
}

bool RememberedRequests::filled_rightly() const {
  uint64_t expected = 0;
  for (const Row& row : rows_) {
    if (row.result_at != expected) return false;
    expected += row.result_bytes;
  }
  return expected == (pieces_.empty() ? 0 : pieces_.back().used);
}

void RememberedRequests::forget_before(int64_t time_ns) {
  while (size() > 0 && rows_[first_].time_ns < time_ns) forget_oldest();
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
  for (size_t i = first_; i < rows_.size(); ++i) {
    size_t slot = slot_of(rows_[i].id);
    while (index_[slot] != 0) slot = (slot + 1) & (index_.size() - 1);
    index_[slot] = static_cast<uint32_t>(i + 1);
  }
}

std::optional<RememberedRequest> RememberedRequests::find(const RequestId& id) const {
  if (size() == 0) return std::nullopt;
  if (index_.empty()) make_index();
  for (size_t slot = slot_of(id); index_[slot] != 0; slot = (slot + 1) & (index_.size() - 1)) {
    size_t at = index_[slot] - 1;
    if (at >= first_ && rows_[at].id == id) return request(at);
  }
  return std::nullopt;
}

size_t RememberedRequests::memory_bytes() const {
  size_t total = rows_.capacity() * sizeof(Row) + index_.capacity() * sizeof(uint32_t);
  for (const Piece& piece : pieces_) total += piece.size;
  return total;
}

}  // namespace canopy
