// RememberedRequests: the answers to an account's mutating requests, oldest first, by request id. Made so
// that tens of thousands of them load from a checkpoint in well under a millisecond: rows and answers lie in
// memory as they do in the file, and the index by id is made when somebody first asks. For one thread;
// looking up counts as a change.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/large_array.h"
#include "daemon/log/records.h"

namespace canopy {

inline constexpr uint32_t kRememberedResultBytesMax = 1u << 30;  // together; beyond it the oldest go early

struct RememberedRequest {
  RequestId id{};
  int64_t time_ns = 0;
  std::string_view result;  // RequestResult, encoded
};

class RememberedRequests {
 public:
  // Its view is valid until the next change.
  std::optional<RememberedRequest> find(const RequestId& id) const;
  // No effect when it is there already.
  void add(const RequestId& id, int64_t time_ns, std::string_view result);
  void forget_oldest();
  void forget_before(int64_t time_ns);
  void clear();

  size_t size() const { return rows_.size() - first_; }
  RememberedRequest operator[](size_t i) const { return request(first_ + i); }  // 0: the oldest
  size_t memory_bytes() const;

  // docs/formats/checkpoint.md, "Body": rows, then results.
  uint64_t result_bytes() const;
  void save(std::string& body) const;
  // Takes the place of all that is remembered: memory for that many rows and bytes of results, which the
  // caller fills from a checkpoint; then filled_rightly() says whether it holds what save() writes.
  std::array<std::span<char>, 2> make_room(size_t count, uint32_t result_bytes);
  bool filled_rightly() const;

  struct Row {
    RequestId id{};
    int64_t time_ns = 0;
    uint32_t result_at = 0;  // in all results one after the other, modulo 2^32
    uint32_t result_bytes = 0;
  };
  static_assert(sizeof(Row) == 32);

 private:
  struct Piece {  // of memory for results
    std::unique_ptr<char[]> bytes;
    uint32_t begin = 0;  // what result_at is at its first byte
    size_t size = 0, used = 0;
    size_t rows = 0;  // whose results lie in it and are remembered
  };
  RememberedRequest request(size_t position) const;
  void add_new(const RequestId& id, int64_t time_ns, std::string_view result);
  void add_piece(size_t bytes);
  uint32_t results_end() const;
  size_t slot_of(const RequestId& id) const;
  void make_index() const;

  std::vector<Row, LargeArrayAllocator<Row>> rows_;
  size_t first_ = 0;  // rows before it are forgotten
  std::deque<Piece> pieces_;
  // Open addressing; a slot holds a position in rows_ and 1, or 0. Empty: not made. Forgotten ones stay in
  // it.
  mutable std::vector<uint32_t> index_;
  mutable size_t index_used_ = 0;
};

}  // namespace canopy
