// What the tests of the account log share: a small account as a model, and one simulated process that owns a
// log.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "daemon/base/bytes.h"
#include "daemon/log/account_log.h"
#include "daemon/log/compaction.h"
#include "daemon/log/content.h"
#include "daemon/runtime/sim_loop.h"
#include "daemon/runtime/sync.h"
#include "daemon/store/faulty/faulty_store.h"
#include "daemon/store/memory/memory_store.h"

namespace canopy {

// What a message with this uid holds: no two are alike, and sizes vary.
inline std::string content_of(uint32_t uid, size_t size = 0) {
  std::string text = "Subject: message " + std::to_string(uid) + "\r\n\r\n";
  uint64_t x = uid * 0x9E3779B97F4A7C15ull + 1;
  const size_t wanted = size != 0 ? size : 20 + x % 150;
  while (text.size() < wanted) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    text.push_back(static_cast<char>('!' + x % 90));
  }
  return text;
}

// The account as the log tells it. Only mailbox 1 matters.
class ModelAccount : public LogReplay {
 public:
  struct Row {
    uint16_t flags = 0;
    uint64_t modseq = 0;
    Place place;
    uint64_t length = 0;
    auto operator<=>(const Row&) const = default;
  };

  void reset() override {
    rows.clear();
    mailboxes.clear();
    requests.clear();
    ++resets;
  }
  struct StoredRow {
    uint32_t uid, flags, slice, zero;
    uint64_t modseq, offset, length;
  };
  Result<std::vector<std::span<char>>> begin_checkpoint(std::string_view head, uint64_t body_bytes) override {
    if (head != "rows" || body_bytes % sizeof(StoredRow) != 0)
      return fail(Code::kDamaged, "checkpoint", "is no model's");
    loading.resize(body_bytes / sizeof(StoredRow));
    const auto body = std::span(reinterpret_cast<char*>(loading.data()), body_bytes);
    return std::vector{body.first(body_bytes / 3), body.subspan(body_bytes / 3)};
  }
  Result<void> finish_checkpoint() override {
    for (const StoredRow& row : loading)
      rows[row.uid] = {static_cast<uint16_t>(row.flags), row.modseq, {row.slice, row.offset}, row.length};
    ++checkpoints_loaded;
    return {};
  }
  CheckpointPayload checkpoint() const {
    CheckpointPayload out{"rows", ""};
    for (const auto& [uid, row] : rows) {
      const StoredRow stored{uid, row.flags, row.place.slice, 0, row.modseq, row.place.offset, row.length};
      out.body.append(reinterpret_cast<const char*>(&stored), sizeof stored);
    }
    return out;
  }
  Result<void> apply(const FrameView& frame) override {
    if (frames_applied == refused_from) return fail(Code::kStoreUnavailable, "model", "no more frames now");
    ++frames_applied;
    if (!is_none(frame.request_id)) requests.insert(frame.request_id);
    for (const RecordView& record : frame.records) CANOPY_TRY(apply_record(frame.slice.number, record));
    return {};
  }
  std::unique_ptr<LogReplay> another() const override {
    auto made = std::make_unique<ModelAccount>();
    made->resets = resets;
    made->checkpoints_loaded = checkpoints_loaded;
    made->frames_applied = frames_applied;
    made->refused_from = refused_from;
    return made;
  }
  void replace_with(LogReplay& loaded) override { *this = std::move(static_cast<ModelAccount&>(loaded)); }
  Result<void> apply_record(uint32_t slice, const RecordView& record) {
    if (record.type == RecordType::kMessage) {
      CANOPY_ASSIGN(Message message, decode_message(record));
      rows[message.uid] = {message.flags, message.modseq, {slice, record.offset}, record.length};
    } else if (record.type == RecordType::kExpunge) {
      CANOPY_ASSIGN(Expunge expunge, decode_expunge(record));
      for (UidRange range : expunge.uids)
        for (uint32_t uid = range.first; uid <= range.last; ++uid) rows.erase(uid);
    } else if (record.type == RecordType::kFlagsChange) {
      CANOPY_ASSIGN(FlagsChange change, decode_flags_change(record));
      for (const FlagsGroup& group : change.groups)
        for (UidRange range : group.uids)
          for (uint32_t uid = range.first; uid <= range.last; ++uid)
            if (rows.contains(uid)) rows[uid].flags = group.flags, rows[uid].modseq = change.modseq;
    } else if (record.type == RecordType::kMailboxCreate) {
      CANOPY_ASSIGN(MailboxCreate create, decode_mailbox_create(record));
      mailboxes[create.mailbox_id] = create.name;
    }
    return {};
  }
  std::set<uint32_t> uids() const {
    std::set<uint32_t> all;
    for (const auto& [uid, row] : rows) all.insert(uid);
    return all;
  }

