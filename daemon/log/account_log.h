// AccountLog: the log of one open account, on one store, for one loop. It knows slices, frames and manifests;
// what the records mean is the account layer's (daemon/account), which gives it frames and is given frames
// back.
//
// Every member is for the loop's thread only; there are no locks. An AccountLog is owned by one open account
// and must be close()d before it is destroyed. The Store, Loop and SliceFiles of its environment outlive it.
//
// How a mutation goes: `co_await log.take_over()` in the account's lane (free once it succeeded), plan the
// change against the state, build a Frame, `co_await log.append(std::move(frame))`. Concurrent append()s go
// out in one write with one durability and are answered in offset order, in the order in which they were
// called.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/log/format.h"
#include "daemon/log/records.h"
#include "daemon/log/slice_files.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/task.h"
#include "daemon/store/store.h"

namespace canopy {

inline constexpr size_t kAccountDirectoryEntriesMax =
    65536;  // files of one account directory that a listing takes
inline constexpr uint64_t kCommitBatchBytesMax = 8u
                                                 << 20;  // of one group commit; one larger frame goes alone
inline constexpr size_t kCommitBatchFramesMax = 512;
inline constexpr size_t kAppendsWaitingMax = 4096;  // of one account; more are refused with kBusy
inline constexpr uint64_t kCheckpointBytesMax = 512u << 20;
inline constexpr size_t kManifestSlicesMax = 4096;

struct AccountLogOptions {
  uint64_t slice_bytes_max = 256u << 20;  // appends roll to a new slice beyond this
  uint64_t copy_chunk_bytes = 1u << 20;   // compaction and check hold about this much at a time
  // For repair: a damaged manifest of the newest slice is made up from what lies there, where that is certain
  // (docs/formats/account-log.md, "A lost manifest").
  bool reconstruct_manifest = false;
};

struct LogEnvironment {
  Store* store = nullptr;
  Loop* loop = nullptr;
  SliceFiles* files = nullptr;       // shared by all accounts of the loop
  uint64_t epoch = 0;                // of this process for the account's slot: generation << 32 | counter
  std::function<bool()> lease_held;  // empty: always held. Asked when an operation completes
  AccountLogOptions options;
};

// One whole frame, verified. Views hold until the callee returns.
struct FrameView {
  SliceId slice;
  uint64_t offset = 0;  // of the frame's header
  uint64_t length = 0;  // with header
  int64_t time_ns = 0;  // wall clock of the writer
  RequestId request_id{};
  std::span<const RecordView> records;
};

// Stored bytes below the acknowledged end that do not verify.
struct Damage {
  std::string file;  // name in the account's directory
  uint64_t offset = 0;
  uint64_t length = 0;
  std::string what;  // one sentence
  bool operator==(const Damage&) const = default;
};

// What is built from the log. Applying is idempotent in this sense: a frame is applied once per load, in
// replay order, except that after compaction a Message record may restate a message that is already there
// (same mailbox and uid, same or higher mod-sequence, another place) or one that a later frame expunges, and
// a MailboxCreate may name a mailbox that is there; the later record counts. Records about mailboxes or uids
// that are not there are ignored.
class LogReplay {
 public:
  virtual ~LogReplay() = default;
  // Forget everything: a load begins (anew).
  virtual void reset() = 0;
  // Start from a checkpoint's payload, as write_checkpoint() was given it, in two steps. begin: its head,
  // verified; answers where the body goes: memory of the sink, body_bytes in all, which the log fills in this
  // order and verifies. finish: it is in place. What the sink holds between the two is of no use to anybody.
  // An error only means that the payload is of no use: the log resets and replays everything instead.
  virtual Result<std::vector<std::span<char>>> begin_checkpoint(std::string_view head,
                                                                uint64_t body_bytes) = 0;
  virtual Result<void> finish_checkpoint() = 0;
  // An error here ends open() or take_over() with it.
  virtual Result<void> apply(const FrameView& frame) = 0;
  // An empty one of the same kind. What take_over() loads anew goes into it, since others read this one
  // meanwhile, and takes this one's place at once when it is whole.
  virtual std::unique_ptr<LogReplay> another() const = 0;
  virtual void replace_with(LogReplay& loaded) = 0;  // what another() made
};

// What a checkpoint holds beside what it covers. The body is large and copied as it lies.
struct CheckpointPayload {
  std::string head, body;
  bool operator==(const CheckpointPayload&) const = default;
};

struct Appended {
  uint32_t slice = 0;
  uint64_t offset = 0;                   // of the frame
  int64_t time_ns = 0;                   // as written into it
  std::vector<uint64_t> record_offsets;  // in the slice, one a record, in the order of Frame::add()
  Place place(size_t record) const { return Place{slice, record_offsets[record]}; }
};

// A record and the buffer that it lies in. The view stays valid when this is moved.
struct OwnedRecord {
  std::unique_ptr<char[]> bytes;
  RecordView view;
};

struct SliceInfo {
  ManifestEntry entry;  // length: the end of what counts, for the open-ended one too
  std::string file;
};

// A position up to which a checkpoint speaks: everything of these slices up to these lengths.
struct CoveredPoint {
  std::vector<ManifestEntry> slices;
  bool operator==(const CoveredPoint&) const = default;
};

class CompactionSource;
struct CompactionRequest;
struct CompactionReport;
struct CheckReport;

class AccountLog {
 public:
  // Holds the set of slices that was live when it was taken: none of their files is removed before the last
  // copy of the pin goes. Copyable, cheap. For the loop's thread only; may outlive the AccountLog.
  class Pin {
   public:
    Pin() = default;

   private:
    friend class AccountLog;
    std::shared_ptr<const struct SliceSet> set_;
  };

