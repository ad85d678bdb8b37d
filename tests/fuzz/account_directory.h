// How a fuzz input stands for the files of an account's directory, and how their checksums are made to hold
// again after the fuzzer has changed them: without that hardly an input would get past the first checksum.
//
//   input: one byte, 1: seal again; then files: kind (0 append slice, 1 data slice, 2 checkpoint), number,
//   counter of the epoch, u16 length, bytes
#pragma once

#include <vector>

#include "daemon/base/bytes.h"
#include "daemon/base/crc32c.h"
#include "daemon/log/format.h"

namespace canopy::fuzz {

inline constexpr char kSecret[] = "0123456789abcdef";

struct DirectoryFile {
  uint8_t kind = 0;
  SliceId id;
  std::string bytes;
  std::string name() const { return kind == 2 ? checkpoint_file_name(id) : slice_file_name(id); }
};

template <class T>
void set_le(std::string& bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// Lays records over [at, end) of the frame as their lengths say; what does not fit is cut. Answers how many.
inline uint32_t seal_records(std::string& bytes, size_t at, size_t end, const SliceSeed& seed) {
  uint32_t count = 0;
  for (; at + kRecordHeaderBytes <= end; ++count) {
    uint64_t body = get_le<uint32_t>(&bytes[at + 8]);
    if (body > end - at - kRecordHeaderBytes) body = end - at - kRecordHeaderBytes;
    const uint64_t length = (kRecordHeaderBytes + body + 7) & ~uint64_t{7};
    set_le(bytes, at + 8, static_cast<uint32_t>(body));
    std::fill(bytes.begin() + static_cast<ptrdiff_t>(at + kRecordHeaderBytes + body),
              bytes.begin() + static_cast<ptrdiff_t>(at + length), '\0');
    const auto checked = std::string_view(bytes).substr(at + 4, kRecordHeaderBytes - 4 + body);
    set_le(bytes, at, crc32c(seed.at(at), checked));
    at += length;
  }
  return count;
}

inline void seal_slice(DirectoryFile& file) {
  std::string& bytes = file.bytes;
  if (bytes.size() < kSliceHeaderBytes) return;
  const std::string secret(kSecret, kSecretBytes);
  const auto kind = file.kind == 1 ? SliceKind::kData : SliceKind::kAppend;
  bytes.replace(0, kSliceHeaderBytes, encode_slice_header({file.id, kind, secret, 1'700'000'000}));
  bytes.resize(bytes.size() & ~size_t{7});
  const SliceSeed seed(secret, file.id);
  for (size_t at = kSliceHeaderBytes; at + kFrameHeaderBytes <= bytes.size();) {
    auto length = get_le<uint64_t>(&bytes[at + 8]);
    if (length < kFrameHeaderBytes || length % 8 != 0 || length > bytes.size() - at)
      length = bytes.size() - at;
    set_le(bytes, at, kFrameMagic);
    set_le(bytes, at + 8, length);
    set_le(bytes, at + 16, seal_records(bytes, at + kFrameHeaderBytes, at + length, seed));
    set_le(bytes, at + 20, uint32_t{0});
    set_le(bytes, at + 4, crc32c(seed.at(at), std::string_view(bytes).substr(at + 8, kFrameHeaderBytes - 8)));
    at += length;
  }
}

inline void seal_checkpoint(DirectoryFile& file) {
  std::string& bytes = file.bytes;
  if (bytes.size() < 40) return;
  const SliceSeed seed(std::string_view(kSecret, kSecretBytes), file.id);
  const size_t end = bytes.size() - 4;
  const uint64_t entries = 32 + uint64_t{24} * get_le<uint32_t>(&bytes[8]);
  if (entries + 4 > end) return;
  const uint64_t head = std::min<uint64_t>(get_le<uint64_t>(&bytes[16]), end - 4 - entries);
  const uint64_t body_at = entries + head + 4;
  set_le(bytes, 16, head);
  set_le(bytes, 24, uint64_t{end - body_at});
  const std::string_view view(bytes);
  set_le(bytes, body_at - 4, crc32c(seed.at(0), view.substr(0, body_at - 4)));
  set_le(bytes, end, crc32c(seed.at(body_at), view.substr(body_at, end - body_at)));
}

inline std::vector<DirectoryFile> directory_files(std::string_view input) {
  std::vector<DirectoryFile> files;
  ByteReader in(input);
  auto mode = in.le<uint8_t>();
  while (mode && files.size() < 16) {
    DirectoryFile file;
    auto kind = in.le<uint8_t>();
    auto number = in.le<uint8_t>();
    auto counter = in.le<uint8_t>();
    auto length = in.le<uint16_t>();
    if (!length) break;
    file.kind = *kind % 3;
    file.id = {*number == 0 ? 1u : *number, uint64_t{1} << 32 | *counter};
    file.bytes = *in.take(std::min<uint64_t>(*length, in.rest().size()));
    if ((*mode & 1) != 0) file.kind == 2 ? seal_checkpoint(file) : seal_slice(file);
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace canopy::fuzz
