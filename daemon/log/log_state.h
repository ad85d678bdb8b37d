// The inside of AccountLog, shared by the files that implement it: log_manifest.cpp (choosing the manifest),
// log_load.cpp (replay), log_take_over.cpp, log_append.cpp (group commit), log_checkpoint.cpp,
// compaction.cpp, check.cpp. Coroutines that nobody waits for hold a shared_ptr to it.
#pragma once

#include <deque>
#include <set>

#include "daemon/log/account_log.h"
#include "daemon/log/compaction.h"
#include "daemon/log/slice_scan.h"
#include "daemon/runtime/sync.h"

namespace canopy {

// Removes, or sets aside, the files of slices that no manifest names, once nobody reads them any more.
class Graveyard : public std::enable_shared_from_this<Graveyard> {
 public:
  Graveyard(LogEnvironment environment, std::string directory)
      : environment_(std::move(environment)),
        directory_(std::move(directory)),
        under_way_(*environment_.loop) {}
  void bury(std::string path, bool set_aside);
  Task<void> wait() {
    while (under_way_.count() > 0) co_await under_way_.wait();
  }

 private:
  static Task<void> remove(std::shared_ptr<Graveyard> self, std::string path, bool set_aside);
  LogEnvironment environment_;
  std::string directory_;
  WaitGroup under_way_;
};

// One slice that the manifest in force names. Held by the sets that pins hold.
struct LiveSlice {
  SliceId id;
  SliceKind kind = SliceKind::kAppend;
  bool replayed = true;
  std::string file_name;
  std::string path;
  SliceSeed seed;
  uint64_t end = 0;        // of what counts; grows for the slice that is appended to
  bool damaged = false;    // something in it did not verify
  bool doomed = false;     // dropped: its file goes with the last reference
  bool set_aside = false;  // to `damaged/` instead
  std::shared_ptr<Graveyard> graveyard;

  LiveSlice() = default;
  LiveSlice(const LiveSlice&) = delete;
  ~LiveSlice() {
    if (doomed) graveyard->bury(path, set_aside);
  }
};

// In replay order; the last is the manifest's own.
struct SliceSet {
  std::vector<std::shared_ptr<LiveSlice>> slices;
  LiveSlice* find(uint32_t number) const {
    for (const auto& slice : slices)
      if (slice->id.number == number) return slice.get();
    return nullptr;
  }
};

// Which of two slices, or checkpoints, was begun later.
inline bool newer_slice(SliceId a, SliceId b) {
  return a.epoch != b.epoch ? a.epoch > b.epoch : a.number > b.number;
}
Task<Result<std::string>> read_front(File& file, uint64_t bytes);  // fewer when the file is shorter
// A file that was listed and is gone: somebody compacts meanwhile. It must not look like an account that is
// not there.
Error slice_vanished(Error error);

struct AccountLog::State : std::enable_shared_from_this<AccountLog::State> {
  State(LogEnvironment env, std::string account_directory, LogReplay& replay_into)
      : environment(std::move(env)),
        directory(std::move(account_directory)),
        sink(&replay_into),
        lane(*environment.loop),
        checkpoint_gate(*environment.loop),
        appends(*environment.loop),
        graveyard(std::make_shared<Graveyard>(environment, directory)) {}

  LogEnvironment environment;
  std::string directory;
  LogReplay* sink;
  Mutex lane;  // taking over, a group's write, rolling, switching to a compacted slice: one at a time
  Mutex checkpoint_gate;  // writing a checkpoint: two at once would choose the same number

  std::shared_ptr<const SliceSet> set;
  std::string secret;
  std::vector<Damage> damages;
  uint64_t torn_bytes = 0;  // behind the end of the newest slice, when loaded
  SliceId checkpoint;       // newest known; number 0: none
  CoveredPoint checkpoint_covers;

  bool owner = false;
  bool is_broken = false;
  bool is_elsewhere = false;  // somebody has moved its directory meanwhile
  bool is_fenced = false;
  bool closed = false;
  bool compacting = false;
  uint64_t loads = 0;                             // how often the sink changed by taking over
  std::vector<std::weak_ptr<LiveSlice>> dropped;  // by compaction, perhaps still pinned

  // The slice that is appended to: the last of `set` once `owner`.
  std::shared_ptr<File> active_file;
  std::string preamble;      // header and manifest frame still to be written with the first group
  bool name_durable = true;  // of the active slice in the directory
  bool touched = false;      // a write of the active slice was tried
  std::shared_ptr<const SliceSet> superseded;  // by the preamble that is still to be written
  // In which everything lies that the account knows of: while a preamble is being written, also that of a
  // compaction, nobody knows yet of what lies elsewhere.
  const std::shared_ptr<const SliceSet>& shown() const { return superseded ? superseded : set; }

  // One append() that waits.
  struct Waiting {
    Frame frame;
    std::optional<Result<Appended>> result;
    uint64_t frame_end = 0;
    SliceId slice;
    std::coroutine_handle<> waiter;
  };
  std::deque<std::shared_ptr<Waiting>> queue;
  bool writer_running = false;
  WaitGroup appends;       // waiting or under way
  SliceId answered_slice;  // up to where append() was answered, as the callers have seen
  uint64_t answered_end = 0;

  std::shared_ptr<Graveyard> graveyard;