  // Opens the account in `directory` (a path of the store: "…/jsmith.macnt") for reading: creates and changes
  // nothing. `sink` is reset, then loaded from the newest usable checkpoint and the frames behind it; it
  // outlives the log. Errors: kTryAgain when there is no such directory: the account lies elsewhere now, or
  // has gone; kNotFound when no slice in it has an acknowledged byte (a creation that was never finished:
  // create() may be called); kDamaged when no manifest can be trusted although there is data (check() says
  // more); the store's own. Damage inside slices does not fail an open: see damages().
  static Task<Result<std::unique_ptr<AccountLog>>> open(LogEnvironment environment, std::string directory,
                                                        LogReplay& sink);
  // Makes the first slice in the directory, and `first` in it; durable when it answers. The frame is applied
  // to `sink` (after reset). kAlreadyExists when the account is there; kNotFound when the directory is not:
  // who looks for it at a place that it has left must not leave an empty account there.
  static Task<Result<std::unique_ptr<AccountLog>>> create(LogEnvironment environment, std::string directory,
                                                          LogReplay& sink, Frame first);
  // For a directory whose log was never begun: from now on no process with a lower epoch begins one, as it is
  // told of ours. kConflict: there is a log after all. Leaves an empty slice, which counts for nobody.
  static Task<Result<void>> fence_unbegun(LogEnvironment environment, std::string directory);
  ~AccountLog();

  // Waits for what is under way (appends are answered, a compaction stops at its next step), lets go of
  // files. Nothing may be called afterwards or concurrently except destruction. Pins may live on.
  Task<void> close();

  // Makes this process the one that appends: see DESIGN.md "Fenced by the store". Free when it already is.
  // When there are frames that were not loaded, or another manifest than the loaded one turns out to count,
  // everything is loaded into another() sink, which replaces the first when it is whole: who reads meanwhile
  // sees all of the old or all of the new. Answers true when the sink changed: whatever was planned before
  // must be planned again. kFenced: a higher epoch was here; for good. Other errors leave the log readable,
  // and the next call tries again, except that one while something newer was being loaded leaves what is
  // known to be old: broken() holds then.
  Task<Result<bool>> take_over();

  // After take_over(): makes our manifest durable where no frame has done so yet. What was loaded holds only
  // then: a manifest of a process before us may still arrive, and end a slice before frames that we have
  // read. So whoever is told that something of that has happened must be told after this.
  Task<Result<void>> hold();

  // Makes the frame durable. Takes the account over first when that was not done; should that change the
  // sink, the frame is not written and the answer is kConflict: plan again. On every other error it is
  // unknown whether the frame will be there after a reload, and broken() holds: drop the state and open the
  // account again (a resent request id tells). kFenced: this process has lost the account for good. kBusy
  // (kAppendsWaitingMax), kTooLarge, kInvalidArgument (empty): nothing was written and the log is not broken.
  // The frame is not applied to the sink: the caller's own.
  Task<Result<Appended>> append(Frame frame);
  // True after a failed write, a failed take-over, or a read that has found the account's directory gone:
  // appends are refused with kTryAgain, reads of acknowledged records go on.
  bool broken() const;
  bool fenced() const;
  // No append waits or is under way.
  bool idle() const;
  // Resumes when idle(); appends called meanwhile are waited for as well.
  Task<void> quiesce();

  Pin pin() const;
  // Reads and verifies one record. `hint_length` is RecordView::length when known (one read), or 0 (two).
  // kDamaged names slice and offset; kNotFound when the pin holds no such slice or the place is beyond its
  // end; kTryAgain when the directory has gone.
  Task<Result<OwnedRecord>> read_record(Pin pin, Place place, uint64_t hint_length);

  // A name for the stored bytes at a place that no other bytes of any account ever have: derived from the
  // account's secret, the slice's identity and the offset. Empty when the place is in no live slice. 40
  // bytes, the first 16 the same for the whole account.
  std::string content_name(Place place) const;
  std::string content_name_prefix() const;
  static std::optional<Place> place_of_content_name(std::string_view name);

  // Where acknowledged frames end now. It speaks of frames whose append() was answered: in the caller's
  // continuation of an append(), of this frame and those before it.
  CoveredPoint covered() const;
  // Stores a checkpoint: `payload` is the state at exactly `covered`. Answers when it is stored, not durable
  // (derived: it may vanish any time). Older ones are removed afterwards. kConflict when the slices changed
  // meanwhile (compaction).
  Task<Result<void>> write_checkpoint(CoveredPoint covered, CheckpointPayload payload);
  // Bytes of frames that the next open would have to replay with the newest checkpoint known here.
  uint64_t bytes_since_checkpoint() const;

  // Live slices in replay order, with their valid lengths.
  std::vector<SliceInfo> slices() const;
  // What loading found, in the order found. Damage that was skipped; the frames in it were not applied.
  const std::vector<Damage>& damages() const;
  const std::string& directory() const;

  // Copies what lives into a new slice and drops old ones: see compaction.h. At most one at a time (kBusy).
  // Appends and reads go on meanwhile. After an error the account is as before, at most with one more slice.
  Task<Result<CompactionReport>> compact(CompactionSource& source, CompactionRequest request);

  // Walks all live slices and verifies every byte; never fails for damage, only when the store does. A
  // checkpoint that does not verify or count is an orphan: it is derived.
  Task<Result<CheckReport>> check();
  // Removes files that the manifest in force does not name and whose epoch is not above ours: left by
  // crashes. Owner only (kInvalidArgument before take_over()). Answers how many.
  Task<Result<uint32_t>> remove_orphans();

 private:
  struct State;
  explicit AccountLog(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace canopy
