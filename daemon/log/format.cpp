#include "daemon/log/format.h"

#include "daemon/base/bytes.h"
#include "daemon/base/check.h"
#include "daemon/base/crc32c.h"

namespace canopy {
namespace {

constexpr std::string_view kSliceSuffix = ".slice";
constexpr std::string_view kCheckpointSuffix = ".checkpoint";
constexpr size_t kManifestEntryBytes = 24;

std::string file_name(SliceId id, std::string_view suffix) {
  return hex64(id.number) + "-" + hex64(id.epoch) + std::string(suffix);
}

std::optional<SliceId> parse_file_name(std::string_view name, std::string_view suffix) {
  if (name.size() != 33 + suffix.size() || name[16] != '-' || !name.ends_with(suffix)) return std::nullopt;
  auto number = parse_hex64(name.substr(0, 16));
  auto epoch = parse_hex64(name.substr(17, 16));
  if (!number || !epoch || *number == 0 || *number > UINT32_MAX) return std::nullopt;
  const SliceId id{static_cast<uint32_t>(*number), *epoch};
  if (file_name(id, suffix) != name) return std::nullopt;  // upper-case digits: not ours
  return id;
}

}  // namespace

std::string slice_file_name(SliceId id) { return file_name(id, kSliceSuffix); }
std::string checkpoint_file_name(SliceId id) { return file_name(id, kCheckpointSuffix); }
std::optional<SliceId> parse_slice_file_name(std::string_view name) {
  return parse_file_name(name, kSliceSuffix);
}
std::optional<SliceId> parse_checkpoint_file_name(std::string_view name) {
  return parse_file_name(name, kCheckpointSuffix);
}

SliceSeed::SliceSeed(std::string_view secret, SliceId id) {
  std::string text(secret);
  put_le<uint32_t>(text, id.number);
  put_le<uint64_t>(text, id.epoch);
  base_ = crc32c(0, text);
}

uint32_t SliceSeed::at(uint64_t offset) const {
  char raw[8];
  std::memcpy(raw, &offset, 8);
  return crc32c(base_, std::string_view(raw, 8));
}

std::string encode_slice_header(const SliceHeader& header) {
  CANOPY_CHECK(header.secret.size() == kSecretBytes && header.id.number != 0);
  std::string out(kSliceMagic);
  put_le<uint16_t>(out, kSliceVersion);
  put_le<uint8_t>(out, static_cast<uint8_t>(header.kind));
  put_le<uint8_t>(out, 0);
  put_le<uint32_t>(out, header.id.number);
  put_le<uint64_t>(out, header.id.epoch);
  out.append(header.secret);
  put_le<int64_t>(out, header.created_seconds);
  out.resize(kSliceHeaderBytes - 4, '\0');
  put_le<uint32_t>(out, crc32c(SliceSeed(header.secret, header.id).at(0), out));
  return out;
}

Result<SliceHeader> decode_slice_header(std::string_view bytes) {
  const auto damaged = [](std::string_view why) {
    return fail(Code::kDamaged, "slice header", std::string(why));
  };
  if (bytes.size() < kSliceHeaderBytes) return damaged("the file is shorter than a slice header");
  if (bytes.substr(0, 8) != kSliceMagic) return damaged("the file does not begin as a slice");
  SliceHeader header;
  const auto version = get_le<uint16_t>(bytes.data() + 8);
  const auto kind = get_le<uint8_t>(bytes.data() + 10);
  header.id = {get_le<uint32_t>(bytes.data() + 12), get_le<uint64_t>(bytes.data() + 16)};
  header.secret = std::string(bytes.substr(24, kSecretBytes));
  header.created_seconds = get_le<int64_t>(bytes.data() + 40);
  const uint32_t crc =
      crc32c(SliceSeed(header.secret, header.id).at(0), bytes.substr(0, kSliceHeaderBytes - 4));
  if (crc != get_le<uint32_t>(bytes.data() + kSliceHeaderBytes - 4))
    return damaged("the checksum of the slice header does not match");
  if (version != kSliceVersion) return damaged("the slice has version " + std::to_string(version));
  if (kind > static_cast<uint8_t>(SliceKind::kData) || header.id.number == 0)
    return damaged("the slice is of an unknown kind");
  header.kind = static_cast<SliceKind>(kind);
  return header;
}

void seal_frame(std::string& frame, const FrameHeader& header, const SliceSeed& seed, uint64_t offset) {
  CANOPY_CHECK(frame.size() >= kFrameHeaderBytes && frame.size() % 8 == 0 && offset % 8 == 0);
  std::string head;
  put_le<uint32_t>(head, kFrameMagic);
  put_le<uint32_t>(head, 0);
  put_le<uint64_t>(head, frame.size());
  put_le<uint32_t>(head, header.records);
  put_le<uint32_t>(head, 0);
  put_le<int64_t>(head, header.time_ns);
  put_le<uint64_t>(head, header.acknowledged);
  head.append(reinterpret_cast<const char*>(header.request_id.data()), header.request_id.size());
  CANOPY_CHECK(head.size() == kFrameHeaderBytes);
  const uint32_t crc = crc32c(seed.at(offset), std::string_view(head).substr(8));
  std::memcpy(head.data() + 4, &crc, 4);
  std::memcpy(frame.data(), head.data(), kFrameHeaderBytes);

  uint32_t records = 0;
  for (size_t at = kFrameHeaderBytes; at < frame.size(); ++records) {
    const uint64_t body = get_le<uint32_t>(frame.data() + at + 8);
    const uint32_t record_crc =
        crc32c(seed.at(offset + at), std::string_view(frame).substr(at + 4, kRecordHeaderBytes - 4 + body));
    std::memcpy(frame.data() + at, &record_crc, 4);
    at += (kRecordHeaderBytes + body + 7) & ~uint64_t{7};
  }
  CANOPY_CHECK(records == header.records);
}

std::optional<FrameHeader> decode_frame_header(std::string_view bytes, const SliceSeed& seed,
                                               uint64_t offset) {
  if (bytes.size() < kFrameHeaderBytes || offset % 8 != 0) return std::nullopt;
  const char* at = bytes.data();
  if (get_le<uint32_t>(at) != kFrameMagic) return std::nullopt;
  if (crc32c(seed.at(offset), bytes.substr(8, kFrameHeaderBytes - 8)) != get_le<uint32_t>(at + 4))
    return std::nullopt;
  FrameHeader header;
  header.length = get_le<uint64_t>(at + 8);
  header.records = get_le<uint32_t>(at + 16);
  header.time_ns = get_le<int64_t>(at + 24);
  header.acknowledged = get_le<uint64_t>(at + 32);
  std::memcpy(header.request_id.data(), at + 40, kRequestIdBytes);
  if (get_le<uint32_t>(at + 20) != 0 || header.length < kFrameHeaderBytes || header.length % 8 != 0 ||
      header.length > kFrameBytesMax || header.records > kRecordsPerFrameMax ||
      header.acknowledged > offset || header.acknowledged % 8 != 0)
    return std::nullopt;
  return header;
}

std::optional<uint64_t> record_length(std::string_view bytes) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  const uint64_t body = get_le<uint32_t>(bytes.data() + 8);
  if (body > kRecordBodyBytesMax) return std::nullopt;
  return (kRecordHeaderBytes + body + 7) & ~uint64_t{7};
}

