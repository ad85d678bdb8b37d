#include "proto-frontends/common/connection.h"

#include "daemon/runtime/tls.h"

namespace canopy::frontend {
namespace {

// A client that answers within this time finds its buffer still there; a slower one counts as idle.
constexpr Nanos kKeepBuffer = 200 * kMillisecond;
// A client that does not take a reply for so long is gone.
constexpr Nanos kWriteTimeout = 120 * kSecond;
constexpr Nanos kHandshakeTimeout = 20 * kSecond;
constexpr size_t kKeepOutputBytes = 4096;

}  // namespace

Connection::Connection(Loop& loop, std::unique_ptr<Stream> stream, const bool& draining, size_t read_bytes)
    : loop_(loop), stream_(std::move(stream)), draining_(draining), read_bytes_(static_cast<uint32_t>(read_bytes)) {
  client_ = IpAddress::of(stream_->peer());
}

void Connection::consume(size_t bytes) {
  CANOPY_CHECK(bytes <= end_ - begin_);
  begin_ += static_cast<uint32_t>(bytes);
  if (begin_ == end_) begin_ = end_ = 0;
}

void Connection::make_room() {
  if (capacity_ - end_ >= read_bytes_ / 2) return;
  if (begin_ > 0 && capacity_ - (end_ - begin_) >= read_bytes_ / 2) {
    std::memmove(in_.get(), in_.get() + begin_, end_ - begin_);
  } else {
    // Callers keep at most a line, which is shorter than one read, so this settles after at most one doubling.
    uint32_t capacity = capacity_ == 0 ? read_bytes_ : capacity_ * 2;
    auto larger = std::make_unique_for_overwrite<char[]>(capacity);
    if (end_ > begin_) std::memcpy(larger.get(), in_.get() + begin_, end_ - begin_);
    in_ = std::move(larger);
    capacity_ = capacity;
  }
  end_ -= begin_;
  begin_ = 0;
}

Task<Connection::Filled> Connection::wait_and_read(Nanos idle) {
  Nanos deadline = loop_.now() + idle;
  for (bool at_once = true;; at_once = false) {
    make_room();
    Nanos until = at_once ? std::min(deadline, loop_.now() + kKeepBuffer) : deadline;
    size_t room = capacity_ - end_;
    if (read_limit_ != 0) room = std::min(room, read_limit_);
    auto got = co_await stream_->read({in_.get() + end_, room}, until);
    if (got) {
      if (*got == 0) co_return Filled::kEnd;
      end_ += static_cast<uint32_t>(*got);
      bytes_in_ += *got;
      co_return Filled::kBytes;
    }
    if (got.error().code() != Code::kDeadlineExceeded) co_return Filled::kLost;
    if (loop_.now() >= deadline) co_return Filled::kIdle;
    if (begin_ == end_) {
      in_.reset();
      capacity_ = 0;
      out_ = std::string();
    }
    auto ready = co_await stream_->readable(deadline);
    if (ready) continue;
    co_return ready.error().code() == Code::kDeadlineExceeded ? Filled::kIdle : Filled::kLost;
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
  auto written = co_await stream_->write_all(out_, loop_.now() + kWriteTimeout);
  bytes_out_ += out_.size();
  if (out_.capacity() > kKeepOutputBytes)
    out_ = std::string();
  else
    out_.clear();
  co_return written.has_value();
}

Task<Result<void>> Connection::start_tls(std::shared_ptr<TlsContext> context) {
  CANOPY_CHECK(unread().empty() && stream_ != nullptr);
  in_.reset();
  capacity_ = 0;
  auto secured = co_await TlsStream::accept(loop_, *context, std::move(stream_), loop_.now() + kHandshakeTimeout);
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
