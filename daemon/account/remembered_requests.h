// RememberedRequests: the answers to an account's mutating requests, oldest first, by request id. Made so
// that tens of thousands of them load from a checkpoint in about a millisecond: entries and answers lie in a
// few large pieces of memory, and the index by id is made when somebody first asks. For one thread; looking
// up counts as a change.
#pragma once

#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "daemon/log/records.h"

namespace canopy {

struct RememberedRequest {
  RequestId id{};
  int64_t time_ns = 0;
  std::string_view result;  // RequestResult, encoded
};

class RememberedRequests {
 public:
  // Null when it is not remembered. Valid until the next change.
  const RememberedRequest* find(const RequestId& id) const;
  // No effect when it is there already.
  void add(const RequestId& id, int64_t time_ns, std::string_view result);
  // The same for one that is known not to be there, as a checkpoint's are.
  void add_new(const RequestId& id, int64_t time_ns, std::string_view result);
  void forget_oldest();
  void forget_before(int64_t time_ns);
  void clear();
  void expect(size_t count, size_t result_bytes);  // so much is about to be added

  size_t size() const { return entries_.size() - first_; }
  const RememberedRequest* begin() const { return entries_.data() + first_; }
  const RememberedRequest* end() const { return entries_.data() + entries_.size(); }
  size_t memory_bytes() const;

 private:
  struct Piece {  // of memory for results
    std::unique_ptr<char[]> bytes;
    size_t size = 0, used = 0;
    size_t entries = 0;  // that lie in it and are remembered
  };
  void add_piece(size_t bytes);
  size_t slot_of(const RequestId& id) const;
  void make_index() const;

  std::vector<RememberedRequest> entries_;
  size_t first_ = 0;  // entries before it are forgotten
  std::deque<Piece> pieces_;
  // Open addressing; a slot holds a position in entries_ and 1, or 0. Empty: not made. Forgotten ones stay in
  // it.
  mutable std::vector<uint32_t> index_;
  mutable size_t index_used_ = 0;
};

}  // namespace canopy
