#include "daemon/log/content.h"

#include <algorithm>

namespace canopy {

Task<Result<ContentReader>> ContentReader::open(AccountLog& log, AccountLog::Pin pin, Place message,
                                                uint64_t hint_length, uint64_t from) {
  ContentReader reader;
  reader.log_ = &log;
  reader.pin_ = std::move(pin);
  reader.skip_ = from;
  CANOPY_CO_ASSIGN(reader.current_, co_await log.read_record(reader.pin_, message, hint_length));
  const auto not_content = [&] {
    return fail(Code::kDamaged, log.directory(),
                "the record in slice " + std::to_string(message.slice) + " at offset " +
                    std::to_string(message.offset) + " holds no message");
  };
  if (reader.current_.view.type != RecordType::kMessage) co_return not_content();
  CANOPY_CO_ASSIGN(Message found, decode_message(reader.current_.view));
  reader.size_ = found.size;
  reader.mailbox_id_ = found.mailbox_id;
  reader.uid_ = found.uid;
  if (found.content == ContentKind::kReference) {
    const Place target = found.reference;
    const uint64_t hint = kRecordHeaderBytes + 64 + std::min<uint64_t>(found.size, kInlineContentBytesMax);
    CANOPY_CO_ASSIGN(reader.current_,
                     co_await log.read_record(reader.pin_, target, (hint + 7) & ~uint64_t{7}));
    if (reader.current_.view.type == RecordType::kContent) {
      reader.pending_ = reader.current_.view.body;
    } else if (reader.current_.view.type == RecordType::kMessage) {
      CANOPY_CO_ASSIGN(found, decode_message(reader.current_.view));
      if (found.content == ContentKind::kReference) co_return not_content();
    } else {
      co_return not_content();
    }
  }
  if (found.content == ContentKind::kInline) reader.pending_ = found.bytes;
  if (found.content == ContentKind::kParts) reader.parts_ = std::move(found.parts);
  const uint64_t have = reader.parts_.empty() ? reader.pending_.size() : found.size;
  if (have != reader.size_) co_return not_content();
  co_return reader;
}

Task<Result<std::string_view>> ContentReader::next() {
  if (!pending_.empty()) {
    const auto piece = pending_.substr(std::min<uint64_t>(skip_, pending_.size()));
    skip_ -= pending_.size() - piece.size();
    pending_ = {};
    if (!piece.empty()) co_return piece;
  }
  while (next_part_ < parts_.size() && skip_ >= parts_[next_part_].length)
    skip_ -= parts_[next_part_++].length;
  if (next_part_ == parts_.size()) co_return std::string_view();
  const ContentPart& part = parts_[next_part_++];
  const uint64_t hint = (kRecordHeaderBytes + uint64_t{part.length} + 7) & ~uint64_t{7};
  CANOPY_CO_ASSIGN(current_, co_await log_->read_record(pin_, part.place, hint));
  if (current_.view.type != RecordType::kContent || current_.view.body.size() != part.length)
    co_return fail(Code::kDamaged, log_->directory(),
                   "the record in slice " + std::to_string(part.place.slice) + " at offset " +
                       std::to_string(part.place.offset) + " is not the part that the message names");
  const auto piece = current_.view.body.substr(skip_);
  skip_ = 0;
  co_return piece;
}

Task<Result<std::string>> read_content(AccountLog& log, AccountLog::Pin pin, Place message,
                                       uint64_t hint_length, uint64_t bytes_max) {
  CANOPY_CO_ASSIGN(ContentReader reader,
                   co_await ContentReader::open(log, std::move(pin), message, hint_length));
  if (reader.size() > bytes_max)
    co_return fail(Code::kTooLarge, log.directory(),
                   "the message has " + std::to_string(reader.size()) + " bytes");
  std::string content;
  content.reserve(reader.size());
  while (true) {
    CANOPY_CO_ASSIGN(const std::string_view piece, co_await reader.next());
    if (piece.empty()) co_return content;
    content.append(piece);
  }
}

}  // namespace canopy