  std::map<uint32_t, Row> rows;
  std::vector<StoredRow> loading;
  std::map<uint32_t, std::string> mailboxes;
  std::set<RequestId> requests;
  int resets = 0, checkpoints_loaded = 0, frames_applied = 0;
  int refused_from = -1;  // no frame is taken once so many were applied
};

inline Frame first_frame() {
  Frame frame;
  frame.add(MailboxCreate{1, 7, 1, "INBOX"});
  return frame;
}

inline Message message_with(uint32_t uid, const std::string& bytes) {
  Message message;
  message.mailbox_id = 1;
  message.uid = uid;
  message.modseq = uid + 10;
  message.date_seconds = 1'700'000'000 + uid;
  message.zone_minutes = 60;
  message.bytes = bytes;
  message.size = bytes.size();
  return message;
}

inline Frame delivery(uint32_t uid, size_t size = 0) {
  const std::string bytes = content_of(uid, size);
  Frame frame;
  frame.add(message_with(uid, bytes));
  return frame;
}

inline Frame expunge_of(uint32_t first, uint32_t last) {
  Frame frame;
  frame.add(Expunge{1, 1000 + first, {{first, last}}});
  return frame;
}

inline Frame flags_of(uint32_t uid, uint16_t flags) {
  Frame frame;
  frame.add(FlagsChange{1, 2000 + uid, {{flags, {}, {{uid, uid}}}}});
  return frame;
}

// Copies the model's rows; keeps them in step with what the log reports.
class ModelSource : public CompactionSource {
 public:
  explicit ModelSource(ModelAccount& account) : account_(account) {}
  void snapshot() override {
    snapshot_ = account_.rows;
    at_ = snapshot_.begin();
  }
  Task<Result<bool>> next(Step& out) override {
    if (!began_) {
      began_ = true;
      out.frame.add(MailboxCreate{1, 7, 1, "INBOX"});
      co_return true;
    }
    if (at_ == snapshot_.end()) co_return false;
    for (int i = 0; i < 3 && at_ != snapshot_.end(); ++i, ++at_) {
      LiveMessage live;
      live.message.mailbox_id = 1;
      live.message.uid = at_->first;
      live.message.flags = at_->second.flags;
      live.message.modseq = at_->second.modseq;
      live.message.date_seconds = 1'700'000'000 + at_->first;
      live.message.zone_minutes = 60;
      live.message.size = sizes.contains(at_->first) ? sizes[at_->first] : content_of(at_->first).size();
      live.own = at_->second.place;
      live.own_length = at_->second.length;
      if (references.contains(at_->first)) {
        live.message.content = ContentKind::kReference;
        live.message.reference = references[at_->first];
      }
      out.rows.push_back(std::move(live));
    }
    if (between) co_await between();
    co_return true;
  }
  void copied(std::span<const MovedMessage> moved) override {
    for (const MovedMessage& one : moved) moved_[one.uid] = one;
  }
  Result<void> switch_over(std::span<const uint32_t> gone, Frame&) override {
    dropped.assign(gone.begin(), gone.end());
    return {};
  }
  void switched(const Appended&) override {
    for (const auto& [uid, moved] : moved_) {
      auto row = account_.rows.find(uid);
      if (row == account_.rows.end() || row->second.place != moved.from) continue;
      row->second.place = moved.to;
      row->second.length = moved.to_length;
    }
    done = true;
  }
  void abandoned() override { given_up = true; }

  std::map<uint32_t, Place> references;
  std::map<uint32_t, uint64_t> sizes;
  std::vector<uint32_t> dropped;
  std::function<Task<void>()> between;
  bool done = false, given_up = false;

 private:
  ModelAccount& account_;
  std::map<uint32_t, ModelAccount::Row> snapshot_;
  std::map<uint32_t, ModelAccount::Row>::iterator at_;
  std::map<uint32_t, MovedMessage> moved_;
  bool began_ = false;
};

inline constexpr char kAccount[] = "SharedDomains/company.com/jsmith.macnt";
inline constexpr uint64_t kEpoch = (1ull << 32) | 1;

