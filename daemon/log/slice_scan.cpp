#include "daemon/log/slice_scan.h"

#include <algorithm>

#include "daemon/base/bytes.h"

namespace canopy {

Task<Result<std::string_view>> FileWindow::at(uint64_t offset, uint64_t length) {
  if (offset < base_ || offset + length > base_ + size_) {
    const uint64_t wanted = std::max(length, chunk_);
    if (wanted > capacity_) {
      auto larger = std::make_unique_for_overwrite<char[]>(wanted);
      if (offset >= base_ && offset < base_ + size_) {
        std::memcpy(larger.get(), bytes_.get() + (offset - base_), base_ + size_ - offset);
      }
      const uint64_t kept = offset >= base_ && offset < base_ + size_ ? base_ + size_ - offset : 0;
      bytes_ = std::move(larger);
      capacity_ = wanted;
      base_ = offset;
      size_ = kept;
    } else if (offset >= base_ && offset < base_ + size_) {
      const uint64_t kept = base_ + size_ - offset;
      std::memmove(bytes_.get(), bytes_.get() + (offset - base_), kept);
      base_ = offset;
      size_ = kept;
    } else {
      base_ = offset;
      size_ = 0;
    }
    auto got = co_await file_.read(base_ + size_, std::span<char>(bytes_.get() + size_, wanted - size_));
    if (!got) {
      size_ = 0;
      co_return fail(std::move(got).error());
    }
    size_ += *got;
  }
  const uint64_t have = std::min(length, base_ + size_ - offset);
  co_return std::string_view(bytes_.get() + (offset - base_), have);
}

namespace {

// What lies ahead of bad bytes: every verifiable frame header, and what they say was acknowledged.
struct Ahead {
  std::vector<uint64_t> headers;
  uint64_t acknowledged = 0;
  uint64_t file_end = 0;
};

Task<Result<Ahead>> look_ahead(FileWindow& window, const SliceScan& scan, uint64_t from) {
  Ahead ahead;
  const uint64_t step = std::max<uint64_t>(scan.chunk_bytes & ~uint64_t{7}, 4096);
  uint64_t at = from;
  while (at < scan.limit) {
    CANOPY_CO_ASSIGN(std::string_view bytes, co_await window.at(at, step + kFrameHeaderBytes));
    ahead.file_end = std::max(ahead.file_end, at + bytes.size());
    for (uint64_t i = 0; i < step && i + kFrameHeaderBytes <= bytes.size(); i += 8) {
      if (get_le<uint32_t>(bytes.data() + i) != kFrameMagic) continue;
      auto header = decode_frame_header(bytes.substr(i), scan.seed, at + i);
      if (!header || at + i >= scan.limit) continue;
      ahead.headers.push_back(at + i);
      ahead.acknowledged = std::max(ahead.acknowledged, header->acknowledged);
    }
    if (bytes.size() < step + kFrameHeaderBytes) break;
    at += step;
  }
  co_return ahead;
}

// The whole frame at `at`, or no value when the bytes there are bad or missing.
struct WholeFrame {
  FrameHeader header;
  std::vector<RecordView> records;
};

Task<Result<bool>> read_whole_frame(FileWindow& window, const SliceScan& scan, uint64_t at,
                                    WholeFrame& frame) {
  CANOPY_CO_ASSIGN(std::string_view head, co_await window.at(at, kFrameHeaderBytes));
  auto header = decode_frame_header(head, scan.seed, at);
  if (!header || header->length > scan.limit - at) co_return false;
  CANOPY_CO_ASSIGN(std::string_view bytes, co_await window.at(at, header->length));
  frame.header = *header;
  co_return decode_frame_records(bytes, *header, scan.seed, at, frame.records);
}

}  // namespace

Task<Result<SliceScanResult>> scan_slice(File& file, SliceScan scan,
                                         std::function<Result<void>(const FrameView&)> callback) {
  FileWindow window(file, scan.chunk_bytes);
  SliceScanResult result;
  result.acknowledged = std::max(scan.acknowledged, scan.limit == kOpenEnded ? 0 : scan.limit);
  std::optional<Ahead> ahead;
  WholeFrame frame;
  uint64_t at = scan.from;
  while (at < scan.limit) {
    CANOPY_CO_ASSIGN(const bool whole, co_await read_whole_frame(window, scan, at, frame));
    if (whole) {
      FrameView view{scan.id,      at, frame.header.length, frame.header.time_ns, frame.header.request_id,
                     frame.records};
      CANOPY_CO_TRY(callback(view));
      result.acknowledged = std::max(result.acknowledged, frame.header.acknowledged);
      ++result.frames;
      at += frame.header.length;
      continue;
    }
    if (!ahead) {
      CANOPY_CO_ASSIGN(ahead, co_await look_ahead(window, scan, at));
      result.acknowledged = std::max(result.acknowledged, ahead->acknowledged);
    }
    if (at >= result.acknowledged) {  // torn, or simply the end
      result.torn_bytes = ahead->file_end - std::min(ahead->file_end, at);
      break;
    }
    auto next = std::upper_bound(ahead->headers.begin(), ahead->headers.end(), at);
    const bool found = next != ahead->headers.end() && *next < result.acknowledged;
    const uint64_t until = found ? *next : result.acknowledged;
    result.damages.push_back(
        {scan.file_name, at, until - at,
         ahead->file_end > at ? "acknowledged bytes do not verify" : "acknowledged bytes are missing"});
    at = until;
  }
  result.end = at;
  co_return result;
}

}  // namespace canopy
