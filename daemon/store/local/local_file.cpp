#include "daemon/store/local/local_file.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <cerrno>

#include "daemon/base/check.h"

namespace canopy::local {

namespace {

constexpr size_t kReadBytesMax = 1u << 30;  // in one system call
constexpr uint64_t kOffsetMax = INT64_MAX;
// Into the page cache it takes less time than the switches to a thread of the ring and back, which io_uring
// always makes where the file system (ext4) cannot promise not to wait.
constexpr size_t kQuickWriteBytesMax = 16u << 10;

// A write and the statx that follows it, linked: the kernel starts the second only when the first wrote
// everything.
class WriteThenStatx {
 public:
  WriteThenStatx(UringLoop& loop, int fd, const iovec* pieces, unsigned count, uint64_t offset, int flags,
                 struct statx* after)
      : loop_(loop), fd_(fd), pieces_(pieces), count_(count), offset_(offset), flags_(flags), after_(after) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiting_ = handle;
    write_.owner = look_.owner = this;
    write_.done = look_.done = [](UringLoop::Completion* completion, int32_t result, uint32_t) {
      auto* step = static_cast<Step*>(completion);
      step->result = result;
      if (--step->owner->pending_ == 0) step->owner->waiting_.resume();
    };
    loop_.reserve(2);
    io_uring_sqe* write = loop_.entry(write_);
    io_uring_prep_writev2(write, fd_, pieces_, count_, offset_, flags_);
    write->flags |= IOSQE_IO_LINK;
    io_uring_sqe* look = loop_.entry(look_);
    io_uring_prep_statx(look, fd_, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, kStatxMask, after_);
  }
  std::pair<int32_t, int32_t> await_resume() const noexcept { return {write_.result, look_.result}; }

 private:
  struct Step : UringLoop::Completion {
    WriteThenStatx* owner = nullptr;
    int32_t result = 0;
  };
  UringLoop& loop_;
  int fd_;
  const iovec* pieces_;
  unsigned count_;
  uint64_t offset_;
  int flags_;
  struct statx* after_;
  Step write_, look_;
  int pending_ = 2;
  std::coroutine_handle<> waiting_;
};

// Takes `written` bytes off the front.
void advance(std::vector<iovec>& pieces, size_t& first, size_t written) {
  while (written > 0) {
    iovec& piece = pieces[first];
    size_t part = std::min(written, piece.iov_len);
    piece.iov_base = static_cast<char*>(piece.iov_base) + part;
    piece.iov_len -= part;
    written -= part;
    if (piece.iov_len == 0) ++first;
  }
}

}  // namespace

Task<Result<Attributes>> fresh_attributes(UringLoop& loop, int fd, bool shared, std::string object) {
  if (!shared) co_return attributes_now(fd, object);
  struct statx found;
  int32_t answer = co_await loop.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_statx(sqe, fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, kStatxMask, &found);
  });
  if (answer < 0) co_return fail_system(-answer, std::move(object), "statx");
  co_return attributes_from(found);
}

Result<void> LocalFile::check_writable() const {
  if (!writable_) return fail(Code::kPermissionDenied, path_, "the file is open for reading only");
  return {};
}

Task<Result<size_t>> LocalFile::read(uint64_t offset, std::span<char> into) {
  if (offset > kOffsetMax) co_return fail(Code::kInvalidArgument, path_, "the offset is beyond any file");
  size_t total = 0;
  while (total < into.size()) {
    auto part = static_cast<unsigned>(std::min(into.size() - total, kReadBytesMax));
    int32_t got = co_await blocking_.by_ring([&](io_uring_sqe* sqe) {
      io_uring_prep_read(sqe, fd_.get(), into.data() + total, part, offset + total);
    });
    if (got == -EINTR || got == -EAGAIN) continue;
    if (got < 0) co_return fail_system(-got, path_, "read");
    if (got == 0) break;
    total += static_cast<size_t>(got);
  }
  co_return total;
}

