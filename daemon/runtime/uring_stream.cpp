#include "daemon/runtime/uring_stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/runtime/socket_address.h"

namespace canopy {
namespace {

constexpr size_t kPiecesAtOnce = 16;

// Bytes on their way from a parked stream that does not wait for them.
struct LastWords : UringLoop::Completion {
  std::string bytes;
};

// Fills `vectors` with what is left of the pieces, beginning at byte `offset` of the first.
size_t gather(std::span<const std::string_view> pieces, size_t offset,
              std::array<iovec, kPiecesAtOnce>& vectors) {
  size_t used = 0;
  for (std::string_view piece : pieces) {
    std::string_view rest = piece.substr(offset);
    offset = 0;
    if (rest.empty()) continue;
    vectors[used++] = iovec{const_cast<char*>(rest.data()), rest.size()};
    if (used == vectors.size()) break;
  }
  return used;
}

void skip(std::span<const std::string_view>& pieces, size_t& offset, size_t bytes) {
  while (!pieces.empty() && bytes >= pieces.front().size() - offset) {
    bytes -= pieces.front().size() - offset;
    offset = 0;
    pieces = pieces.subspan(1);
  }
  offset += bytes;
}

}  // namespace

UringStream::~UringStream() {
  CANOPY_CHECK(reading_ == nullptr && writing_ == nullptr);
  if (!parked_)
    close(fd_);
  else if (fd_ >= 0)
    loop_.leave(fd_);
}

void UringStream::park() {
  ends();  // what can be asked only of a descriptor
  PeerCredentials credentials = peer_credentials();
  int slot = loop_.park(fd_);
  if (slot < 0) return;
  ends_->credentials = credentials;
  fd_ = slot;
  parked_ = true;
}

std::unexpected<Error> UringStream::failed(int error_number, std::string_view operation) const {
  // Whatever broke the connection, the caller's question is whether it is still there.
  Code code = error_number == ENOMEM || error_number == ENOBUFS ? Code::kTryAgain : Code::kConnectionLost;
  return fail(code, peer().to_string(), fmt::format("{}: {}", operation, strerror(error_number)));
}

std::unexpected<Error> UringStream::cut_short(const SocketOp& op, std::string_view operation) const {
  if (aborted_)
    return fail(Code::kCancelled, peer().to_string(), fmt::format("{}: the stream was aborted", operation));
  if (op.timed_out())
    return fail(Code::kDeadlineExceeded, peer().to_string(),
                fmt::format("{}: the deadline has passed", operation));
  return failed(ECANCELED, operation);
}

bool UringStream::may_read_at_once() {
  if (!likely_readable_ || parked_ || reads_at_once_ >= kAtOnceMax) {
    reads_at_once_ = 0;
    return false;
  }
  ++reads_at_once_;
  return true;
}

Task<Result<void>> UringStream::readable(int64_t deadline) {
  if (aborted_) co_return failed(ESHUTDOWN, "read");
  if (may_read_at_once()) {
    char peeked;
    if (recv(fd_, &peeked, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) co_return Result<void>{};
    likely_readable_ = false;
  }
  // While a write is under way its bytes are bound for the descriptor.
  if (loop_.parks(fd_) && !parked_ && writing_ == nullptr) park();
  for (;;) {
    SocketOp op(loop_, &reading_, deadline);
    co_await SocketWait(op, [&](io_uring_sqe* sqe) {
      io_uring_prep_poll_add(sqe, fd_, POLLIN | POLLRDHUP);
      name_file(sqe);
    });
    if (aborted_) co_return cut_short(op, "read");
    if (op.result() >= 0) {
      likely_readable_ = true;
      co_return Result<void>{};
    }
    if (op.result() == -EINTR) continue;
    if (op.result() == -ECANCELED) co_return cut_short(op, "read");
    co_return failed(-op.result(), "read");
  }
}

Task<Result<size_t>> UringStream::read(std::span<char> into, int64_t deadline) {
  CANOPY_CHECK(!into.empty());
  if (aborted_) co_return failed(ESHUTDOWN, "read");
  if (may_read_at_once()) {
    ssize_t got = recv(fd_, into.data(), into.size(), MSG_DONTWAIT);
    if (got >= 0) {
      loop_.arrived();
      likely_readable_ = static_cast<size_t>(got) == into.size();
      co_return static_cast<size_t>(got);
    }
    if (errno != EAGAIN && errno != EINTR) co_return failed(errno, "read");
  }
  for (;;) {
    SocketOp op(loop_, &reading_, deadline);
    co_await SocketWait(op, [&](io_uring_sqe* sqe) {
      io_uring_prep_recv(sqe, fd_, into.data(), into.size(), 0);
      name_file(sqe);
    });
    if (op.result() > 0 || (op.result() == 0 && !aborted_)) {
      loop_.arrived();
      likely_readable_ = (op.flags() & IORING_CQE_F_SOCK_NONEMPTY) != 0;
      co_return static_cast<size_t>(op.result());
    }
    if (aborted_) co_return cut_short(op, "read");
    if (op.result() == -EINTR) continue;
    if (op.result() == -ECANCELED) co_return cut_short(op, "read");
    co_return failed(-op.result(), "read");
  }
}

Task<Result<void>> UringStream::write(std::span<const std::string_view> pieces, int64_t deadline) {
  if (aborted_) co_return failed(ESHUTDOWN, "write");
  size_t offset = 0;
  std::array<iovec, kPiecesAtOnce> vectors;
  msghdr message{};
  message.msg_iov = vectors.data();
  skip(pieces, offset, 0);
  while (!pieces.empty()) {
    message.msg_iovlen = gather(pieces, offset, vectors);
    // A socket's send buffer nearly always has room, and the peer need not wait for the end of this turn.
    if (writes_at_once_ < kAtOnceMax && !parked_) {
      ++writes_at_once_;
      ssize_t sent = sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent >= 0) {
        skip(pieces, offset, static_cast<size_t>(sent));
        continue;
      }
      if (errno != EAGAIN && errno != EINTR) co_return failed(errno, "write");
    }
    writes_at_once_ = 0;
    SocketOp op(loop_, &writing_, deadline);
    co_await SocketWait(op, [&](io_uring_sqe* sqe) {
      io_uring_prep_sendmsg(sqe, fd_, &message, MSG_NOSIGNAL);
      name_file(sqe);
    });
    if (aborted_) co_return cut_short(op, "write");
    if (op.result() >= 0)
      skip(pieces, offset, static_cast<size_t>(op.result()));
    else if (op.result() == -ECANCELED)
      co_return cut_short(op, "write");
    else if (op.result() != -EINTR)
      co_return failed(-op.result(), "write");
  }
  co_return Result<void>{};
}

size_t UringStream::write_at_once(std::string_view bytes) {
  if (writing_ != nullptr || aborted_) return 0;
  if (parked_) {
    // The socket of an idle connection has room; what finds none is lost.
    auto words = std::make_shared<LastWords>();
    words->bytes = bytes;
    words->done = [](UringLoop::Completion*, int32_t, uint32_t) {};
    io_uring_sqe* sqe = loop_.entry(*words);
    io_uring_prep_send(sqe, fd_, words->bytes.data(), words->bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    name_file(sqe);
    loop_.keep(*words, words);
    return bytes.size();
  }
  ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent > 0 ? static_cast<size_t>(sent) : 0;
}

void UringStream::shutdown_write() {
  if (!parked_) {
    ::shutdown(fd_, SHUT_WR);
  } else if (fd_ >= 0) {
    io_uring_sqe* sqe = loop_.entry_of_nobody();
    io_uring_prep_shutdown(sqe, fd_, SHUT_WR);
    name_file(sqe);
  }
}

void UringStream::abort() {
  if (aborted_) return;
  aborted_ = true;
  if (reading_ != nullptr) reading_->cancel();
  if (writing_ != nullptr) writing_->cancel();
  ends();  // errors still name the peer
  if (!parked_)
    ::shutdown(fd_, SHUT_RDWR);
  else
    loop_.leave(std::exchange(fd_, -1));
}

const UringStream::Ends& UringStream::ends() const {
  if (ends_ == nullptr) {
    ends_ = std::make_unique<Ends>();
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    if (getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length) == 0)
      ends_->local = address_of(address, length);
    length = sizeof address;
    if (getpeername(fd_, reinterpret_cast<sockaddr*>(&address), &length) == 0)
      ends_->peer = address_of(address, length);
  }
  return *ends_;
}

const Address& UringStream::peer() const { return ends().peer; }
const Address& UringStream::local() const { return ends().local; }

PeerCredentials UringStream::peer_credentials() const {
  if (parked_) return ends_->credentials;
  ucred from{};
  socklen_t length = sizeof from;
  if (getsockopt(fd_, SOL_SOCKET, SO_PEERCRED, &from, &length) != 0 || from.pid == 0) return {};
  return PeerCredentials{.pid = static_cast<uint32_t>(from.pid), .uid = from.uid, .gid = from.gid};
}

std::unique_ptr<Stream> UringLoop::adopt(int socket_fd) {
  return std::make_unique<UringStream>(*this, socket_fd);
}

}  // namespace canopy
