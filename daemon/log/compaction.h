// Compaction and check of an account log. For the loop's thread only.
//
// A compaction drops a set of closed slices. Their live content is copied into one new data slice, which also
// holds the whole state (all mailboxes, rows, keywords, …) at the roll point, so that replay of it and of the
// slices after it gives the state exactly. Closed slices that are not dropped stay for the content in them
// and are replayed no more: the rows in the data slice refer to them. So a compaction costs the live content
// of what it drops and about 60 bytes a row.
//
//   1. In the lane, nothing under way: appends roll to a new slice; source.snapshot() is called.
//   2. Beside the lane: source.next() is asked for everything; the data slice is written and made durable.
//   3. In the lane, after source.quiet(): source.switch_over(); a new slice with a manifest [kept…, data,
//   rolled, new] and the restated rows is
//      made durable; source.switched().
//   4. Dropped slices are removed once the last pin on them goes.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <variant>
#include <vector>

#include "daemon/log/account_log.h"

namespace canopy {

// A row as the source knows it: a Message whose content is given by place, never inline.
struct LiveMessage {
  Message message;  // content kind kReference or kParts; or kInline with `own` set: the content is in `own`
  Place own;        // place of the Message record that this row came from
  uint64_t own_length = 0;  // its RecordView::length, or 0
};

// Where a row's Message record lies from now on.
struct MovedMessage {
  uint32_t mailbox_id = 0, uid = 0;
  Place from;  // LiveMessage::own
  Place to;
  uint64_t to_length = 0;     // RecordView::length
  bool is_reference = false;  // the record at `to` refers to another one's content
  Place content_from;         // the record that held the content, no reference itself, and
  Place content_to;           // the one that holds it from now on
  bool operator==(const MovedMessage&) const = default;
};

// The account layer's side. snapshot(), switch_over() and switched() are called synchronously with no append
// under way and every answered append resumed; they must not suspend.
class CompactionSource {
 public:
  virtual ~CompactionSource() = default;
  // Fixes what next() will enumerate: the state as of now. next() may show a row as it is later, or leave out
  // one that was expunged since: the frames after the roll point say so again.
  virtual void snapshot() = 0;
  // Puts the next part of the state into `out`: state records into out.frame (mailboxes, keywords,
  // subscriptions, rights, floors, uidnext, counter, remembered requests; first everything that rows need),
  // then rows into out.rows. About copy_chunk_bytes or kCompactionRowsPerStep at a time. False: that was all,
  // `out` is empty.
  struct Step {
    Frame frame;
    std::vector<LiveMessage> rows;
  };
  virtual Task<Result<bool>> next(Step& out) = 0;
  // Where the rows of the last step will lie. Reads go to the old places until switched().
  virtual void copied(std::span<const MovedMessage> moved) = 0;
  // Awaited before switch_over(). When it answers, no frame that was planned before is still to be appended,
  // and none is planned until switched() or abandoned(): it could refer to content in dropped slices, which
  // from then on nobody restates.
  virtual Task<void> quiet() { co_return; }
  // Appends since the roll may refer to content in dropped slices (a COPY). For every row whose Message
  // record or content would still lie in a slice of `dropped` once the copied() places count, add a Message
  // record (same mailbox, uid, mod-sequence, flags; kReference to the new place) to `restated`; its place
  // comes with switched().
  virtual Result<void> switch_over(std::span<const uint32_t> dropped, Frame& restated) = 0;
  // The new manifest is durable: the copied() places count. `restated` has the places of the restated records
  // (empty when there were none).
  virtual void switched(const Appended& restated) = 0;
  // It will not happen: places stay as they were.
  virtual void abandoned() = 0;
};

inline constexpr size_t kCompactionRowsPerStep = 4096;

struct CompactionRequest {
  // Slices to drop; all that exist before the roll when empty. Numbers that are no longer live are ignored.
  std::vector<uint32_t> drop;
  // Awaited after each copied chunk with its bytes; an error stops the compaction with it. Empty: no
  // throttle.
  std::function<Task<Result<void>>(uint64_t bytes)> throttle;
  // Verified content only is copied. When true, rows whose content does not verify are kept by referring to
  // the damaged slice, which then stays live; when false such a compaction fails with kDamaged.
  bool keep_damaged = true;
  // Repair: rows whose content does not verify are left out and reported as lost (the caller expunges them
  // afterwards); dropped slices that hold damage go to `damaged/` in the account's directory instead of being
  // removed.
  bool set_damaged_aside = false;
};

struct LostMessage {
  uint32_t mailbox_id = 0, uid = 0;
  bool operator==(const LostMessage&) const = default;
};

struct CompactionReport {
  uint32_t slices_dropped = 0;
  uint64_t bytes_before = 0;  // of live slices
  uint64_t bytes_after = 0;
  uint64_t rows = 0;
  uint64_t content_bytes_copied = 0;
  std::vector<Damage> damages;    // found while copying
  std::vector<LostMessage> lost;  // with set_damaged_aside only
};

struct CheckReport {
  std::vector<Damage> damages;
  uint64_t bytes_verified = 0;
  uint64_t frames = 0;
  std::vector<std::string> orphans;  // files that the manifest in force does not name
  uint64_t torn_bytes = 0;           // beyond the valid ends: no damage
};

}  // namespace canopy