// One process: a loop, a store that counts and injects faults over the disk that all processes share, and its
// account.
struct Process {
  Process(SimWorld& in, MemoryDisk& disk, uint64_t own_epoch, bool shared = false, FaultPlan plan = {},
          uint64_t seed = 1)
      : world(in),
        loop(in.add_loop("backend")),
        outside(in.add_loop("disk")),
        inner(&outside, disk, {.name = "store", .shared = shared}),
        store(inner, loop, without_unclosed(plan), seed, &outside),
        epoch(own_epoch) {}
  static FaultPlan without_unclosed(FaultPlan plan) {
    plan.check_unclosed = false;
    return plan;
  }
  // Writes are answered with an error and carried out some time within ten minutes.
  static FaultPlan late_writes() {
    FaultPlan plan = without_unclosed({});
    plan.late = 1;
    plan.operations = FaultPlan::only(StoreOperation::kWrite);
    plan.late_max = 600 * kSecond;
    return plan;
  }

  LogEnvironment environment() {
    LogEnvironment env;
    env.store = &store;
    env.loop = &loop;
    env.files = &files;
    env.epoch = epoch;
    env.lease_held = [this] { return lease; };
    env.options = options;
    return env;
  }
  template <class T>
  Result<T> run(Task<Result<T>> task) {
    auto result = world.run_until_done(loop, std::move(task));
    if (!result) return fail(Code::kInternal, "test", "the task did not end");
    return std::move(*result);
  }
  void run_void(Task<void> task) { world.run_until_done(loop, std::move(task)); }
  Result<void> open() {
    CANOPY_ASSIGN(log, run(AccountLog::open(environment(), kAccount, account)));
    return {};
  }
  Result<void> create() {
    CANOPY_TRY(run(make_directories(*environment().store, std::string(kAccount), 0700, Durable::kYes)));
    CANOPY_ASSIGN(log, run(AccountLog::create(environment(), kAccount, account, first_frame())));
    return {};
  }
  // As the account layer does: append, then apply to the state in memory.
  Task<Result<Appended>> append_task(Frame frame) {
    std::vector<std::pair<RecordType, std::string>> records;
    std::vector<uint64_t> lengths;
    Frame copy = frame;
    auto done = co_await log->append(std::move(frame));
    if (!done) co_return done;
    const std::string& bytes = copy.resolve(done->slice, done->offset);
    for (size_t i = 0; i < copy.records(); ++i) {
      const char* at = bytes.data() + copy.record_offset(i);
      RecordView view;
      view.type = static_cast<RecordType>(at[4]);
      view.offset = done->record_offsets[i];
      view.length = copy.record_length(i);
      view.body = std::string_view(at + kRecordHeaderBytes, get_le<uint32_t>(at + 8));
      CANOPY_CO_TRY(account.apply_record(done->slice, view));
    }
    co_return done;
  }
  Result<Appended> append(Frame frame) { return run(append_task(std::move(frame))); }
  Result<std::string> content(uint32_t uid) {
    const auto& row = account.rows.at(uid);
    return run(read_content(*log, log->pin(), row.place, row.length, kMessageBytesMax));
  }
  void close() {
    if (log) run_void(log->close());
    log.reset();
  }

  SimWorld& world;
  SimLoop& loop;
  SimLoop& outside;  // carries out what the store was asked for, also after the process has died
  MemoryStore inner;
  FaultyStore store;
  SliceFiles files;
  uint64_t epoch;
  bool lease = true;
  AccountLogOptions options;
  ModelAccount account;
  std::unique_ptr<AccountLog> log;
};

class AccountLogTest : public testing::Test {
 protected:
  std::string file_bytes(const std::string& path) {
    OpenOptions options;
    auto id = disk.open(path, options);
    EXPECT_TRUE(id);
    std::string bytes(disk.attributes(path)->size, '\0');
    EXPECT_TRUE(disk.read(*id, false, 0, std::span<char>(bytes)));
    disk.close(*id);
    return bytes;
  }
  void write_file(const std::string& path, std::string_view bytes) {
    OpenOptions options;
    options.write = options.create = options.truncate = true;
    auto id = disk.open(path, options);
    ASSERT_TRUE(id);
    const std::string_view pieces[] = {bytes};
    ASSERT_TRUE(disk.write(*id, false, 0, pieces, Durable::kYes));
    disk.close(*id);
    ASSERT_TRUE(disk.sync_directory(kAccount));
  }
  std::vector<std::string> names() {
    std::vector<std::string> all;
    for (const auto& entry : disk.list(kAccount, 0)->entries) all.push_back(entry.name);
    std::sort(all.begin(), all.end());
    return all;
  }
  static Code code_of(const auto& result) { return result ? Code::kOk : result.error().code(); }
  void expect_contents(Process& process) {
    for (const auto& [uid, row] : process.account.rows) {
      auto content = process.content(uid);
      ASSERT_TRUE(content) << uid << ": " << content.error().to_string();
      EXPECT_EQ(*content, content_of(uid)) << uid;
    }
  }

  SimWorld world{1};
  MemoryDisk disk;
};

}  // namespace canopy
