// The records of the account log as plain structs, their codecs, and Frame, which collects the records of one
// mutation. Pure: no I/O, any thread. Layouts are fixed; docs/formats/account-log.md describes every byte.
//
// Decoders trust nothing: every length is checked against the body, and what does not fit is kDamaged. They
// verify the body's form only; checksums were verified before a RecordView exists.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/limits.h"

namespace canopy {

inline constexpr uint64_t kFrameBytesMax = 64u << 20;  // of one frame, all records of one mutation
inline constexpr uint32_t kRecordBodyBytesMax = 32u << 20;
inline constexpr uint32_t kRecordsPerFrameMax = 1u << 20;

using RequestId = std::array<uint8_t, kRequestIdBytes>;  // all zero: none
inline bool is_none(const RequestId& id) { return id == RequestId{}; }

// Numbers are on disk; never renumber. 0 is no type.
enum class RecordType : uint8_t {
  kManifest = 1,
  kMailboxCreate = 2,
  kMailboxRename = 3,
  kMailboxDelete = 4,
  kSubscribe = 5,
  kMailboxRights = 6,
  kMessage = 7,
  kContent = 8,
  kKeywordDefine = 9,
  kFlagsChange = 10,
  kExpunge = 11,
  kUidNext = 12,
  kModseqFloor = 13,
  kRequestRemembered = 14,
  kCounter = 15,
};

// Where a record lies: the offset of its first header byte in a slice of the account.
struct Place {
  uint32_t slice = 0;   // slice number, from 1
  uint64_t offset = 0;  // bytes from the start of the slice
  auto operator<=>(const Place&) const = default;

  // A record of the frame that is being built: the index that an earlier add_*() of the same Frame answered.
  // append() puts the true place in before anything is written; on disk a place is always absolute.
  static Place in_this_frame(size_t record_index) { return Place{0, record_index}; }
};

// System flags, RFC 9051 section 2.3.2. Bits are on disk.
inline constexpr uint16_t kFlagSeen = 1, kFlagAnswered = 2, kFlagFlagged = 4, kFlagDeleted = 8,
                          kFlagDraft = 16;

struct MailboxCreate {
  uint32_t mailbox_id = 0;
  uint32_t uidvalidity = 0;
  uint64_t modseq = 0;
  std::string name;  // UTF-8, '/' between levels; the log does not interpret it
};

struct MailboxRename {
  uint32_t mailbox_id = 0;
  uint64_t modseq = 0;
  std::string name;
};

struct MailboxDelete {
  uint32_t mailbox_id = 0;
  uint64_t modseq = 0;
};

struct Subscribe {
  std::string name;
  bool on = false;
};

struct MailboxRights {
  uint32_t mailbox_id = 0;
  std::string identifier;
  std::string rights;  // empty: none, the entry goes
};

struct UidRange {  // both ends belong to it; 1 <= first <= last
  uint32_t first = 0, last = 0;
  bool operator==(const UidRange&) const = default;
};

enum class ContentKind : uint8_t { kInline = 0, kReference = 1, kParts = 2 };

struct ContentPart {
  Place place;          // of a Content record
  uint32_t length = 0;  // its bytes of content
  bool operator==(const ContentPart&) const = default;
};

struct Message {
  uint32_t mailbox_id = 0;
  uint32_t uid = 0;
  uint64_t modseq = 0;
  int64_t date_seconds = 0;  // internal date, Unix time
  int16_t zone_minutes = 0;  // east of UTC
  uint16_t flags = 0;        // system flags
  std::vector<uint16_t> keywords;
  uint64_t size = 0;  // bytes of the message
  ContentKind content = ContentKind::kInline;
  std::string_view
      bytes;        // kInline: the message, at most kInlineContentBytesMax; a view of the record's body
  Place reference;  // kReference: a Message (of any kind but kReference) or Content record
  std::vector<ContentPart> parts;  // kParts: in order; their lengths add up to size
};

struct Content {
  std::string_view bytes;  // at most kInlineContentBytesMax; a view of the record's body
};

struct KeywordDefine {
  uint16_t id = 0;
  std::string name;
};

// What is so after the change, not what was added or taken away, so that replaying it twice does no harm.
struct FlagsGroup {
  uint16_t flags = 0;
  std::vector<uint16_t> keywords;
  std::vector<UidRange> uids;
};

struct FlagsChange {
  uint32_t mailbox_id = 0;
  uint64_t modseq = 0;
  std::vector<FlagsGroup> groups;
};

struct Expunge {
  uint32_t mailbox_id = 0;
  uint64_t modseq = 0;
  std::vector<UidRange> uids;
};

struct UidNext {
  uint32_t mailbox_id = 0;
  uint32_t uidnext = 0;
  uint32_t uidvalidity = 0;
  uint64_t highest_modseq = 0;
};

struct ModseqFloor {  // expunges with a smaller or equal mod-sequence are forgotten
  uint32_t mailbox_id = 0;
  uint64_t modseq = 0;
};

struct RequestRemembered {
  RequestId request_id{};
  int64_t time_ns = 0;  // of the frame that carried the request, wall clock
  std::string result;   // opaque
};

struct Counter {  // of the whole account
  uint32_t next_mailbox_id = 0;
  uint32_t last_uidvalidity = 0;
  uint64_t highest_modseq = 0;
};

// One verified record. `body` is a view of the reader's buffer.
struct RecordView {
  RecordType type{};
  uint8_t flags = 0;    // 0 in version 1
  uint64_t offset = 0;  // of its header in the slice
  uint64_t length = 0;  // header, body and padding: the hint that read_record() wants
  std::string_view body;
};

Result<MailboxCreate> decode_mailbox_create(const RecordView& record);
Result<MailboxRename> decode_mailbox_rename(const RecordView& record);
Result<MailboxDelete> decode_mailbox_delete(const RecordView& record);
Result<Subscribe> decode_subscribe(const RecordView& record);
Result<MailboxRights> decode_mailbox_rights(const RecordView& record);
Result<Message> decode_message(const RecordView& record);
Result<Content> decode_content(const RecordView& record);
Result<KeywordDefine> decode_keyword_define(const RecordView& record);
Result<FlagsChange> decode_flags_change(const RecordView& record);
Result<Expunge> decode_expunge(const RecordView& record);
Result<UidNext> decode_uid_next(const RecordView& record);
Result<ModseqFloor> decode_modseq_floor(const RecordView& record);
Result<RequestRemembered> decode_request_remembered(const RecordView& record);
Result<Counter> decode_counter(const RecordView& record);

// The records of one mutation, laid out as they will lie on disk; whole or absent after any crash. Each add()
// answers the record's index. Bytes handed in are copied. Keep a frame below kFrameBytesMax: append() refuses
// a larger one.
class Frame {
 public:
  Frame();

