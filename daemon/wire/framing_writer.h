// Sends frames: what is appended in one turn of the loop goes out in one write. For the loop's thread only.
#pragma once

#include <coroutine>
#include <string>

#include "daemon/runtime/loop.h"

namespace canopy::wire {

class FrameWriter {
 public:
  // A peer that takes nothing for this long is given up.
  static constexpr Nanos kWriteTimeout = 60 * kSecond;

  FrameWriter(Loop& loop, Stream& stream) : loop_(loop), stream_(stream) {}
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;

  // Append whole frames here, then call one of the next two.
  std::string& out() { return out_; }
  void flush_later();  // after what is ready now has run
  void flush_now();    // unless a write is under way, which takes it along
  size_t queued_bytes() const { return out_.size() + under_way_.size(); }

  // run() ends: with everything queued written, or at once.
  void close();
  void abandon();

  bool ended() const { return ended_; }

  // Writes until close(), abandon(), or a failure, which it answers. Whoever calls it keeps this object
  // alive.
  Task<Result<void>> run();

  // co_await writer.below(bytes): until no more than that is queued, or nothing will be written any more. One
  // at a time.
  auto below(size_t bytes);

 private:
  struct Idle;
  struct Below;
  void wake(std::coroutine_handle<>& handle) {
    if (handle) loop_.defer(std::exchange(handle, {}));
  }

  Loop& loop_;
  Stream& stream_;
  std::string out_, under_way_;
  std::coroutine_handle<> idle_;     // run(), when there is nothing to write
  std::coroutine_handle<> waiting_;  // of below()
  size_t waiting_limit_ = 0;
  bool closing_ = false;
  bool ended_ = false;
};

struct FrameWriter::Idle {
  FrameWriter& writer;
  bool await_ready() const noexcept { return !writer.out_.empty() || writer.closing_ || writer.ended_; }
  void await_suspend(std::coroutine_handle<> handle) const noexcept { writer.idle_ = handle; }
  void await_resume() const noexcept {}
};

struct FrameWriter::Below {
  FrameWriter& writer;
  size_t bytes;
  bool await_ready() const noexcept { return writer.ended_ || writer.queued_bytes() <= bytes; }
  void await_suspend(std::coroutine_handle<> handle) const noexcept {
    writer.waiting_limit_ = bytes;
    writer.waiting_ = handle;
  }
  void await_resume() const noexcept {}
};

inline auto FrameWriter::below(size_t bytes) { return Below{*this, bytes}; }

}  // namespace canopy::wire
