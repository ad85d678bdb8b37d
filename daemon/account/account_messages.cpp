// Appending, flags, expunging, copying and fetching: the operations on messages.
#include "daemon/account/account.h"
#include "daemon/account/account_compaction.h"
#include "daemon/account/account_parts.h"
#include "daemon/account/mailbox_name.h"
#include "daemon/log/content.h"

namespace canopy {
namespace {

void add_uid(std::vector<UidRange>& ranges, uint32_t uid) {
  if (!ranges.empty() && ranges.back().last + 1 == uid) {
    ranges.back().last = uid;
  } else {
    ranges.push_back({uid, uid});
  }
}

Result<void> check_keyword(std::string_view name) {
  bool valid = !name.empty() && name.size() <= kKeywordBytesMax;
  for (char c : name) {  // RFC 9051: flag-keyword is an atom
    valid = valid && c > ' ' && c < 0x7f && std::string_view("(){%*\"\\]").find(c) == std::string_view::npos;
  }
  if (valid) return {};
  return fail(Code::kInvalidArgument, std::string(name.substr(0, 64)),
              fmt::format("a keyword is an atom of 1 to {} bytes", kKeywordBytesMax));
}

}  // namespace

Task<Result<void>> Account::ensure_keywords(std::vector<std::string> names) {
  bool all_known = true;
  for (const std::string& name : names) {
    CANOPY_CO_TRY(check_keyword(name));
    all_known = all_known && state_.keyword_id(name).has_value();
  }
  if (all_known) co_return Result<void>();
  auto hold = co_await enter_alone();
  if (!hold) co_return fail(std::move(hold).error());
  Frame frame;
  std::vector<KeywordDefine> defined;
  auto next = static_cast<uint32_t>(state_.keywords().size());
  for (const std::string& name : names) {
    if (state_.keyword_id(name)) continue;
    if (next >= kKeywordsPerAccountMax) {
      co_return fail(Code::kTooLarge, name_,
                     fmt::format("an account has at most {} keywords", kKeywordsPerAccountMax));
    }
    KeywordDefine define;
    define.id = static_cast<uint16_t>(next++);
    define.name = name;
    frame.add(define);
    defined.push_back(std::move(define));
  }
  if (frame.empty()) co_return Result<void>();
  auto done = co_await commit(std::move(frame), {}, RequestId{}, [this, &defined](const Appended&) {
    for (const KeywordDefine& define : defined) state_.apply(define);
  });
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

std::vector<uint16_t> Account::keyword_ids(const std::vector<std::string>& names) const {
  std::vector<uint16_t> ids;
  for (const std::string& name : names) {
    if (auto id = state_.keyword_id(name)) ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

// Lays the content of a new message into the frame: whole, or in parts when it is over the bound of a record.
static void add_content(Frame& frame, Message& record, NewMessage& message, std::string& joined) {
  if (!message.parts.empty()) {
    record.content = ContentKind::kParts;
    record.size = message.parts_bytes;
    record.parts = std::move(message.parts);
    return;
  }
  std::string_view whole = message.content;
  if (!message.prefix.empty()) {
    joined.reserve(message.prefix.size() + message.content.size());
    joined.append(message.prefix);
    joined.append(message.content);
    whole = joined;
  }
  record.size = whole.size();
  if (whole.size() <= kInlineContentBytesMax) {
    record.content = ContentKind::kInline;
    record.bytes = whole;
    return;
  }
  record.content = ContentKind::kParts;
  for (size_t at = 0; at < whole.size(); at += kInlineContentBytesMax) {
    Content part;
    part.bytes = whole.substr(at, kInlineContentBytesMax);
    size_t index = frame.add(part);
    record.parts.push_back({Place::in_this_frame(index), static_cast<uint32_t>(part.bytes.size())});
  }
}

Task<Result<void>> Account::may_append(uint64_t bytes) {
  Operation operation(*this);
  CANOPY_CO_TRY(check_room(bytes, 1));
  StoreCapacity* capacity = options_.capacity;
  if (capacity == nullptr) co_return Result<void>();
  if (!capacity->known()) co_await capacity->look();
  co_return capacity->check(bytes);
}

Task<Result<RequestResult>> Account::append(NewMessage message) {
  CANOPY_BEGIN_MUTATION(message.request_id);
  uint64_t size =
      message.parts.empty() ? message.prefix.size() + message.content.size() : message.parts_bytes;
  if (size > kMessageBytesMax) {
    co_return fail(Code::kTooLarge, name_, fmt::format("a message has at most {} bytes", kMessageBytesMax));
  }
  if (message.mailbox.empty()) message.mailbox = kInbox;
  if (!message.keywords.empty()) CANOPY_CO_TRY(co_await ensure_keywords(message.keywords));
  auto hold = co_await enter_shared();
  if (!hold) co_return fail(std::move(hold).error());
  CANOPY_CO_TRY(
      co_await check_capacity(message.parts.empty() ? size : 0));  // parts were counted as they came
  const MailboxState* box = state_.mailbox(message.mailbox);
  if (box == nullptr) {
    // Every account has an INBOX, also one that lost it to damage.
    if (!message.create_mailbox && message.mailbox != kInbox) {
      co_return fail(Code::kNotFound, name_, fmt::format("there is no mailbox {}", message.mailbox));
    }
    hold->release();
    auto made = co_await create_mailbox(message.mailbox, RequestId{});
    if (!made && made.error().code() != Code::kAlreadyExists) co_return fail(std::move(made).error());
    hold = co_await enter_shared();
    if (!hold) co_return fail(std::move(hold).error());
    box = state_.mailbox(message.mailbox);
    if (box == nullptr) co_return fail(Code::kTryAgain, name_, "the mailbox went away meanwhile");
  }
  CANOPY_CO_TRY(check_room(size, 1));
  PlannedRoom room(planned_bytes_, planned_messages_, size);

  // From here to the log's queue nothing waits: UIDs and mod-sequences are taken in the order of the log.
  MailboxState* planned = state_.mailbox_for_change(box->id);
  if (planned->planned_uidnext == UINT32_MAX) {
    co_return fail(Code::kTooLarge, name_, "the mailbox has used all UIDs; copy its messages to a new one");
  }
  Frame frame;
  Message record;
  std::string joined;
  record.mailbox_id = box->id;
  record.uid = planned->planned_uidnext++;
  record.modseq = state_.plan_modseq();
  record.date_seconds =
      message.date_seconds != 0 ? message.date_seconds : environment_.loop->wall_clock_ns() / kSecond;
  record.zone_minutes = message.zone_minutes;
  record.flags = message.flags & kSystemFlagsMask;
  record.keywords = keyword_ids(message.keywords);
  add_content(frame, record, message, joined);
  size_t index = frame.add(record);
  uint64_t length = frame.record_length(index);
  RequestResult result;
  result.mailbox_id = record.mailbox_id;
  result.uidvalidity = box->uidvalidity;
  result.modseq = record.modseq;
  result.uids.push_back({record.uid, record.uid});
  co_return co_await commit(
      std::move(frame), std::move(result), message.request_id,
      [this, &record, index, length](const Appended& at) { state_.apply(record, at.place(index), length); });
}

Task<Result<ContentPart>> Account::upload(std::string_view bytes) {
  Operation operation(*this);
  CANOPY_CO_TRY(check_room(bytes.size(), 1));
  CANOPY_CO_TRY(co_await check_capacity(bytes.size()));
  auto hold = co_await enter_shared();
  if (!hold) co_return fail(std::move(hold).error());
  Frame frame;
  Content part;
  part.bytes = bytes;
  frame.add(part);
  ContentPart stored;
  stored.length = static_cast<uint32_t>(bytes.size());
  auto done = co_await commit(std::move(frame), {}, RequestId{},
                              [&stored](const Appended& at) { stored.place = at.place(0); });
  if (!done) co_return fail(std::move(done).error());
  co_return stored;
}

Task<Result<RequestResult>> Account::store_flags(StoreFlags change) {
  CANOPY_BEGIN_MUTATION(change.request_id);
  if (!change.keywords.empty()) CANOPY_CO_TRY(co_await ensure_keywords(change.keywords));
  auto hold = co_await enter_alone();
  if (!hold) co_return fail(std::move(hold).error());
  CANOPY_CO_ASSIGN(const MailboxState* box, mailbox(change.mailbox_id));
  std::vector<uint16_t> ids = keyword_ids(change.keywords);
  uint16_t flags = change.flags & kSystemFlagsMask;
  RequestResult result;
  result.mailbox_id = box->id;
  result.uidvalidity = box->uidvalidity;
  // Messages that end with the same flags share a group.
  std::map<std::pair<uint16_t, uint32_t>, std::vector<UidRange>> groups;
  for (const UidRange& range : change.uids) {
    for (const MessageRow& row : box->between(range.first, range.last)) {
      if (change.unchanged_since != 0 && row.modseq > change.unchanged_since) {
        result.modified.push_back(row.uid);
        continue;
      }
      uint16_t before = row.flags & kSystemFlagsMask;
      uint16_t after = flags;
      std::vector<uint16_t> set = ids;
      if (change.mode != FlagsMode::kReplace) {
        const std::vector<uint16_t>& had = state_.keyword_sets().get(row.keyword_set);
        set.clear();
        if (change.mode == FlagsMode::kAdd) {
          after = before | flags;
          std::set_union(had.begin(), had.end(), ids.begin(), ids.end(), std::back_inserter(set));
        } else {
          after = static_cast<uint16_t>(before & ~flags);
          std::set_difference(had.begin(), had.end(), ids.begin(), ids.end(), std::back_inserter(set));
        }
      }
      uint32_t set_index = state_.keyword_sets().intern(std::move(set));
      if (after == before && set_index == row.keyword_set) continue;
      add_uid(groups[{after, set_index}], row.uid);
    }
  }
  if (groups.empty()) {
    result.modseq = box->highest_modseq;
    co_return co_await nothing_to_change(change.request_id, std::move(result));
  }
  FlagsChange record;
  record.mailbox_id = box->id;
  record.modseq = result.modseq = state_.plan_modseq();
  for (auto& [key, uids] : groups) {
    FlagsGroup group;
    group.flags = key.first;
    group.keywords = state_.keyword_sets().get(key.second);
    group.uids = std::move(uids);
    record.groups.push_back(std::move(group));
  }
  Frame frame;
  frame.add(record);
  if (!is_none(change.request_id)) {
    RequestRemembered remembered;
    remembered.request_id = change.request_id;
    remembered.time_ns = environment_.loop->wall_clock_ns();
    remembered.result = result.encode();
    frame.add(remembered);
  }
  co_return co_await commit(std::move(frame), std::move(result), change.request_id,
                            [this, &record](const Appended&) { state_.apply(record); });
}

Task<Result<RequestResult>> Account::expunge(uint32_t mailbox_id, std::vector<UidRange> uids,
                                             bool only_deleted, RequestId id) {
  CANOPY_BEGIN_MUTATION(id);
  auto hold = co_await enter_alone();
  if (!hold) co_return fail(std::move(hold).error());
  CANOPY_CO_ASSIGN(const MailboxState* box, mailbox(mailbox_id));
  if (uids.empty()) uids.push_back({1, UINT32_MAX});
  Expunge record;
  record.mailbox_id = mailbox_id;
  std::set<uint32_t> chosen;
  for (const UidRange& range : uids) {
    for (const MessageRow& row : box->between(range.first, range.last)) {
      if (!only_deleted || (row.flags & kFlagDeleted) != 0) chosen.insert(row.uid);
    }
  }
  for (uint32_t uid : chosen) add_uid(record.uids, uid);
  RequestResult result;
  result.mailbox_id = mailbox_id;
  result.uidvalidity = box->uidvalidity;
  result.uids = record.uids;
  if (record.uids.empty()) {
    result.modseq = box->highest_modseq;
    co_return co_await nothing_to_change(id, std::move(result));
  }
  record.modseq = result.modseq = state_.plan_modseq();
  Frame frame;
  frame.add(record);
  if (!is_none(id)) {
    RequestRemembered remembered;
    remembered.request_id = id;
    remembered.time_ns = environment_.loop->wall_clock_ns();
    remembered.result = result.encode();
    frame.add(remembered);
  }
  co_return co_await commit(
      std::move(frame), std::move(result), id, [this, &record](const Appended&) { state_.apply(record); },
      Frees::kYes);
}

// Where a row's content lies: a record that is no reference itself.
Task<Result<Place>> Account::content_place(const MessageRow& row) {
  Place own = row.place();
  if ((row.flags & kRowIsReference) == 0) co_return own;
  auto record = co_await log_->read_record(log_->pin(), own, row.record_length);
  if (!record) co_return fail(std::move(record).error());
  CANOPY_CO_ASSIGN(Message message, decode_message(record->view));
  co_return message.content == ContentKind::kReference ? message.reference : own;
}

Task<Result<RequestResult>> Account::copy(uint32_t from_id, std::string to, std::vector<UidRange> uids,
                                          bool move, RequestId id) {
  CANOPY_BEGIN_MUTATION(id);
  auto hold = co_await enter_alone();
  if (!hold) co_return fail(std::move(hold).error());
  CANOPY_CO_ASSIGN(const MailboxState* box, mailbox(from_id));
  CANOPY_CO_ASSIGN(to, canonical_mailbox_name(to));
  const MailboxState* target = state_.mailbox(to);
  if (target == nullptr) co_return fail(Code::kNotFound, name_, fmt::format("there is no mailbox {}", to));
  RequestResult result;
  result.mailbox_id = target->id;
  result.uidvalidity = target->uidvalidity;
  Frame frame;
  struct Copy {
    Message record;
    size_t index;
    uint64_t length;
  };
  std::vector<Copy> copies;
  uint64_t bytes = 0;
  uint32_t next = target->planned_uidnext;
  uint64_t modseq = state_.plan_modseq();
  Expunge gone;
  gone.mailbox_id = from_id;
  std::vector<MessageRow> rows;
  for (const UidRange& range : uids) {
    auto found = box->between(range.first, range.last);
    rows.insert(rows.end(), found.begin(), found.end());
  }
  if (rows.size() > kCopiedAtOnceMax) {
    co_return fail(Code::kTooLarge, name_,
                   fmt::format("at most {} messages are copied at once", kCopiedAtOnceMax));
  }
  for (const MessageRow& row : rows) {
    Copy copy;
    auto place = co_await content_place(row);
    if (!place) co_return fail(std::move(place).error());
    copy.record.mailbox_id = target->id;
    copy.record.uid = next++;
    copy.record.modseq = modseq;
    copy.record.date_seconds = row.date_seconds;
    copy.record.zone_minutes = row.zone_minutes;
    copy.record.flags = row.flags & kSystemFlagsMask;
    copy.record.keywords = state_.keyword_sets().get(row.keyword_set);
    copy.record.size = row.size;
    copy.record.content = ContentKind::kReference;
    copy.record.reference = *place;
    copy.index = frame.add(copy.record);
    copy.length = frame.record_length(copy.index);
    bytes += row.size;
    add_uid(result.source_uids, row.uid);
    add_uid(result.uids, copy.record.uid);
    add_uid(gone.uids, row.uid);
    copies.push_back(std::move(copy));
  }
  result.modseq = modseq;
  if (copies.empty()) co_return co_await nothing_to_change(id, std::move(result));
  if (!move) CANOPY_CO_TRY(check_room(bytes, copies.size()));
  if (move) {
    gone.modseq = modseq;
    frame.add(gone);
  }
  RequestRemembered remembered;
  remembered.request_id = id;
  remembered.time_ns = environment_.loop->wall_clock_ns();
  remembered.result = result.encode();
  if (!is_none(id)) frame.add(remembered);
  co_return co_await commit(std::move(frame), std::move(result), id, [&, this](const Appended& at) {
    for (const Copy& copy : copies) {
      state_.apply(copy.record, at.place(copy.index), copy.length);
      if (compaction_ != nullptr) {
        compaction_->copied_meanwhile(copy.record.mailbox_id, copy.record.uid, copy.record.reference);
      }
    }
    if (move) state_.apply(gone);
  });
}

Task<Result<std::string>> Account::fetch(uint32_t mailbox_id, uint32_t uid, uint64_t offset, uint64_t bytes) {
  Operation operation(*this);
  if (closing_) co_return fail(Code::kTryAgain, name_, "the account has to be opened again");
  CANOPY_CO_ASSIGN(const MailboxState* box, mailbox(mailbox_id));
  const MessageRow* found = box->find(uid);
  if (found == nullptr)
    co_return fail(Code::kNotFound, name_, fmt::format("{} has no UID {}", box->name, uid));
  MessageRow row = *found;
  auto opened = co_await ContentReader::open(*log_, log_->pin(), row.place(), row.record_length, offset);
  if (!opened) co_return fail(std::move(opened).error());
  ContentReader reader = std::move(*opened);
  // A checkpoint may be wrong where no checksum tells. Then nothing is shown rather than another's message.
  if (reader.mailbox_id() != mailbox_id || reader.uid() != uid || reader.size() != row.size) {
    co_return fail(Code::kDamaged, directory_,
                   fmt::format("the record in {:016x}-….slice at offset {} is not of the message with UID {}",
                               row.slice, row.offset, uid));
  }
  std::string out;
  if (offset >= row.size) co_return out;
  out.reserve(std::min<uint64_t>(bytes, row.size - offset));
  while (out.size() < bytes) {
    auto piece = co_await reader.next();
    if (!piece) co_return fail(std::move(piece).error());
    if (piece->empty()) break;
    out.append(piece->substr(0, bytes - out.size()));
  }
  co_return out;
}

}  // namespace canopy