std::optional<RecordView> decode_record(std::string_view bytes, const SliceSeed& seed, uint64_t offset) {
  auto length = record_length(bytes);
  if (!length || *length > bytes.size() || offset % 8 != 0) return std::nullopt;
  const uint64_t body = get_le<uint32_t>(bytes.data() + 8);
  const auto checked = bytes.substr(4, kRecordHeaderBytes - 4 + body);
  if (crc32c(seed.at(offset), checked) != get_le<uint32_t>(bytes.data())) return std::nullopt;
  for (uint64_t i = kRecordHeaderBytes + body; i < *length; ++i)
    if (bytes[i] != '\0') return std::nullopt;
  RecordView view;
  view.type = static_cast<RecordType>(bytes[4]);
  view.flags = static_cast<uint8_t>(bytes[5]);
  view.offset = offset;
  view.length = *length;
  view.body = bytes.substr(kRecordHeaderBytes, body);
  return view;
}

bool decode_frame_records(std::string_view frame, const FrameHeader& header, const SliceSeed& seed,
                          uint64_t offset, std::vector<RecordView>& views) {
  views.clear();
  if (frame.size() != header.length) return false;
  uint64_t at = kFrameHeaderBytes;
  while (at < frame.size()) {
    auto record = decode_record(frame.substr(at), seed, offset + at);
    if (!record || views.size() == header.records) return false;
    at += record->length;
    views.push_back(*record);
  }
  return views.size() == header.records;
}

void add_manifest(Frame& frame, const Manifest& manifest) {
  std::string body;
  put_le<uint32_t>(body, static_cast<uint32_t>(manifest.slices.size()));
  put_le<uint32_t>(body, 0);
  for (const ManifestEntry& entry : manifest.slices) {
    put_le<uint32_t>(body, entry.id.number);
    put_le<uint8_t>(body, static_cast<uint8_t>(entry.kind));
    put_le<uint8_t>(body, entry.replayed ? 1 : 0);
    put_le<uint16_t>(body, 0);
    put_le<uint64_t>(body, entry.id.epoch);
    put_le<uint64_t>(body, entry.length);
  }
  frame.add_raw(RecordType::kManifest, body);
}

Result<Manifest> decode_manifest(const RecordView& record) {
  const auto damaged = [&] {
    return fail(Code::kDamaged, "record at offset " + std::to_string(record.offset),
                "the Manifest record does not have its form");
  };
  const std::string_view body = record.body;
  if (record.type != RecordType::kManifest || body.size() < 8) return damaged();
  const auto count = get_le<uint32_t>(body.data());
  if (count == 0 || body.size() != 8 + uint64_t{count} * kManifestEntryBytes) return damaged();
  Manifest manifest;
  for (uint32_t i = 0; i < count; ++i) {
    const char* at = body.data() + 8 + i * kManifestEntryBytes;
    ManifestEntry entry;
    entry.id = {get_le<uint32_t>(at), get_le<uint64_t>(at + 8)};
    entry.replayed = at[5] == 1;
    entry.length = get_le<uint64_t>(at + 16);
    const auto kind = static_cast<uint8_t>(at[4]);
    const bool last = i + 1 == count;
    if (entry.id.number == 0 || kind > 1 || at[5] < 0 || at[5] > 1 || (entry.length == kOpenEnded) != last ||
        (!last && (entry.length < kSliceHeaderBytes || entry.length % 8 != 0)))
      return damaged();
    entry.kind = static_cast<SliceKind>(kind);
    if (last && (entry.kind != SliceKind::kAppend || !entry.replayed)) return damaged();
    for (const ManifestEntry& other : manifest.slices)
      if (other.id.number == entry.id.number) return damaged();
    manifest.slices.push_back(entry);
  }
  return manifest;
}

}  // namespace canopy
