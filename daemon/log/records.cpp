#include "daemon/log/records.h"

#include <string>

#include "daemon/base/bytes.h"
#include "daemon/base/check.h"
#include "daemon/log/format.h"

namespace canopy {
namespace {

constexpr size_t kMessageFixedBytes = 40;
constexpr size_t kPlaceBytes = 12;

void put_text(std::string& out, std::string_view text) {
  put_le<uint32_t>(out, static_cast<uint32_t>(text.size()));
  out.append(text);
}

void put_ranges(std::string& out, const std::vector<UidRange>& ranges) {
  for (const UidRange& range : ranges) {
    put_le<uint32_t>(out, range.first);
    put_le<uint32_t>(out, range.last);
  }
}

std::unexpected<Error> damaged(const RecordView& record, std::string_view what) {
  return fail(Code::kDamaged, "record at offset " + std::to_string(record.offset),
              "the " + std::string(what) + " record does not have its form");
}

std::optional<std::string_view> take_text(ByteReader& reader) {
  auto size = reader.le<uint32_t>();
  if (!size) return std::nullopt;
  return reader.take(*size);
}

bool take_ranges(ByteReader& reader, uint32_t count, std::vector<UidRange>& out) {
  auto raw = reader.take(uint64_t{count} * 8);
  if (!raw) return false;
  out.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    UidRange range{get_le<uint32_t>(raw->data() + 8 * i), get_le<uint32_t>(raw->data() + 8 * i + 4)};
    if (range.first == 0 || range.first > range.last) return false;
    out.push_back(range);
  }
  return true;
}

bool take_keywords(ByteReader& reader, uint32_t count, std::vector<uint16_t>& out) {
  if (count > kKeywordsPerAccountMax) return false;
  auto raw = reader.take(uint64_t{count} * 2);
  if (!raw) return false;
  out.resize(count);
  if (count > 0) std::memcpy(out.data(), raw->data(), count * 2);
  return true;
}

std::optional<Place> take_place(ByteReader& reader) {
  auto slice = reader.le<uint32_t>();
  auto offset = reader.le<uint64_t>();
  if (!slice || !offset || *slice == 0) return std::nullopt;
  return Place{*slice, *offset};
}

bool zero_le32(ByteReader& reader) {
  auto value = reader.le<uint32_t>();
  return value && *value == 0;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------- Frame

Frame::Frame() : bytes_(kFrameHeaderBytes, '\0') {}

size_t Frame::begin(RecordType type) {
  offsets_.push_back(bytes_.size());
  put_le<uint32_t>(bytes_, 0);  // checksum: seal_frame() knows it
  put_le<uint8_t>(bytes_, static_cast<uint8_t>(type));
  put_le<uint8_t>(bytes_, 0);
  put_le<uint16_t>(bytes_, 0);
  put_le<uint32_t>(bytes_, 0);  // length: finish() knows it
  return bytes_.size();
}

size_t Frame::finish(size_t begun) {
  const size_t body = bytes_.size() - begun;
  CANOPY_CHECK(body <= UINT32_MAX);
  const auto length = static_cast<uint32_t>(body);
  std::memcpy(bytes_.data() + begun - 4, &length, 4);
  bytes_.resize((bytes_.size() + 7) & ~size_t{7}, '\0');
  return offsets_.size() - 1;
}

void Frame::put_place(const Place& place) {
  if (place.slice == 0) {
    CANOPY_CHECK(place.offset + 1 < offsets_.size());
    fixups_.push_back({bytes_.size(), static_cast<size_t>(place.offset)});
  }
  put_le<uint32_t>(bytes_, place.slice);
  put_le<uint64_t>(bytes_, place.offset);
}

uint64_t Frame::record_length(size_t index) const {
  return (index + 1 < offsets_.size() ? offsets_[index + 1] : bytes_.size()) - offsets_[index];
}

std::string& Frame::resolve(uint32_t slice, uint64_t offset) {
  for (const Fixup& fixup : fixups_) {
    const uint64_t target = offset + offsets_[fixup.record_index];
    std::memcpy(bytes_.data() + fixup.position, &slice, 4);
    std::memcpy(bytes_.data() + fixup.position + 4, &target, 8);
  }
  return bytes_;
}

size_t Frame::add(const MailboxCreate& record) {
  const size_t begun = begin(RecordType::kMailboxCreate);
  put_le<uint32_t>(bytes_, record.mailbox_id);
  put_le<uint32_t>(bytes_, record.uidvalidity);
  put_le<uint64_t>(bytes_, record.modseq);
  put_text(bytes_, record.name);
  return finish(begun);
}

size_t Frame::add(const MailboxRename& record) {
  const size_t begun = begin(RecordType::kMailboxRename);
  put_le<uint32_t>(bytes_, record.mailbox_id);
  put_le<uint32_t>(bytes_, 0);
  put_le<uint64_t>(bytes_, record.modseq);
  put_text(bytes_, record.name);
  return finish(begun);
}

size_t Frame::add(const MailboxDelete& record) {
  const size_t begun = begin(RecordType::kMailboxDelete);
  put_le<uint32_t>(bytes_, record.mailbox_id);
  put_le<uint32_t>(bytes_, 0);
  put_le<uint64_t>(bytes_, record.modseq);
  return finish(begun);
}

size_t Frame::add(const Subscribe& record) {
  const size_t begun = begin(RecordType::kSubscribe);
  put_le<uint32_t>(bytes_, record.on ? 1 : 0);
  put_text(bytes_, record.name);
  return finish(begun);
}

size_t Frame::add(const MailboxRights& record) {
  const size_t begun = begin(RecordType::kMailboxRights);
  put_le<uint32_t>(bytes_, record.mailbox_id);
  put_text(bytes_, record.identifier);
  put_text(bytes_, record.rights);
  return finish(begun);
}

size_t Frame::add(const Message& record) {
  const size_t begun = begin(RecordType::kMessage);
  bytes_.reserve(bytes_.size() + kMessageFixedBytes + record.bytes.size() + 64);
  put_le<uint32_t>(bytes_, record.mailbox_id);
  put_le<uint32_t>(bytes_, record.uid);
  put_le<uint64_t>(bytes_, record.modseq);
  put_le<int64_t>(bytes_, record.date_seconds);
  put_le<int16_t>(bytes_, record.zone_minutes);
  put_le<uint16_t>(bytes_, record.flags);
  put_le<uint16_t>(bytes_, static_cast<uint16_t>(record.keywords.size()));
  put_le<uint8_t>(bytes_, static_cast<uint8_t>(record.content));
  put_le<uint8_t>(bytes_, 0);
  put_le<uint64_t>(bytes_, record.content == ContentKind::kInline ? record.bytes.size() : record.size);
  for (uint16_t keyword : record.keywords) put_le<uint16_t>(bytes_, keyword);
  switch (record.content) {
    case ContentKind::kInline:
      CANOPY_CHECK(record.bytes.size() <= kInlineContentBytesMax);
      bytes_.append(record.bytes);
      break;
    case ContentKind::kReference: put_place(record.reference); break;
    case ContentKind::kParts:
      put_le<uint32_t>(bytes_, static_cast<uint32_t>(record.parts.size()));
      for (const ContentPart& part : record.parts) {
        put_place(part.place);
        put_le<uint32_t>(bytes_, part.length);
      }
      break;
  }
  return finish(begun);
}

size_t Frame::add(const Content& record) {
  CANOPY_CHECK(record.bytes.size() <= kInlineContentBytesMax);
  return add_raw(RecordType::kContent, record.bytes);
}

size_t Frame::add(const KeywordDefine& record) {
  const size_t begun = begin(RecordType::kKeywordDefine);
  put_le<uint16_t>(bytes_, record.id);
  put_le<uint16_t>(bytes_, 0);
  put_text(bytes_, record.name);
  return finish(begun);
}

size_t Frame::add(const FlagsChange& record) {
  const size_t begun = begin(RecordType::kFlagsChange);
  put_le<uint32_t>(bytes_, record.mailbox_id);
  put_le<uint32_t>(bytes_, static_cast<uint32_t>(record.groups.size()));
  put_le<uint64_t>(bytes_, record.modseq);
  for (const FlagsGroup& group : record.groups) {
    put_le<uint16_t>(bytes_, group.flags);
    put_le<uint16_t>(bytes_, static_cast<uint16_t>(group.keywords.size()));
    put_le<uint32_t>(bytes_, static_cast<uint32_t>(group.uids.size()));
    for (uint16_t keyword : group.keywords) put_le<uint16_t>(bytes_, keyword);
    put_ranges(bytes_, group.uids);
  }
  return finish(begun);
}

size_t Frame::add(const Expunge& record) {
  const size_t begun = begin(RecordType::kExpunge);
  put_le<uint32_t>(bytes_, record.mailbox_id);
  put_le<uint32_t>(bytes_, static_cast<uint32_t>(record.uids.size()));
  put_le<uint64_t>(bytes_, record.modseq);
  put_ranges(bytes_, record.uids);
  return finish(begun);
}

size_t Frame::add(const UidNext& record) {
  const size_t begun = begin(RecordType::kUidNext);
  put_le<uint32_t>(bytes_, record.mailbox_id);
  put_le<uint32_t>(bytes_, record.uidnext);
  put_le<uint32_t>(bytes_, record.uidvalidity);
  put_le<uint32_t>(bytes_, 0);
  put_le<uint64_t>(bytes_, record.highest_modseq);
  return finish(begun);
}

size_t Frame::add(const ModseqFloor& record) {
  const size_t begun = begin(RecordType::kModseqFloor);
  put_le<uint32_t>(bytes_, record.mailbox_id);
  put_le<uint32_t>(bytes_, 0);
  put_le<uint64_t>(bytes_, record.modseq);
  return finish(begun);
}

size_t Frame::add(const RequestRemembered& record) {
  const size_t begun = begin(RecordType::kRequestRemembered);
  bytes_.append(reinterpret_cast<const char*>(record.request_id.data()), record.request_id.size());
  put_le<int64_t>(bytes_, record.time_ns);
  put_text(bytes_, record.result);
  return finish(begun);
}

size_t Frame::add(const Counter& record) {
  const size_t begun = begin(RecordType::kCounter);
  put_le<uint32_t>(bytes_, record.next_mailbox_id);
  put_le<uint32_t>(bytes_, record.last_uidvalidity);
  put_le<uint64_t>(bytes_, record.highest_modseq);
  return finish(begun);
}

size_t Frame::add_raw(RecordType type, std::string_view body) {
  const size_t begun = begin(type);
  bytes_.append(body);
  return finish(begun);
}

// ------------------------------------------------------------------------------------------------- decoders

Result<MailboxCreate> decode_mailbox_create(const RecordView& record) {
  ByteReader reader(record.body);
  auto id = reader.le<uint32_t>();
  auto uidvalidity = reader.le<uint32_t>();
  auto modseq = reader.le<uint64_t>();
  auto name = take_text(reader);
  if (!name || !reader.empty()) return damaged(record, "MailboxCreate");
  return MailboxCreate{*id, *uidvalidity, *modseq, std::string(*name)};
}

Result<MailboxRename> decode_mailbox_rename(const RecordView& record) {
  ByteReader reader(record.body);
  auto id = reader.le<uint32_t>();
  const bool zero = zero_le32(reader);
  auto modseq = reader.le<uint64_t>();
  auto name = take_text(reader);
  if (!zero || !name || !reader.empty()) return damaged(record, "MailboxRename");
  return MailboxRename{*id, *modseq, std::string(*name)};
}

Result<MailboxDelete> decode_mailbox_delete(const RecordView& record) {
  ByteReader reader(record.body);
  auto id = reader.le<uint32_t>();
  const bool zero = zero_le32(reader);
  auto modseq = reader.le<uint64_t>();
  if (!zero || !modseq || !reader.empty()) return damaged(record, "MailboxDelete");
  return MailboxDelete{*id, *modseq};
}

Result<Subscribe> decode_subscribe(const RecordView& record) {
  ByteReader reader(record.body);
  auto on = reader.le<uint32_t>();
  auto name = take_text(reader);
  if (!name || *on > 1 || !reader.empty()) return damaged(record, "Subscribe");
  return Subscribe{std::string(*name), *on == 1};
}

Result<MailboxRights> decode_mailbox_rights(const RecordView& record) {
  ByteReader reader(record.body);
  auto id = reader.le<uint32_t>();
  auto identifier = take_text(reader);
  auto rights = take_text(reader);
  if (!id || !identifier || !rights || !reader.empty()) return damaged(record, "MailboxRights");
  return MailboxRights{*id, std::string(*identifier), std::string(*rights)};
}

namespace {

bool take_message_content(ByteReader& reader, Message& message) {
  switch (message.content) {
    case ContentKind::kInline:
      if (message.size > kInlineContentBytesMax || reader.rest().size() != message.size) return false;
      message.bytes = reader.rest();
      return true;
    case ContentKind::kReference: {
      auto place = take_place(reader);
      if (!place || !reader.empty()) return false;
      message.reference = *place;
      return true;
    }
    case ContentKind::kParts: {
      auto count = reader.le<uint32_t>();
      if (!count || reader.rest().size() != uint64_t{*count} * (kPlaceBytes + 4)) return false;
      message.parts.reserve(*count);
      uint64_t total = 0;
      for (uint32_t i = 0; i < *count; ++i) {
        auto place = take_place(reader);
        auto length = reader.le<uint32_t>();
        if (!place || !length || *length > kInlineContentBytesMax) return false;
        total += *length;
        message.parts.push_back({*place, *length});
      }
      return total == message.size;
    }
  }
  return false;
}

}  // namespace

Result<Message> decode_message(const RecordView& record) {
  if (record.body.size() < kMessageFixedBytes) return damaged(record, "Message");
  const char* at = record.body.data();
  Message message;
  message.mailbox_id = get_le<uint32_t>(at);
  message.uid = get_le<uint32_t>(at + 4);
  message.modseq = get_le<uint64_t>(at + 8);
  message.date_seconds = get_le<int64_t>(at + 16);
  message.zone_minutes = get_le<int16_t>(at + 24);
  message.flags = get_le<uint16_t>(at + 26);
  const auto keywords = get_le<uint16_t>(at + 28);
  const auto kind = get_le<uint8_t>(at + 30);
  message.size = get_le<uint64_t>(at + 32);
  // The last UID is never given: uidnext is above every UID.
  if (message.uid == 0 || message.uid == UINT32_MAX || kind > static_cast<uint8_t>(ContentKind::kParts) ||
      at[31] != 0)
    return damaged(record, "Message");
  message.content = static_cast<ContentKind>(kind);
  ByteReader reader(record.body.substr(kMessageFixedBytes));
  if (!take_keywords(reader, keywords, message.keywords) || !take_message_content(reader, message))
    return damaged(record, "Message");
  return message;
}

Result<Content> decode_content(const RecordView& record) {
  if (record.body.size() > kInlineContentBytesMax) return damaged(record, "Content");
  return Content{record.body};
}

Result<KeywordDefine> decode_keyword_define(const RecordView& record) {
  ByteReader reader(record.body);
  auto id = reader.le<uint16_t>();
  auto zero = reader.le<uint16_t>();
  auto name = take_text(reader);
  if (!name || *zero != 0 || !reader.empty()) return damaged(record, "KeywordDefine");
  return KeywordDefine{*id, std::string(*name)};
}

Result<FlagsChange> decode_flags_change(const RecordView& record) {
  ByteReader reader(record.body);
  auto id = reader.le<uint32_t>();
  auto groups = reader.le<uint32_t>();
  auto modseq = reader.le<uint64_t>();
  if (!modseq) return damaged(record, "FlagsChange");
  FlagsChange change{*id, *modseq, {}};
  for (uint32_t i = 0; i < *groups; ++i) {
    FlagsGroup group;
    auto flags = reader.le<uint16_t>();
    auto keywords = reader.le<uint16_t>();
    auto ranges = reader.le<uint32_t>();
    if (!ranges || !take_keywords(reader, *keywords, group.keywords) ||
        !take_ranges(reader, *ranges, group.uids))
      return damaged(record, "FlagsChange");
    group.flags = *flags;
    change.groups.push_back(std::move(group));
  }
  if (!reader.empty()) return damaged(record, "FlagsChange");
  return change;
}

Result<Expunge> decode_expunge(const RecordView& record) {
  ByteReader reader(record.body);
  auto id = reader.le<uint32_t>();
  auto count = reader.le<uint32_t>();
  auto modseq = reader.le<uint64_t>();
  if (!modseq) return damaged(record, "Expunge");
  Expunge expunge{*id, *modseq, {}};
  if (!take_ranges(reader, *count, expunge.uids) || !reader.empty()) return damaged(record, "Expunge");
  return expunge;
}

Result<UidNext> decode_uid_next(const RecordView& record) {
  ByteReader reader(record.body);
  auto id = reader.le<uint32_t>();
  auto uidnext = reader.le<uint32_t>();
  auto uidvalidity = reader.le<uint32_t>();
  const bool zero = zero_le32(reader);
  auto modseq = reader.le<uint64_t>();
  if (!zero || !modseq || !reader.empty()) return damaged(record, "UidNext");
  return UidNext{*id, *uidnext, *uidvalidity, *modseq};
}

Result<ModseqFloor> decode_modseq_floor(const RecordView& record) {
  ByteReader reader(record.body);
  auto id = reader.le<uint32_t>();
  const bool zero = zero_le32(reader);
  auto modseq = reader.le<uint64_t>();
  if (!zero || !modseq || !reader.empty()) return damaged(record, "ModseqFloor");
  return ModseqFloor{*id, *modseq};
}

Result<RequestRemembered> decode_request_remembered(const RecordView& record) {
  ByteReader reader(record.body);
  auto id = reader.take(kRequestIdBytes);
  auto time = reader.le<int64_t>();
  auto result = take_text(reader);
  if (!id || !time || !result || !reader.empty()) return damaged(record, "RequestRemembered");
  RequestRemembered remembered{{}, *time, std::string(*result)};
  std::memcpy(remembered.request_id.data(), id->data(), kRequestIdBytes);
  return remembered;
}

Result<Counter> decode_counter(const RecordView& record) {
  ByteReader reader(record.body);
  auto next_mailbox_id = reader.le<uint32_t>();
  auto last_uidvalidity = reader.le<uint32_t>();
  auto modseq = reader.le<uint64_t>();
  if (!modseq || !reader.empty()) return damaged(record, "Counter");
  return Counter{*next_mailbox_id, *last_uidvalidity, *modseq};
}

}  // namespace canopy
