// ttrpc framing (containerd/ttrpc, PROTOCOL.md): every message has a header of ten bytes, the length of what
// follows (big-endian, four bytes), the stream (big-endian, four bytes), a type and flags. Pure: bytes go in,
// frames come out. Memory: at most one buffer of kFrameReadBytes, or of one whole frame where that is larger
// (4 MiB and the header).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "daemon/base/limits.h"

namespace canopy::wire {

inline constexpr size_t kFrameHeaderBytes = 10;
inline constexpr size_t kFrameReadBytes = 64u << 10;  // what one read may bring
// A frame over kWireMessageBytesMax is dropped and its stream told so; a length over this is no ttrpc at all.
inline constexpr uint32_t kFrameDroppedBytesMax = 64u << 20;

enum class FrameType : uint8_t { kRequest = 1, kResponse = 2, kData = 3 };
inline constexpr uint8_t kFlagRemoteClosed = 1;  // the sender has no more data for this stream
inline constexpr uint8_t kFlagRemoteOpen = 2;    // the sender will follow up with data
inline constexpr uint8_t kFlagNoData = 4;        // the payload is absent, not empty

struct Frame {
  uint32_t stream_id = 0;
  FrameType type = FrameType::kRequest;
  uint8_t flags = 0;
  uint32_t length = 0;       // as the header says
  bool oversized = false;    // over the limit: the payload was, or will be, dropped
  std::string_view payload;  // in the reader's buffer
};

// Writes the header of a frame with `length` bytes of payload.
void put_frame_header(char* at, uint32_t length, uint32_t stream_id, FrameType type, uint8_t flags = 0);

// Turns bytes into frames. Use: read into room(), say filled(), take frames with next() until it wants more.
class FrameReader {
 public:
  enum class State { kFrame, kMore, kBroken };

  FrameReader() = default;
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  // Where the next bytes belong; never empty. Payloads given out before are no longer valid.
  std::span<char> room();
  void filled(size_t bytes);

  // kFrame: `frame` is whole and valid until room() or release(). kBroken: these bytes are not ttrpc; nothing
  // more comes.
  State next(Frame& frame);

  // True when no part of a frame waits here: the buffer can go while the connection is idle.
  bool idle() const { return begin_ == end_ && drop_ == 0; }
  void release();  // only when idle
  size_t buffer_bytes() const { return capacity_; }

 private:
  void make_room_for(size_t bytes);

  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0, end_ = 0;
  size_t drop_ = 0;  // bytes of an oversized frame still to come
  bool broken_ = false;
};

}  // namespace canopy::wire