Task<Result<WriteOutcome>> LocalFile::write(uint64_t offset, std::span<const std::string_view> pieces,
                                            Durable durable) {
  if (pieces.size() > kStoreWritePiecesMax)
    co_return fail(Code::kInvalidArgument, path_, "too many pieces in one write");
  CANOPY_CO_TRY(check_writable());
  std::vector<iovec> left;
  left.reserve(pieces.size());
  size_t total = 0;
  for (std::string_view piece : pieces) {
    if (!piece.empty()) left.push_back(iovec{const_cast<char*>(piece.data()), piece.size()});
    total += piece.size();
  }
  if (offset > kOffsetMax || total > kOffsetMax - offset)
    co_return fail(Code::kTooLarge, path_, "beyond the largest file");
  // RWF_DSYNC makes data, and the size needed to reach it, durable in one operation; measured against a
  // linked fdatasync in docs/formats/store.md.
  int flags = durable == Durable::kYes ? RWF_DSYNC : 0;
  WriteOutcome outcome;
  size_t first = 0;
  bool looked = false;
  struct statx after;
  while (outcome.written < total) {
    const iovec* start = left.data() + first;
    auto count = static_cast<unsigned>(left.size() - first);
    uint64_t at = offset + outcome.written;
    int32_t wrote;
    if (shared_) {
      auto [write_answer, look_answer] =
          co_await WriteThenStatx(loop_, fd_.get(), start, count, at, flags, &after);
      wrote = write_answer;
      looked = look_answer == 0;
    } else {
      auto later = [&](io_uring_sqe* sqe) { io_uring_prep_writev2(sqe, fd_.get(), start, count, at, flags); };
      auto now = [&] {
        return static_cast<int>(pwritev(fd_.get(), start, static_cast<int>(count), static_cast<off_t>(at)));
      };
      const bool quick = durable == Durable::kNo && total <= kQuickWriteBytesMax;
      wrote = quick ? co_await blocking_.quickly(now, later) : co_await blocking_.by_ring(later);
    }
    if (wrote == -EINTR || wrote == -EAGAIN) continue;
    if (wrote < 0) co_return fail_system(-wrote, path_, "write");
    if (wrote == 0) co_return fail(Code::kIo, path_, "write: the system took no byte and gave no reason");
    // A short write: trying the rest says why.
    outcome.written += static_cast<size_t>(wrote);
    advance(left, first, static_cast<size_t>(wrote));
  }
  if (looked) {
    outcome.after = attributes_from(after);
  } else {
    CANOPY_CO_ASSIGN(outcome.after, co_await fresh_attributes(loop_, fd_.get(), shared_, path_));
  }
  co_return outcome;
}

Task<Result<Attributes>> LocalFile::attributes() {
  return fresh_attributes(loop_, fd_.get(), shared_, path_);
}

Task<Result<void>> LocalFile::set_attributes(SetAttributes change, Durable durable) {
  if (change.size) {  // freeing the blocks of a large file takes its time
    CANOPY_CO_TRY(check_writable());
    CANOPY_CO_TRY(co_await blocking_.run([&] { return change_now(fd_.get(), false, change, path_); }));
  } else {
    CANOPY_CO_TRY(change_now(fd_.get(), false, change, path_));
  }
  if (durable == Durable::kYes) co_return co_await sync();
  co_return Result<void>();
}

Task<Result<void>> LocalFile::sync() {
  // Not fdatasync: mode and owner must be durable too, and that may leave them out.
  int32_t answer =
      co_await blocking_.by_ring([this](io_uring_sqe* sqe) { io_uring_prep_fsync(sqe, fd_.get(), 0); });
  if (answer < 0) co_return fail_system(-answer, path_, "fsync");
  co_return Result<void>();
}

Task<Result<void>> LocalFile::allocate(AllocateMode mode, uint64_t offset, uint64_t size) {
  CANOPY_CO_TRY(check_writable());
  if (size == 0) co_return fail(Code::kInvalidArgument, path_, "a range has at least one byte");
  if (offset > kOffsetMax || size > kOffsetMax - offset)
    co_return fail(Code::kTooLarge, path_, "beyond the largest file");
  int flags = 0;
  switch (mode) {
    case AllocateMode::kReserve: flags = 0; break;
    case AllocateMode::kReserveKeepSize: flags = FALLOC_FL_KEEP_SIZE; break;
    case AllocateMode::kPunchHole: flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE; break;
    case AllocateMode::kZero: flags = FALLOC_FL_ZERO_RANGE; break;
  }
  int32_t answer;
  do {
    answer = co_await blocking_.by_ring([&](io_uring_sqe* sqe) {
      io_uring_prep_fallocate(sqe, fd_.get(), flags, static_cast<off_t>(offset), static_cast<off_t>(size));
    });
  } while (answer == -EINTR);
  if (answer < 0) co_return fail_system(-answer, path_, "fallocate");
  co_return Result<void>();
}

namespace {
Result<uint64_t> seek_now(int fd, uint64_t offset, int whence, const std::string& path) {
  off_t at = offset > kOffsetMax ? -1 : lseek(fd, static_cast<off_t>(offset), whence);
  if (at >= 0) return static_cast<uint64_t>(at);
  if (offset > kOffsetMax || errno == ENXIO) {
    return fail(Code::kNotFound, path, "nothing of the kind before the end of the file");
  }
  return fail_system(errno, path, "lseek");
}
}  // namespace

Task<Result<uint64_t>> LocalFile::seek_data(uint64_t offset) {
  co_return seek_now(fd_.get(), offset, SEEK_DATA, path_);
}
Task<Result<uint64_t>> LocalFile::seek_hole(uint64_t offset) {
  co_return seek_now(fd_.get(), offset, SEEK_HOLE, path_);
}

}  // namespace canopy::local