  void set_request_id(const RequestId& id) { request_id_ = id; }
  const RequestId& request_id() const { return request_id_; }

  size_t add(const MailboxCreate& record);
  size_t add(const MailboxRename& record);
  size_t add(const MailboxDelete& record);
  size_t add(const Subscribe& record);
  size_t add(const MailboxRights& record);
  size_t add(const Message& record);
  size_t add(const Content& record);
  size_t add(const KeywordDefine& record);
  size_t add(const FlagsChange& record);
  size_t add(const Expunge& record);
  size_t add(const UidNext& record);
  size_t add(const ModseqFloor& record);
  size_t add(const RequestRemembered& record);
  size_t add(const Counter& record);
  size_t add_raw(RecordType type, std::string_view body);

  bool empty() const { return offsets_.empty(); }
  size_t records() const { return offsets_.size(); }
  uint64_t size() const { return bytes_.size(); }                         // bytes on disk
  uint64_t record_offset(size_t index) const { return offsets_[index]; }  // from the frame's first byte
  uint64_t record_length(size_t index) const;                             // header, body, padding

  // For the log: the laid-out bytes, with every Place::in_this_frame() made absolute for a frame at `offset`
  // of `slice`.
  std::string& resolve(uint32_t slice, uint64_t offset);

 private:
  struct Fixup {
    size_t position;      // in bytes_, of an encoded Place
    size_t record_index;  // what it names
  };

  size_t begin(RecordType type);
  size_t finish(size_t begun);
  void put_place(const Place& place);

  std::string bytes_;
  std::vector<uint64_t> offsets_;
  std::vector<Fixup> fixups_;
  RequestId request_id_{};
};

}  // namespace canopy
