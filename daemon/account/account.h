// Account: one open account: its log, its state, and the operations on its mailboxes. Owned by Accounts
// (accounts.h); shared_ptr holders keep it usable for what they have begun. For its loop's thread only.
//
// Every mutating operation takes a request id (or none): when the same id was answered within the hour, the
// first answer is given again and nothing happens. Errors that any of them may give: kStoreUnavailable,
// kStoreFull, kIo (it is not known whether the change will show: a resend with the same id tells), kFenced,
// kTryAgain, kQuotaExceeded where bytes are added. After usable() turned false the account has to be opened
// again.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/account/account_state.h"
#include "daemon/account/lane.h"
#include "daemon/log/account_log.h"
#include "daemon/log/compaction.h"
#include "daemon/runtime/sync.h"
#include "daemon/store/capacity.h"

namespace canopy {

inline constexpr size_t kCopiedAtOnceMax = 200'000;  // messages of one copy or move

struct AccountLimits {
  uint64_t bytes_max = 0;     // 0: none
  uint64_t messages_max = 0;  // 0: none
  bool known = true;          // false: nobody knows them now (limits_unknown); nothing may be added
};
Error limits_unknown(const std::string& account);

struct AccountOptions {
  uint64_t checkpoint_tail_bytes =
      4u << 20;                           // a longer tail, and longer than the state: a checkpoint is written
  uint64_t garbage_bytes_min = 8u << 20;  // less garbage than this is left alone
  uint32_t slices_max = 16;               // more live slices than this are merged
  Nanos compact_again_after = 60 * kSecond;  // after one that failed
  StoreCapacity* capacity = nullptr;         // of the account's store; null: nobody looks after it
};

struct NewMessage {
  std::string mailbox;      // canonical; empty: INBOX
  std::string_view prefix;  // written before the content (Return-Path); both stay in place until the answer
  std::string_view content;
  std::vector<ContentPart> parts;  // instead of content: what upload() answered
  uint64_t parts_bytes = 0;
  int64_t date_seconds = 0;  // 0: now
  int16_t zone_minutes = 0;
  uint16_t flags = 0;
  std::vector<std::string> keywords;
  bool create_mailbox = false;  // when it is not there
  RequestId request_id{};
};

enum class FlagsMode { kReplace, kAdd, kRemove };

struct StoreFlags {
  uint32_t mailbox_id = 0;
  std::vector<UidRange> uids;
  FlagsMode mode = FlagsMode::kReplace;
  uint16_t flags = 0;
  std::vector<std::string> keywords;
  uint64_t unchanged_since = 0;  // 0: no condition
  RequestId request_id{};
};

class Account : public std::enable_shared_from_this<Account> {
 public:
  // Opens for reading; creates nothing. An account whose log was never begun is empty.
  static Task<Result<std::shared_ptr<Account>>> open(LogEnvironment environment, std::string name,
                                                     std::string directory, AccountOptions options);
  ~Account();
  // Waits for what is under way and lets go; writes a checkpoint when that pays. Nothing may be called
  // afterwards.
  Task<void> close();

  const std::string& name() const { return name_; }            // "jsmith@company.com"
  const std::string& directory() const { return directory_; }  // on its store
  bool usable() const;
  bool busy() const { return operations_.count() > 0; }
  const AccountState& state() const { return state_; }
  void set_limits(AccountLimits limits) { limits_ = limits; }
  AccountLimits limits() const { return limits_; }
  // AccountLog::content_name of the message's record; empty: none. All of an account begin with the same
  // prefix.
  std::string content_id(const MessageRow& row) const {
    return log_ ? log_->content_name(row.place()) : std::string();
  }
  std::string content_id_prefix() const { return log_ ? log_->content_name_prefix() : std::string(); }
  // What this account holds in memory, about: its state, and content on its way to the log.
  size_t memory_bytes() const { return state_.memory_bytes() + content_bytes_; }
  // Called after every change that has become durable.
  void on_change(std::function<void()> callback) { on_change_ = std::move(callback); }

  // Whether a message of that size would be taken now: kQuotaExceeded, kStoreFull.
  Task<Result<void>> may_append(uint64_t bytes);
  Task<Result<RequestResult>> append(NewMessage message);
  // Stores a piece of a large message, at most kInlineContentBytesMax; it is garbage until an append() names
  // it. upload_begin() and upload_end() enclose all pieces and the append() of one message.
  void upload_begin() { ++uploads_open_; }
  void upload_end();
  Task<Result<ContentPart>> upload(std::string_view bytes);
  Task<Result<RequestResult>> store_flags(StoreFlags change);
  // only_deleted: only messages with \Deleted; no uids: all.
  Task<Result<RequestResult>> expunge(uint32_t mailbox_id, std::vector<UidRange> uids, bool only_deleted,
                                      RequestId id);
  Task<Result<RequestResult>> copy(uint32_t from_id, std::string to, std::vector<UidRange> uids, bool move,
                                   RequestId id);
  Task<Result<RequestResult>> create_mailbox(std::string name, RequestId id);  // and the levels above it
  // With those below it, and makes the levels above the new name. Renaming INBOX gives its messages to the
  // new name and leaves an empty INBOX under a new UIDVALIDITY (RFC 9051 section 6.3.6); mailboxes below
  // INBOX stay.
  Task<Result<RequestResult>> rename_mailbox(std::string from, std::string to, RequestId id);
  // only_empty: kNotEmpty when it has messages.
  Task<Result<RequestResult>> delete_mailbox(std::string name, RequestId id, bool only_empty = false);
  Task<Result<RequestResult>> subscribe(std::string name, bool on, RequestId id);
  // For an account that was restored from a copy: every mailbox takes a new UIDVALIDITY, as UIDs that were
  // given since that copy will be given again.
  Task<Result<void>> renew_uidvalidity();

