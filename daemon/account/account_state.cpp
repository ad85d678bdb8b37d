#include "daemon/account/account_state.h"

#include <strings.h>

#include "daemon/account/mailbox_name.h"
#include "daemon/base/bytes.h"

namespace canopy {

const MessageRow* MailboxState::find(uint32_t uid) const {
  auto at = std::lower_bound(rows.begin(), rows.end(), uid,
                             [](const MessageRow& row, uint32_t wanted) { return row.uid < wanted; });
  return at != rows.end() && at->uid == uid ? &*at : nullptr;
}

std::span<const MessageRow> MailboxState::between(uint32_t first, uint32_t last) const {
  auto less = [](const MessageRow& row, uint32_t wanted) { return row.uid < wanted; };
  auto begin = std::lower_bound(rows.begin(), rows.end(), first, less);
  auto end = last == UINT32_MAX ? rows.end() : std::lower_bound(begin, rows.end(), last + 1, less);
  if (begin >= end) return {};
  return std::span(&*begin, static_cast<size_t>(end - begin));
}

void KeywordSets::clear() {
  sets_.assign(1, {});
  ids_ = 0;
  index_.clear();
  index_.emplace(std::vector<uint16_t>{}, 0);
}

uint32_t KeywordSets::intern(std::vector<uint16_t> ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if (ids.empty()) return 0;
  auto [at, is_new] = index_.try_emplace(std::move(ids), static_cast<uint32_t>(sets_.size()));
  if (is_new) {
    ids_ += at->first.size();
    sets_.push_back(at->first);
  }
  return at->second;
}

void AccountState::reset() {
  mailboxes_.clear();
  by_name_.clear();
  deleted_.clear();
  gone_below_ = 1;
  subscriptions_.clear();
  keywords_.clear();
  sets_.clear();
  requests_.clear();
  messages_ = bytes_ = highest_modseq_ = planned_modseq_ = 0;
  next_mailbox_id_ = 1;
  last_uidvalidity_ = 0;
}

Result<void> AccountState::apply(const FrameView& frame) {
  RequestResult delivered;
  for (const RecordView& record : frame.records) {
    CANOPY_TRY(apply_record(frame, record));
    if (!is_none(frame.request_id) && record.type == RecordType::kMessage) {
      CANOPY_ASSIGN(Message message, decode_message(record));
      const MailboxState* box = mailbox(message.mailbox_id);
      delivered.mailbox_id = message.mailbox_id;
      delivered.uidvalidity = box != nullptr ? box->uidvalidity : 0;
      delivered.modseq = message.modseq;
      delivered.uids.push_back({message.uid, message.uid});
    }
  }
  // A frame that remembers its own result says so with a record; a delivery's follows from the message in it.
  if (!is_none(frame.request_id) && !requests_.find(frame.request_id)) {
    remember(frame.request_id, frame.time_ns, delivered.encode());
  }
  return {};
}

Result<void> AccountState::apply_record(const FrameView& frame, const RecordView& record) {
  switch (record.type) {
    case RecordType::kMessage: {
      CANOPY_ASSIGN(Message message, decode_message(record));
      recover_mailbox(message.mailbox_id, frame.time_ns);
      apply(message, Place{frame.slice.number, record.offset}, record.length);
      return {};
    }
#define CANOPY_APPLY(kind, decode)               \
  case RecordType::kind: {                       \
    CANOPY_ASSIGN(auto decoded, decode(record)); \
    apply(decoded);                              \
    return {};                                   \
  }
      CANOPY_APPLY(kMailboxCreate, decode_mailbox_create)
      CANOPY_APPLY(kMailboxRename, decode_mailbox_rename)
      CANOPY_APPLY(kMailboxDelete, decode_mailbox_delete)
      CANOPY_APPLY(kSubscribe, decode_subscribe)
      CANOPY_APPLY(kMailboxRights, decode_mailbox_rights)
      CANOPY_APPLY(kKeywordDefine, decode_keyword_define)
      CANOPY_APPLY(kFlagsChange, decode_flags_change)
      CANOPY_APPLY(kExpunge, decode_expunge)
      CANOPY_APPLY(kUidNext, decode_uid_next)
      CANOPY_APPLY(kModseqFloor, decode_modseq_floor)
      CANOPY_APPLY(kRequestRemembered, decode_request_remembered)
      CANOPY_APPLY(kCounter, decode_counter)
#undef CANOPY_APPLY
    case RecordType::kManifest:
    case RecordType::kContent: return {};
  }
  return {};  // a later version's record: what it means is not ours to know
}

// A message of a mailbox that was neither made nor deleted: the frame that made it is damaged. Its messages
// are not: they are shown under a name and a UIDVALIDITY that are the same each time the log is replayed.
void AccountState::recover_mailbox(uint32_t id, int64_t time_ns) {
  if (id < gone_below_ || mailboxes_.contains(id) || deleted_.contains(id)) return;
  MailboxCreate create;
  create.mailbox_id = id;
  create.uidvalidity = std::max(static_cast<uint32_t>(time_ns / kSecond), last_uidvalidity_ + 1);
  create.name = id == kInboxId ? kInbox : fmt::format("Recovered-{}", id);
  while (by_name_.contains(create.name)) create.name += "+";
  apply(create);
}

void AccountState::raise_modseq(uint64_t modseq) {
  highest_modseq_ = std::max(highest_modseq_, modseq);
  planned_modseq_ = std::max(planned_modseq_, modseq);
}

void AccountState::raise_mailbox_modseq(MailboxState& box, uint64_t modseq) {
  box.highest_modseq = std::max(box.highest_modseq, modseq);
  raise_modseq(modseq);
}

void AccountState::apply(const MailboxCreate& record) {
  next_mailbox_id_ = std::max(next_mailbox_id_, record.mailbox_id + 1);
  last_uidvalidity_ = std::max(last_uidvalidity_, record.uidvalidity);
  MailboxState& box = mailboxes_[record.mailbox_id];
  if (box.id != 0) by_name_.erase(box.name);
  box.id = record.mailbox_id;
  box.uidvalidity = record.uidvalidity;
  box.created_modseq = record.modseq;
  box.name = record.name;
  by_name_[record.name] = record.mailbox_id;
  raise_mailbox_modseq(box, record.modseq);
}

void AccountState::apply(const MailboxRename& record) {
  MailboxState* box = mailbox_for_change(record.mailbox_id);
  if (box == nullptr) return;
  auto held = by_name_.find(box->name);
  if (held != by_name_.end() && held->second == box->id) by_name_.erase(held);
  box->name = record.name;
  by_name_[record.name] = box->id;
  raise_modseq(record.modseq);
}

void AccountState::apply(const MailboxDelete& record) {
  MailboxState* box = mailbox_for_change(record.mailbox_id);
  raise_modseq(record.modseq);
  deleted_.insert(record.mailbox_id);
  if (box == nullptr) return;
  messages_ -= box->rows.size();
  bytes_ -= box->bytes;
  auto held = by_name_.find(box->name);
  if (held != by_name_.end() && held->second == box->id) by_name_.erase(held);
  mailboxes_.erase(record.mailbox_id);
}

void AccountState::apply(const Subscribe& record) {
  if (record.on) {
    subscriptions_.insert(record.name);
  } else {
    subscriptions_.erase(record.name);
  }
}

void AccountState::apply(const MailboxRights& record) {
  MailboxState* box = mailbox_for_change(record.mailbox_id);
  if (box == nullptr) return;
  if (record.rights.empty()) {
    box->rights.erase(record.identifier);
  } else {
    box->rights[record.identifier] = record.rights;
  }
}

void AccountState::apply(const Message& record, Place place, uint64_t record_length) {
  MailboxState* box = mailbox_for_change(record.mailbox_id);
  if (box == nullptr) return;
  MessageRow row;
  row.uid = record.uid;
  row.size = static_cast<uint32_t>(record.size);
  row.modseq = record.modseq;
  row.date_seconds = record.date_seconds;
  row.offset = place.offset;
  row.slice = place.slice;
  row.record_length = record_length <= UINT32_MAX ? static_cast<uint32_t>(record_length) : 0;
  row.keyword_set = sets_.intern(record.keywords);
  row.flags = record.flags & kSystemFlagsMask;
  if (record.content == ContentKind::kReference) row.flags |= kRowIsReference;
  row.zone_minutes = record.zone_minutes;

  auto at = box->rows.end();
  if (!box->rows.empty() && box->rows.back().uid >= row.uid) {
    at = std::lower_bound(box->rows.begin(), box->rows.end(), row.uid,
                          [](const MessageRow& other, uint32_t uid) { return other.uid < uid; });
  }
  if (at != box->rows.end() && at->uid == row.uid) {  // restated by a compaction
    drop_rows_counters(*box, *at);
    box->bytes -= at->size;
    if ((at->flags & kFlagSeen) == 0) --box->unseen;
    *at = row;
  } else {
    box->rows.insert(at, row);
  }
  ++messages_;
  bytes_ += row.size;
  box->bytes += row.size;
  if ((row.flags & kFlagSeen) == 0) ++box->unseen;
  box->uidnext = std::max(box->uidnext, row.uid + 1);
  box->planned_uidnext = std::max(box->planned_uidnext, box->uidnext);
  raise_mailbox_modseq(*box, record.modseq);
}

void AccountState::drop_rows_counters(const MailboxState&, const MessageRow& row) {
  --messages_;
  bytes_ -= row.size;
}

void AccountState::apply(const KeywordDefine& record) {
  if (keywords_.size() <= record.id) keywords_.resize(record.id + 1u);
  keywords_[record.id] = record.name;
}

void AccountState::set_row_flags(MailboxState& box, MessageRow& row, uint16_t flags, uint32_t set,
                                 uint64_t modseq) {
  if ((row.flags & kFlagSeen) == 0) --box.unseen;
  row.flags = static_cast<uint16_t>((row.flags & ~kSystemFlagsMask) | (flags & kSystemFlagsMask));
  if ((row.flags & kFlagSeen) == 0) ++box.unseen;
  row.keyword_set = set;
  row.modseq = std::max(row.modseq, modseq);
}

void AccountState::apply(const FlagsChange& record) {
  MailboxState* box = mailbox_for_change(record.mailbox_id);
  if (box == nullptr) return;
  for (const FlagsGroup& group : record.groups) {
    uint32_t set = sets_.intern(group.keywords);
    for (const UidRange& range : group.uids) {
      for (const MessageRow& row : box->between(range.first, range.last)) {
        set_row_flags(*box, const_cast<MessageRow&>(row), group.flags, set, record.modseq);
      }
    }
  }
  raise_mailbox_modseq(*box, record.modseq);
}

void AccountState::apply(const Expunge& record) {
  MailboxState* box = mailbox_for_change(record.mailbox_id);
  if (box == nullptr) return;
  for (const UidRange& range : record.uids) {
    auto rows = box->between(range.first, range.last);
    if (!rows.empty()) {
      for (const MessageRow& row : rows) {
        drop_rows_counters(*box, row);
        box->bytes -= row.size;
        if ((row.flags & kFlagSeen) == 0) --box->unseen;
      }
      auto begin = box->rows.begin() + (rows.data() - box->rows.data());
      box->rows.erase(begin, begin + static_cast<ptrdiff_t>(rows.size()));
    }
    box->expunged.push_back({record.modseq, range.first, range.last});
    // A UID that was given and expunged is never given again, even when its message was compacted away.
    if (range.last != UINT32_MAX) box->uidnext = std::max(box->uidnext, range.last + 1);
  }
  box->planned_uidnext = std::max(box->planned_uidnext, box->uidnext);
  while (box->expunged.size() > kExpungedRangesMax) {
    box->floor = std::max(box->floor, box->expunged.front().modseq);
    box->expunged.pop_front();
  }
  raise_mailbox_modseq(*box, record.modseq);
}

void AccountState::apply(const UidNext& record) {
  MailboxState* box = mailbox_for_change(record.mailbox_id);
  if (box == nullptr) return;
  box->uidnext = std::max(box->uidnext, record.uidnext);
  box->planned_uidnext = std::max(box->planned_uidnext, box->uidnext);
  if (record.uidvalidity != 0) box->uidvalidity = record.uidvalidity;
  last_uidvalidity_ = std::max(last_uidvalidity_, box->uidvalidity);
  raise_mailbox_modseq(*box, record.highest_modseq);
}

void AccountState::apply(const ModseqFloor& record) {
  MailboxState* box = mailbox_for_change(record.mailbox_id);
  if (box == nullptr) return;
  box->floor = std::max(box->floor, record.modseq);
  while (!box->expunged.empty() && box->expunged.front().modseq <= box->floor) box->expunged.pop_front();
}

void AccountState::apply(const RequestRemembered& record) {
  remember(record.request_id, record.time_ns, record.result);
}

void AccountState::apply(const Counter& record) {
  next_mailbox_id_ = std::max(next_mailbox_id_, record.next_mailbox_id);
  last_uidvalidity_ = std::max(last_uidvalidity_, record.last_uidvalidity);
  raise_modseq(record.highest_modseq);
}

const MailboxState* AccountState::mailbox(uint32_t id) const {
  auto at = mailboxes_.find(id);
  return at == mailboxes_.end() ? nullptr : &at->second;
}

MailboxState* AccountState::mailbox_for_change(uint32_t id) {
  auto at = mailboxes_.find(id);
  return at == mailboxes_.end() ? nullptr : &at->second;
}

const MailboxState* AccountState::mailbox(std::string_view name) const {
  auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : mailbox(at->second);
}

const std::string* AccountState::keyword_name(uint16_t id) const {
  return id < keywords_.size() && !keywords_[id].empty() ? &keywords_[id] : nullptr;
}

std::optional<uint16_t> AccountState::keyword_id(std::string_view name) const {
  for (size_t id = 0; id < keywords_.size(); ++id) {
    if (keywords_[id].size() == name.size() &&
        strncasecmp(keywords_[id].data(), name.data(), name.size()) == 0) {
      return static_cast<uint16_t>(id);
    }
  }
  return std::nullopt;
}

void AccountState::remember(const RequestId& id, int64_t time_ns, std::string_view result) {
  requests_.add(id, time_ns, result);
  if (requests_.size() > kRememberedRequestsMax) requests_.forget_oldest();
}

void AccountState::forget_plans() {
  planned_modseq_ = highest_modseq_;
  for (auto& [id, box] : mailboxes_) box.planned_uidnext = box.uidnext;
}

size_t AccountState::memory_bytes() const {
  size_t total = 4096 + requests_.memory_bytes() + keywords_.size() * 48 + sets_.memory_bytes();
  for (const auto& [id, box] : mailboxes_) {
    total += 512 + box.name.size() + box.rows.capacity() * sizeof(MessageRow) + box.expunged.size() * 16;
  }
  return total;
}

}  // namespace canopy
