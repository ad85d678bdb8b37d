#include "daemon/wire/framing.h"

#include "daemon/base/check.h"

namespace canopy::wire {
namespace {

// A read into less than this is not worth its system call while the buffer could be compacted instead.
constexpr size_t kRoomBytesMin = 4096;

// The buffer that a thread's readers, of which most are idle at any time, lend one another: to allocate and
// free one for every small request makes the allocator put together all that it keeps at hand.
thread_local std::unique_ptr<char[]> spare_buffer;  // of kFrameReadBytes, or null

std::unique_ptr<char[]> buffer_of(size_t bytes) {
  if (bytes == kFrameReadBytes && spare_buffer != nullptr) return std::move(spare_buffer);
  return std::make_unique_for_overwrite<char[]>(bytes);
}

uint32_t get_be32(const char* at) {
  uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return __builtin_bswap32(value);
}

void put_be32(char* at, uint32_t value) {
  value = __builtin_bswap32(value);
  std::memcpy(at, &value, sizeof value);
}

}  // namespace

void put_frame_header(char* at, uint32_t length, uint32_t stream_id, FrameType type, uint8_t flags) {
  put_be32(at, length);
  put_be32(at + 4, stream_id);
  at[8] = static_cast<char>(type);
  at[9] = static_cast<char>(flags);
}

void FrameReader::make_room_for(size_t bytes) {
  const size_t held = end_ - begin_;
  if (bytes <= capacity_) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, held);
  } else {
    auto larger = buffer_of(bytes);
    if (held > 0) std::memcpy(larger.get(), buffer_.get() + begin_, held);
    buffer_ = std::move(larger);
    capacity_ = bytes;
  }
  begin_ = 0;
  end_ = held;
}

std::span<char> FrameReader::room() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (capacity_ > kFrameReadBytes) {  // what a large frame needed goes with it
      buffer_.reset();
      capacity_ = 0;
    }
  }
  size_t frame = kFrameHeaderBytes;
  if (drop_ == 0 && end_ - begin_ >= kFrameHeaderBytes) {
    const uint32_t length = get_be32(buffer_.get() + begin_);
    if (length <= kWireMessageBytesMax) frame += length;
  }
  const bool cramped = begin_ + frame > capacity_ || capacity_ - end_ < kRoomBytesMin;
  if (capacity_ < frame || (begin_ > 0 && cramped)) make_room_for(std::max(frame, kFrameReadBytes));
  CANOPY_CHECK(end_ < capacity_);
  return {buffer_.get() + end_, capacity_ - end_};
}

void FrameReader::filled(size_t bytes) {
  CANOPY_CHECK(bytes <= capacity_ - end_);
  end_ += bytes;
}

FrameReader::State FrameReader::next(Frame& frame) {
  if (broken_) return State::kBroken;
  if (drop_ > 0) {
    const size_t now = std::min(drop_, end_ - begin_);
    begin_ += now;
    drop_ -= now;
    if (drop_ > 0) return State::kMore;
  }
  const size_t held = end_ - begin_;
  if (held < kFrameHeaderBytes) return State::kMore;
  const char* header = buffer_.get() + begin_;
  const uint32_t length = get_be32(header);
  const auto type = static_cast<uint8_t>(header[8]);
  if (length > kFrameDroppedBytesMax || type < 1 || type > 3) {
    broken_ = true;
    return State::kBroken;
  }
  frame.oversized = length > kWireMessageBytesMax;
  if (!frame.oversized && held < kFrameHeaderBytes + length) return State::kMore;
  frame.stream_id = get_be32(header + 4);
  frame.type = static_cast<FrameType>(type);
  frame.flags = static_cast<uint8_t>(header[9]);
  frame.length = length;
  begin_ += kFrameHeaderBytes;
  if (frame.oversized) {
    drop_ = length;
    frame.payload = {};
    return State::kFrame;
  }
  frame.payload = {buffer_.get() + begin_, length};
  begin_ += length;
  return State::kFrame;
}

void FrameReader::release() {
  CANOPY_CHECK(idle());
  if (capacity_ == kFrameReadBytes && spare_buffer == nullptr) spare_buffer = std::move(buffer_);
  buffer_.reset();
  capacity_ = begin_ = end_ = 0;
}

}  // namespace canopy::wire