  // log_load.cpp
  struct Directory {
    std::vector<SliceId> slices;       // highest (epoch, number) first
    std::vector<SliceId> checkpoints;  // likewise
  };
  Store& store() { return *environment.store; }
  std::string path_of(const std::string& name) const { return directory + "/" + name; }
  std::string slice_path(SliceId id) const { return path_of(slice_file_name(id)); }
  Task<Result<Directory>> list();
  static Directory directory_of(const std::vector<DirectoryEntry>& entries);
  struct Chosen {
    SliceId id;
    Manifest manifest;
    std::string secret;
  };
  // log_manifest.cpp. The manifest in force, leaving `except` out. kNotFound: no slice holds an acknowledged
  // byte.
  Task<Result<Chosen>> choose_manifest(Directory found, SliceId except);
  Task<Result<std::optional<Chosen>>> read_manifest(SliceId id, std::string known_secret);
  Task<Result<Chosen>> reconstruct_manifest(Directory found, SliceId damaged, std::optional<Chosen> older);
  Task<Result<uint64_t>> end_of(SliceId id, std::string known_secret);
  Task<Result<bool>> holds_acknowledged_bytes(SliceId id, std::string known_secret);
  void adopt(const Chosen& chosen);
  Task<Result<void>> load(Directory found, Chosen chosen);
  // Replays what lies from `from` in `slice`; raises its end.
  Task<Result<void>> replay_slice(LiveSlice& slice, bool last, uint64_t from, uint64_t acknowledged);
  Task<Result<void>> check_still_here();
  Task<Result<void>> show_safely(LiveSlice& newest);
  std::shared_ptr<LiveSlice> make_slice(const ManifestEntry& entry);

  // log_take_over.cpp
  Task<Result<bool>> take_over();
  Task<Result<bool>> take_over_in_lane();
  Task<Result<void>> hold();
  Task<Result<bool>> catch_up(Directory found, Chosen chosen);
  Task<Result<bool>> has_grown();  // the newest slice, since it was loaded
  Task<Result<void>> load_anew(Directory found, Chosen chosen);
  Task<Result<bool>> resume_own_slice();
  // Creates a slice of our own and looks for a higher epoch. Answers its id and open file.
  struct Created {
    SliceId id;
    std::shared_ptr<File> file;
    Directory found;  // listed after the creation
  };
  Task<Result<Created>> create_slice(uint32_t above);
  Task<Result<void>> take_free_number(Created& created);
  Task<Result<void>> seal_others(Directory found, SliceId own);
  // Makes `created` the slice that is appended to. `before` is what its manifest names ahead of it.
  void begin_slice(const Created& created, std::vector<std::shared_ptr<LiveSlice>> before);
  std::string make_preamble(const SliceHeader& header, const Manifest& manifest) const;
  Task<Result<void>> roll();  // in the lane: the next frame goes to a new slice
  std::unexpected<Error> fenced(std::string why);

  // log_append.cpp
  Task<Result<Appended>> append(Frame frame);
  static Task<void> write_waiting(std::shared_ptr<State> self);
  std::vector<std::shared_ptr<Waiting>> take_group();
  Task<Result<void>> write_group(std::vector<std::shared_ptr<Waiting>>& group);
  // Preamble (when it is still to be written) and these bytes, durable, checked against fencing.
  Task<Result<void>> write_durably(std::vector<std::string_view> pieces, uint64_t offset, uint64_t end);
  // For frames the lane writes itself (restated rows): sealed for the current end. Answers where they lie.
  Task<Result<Appended>> write_in_lane(Frame& frame);
  void seal_for(Frame& frame, uint64_t offset, uint64_t acknowledged, Appended& where);
  void answer(Waiting& waiting, Result<Appended> result);
  void break_log();
  void fail_waiting(const Error& error);
  Task<void> quiesce();

  // log_checkpoint.cpp
  Task<Result<void>> write_checkpoint(CoveredPoint covered, CheckpointPayload payload);
  // Loads the newest usable one into the sink; what it covers (empty: none). Names what it proves missing.
  Task<Result<CoveredPoint>> load_checkpoint(Directory found);
  Task<Result<void>> expect_slice_of_checkpoint(const Directory& found, SliceId slice);
  bool counts(const CoveredPoint& covered) const;
  CoveredPoint covered() const;

  // compaction.cpp, check.cpp
  Task<Result<CompactionReport>> compact(CompactionSource& source, CompactionRequest request);
  Task<Result<CompactionReport>> compact_alone(CompactionSource& source, CompactionRequest request);
  Task<Result<void>> switch_over(CompactionSource& source, SliceId data, uint64_t data_end, SliceId rolled,
                                 const std::set<uint32_t>& leaving, const CompactionRequest& request);
  Task<Result<std::shared_ptr<LiveSlice>>> write_restated(Frame& restated, uint32_t above, Appended& where);
  Task<Result<CheckReport>> check();
  Task<Result<void>> check_slice(LiveSlice& slice, CheckReport& report);
  Task<Result<void>> check_names(const SliceSet& open, const std::vector<DirectoryEntry>& entries,
                                 CheckReport& report);
  Task<Result<uint32_t>> remove_orphans();
  std::vector<std::string> orphans_in(const Directory& found) const;
  Task<Result<OwnedRecord>> read_record(std::shared_ptr<const SliceSet> pinned, Place place, uint64_t hint);
};

}  // namespace canopy
