#include "daemon/wire/framing_writer.h"

namespace canopy::wire {
namespace {
// What an idle connection keeps of its write buffers.
constexpr size_t kKeptBytes = 16u << 10;
}  // namespace

void FrameWriter::flush_later() { wake(idle_); }

void FrameWriter::flush_now() {
  if (idle_ && !out_.empty()) std::exchange(idle_, {}).resume();
}

void FrameWriter::close() {
  closing_ = true;
  wake(idle_);
}

void FrameWriter::abandon() {
  ended_ = true;
  out_.clear();
  wake(idle_);
  wake(waiting_);
}

Task<Result<void>> FrameWriter::run() {
  Result<void> result;
  for (;;) {
    if (ended_ || (out_.empty() && closing_)) break;
    if (out_.empty()) {
      co_await Idle{*this};
      continue;
    }
    under_way_.swap(out_);
    const std::string_view piece[1] = {under_way_};
    result = co_await stream_.write(piece, loop_.now() + kWriteTimeout);
    if (under_way_.capacity() > kKeptBytes && out_.empty())
      under_way_ = std::string();
    else
      under_way_.clear();
    if (!result) break;
    if (waiting_ && queued_bytes() <= waiting_limit_) wake(waiting_);
  }
  ended_ = true;
  wake(waiting_);
  co_return result;
}

}  // namespace canopy::wire
