// AccountState: what an account's log says, in memory: mailboxes, rows of messages, keywords, subscriptions,
// remembered requests. Pure: no I/O; one owner, one thread. It is built by replay (LogReplay) or from a
// checkpoint, and each mutation is applied to it once its frame is durable, by the same functions.
//
// What waits to become durable is not in it, except in `planned`: the counters from which the next mutation
// takes its UID and mod-sequence.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/account/mailbox_name.h"
#include "daemon/account/message_row.h"
#include "daemon/account/remembered_requests.h"
#include "daemon/base/bytes.h"
#include "daemon/base/error.h"
#include "daemon/log/account_log.h"

namespace canopy {

inline constexpr size_t kRememberedRequestsMax = 65536;  // of one account; beyond it the oldest go early
inline constexpr size_t kExpungedRangesMax = 16384;      // of one mailbox; beyond it the floor rises

struct MailboxState {
  uint32_t id = 0;
  uint32_t uidvalidity = 0;
  uint32_t uidnext = 1;
  uint64_t created_modseq = 0;
  uint64_t highest_modseq = 0;
  uint64_t floor = 0;  // expunges at or below are forgotten
  std::string name;
  MessageRows rows;                    // by uid
  std::deque<ExpungedRange> expunged;  // by modseq
  std::map<std::string, std::string> rights;
  uint64_t bytes = 0;
  uint32_t unseen = 0;
  uint32_t planned_uidnext = 1;  // >= uidnext

  const MessageRow* find(uint32_t uid) const;
  // Rows with first <= uid <= last.
  std::span<const MessageRow> between(uint32_t first, uint32_t last) const;
};

// Distinct sets of keywords of an account; rows hold an index. Set 0 is empty.
class KeywordSets {
 public:
  KeywordSets() { clear(); }
  void clear();
  uint32_t intern(std::vector<uint16_t> ids);  // sorts, drops doubles
  const std::vector<uint16_t>& get(uint32_t set) const { return sets_[set]; }
  size_t size() const { return sets_.size(); }
  size_t memory_bytes() const { return ids_ * 4 + sets_.size() * 112; }  // about

 private:
  size_t ids_ = 0;  // in all sets
  std::vector<std::vector<uint16_t>> sets_;
  std::map<std::vector<uint16_t>, uint32_t> index_;
};

// The first answer to a mutating request, as it is remembered. Which fields count depends on the request.
struct RequestResult {
  uint32_t mailbox_id = 0;
  uint32_t uidvalidity = 0;
  uint64_t modseq = 0;
  std::vector<UidRange> uids;         // delivered, expunged, or the copies
  std::vector<UidRange> source_uids;  // of a copy
  std::vector<uint32_t> modified;     // failed the UNCHANGEDSINCE condition

  std::string encode() const;
  static Result<RequestResult> decode(std::string_view bytes);
};

class AccountState final : public LogReplay {
 public:
  void reset() override;
  Result<std::vector<std::span<char>>> begin_checkpoint(std::string_view head, uint64_t body_bytes) override;
  Result<void> finish_checkpoint() override;
  Result<void> apply(const FrameView& frame) override;
  std::unique_ptr<LogReplay> another() const override { return std::make_unique<AccountState>(); }
  void replace_with(LogReplay& loaded) override { *this = std::move(static_cast<AccountState&>(loaded)); }
  CheckpointPayload save_checkpoint() const;

  // One record, durable at `place`.
  void apply(const MailboxCreate& record);
  void apply(const MailboxRename& record);
  void apply(const MailboxDelete& record);
  void apply(const Subscribe& record);
  void apply(const MailboxRights& record);
  void apply(const Message& record, Place place, uint64_t record_length);
  void apply(const KeywordDefine& record);
  void apply(const FlagsChange& record);
  void apply(const Expunge& record);
  void apply(const UidNext& record);
  void apply(const ModseqFloor& record);
  void apply(const RequestRemembered& record);
  void apply(const Counter& record);

  const MailboxState* mailbox(uint32_t id) const;
  const MailboxState* mailbox(std::string_view name) const;
  MailboxState* mailbox_for_change(uint32_t id);
  const std::map<uint32_t, MailboxState>& mailboxes() const { return mailboxes_; }
  const std::set<std::string>& subscriptions() const { return subscriptions_; }
  const KeywordSets& keyword_sets() const { return sets_; }
  KeywordSets& keyword_sets() { return sets_; }
  const std::string* keyword_name(uint16_t id) const;
  std::optional<uint16_t> keyword_id(std::string_view name) const;  // names compare without case, ASCII
  const std::vector<std::string>& keywords() const { return keywords_; }

  std::optional<RememberedRequest> remembered(const RequestId& id) const { return requests_.find(id); }
  const RememberedRequests& requests() const { return requests_; }
  void remember(const RequestId& id, int64_t time_ns, std::string_view result);
  void forget_requests_before(int64_t time_ns) { requests_.forget_before(time_ns); }

  uint64_t messages() const { return messages_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t highest_modseq() const { return highest_modseq_; }
  uint32_t last_uidvalidity() const { return last_uidvalidity_; }
  uint32_t next_mailbox_id() const { return next_mailbox_id_; }
  // No mailbox was ever made: the first one will be INBOX, with the id kInboxId.
  bool never_begun() const { return mailboxes_.empty() && next_mailbox_id_ == kInboxId; }
  size_t memory_bytes() const;  // about

  // Planning: taken by mutations that are on their way to the log.
  uint64_t plan_modseq() { return ++planned_modseq_; }
  // Planned counters go back to what is durable: when everything that was on its way has failed.
  void forget_plans();

 private:
  Result<void> load_checkpoint_names(ByteReader& in);
  void raise_modseq(uint64_t modseq);
  void raise_mailbox_modseq(MailboxState& box, uint64_t modseq);
  void set_row_flags(MailboxState& box, MessageRow& row, uint16_t flags, uint32_t set, uint64_t modseq);
  void drop_rows_counters(const MailboxState& box, const MessageRow& row);
  Result<void> apply_record(const FrameView& frame, const RecordView& record);
  void recover_mailbox(uint32_t id, int64_t time_ns);

  std::map<uint32_t, MailboxState> mailboxes_;
  std::map<std::string, uint32_t, std::less<>> by_name_;
  std::set<uint32_t> deleted_;  // mailbox ids; those below gone_below_ that are not there are gone as well
  uint32_t gone_below_ = 1;
  std::set<std::string> subscriptions_;
  std::vector<std::string> keywords_;  // by id; empty: not defined
  KeywordSets sets_;
  RememberedRequests requests_;
  uint64_t messages_ = 0, bytes_ = 0;
  uint64_t highest_modseq_ = 0, planned_modseq_ = 0;
  uint32_t next_mailbox_id_ = 1, last_uidvalidity_ = 0;
};

}  // namespace canopy
