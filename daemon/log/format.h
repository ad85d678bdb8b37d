// The bytes of the account log: slice headers, frames, record headers and their seeded checksums. Pure: no
// I/O, any thread. docs/formats/account-log.md describes every byte; this header and that page change
// together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/log/records.h"

namespace canopy {

inline constexpr std::string_view kSliceMagic = "CNPYSLC1";
inline constexpr uint16_t kSliceVersion = 1;
inline constexpr size_t kSliceHeaderBytes = 64;
inline constexpr uint32_t kFrameMagic = 0x314D5246;  // "FRM1"
inline constexpr size_t kFrameHeaderBytes = 56;
inline constexpr size_t kRecordHeaderBytes = 12;
inline constexpr size_t kSecretBytes = 16;
inline constexpr uint64_t kOpenEnded = UINT64_MAX;  // length of the manifest's own slice in the manifest

enum class SliceKind : uint8_t { kAppend = 0, kData = 1 };

// What names a slice: the file is `NUMBER-EPOCH.slice`, 16 hexadecimal digits each.
struct SliceId {
  uint32_t number = 0;  // from 1; unique among the slices of one manifest
  uint64_t epoch = 0;   // generation << 32 | counter
  auto operator<=>(const SliceId&) const = default;
};

std::string slice_file_name(SliceId id);
std::string checkpoint_file_name(SliceId id);
std::optional<SliceId> parse_slice_file_name(std::string_view name);       // nullopt: not a slice
std::optional<SliceId> parse_checkpoint_file_name(std::string_view name);  // nullopt: not a checkpoint

struct SliceHeader {
  SliceId id;
  SliceKind kind = SliceKind::kAppend;
  std::string secret;  // kSecretBytes, of the account; the same in all of its slices
  int64_t created_seconds = 0;
};

std::string encode_slice_header(const SliceHeader& header);
// kDamaged when magic, version or checksum are wrong or fewer than kSliceHeaderBytes are given.
Result<SliceHeader> decode_slice_header(std::string_view bytes);

// Seeds the checksums of one slice: crc32c(0, secret | number | epoch | offset), each little-endian.
class SliceSeed {
 public:
  SliceSeed() = default;
  SliceSeed(std::string_view secret, SliceId id);
  uint32_t at(uint64_t offset) const;

 private:
  uint32_t base_ = 0;
};

struct FrameHeader {
  uint64_t length = 0;  // of the whole frame with this header; a multiple of 8
  uint32_t records = 0;
  int64_t time_ns = 0;  // wall clock of the writer
  uint64_t acknowledged =
      0;  // everything below this offset of the slice was acknowledged when this was written
  RequestId request_id{};
};

// Fills in the frame's header and every checksum for the place where it will lie. `frame` is
// kFrameHeaderBytes of room and then laid-out records, as Frame::bytes() holds them.
void seal_frame(std::string& frame, const FrameHeader& header, const SliceSeed& seed, uint64_t offset);
// nullopt: these bytes (at least kFrameHeaderBytes) are no frame header of this slice at this offset.
std::optional<FrameHeader> decode_frame_header(std::string_view bytes, const SliceSeed& seed,
                                               uint64_t offset);
// All records of a whole frame, or nullopt when one does not verify or they do not fill it exactly. `views`
// is cleared.
bool decode_frame_records(std::string_view frame, const FrameHeader& header, const SliceSeed& seed,
                          uint64_t offset, std::vector<RecordView>& views);
// The record at the front of `bytes`; nullopt when it does not verify there.
std::optional<RecordView> decode_record(std::string_view bytes, const SliceSeed& seed, uint64_t offset);
// Length with header and padding of the record whose header is at the front; nullopt when there is none
// within limits.
std::optional<uint64_t> record_length(std::string_view bytes);

struct ManifestEntry {
  SliceId id;
  SliceKind kind = SliceKind::kAppend;
  bool replayed = true;  // false: kept for the content in it, its frames are not replayed
  uint64_t length = 0;   // valid bytes; kOpenEnded for the last entry, the manifest's own slice
  bool operator==(const ManifestEntry&) const = default;
};

// In replay order.
struct Manifest {
  std::vector<ManifestEntry> slices;
  bool operator==(const Manifest&) const = default;
};

void add_manifest(Frame& frame, const Manifest& manifest);
Result<Manifest> decode_manifest(const RecordView& record);

}  // namespace canopy