  // `bytes` at most, from `offset` of the message; verified. kNotFound: no such uid.
  Task<Result<std::string>> fetch(uint32_t mailbox_id, uint32_t uid, uint64_t offset, uint64_t bytes);

  // Makes sure that no process before this one can still change the account: as a change of its own would.
  Task<Result<void>> hold();
  bool begun() const { return log_ != nullptr; }  // there is a log

  Task<Result<void>> compact();
  Task<Result<CheckReport>> check();
  // After check() has found damage: writes what is sound anew, sets damaged slices apart in `damaged/` of the
  // account's directory, expunges messages whose content is lost, and removes what crashes left. kBusy while
  // an upload or a compaction is under way.
  struct Repair {
    std::vector<LostMessage> lost;
    uint32_t files_removed = 0;  // left by crashes
  };
  Task<Result<Repair>> repair();
  std::vector<SliceInfo> slices() const;
  const std::vector<Damage>& damages() const;

 private:
  Account(LogEnvironment environment, std::string name, std::string directory, AccountOptions options);

  class Operation;  // counts what is under way
  class Claim;      // of a request id that is under way

  // The remembered answer to `id`, after waiting for the same request that is under way; or none, and `claim`
  // is ours.
  Task<std::optional<Result<RequestResult>>> claim(RequestId id, Claim& claim);
  Task<Result<Lane::Hold>> enter_shared();  // writable, with the lane shared
  Task<Result<Lane::Hold>> enter_alone();   // writable, alone, and nothing under way in the log
  Task<Result<void>> make_writable();       // with the lane held alone
  Result<void> check_lease() const;
  Task<Result<void>> make_log();
  using Apply = std::move_only_function<void(const Appended&)>;
  // Hands the frame to the log; once durable applies it and remembers the result.
  enum class Frees : bool { kNo, kYes };  // whether content may have become garbage
  bool sound() const;                     // usable, but that it may be closing
  Task<Result<RequestResult>> commit(Frame frame, RequestResult result, RequestId id, Apply apply,
                                     Frees frees = Frees::kNo);
  // The answer to a request that finds nothing to change: it is remembered all the same, or a copy of the
  // request that is still on its way on a lost connection could find something to change later.
  Task<Result<RequestResult>> nothing_to_change(RequestId id, RequestResult result);
  Task<Result<void>> ensure_keywords(std::vector<std::string> names);
  std::vector<uint16_t> keyword_ids(const std::vector<std::string>& names) const;
  uint32_t new_uidvalidity();
  MailboxCreate plan_create(const std::string& name, uint32_t id);
  Error ids_used_up() const;
  Result<void> plan_levels(const std::string& name, Frame& frame, std::vector<MailboxCreate>& created);
  Result<void> check_room(uint64_t bytes, uint64_t messages) const;
  Task<Result<void>> check_capacity(uint64_t bytes);
  Result<const MailboxState*> mailbox(uint32_t id) const;
  Task<Result<Place>> content_place(const MessageRow& row);
  void changed(bool freed);
  void maintain(bool freed);  // starts a checkpoint or compaction when it is due
  bool garbage_is_due() const;
  static Task<void> maintain_later(std::shared_ptr<Account> self);
  Task<Result<void>> write_checkpoint();
  Task<Result<CompactionReport>> compact_with(CompactionRequest request);

  LogEnvironment environment_;
  const std::string name_;
  const std::string directory_;
  const AccountOptions options_;
  AccountState state_;
  std::unique_ptr<AccountLog> log_;  // null: never begun
  Lane lane_;
  WaitGroup operations_;
  std::map<RequestId, std::shared_ptr<Event>> in_flight_;
  AccountLimits limits_;
  std::function<void()> on_change_;
  bool writable_ = false;
  bool failed_ = false;
  bool maintaining_ = false;
  bool closing_ = false;
  uint32_t uploads_open_ = 0;
  uint64_t planned_bytes_ = 0, planned_messages_ = 0;  // on their way to the log
  uint64_t content_bytes_ = 0;                         // in frames on their way to the log
  Nanos compact_not_before_ = 0;

  friend class AccountCompaction;
  class AccountCompaction* compaction_ = nullptr;
};

}  // namespace canopy
