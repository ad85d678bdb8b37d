#include "proto-frontends/common/connection.h"

#include "daemon/runtime/tls.h"

namespace canopy::frontend {
namespace {

// A client that answers within this time finds its buffer still there; a slower one counts as idle.
constexpr Nanos kKeepBuffer = 200 * kMillisecond;
// A client that does not take this much of a reply in this time is gone: slower ones than 2 KiB/s.
constexpr Nanos kWriteTimeout = 120 * kSecond;
constexpr size_t kWritePieceBytes = 256u << 10;
constexpr Nanos kHandshakeTimeout = 20 * kSecond;
constexpr size_t kKeepOutputBytes = 4096;

}  // namespace

std::unique_ptr<char[]> BufferPool::take() {
  ++out_;
  if (free_.empty()) return std::make_unique_for_overwrite<char[]>(buffer_bytes_);
  auto buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void BufferPool::give(std::unique_ptr<char[]> buffer) {
  --out_;
  if (free_.size() < kKeptMax) free_.push_back(std::move(buffer));
}

void Connection::release_buffer() {
  if (capacity_ == pool_.buffer_bytes()) pool_.give(std::move(in_));
  in_.reset();
  capacity_ = begin_ = end_ = 0;
}

Connection::Connection(Loop& loop, std::unique_ptr<Stream> stream, const bool& draining, BufferPool& pool)
    : loop_(loop), stream_(std::move(stream)), draining_(draining), pool_(pool) {
  client_ = IpAddress::of(stream_->peer());
}

void Connection::consume(size_t bytes) {
  CANOPY_CHECK(bytes <= end_ - begin_);
  begin_ += static_cast<uint32_t>(bytes);
  if (begin_ == end_) begin_ = end_ = 0;
}

void Connection::make_room() {
  const uint32_t wanted = pool_.buffer_bytes() / 2;
  if (capacity_ - end_ >= wanted) return;
  uint32_t held = end_ - begin_;
  if (begin_ > 0 && capacity_ - held >= wanted) {
    std::memmove(in_.get(), in_.get() + begin_, held);
  } else if (capacity_ == 0) {
    in_ = pool_.take();
    capacity_ = pool_.buffer_bytes();
  } else {
    // Callers keep at most a line, so this settles after a doubling or two.
    uint32_t larger_capacity = capacity_ * 2;
    auto larger = std::make_unique_for_overwrite<char[]>(larger_capacity);
    std::memcpy(larger.get(), in_.get() + begin_, held);
    release_buffer();
    in_ = std::move(larger);
    capacity_ = larger_capacity;
  }
  begin_ = 0;
  end_ = held;
}

Task<Connection::Filled> Connection::wait_and_read(Nanos idle) {
  Nanos deadline = loop_.now() + idle;
  // A client that has said nothing yet may never do; one that is talking mostly goes on at once.
  bool keep = end_ > begin_ || (bytes_in_ > 0 && pool_.may_keep());
  for (;; keep = false) {
    if (!keep) {
      if (begin_ == end_) {
        release_buffer();
        out_ = std::string();
      }
      auto ready = co_await stream_->readable(deadline);
      if (!ready) co_return ready.error().code() == Code::kDeadlineExceeded ? Filled::kIdle : Filled::kLost;
    }
    make_room();
    size_t room = capacity_ - end_;
    if (read_limit_ != 0) room = std::min(room, read_limit_);
    Nanos until = keep ? std::min(deadline, loop_.now() + kKeepBuffer) : deadline;
    auto got = co_await stream_->read({in_.get() + end_, room}, until);
    if (got) {
      end_ += static_cast<uint32_t>(*got);
      bytes_in_ += *got;
      co_return *got == 0 ? Filled::kEnd : Filled::kBytes;
    }
    if (got.error().code() != Code::kDeadlineExceeded) co_return Filled::kLost;
    if (loop_.now() >= deadline) co_return Filled::kIdle;
  }
}

Task<Connection::Filled> Connection::fill(Nanos idle, bool between_commands, std::string_view farewell) {
  if (between_commands && draining_) {
    out_.append(farewell);
    bool written = co_await flush();
    co_return written ? Filled::kDraining : Filled::kLost;
  }
  if (between_commands) farewell_ = farewell;
  Filled filled = co_await wait_and_read(idle);
  farewell_ = {};
  co_return said_ ? Filled::kDraining : filled;
}

void Connection::drain() {
  if (stream_ == nullptr || farewell_.empty() || said_) return;
  said_ = true;
  bytes_out_ += stream_->write_at_once(farewell_);
  stream_->abort();
}

Task<bool> Connection::flush() {
  if (out_.empty()) co_return true;
  if (stream_ == nullptr) co_return false;
  std::string_view left = out_;
  bool written = true;
  while (written && !left.empty()) {
    std::string_view piece = left.substr(0, kWritePieceBytes);
    written = (co_await stream_->write_all(piece, loop_.now() + kWriteTimeout)).has_value();
    left.remove_prefix(piece.size());
  }
  bytes_out_ += out_.size() - left.size();
  if (out_.capacity() > kKeepOutputBytes)
    out_ = std::string();
  else
    out_.clear();
  co_return written;
}

Task<Result<void>> Connection::start_tls(std::shared_ptr<TlsContext> context) {
  CANOPY_CHECK(unread().empty() && stream_ != nullptr);
  release_buffer();
  out_ = std::string();
  auto secured =
      co_await TlsStream::accept(loop_, *context, std::move(stream_), loop_.now() + kHandshakeTimeout);
  if (!secured) co_return fail(secured.error());
  stream_ = std::move(*secured);
  tls_ = true;
  co_return Result<void>{};
}

void Connection::abort() {
  if (stream_ != nullptr) stream_->abort();
}

Task<void> Connection::finish() {
  // What the client sent and nobody read would turn the close into a reset that takes the last reply with it.
  if (said_ || stream_ == nullptr) co_return;
  stream_->shutdown_write();
  char rest[512];
  Nanos deadline = loop_.now() + 500 * kMillisecond;
  for (int i = 0; i < 64; ++i) {
    auto got = co_await stream_->read(rest, deadline);
    if (!got || *got == 0) co_return;
  }
}

}  // namespace canopy::frontend
