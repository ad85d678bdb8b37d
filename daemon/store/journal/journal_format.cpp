#include "daemon/store/journal/journal_format.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/base/bytes.h"
#include "daemon/base/check.h"
#include "daemon/base/crc32c.h"
#include "daemon/store/store_path.h"

namespace canopy::journal {

namespace {

constexpr std::string_view kHeaderMagic = "CNPYJRN1";
constexpr size_t kHeaderBytes = 36;
constexpr uint32_t kRecordMagic = 0x524e4a43;  // "CJNR"
constexpr size_t kAlignment = 8;

size_t aligned(size_t size, size_t to) { return (size + to - 1) / to * to; }

std::optional<Header> parse_header(std::string_view block) {
  if (block.size() < kHeaderBytes || !block.starts_with(kHeaderMagic)) return std::nullopt;
  const char* at = block.data();
  if (crc32c(0, block.substr(0, kHeaderBytes - 4)) != get_le<uint32_t>(at + kHeaderBytes - 4))
    return std::nullopt;
  return Header{get_le<uint64_t>(at + 8), get_le<uint64_t>(at + 16), get_le<uint64_t>(at + 24) != 0};
}

// The record at the beginning, when it is whole.
std::optional<Record> parse_record(std::string_view bytes, uint64_t secret) {
  if (bytes.size() < kRecordHeadBytes) return std::nullopt;
  const char* at = bytes.data();
  if (get_le<uint32_t>(at) != kRecordMagic || get_le<uint64_t>(at + 8) != secret) return std::nullopt;
  Record record;
  record.sequence = get_le<uint64_t>(at + 16);
  record.batch = get_le<uint64_t>(at + 24);
  const auto kind = get_le<uint16_t>(at + 32);
  const size_t path = get_le<uint16_t>(at + 34);
  const size_t content = get_le<uint32_t>(at + 36);
  if (content > kContentBytesMax || kRecordHeadBytes + path + content > bytes.size()) return std::nullopt;
  const size_t end = kRecordHeadBytes + path + content;
  if (crc32c(0, bytes.substr(8, end - 8)) != get_le<uint32_t>(at + 4)) return std::nullopt;
  if (kind != 1 && kind != 2) return std::nullopt;
  record.kind = static_cast<Kind>(kind);
  record.path = bytes.substr(kRecordHeadBytes, path);
  record.content = bytes.substr(kRecordHeadBytes + path, content);
  if (record.sequence < record.batch || !check_store_name(record.path) || !takes(record.path))
    return std::nullopt;
  return record;
}

}  // namespace

bool takes(std::string_view path) { return path.ends_with(".info") && !path.starts_with(".canopy/"); }

std::string file_path(uint32_t file) { return fmt::format("{}/{}", kDirectory, file); }

std::string print_header(const Header& header) {
  std::string out(kHeaderMagic);
  put_le(out, header.written);
  put_le(out, header.secret);
  put_le(out, static_cast<uint64_t>(header.rewrite));
  put_le(out, crc32c(0, out));
  CANOPY_CHECK(out.size() == kHeaderBytes);
  out.resize(kBlockBytes, '\0');
  return out;
}

uint64_t header_offset(const Header& header) { return header.written % 2 * kBlockBytes; }

std::optional<Header> newest_header(std::string_view bytes) {
  std::optional<Header> newest;
  for (uint64_t at = 0; at + kHeaderBytes <= bytes.size() && at < kBatchesAt; at += kBlockBytes) {
    auto found = parse_header(bytes.substr(at));
    if (found && (!newest || newest->written < found->written)) newest = found;
  }
  return newest;
}

size_t record_bytes(std::string_view path, std::string_view content) {
  return aligned(kRecordHeadBytes + path.size() + content.size(), kAlignment);
}

void append_record(std::string& batch, uint64_t secret, const Record& record) {
  CANOPY_CHECK(record.path.size() <= kStorePathBytesMax && record.content.size() <= kContentBytesMax);
  const size_t begin = batch.size();
  put_le(batch, kRecordMagic);
  put_le(batch, uint32_t{0});
  put_le(batch, secret);
  put_le(batch, record.sequence);
  put_le(batch, record.batch);
  put_le(batch, static_cast<uint16_t>(record.kind));
  put_le(batch, static_cast<uint16_t>(record.path.size()));
  put_le(batch, static_cast<uint32_t>(record.content.size()));
  batch.append(record.path).append(record.content);
  const uint32_t crc = crc32c(0, std::string_view(batch).substr(begin + 8));
  std::memcpy(batch.data() + begin + 4, &crc, sizeof crc);
  batch.resize(aligned(batch.size(), kAlignment), '\0');
}

void end_batch(std::string& batch) { batch.resize(aligned(batch.size(), kBlockBytes), '\0'); }

Scan scan(std::string_view bytes, uint64_t secret) {
  Scan found;
  size_t at = kBatchesAt;
  while (at + kRecordHeadBytes <= bytes.size()) {
    auto record = parse_record(bytes.substr(at), secret);
    // What comes again is of no batch that was written: sequences rise.
    if (record && !found.records.empty() && record->sequence <= found.records.back().sequence) record.reset();
    if (!record) {
      at += kAlignment;
      continue;
    }
    if (found.records.empty()) found.begins_whole = at == kBatchesAt;
    at += record_bytes(record->path, record->content);
    found.records.push_back(*record);
  }
  return found;
}

uint64_t missing_records(const std::array<Scan, kFiles>& files) {
  std::vector<const Scan*> parts;
  for (const Scan& file : files)
    if (!file.records.empty()) parts.push_back(&file);
  std::ranges::sort(parts, {}, [](const Scan* part) { return part->records.front().sequence; });
  uint64_t durable = 0;  // all before it
  for (const Scan* part : parts)
    for (const Record& record : part->records) durable = std::max(durable, record.batch);
  uint64_t missing = 0;
  std::optional<uint64_t> next;
  for (const Scan* part : parts) {
    for (const Record& record : part->records) {
      if (!next) next = part->begins_whole ? record.sequence : std::min(record.batch, record.sequence - 1);
      const uint64_t until = std::min(record.sequence, durable);
      if (until > *next) missing += until - *next;
      next = record.sequence + 1;
    }
  }
  if (next && durable > *next) missing += durable - *next;
  return missing;
}

}  // namespace canopy::journal
