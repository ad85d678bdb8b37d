#include "daemon/account/account_compaction.h"

namespace canopy {

namespace {

constexpr uint64_t kStateFrameBytes = 1u << 20;  // about; a mailbox's expunged ranges stay together

}  // namespace

AccountCompaction::AccountCompaction(Account& account, Lane::Hold alone)
    : account_(account), alone_(std::move(alone)) {
  account_.compaction_ = this;
}
AccountCompaction::~AccountCompaction() { account_.compaction_ = nullptr; }

Frame& AccountCompaction::state_frame() {
  if (state_frames_.empty() || state_frames_.back().size() > kStateFrameBytes) state_frames_.emplace_back();
  return state_frames_.back();
}

void AccountCompaction::snapshot() {
  const AccountState& state = account_.state_;
  const auto& keywords = state.keywords();
  for (size_t id = 0; id < keywords.size(); ++id) {
    if (keywords[id].empty()) continue;
    KeywordDefine define;
    define.id = static_cast<uint16_t>(id);
    define.name = keywords[id];
    state_frame().add(define);
  }
  for (const std::string& name : state.subscriptions()) {
    Subscribe subscribe;
    subscribe.name = name;
    subscribe.on = true;
    state_frame().add(subscribe);
  }
  for (const auto& [id, box] : state.mailboxes()) {
    put_mailbox(box);
    uid_ends_[id] = box.uidnext;
  }
  Counter counter;
  counter.next_mailbox_id = state.next_mailbox_id();
  counter.last_uidvalidity = state.last_uidvalidity();
  counter.highest_modseq = state.highest_modseq();
  state_frame().add(counter);
  for (size_t i = 0; i < state.requests().size(); ++i) {  // in that order they are forgotten
    const RememberedRequest request = state.requests()[i];
    RequestRemembered remembered;
    remembered.request_id = request.id;
    remembered.time_ns = request.time_ns;
    remembered.result = request.result;
    state_frame().add(remembered);
  }
  alone_.release();
}

void AccountCompaction::put_mailbox(const MailboxState& box) {
  Frame& out = state_frame();
  MailboxCreate create;
  create.mailbox_id = box.id;
  create.uidvalidity = box.uidvalidity;
  create.modseq = box.created_modseq;
  create.name = box.name;
  out.add(create);
  for (const auto& [identifier, letters] : box.rights) {
    MailboxRights rights;
    rights.mailbox_id = box.id;
    rights.identifier = identifier;
    rights.rights = letters;
    out.add(rights);
  }
  for (size_t i = 0; i < box.expunged.size();) {
    Expunge expunge;
    expunge.mailbox_id = box.id;
    expunge.modseq = box.expunged[i].modseq;
    for (; i < box.expunged.size() && box.expunged[i].modseq == expunge.modseq; ++i) {
      expunge.uids.push_back({box.expunged[i].first, box.expunged[i].last});
    }
    out.add(expunge);
  }
  if (box.floor != 0) {
    ModseqFloor floor;
    floor.mailbox_id = box.id;
    floor.modseq = box.floor;
    out.add(floor);
  }
  UidNext next;
  next.mailbox_id = box.id;
  next.uidnext = box.uidnext;
  next.uidvalidity = box.uidvalidity;
  next.highest_modseq = box.highest_modseq;
  out.add(next);
}

Task<Result<void>> AccountCompaction::add_row(const MailboxState& box, MessageRow row, Step& out) {
  LiveMessage live;
  live.own = row.place();
  live.own_length = row.record_length;
  live.message.mailbox_id = box.id;
  live.message.uid = row.uid;
  live.message.modseq = row.modseq;
  live.message.date_seconds = row.date_seconds;
  live.message.zone_minutes = row.zone_minutes;
  live.message.flags = row.flags & kSystemFlagsMask;
  live.message.keywords = account_.state_.keyword_sets().get(row.keyword_set);
  live.message.size = row.size;
  live.message.content = ContentKind::kInline;
  if ((row.flags & kRowIsReference) != 0 || row.size > kInlineContentBytesMax) {
    // Only the record itself says what it refers to.
    AccountLog& log = *account_.log_;
    auto record = co_await log.read_record(log.pin(), live.own, live.own_length);
    if (record) {
      CANOPY_CO_ASSIGN(Message stored, decode_message(record->view));
      live.message.content = stored.content;
      live.message.size = stored.size;
      live.message.reference = stored.reference;
      live.message.parts = std::move(stored.parts);
    } else if (record.error().code() != Code::kDamaged) {
      co_return fail(std::move(record).error());
    }  // else the log finds the damage where it looks for the content, and keeps the row as it is
  }
  out.rows.push_back(std::move(live));
  co_return Result<void>();
}

Task<Result<bool>> AccountCompaction::next(Step& out) {
  if (!state_frames_.empty()) {
    out.frame = std::move(state_frames_.front());
    state_frames_.pop_front();
    co_return true;
  }
  while (out.rows.size() < kCompactionRowsPerStep) {
    if (at_mailbox_ > UINT32_MAX) break;
    auto ends = uid_ends_.lower_bound(static_cast<uint32_t>(at_mailbox_));
    if (ends == uid_ends_.end()) break;
    if (ends->first != at_mailbox_) {
      at_mailbox_ = ends->first;
      at_uid_ = 0;
    }
    const MailboxState* box = account_.state_.mailbox(ends->first);
    std::span<const MessageRow> rows;
    if (box != nullptr && at_uid_ + 1 < ends->second) rows = box->between(at_uid_ + 1, ends->second - 1);
    if (rows.empty()) {
      ++at_mailbox_;
      at_uid_ = 0;
      continue;
    }
    at_uid_ = rows.front().uid;
    CANOPY_CO_TRY(co_await add_row(*box, rows.front(), out));
  }
  // Then the content of rows that were copied since, as its first row may be gone. Their own records lie
  // behind the roll point and are restated by switch_over(): here they are carriers of content, in no
  // mailbox.
  while (out.rows.size() < kCompactionRowsPerStep && copies_given_ < copies_.size()) {
    Copy copy = copies_[copies_given_++];
    const MailboxState* box = account_.state_.mailbox(copy.mailbox_id);
    const MessageRow* row = box == nullptr ? nullptr : box->find(copy.uid);
    if (row == nullptr) continue;
    CANOPY_CO_TRY(co_await add_row(*box, *row, out));
    out.rows.back().message.mailbox_id = kContentCarrier;
  }
  co_return !out.rows.empty();
}

void AccountCompaction::copied(std::span<const MovedMessage> moved) {
  moved_.insert(moved_.end(), moved.begin(), moved.end());
}

void AccountCompaction::copied_meanwhile(uint32_t mailbox_id, uint32_t uid, Place content) {
  copies_.push_back({mailbox_id, uid, content});
}

// Every operation holds the lane from its planning until its frame is answered.
Task<void> AccountCompaction::quiet() { alone_ = co_await account_.lane_.alone(); }

Result<void> AccountCompaction::switch_over(std::span<const uint32_t> dropped, Frame& restated) {
  std::map<Place, Place> new_places;  // of records that hold content
  if (!copies_.empty()) {
    for (const MovedMessage& message : moved_)
      new_places.try_emplace(message.content_from, message.content_to);
  }
  for (const Copy& copy : copies_) {
    if (std::find(dropped.begin(), dropped.end(), copy.content.slice) == dropped.end()) continue;
    const MailboxState* box = account_.state_.mailbox(copy.mailbox_id);
    const MessageRow* row = box == nullptr ? nullptr : box->find(copy.uid);
    if (row == nullptr) continue;
    auto place = new_places.find(copy.content);
    if (place == new_places.end()) {
      return fail(Code::kConflict, account_.name(), "messages were moved while their content was compacted");
    }
    Message message;
    message.mailbox_id = copy.mailbox_id;
    message.uid = copy.uid;
    message.modseq = row->modseq;
    message.date_seconds = row->date_seconds;
    message.zone_minutes = row->zone_minutes;
    message.flags = row->flags & kSystemFlagsMask;
    message.keywords = account_.state_.keyword_sets().get(row->keyword_set);
    message.size = row->size;
    message.content = ContentKind::kReference;
    message.reference = place->second;
    size_t index = restated.add(message);
    restated_.push_back({copy.mailbox_id, copy.uid, restated.record_length(index)});
  }
  return {};
}

void AccountCompaction::switched(const Appended& restated) {
  auto row_of = [this](uint32_t mailbox_id, uint32_t uid) -> MessageRow* {
    MailboxState* box = account_.state_.mailbox_for_change(mailbox_id);
    return box == nullptr ? nullptr : const_cast<MessageRow*>(box->find(uid));
  };
  for (const MovedMessage& message : moved_) {
    MessageRow* row = row_of(message.mailbox_id, message.uid);
    if (row == nullptr || row->place() != message.from) continue;
    row->slice = message.to.slice;
    row->offset = message.to.offset;
    row->record_length = message.to_length <= UINT32_MAX ? static_cast<uint32_t>(message.to_length) : 0;
    row->flags = static_cast<uint16_t>(message.is_reference ? row->flags | kRowIsReference
                                                            : row->flags & ~kRowIsReference);
  }
  for (size_t i = 0; i < restated_.size(); ++i) {
    MessageRow* row = row_of(restated_[i].mailbox_id, restated_[i].uid);
    if (row == nullptr) continue;
    row->slice = restated.slice;
    row->offset = restated.record_offsets[i];
    row->record_length = static_cast<uint32_t>(restated_[i].length);
    row->flags |= kRowIsReference;
  }
  alone_.release();
}

}  // namespace canopy
