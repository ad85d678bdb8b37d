// Listening, accepting and connecting on a UringLoop.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "daemon/runtime/lost_peers.h"
#include "daemon/runtime/socket_address.h"
#include "daemon/runtime/uring_stream.h"

namespace canopy {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

void set_option(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);
}

// A chunk of the wire protocol goes out in one piece: by itself a Unix socket takes a fifth of one, and every
// further part costs two switches. (Those of TCP grow as they need.) The system's own limit holds.
void make_room_for_chunks(int fd) {
  constexpr int kSendBytes = 2 << 20;
  set_option(fd, SOL_SOCKET, SO_SNDBUF, kSendBytes);
}

// The kernel takes the rings of a killed process apart after the process is gone; until then its sockets
// still listen.
constexpr int kDyingListenerMillisMax = 1000;

// Whether the process that listens at the other end of `connection` runs. One of another pid namespace counts
// as running.
bool listener_lives(int connection) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid <= 0) return true;
  return kill(peer.pid, 0) == 0 || errno != ESRCH;
}

// A socket file of a process that no longer runs is in the way of bind(); one of a living process must stay.
Result<void> remove_stale_socket(const Address& address) {
  struct stat at;
  if (lstat(address.host.c_str(), &at) != 0) return {};
  if (!S_ISSOCK(at.st_mode))
    return fail(Code::kAlreadyExists, address.to_string(),
                "a file that is no socket has this name; remove it");
  Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (probe.get() < 0) return fail_errno(errno, address.to_string(), "socket");
  sockaddr_storage to;
  socklen_t length = fill_sockaddr(address, false, to);
  bool answered = connect(probe.get(), reinterpret_cast<sockaddr*>(&to), length) == 0;
  if (answered ? listener_lives(probe.get()) : errno != ECONNREFUSED)
    return fail(Code::kBusy, address.to_string(), "another process listens on this socket");
  if (unlink(address.host.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, address.to_string(), "unlink");
  return {};
}

std::unexpected<Error> listen_error(int error_number, const Address& address, std::string_view operation) {
  if (error_number == EADDRINUSE)
    return fail(Code::kBusy, address.to_string(), "another process listens there");
  return fail_errno(error_number, address.to_string(), operation);
}

// Answers 0 or errno. A TCP address does not tell whether its listener is of a process that has just been
// killed.
int bind_patiently(int fd, const sockaddr_storage& at, socklen_t length) {
  for (int waited = 0;; waited += 10) {
    if (bind(fd, reinterpret_cast<const sockaddr*>(&at), length) == 0) return 0;
    if (errno != EADDRINUSE || at.ss_family == AF_UNIX || waited >= kDyingListenerMillisMax) return errno;
    usleep(10'000);
  }
}

Result<Fd> bound_socket(const Address& address, const ListenOptions& options, bool both_families) {
  Address target = address;
  if (!both_families && address.kind == Address::Kind::kTcp && address.host.empty()) target.host = "0.0.0.0";
  sockaddr_storage at;
  socklen_t length = fill_sockaddr(target, true, at);
  if (length == 0) return fail(Code::kInvalidArgument, address.to_string(), "the host is no numeric address");
  Fd fd(socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return listen_error(errno, address, "socket");
  if (address.kind == Address::Kind::kUnix) {
    CANOPY_TRY(remove_stale_socket(address));
    fchmod(fd.get(),
           options.unix_mode);  // bind() makes the file with at most this mode: it is never open wider
  } else {
    set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (options.reuse_port) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
    set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);  // accepted sockets inherit it
    if (at.ss_family == AF_INET6)
      set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, address.host.empty() ? 0 : 1);
  }
  if (int error = bind_patiently(fd.get(), at, length); error != 0)
    return listen_error(error, address, "bind");
  if (address.kind == Address::Kind::kUnix && chmod(address.host.c_str(), options.unix_mode) != 0)
    return listen_error(errno, address, "chmod");
  if (::listen(fd.get(), options.backlog) != 0) return listen_error(errno, address, "listen");
  return fd;
}

// The kernel's side of a listener: one multishot accept whose connections wait here. It outlives the listener
// until the kernel has said its last word.
struct Acceptor : UringLoop::Completion, std::enable_shared_from_this<Acceptor> {
  // Beyond it the multishot accept pauses, and connections wait in the kernel's backlog.
  static constexpr size_t kWaitingMax = 128;

  UringLoop& loop;
  int fd;
  bool armed = false;
  bool pausing = false;
  bool aborted = false;
  std::deque<int> accepted;
  int error = 0;
  std::coroutine_handle<> waiting;

  Acceptor(UringLoop& on, int socket_fd) : loop(on), fd(socket_fd) { done = completed; }
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;
  ~Acceptor() {
    for (int connection : accepted) close(connection);
    close(fd);
  }

  void arm() {
    if (armed || aborted) return;
    armed = true;
    pausing = false;
    io_uring_prep_multishot_accept(loop.entry(*this), fd, nullptr, nullptr, SOCK_CLOEXEC);
    loop.keep(*this, shared_from_this());
  }

  void pause() {
    if (!armed || pausing) return;
    pausing = true;
    loop.cancel(*this);
  }

  static void completed(UringLoop::Completion* self, int32_t result, uint32_t flags) {
    auto& a = *static_cast<Acceptor*>(self);
    if ((flags & IORING_CQE_F_MORE) == 0) a.armed = false;
    if (result >= 0)
      a.accepted.push_back(result);
    else if (result != -ECANCELED && result != -ECONNABORTED && result != -EINTR)
      a.error = -result;
    if (a.accepted.size() >= kWaitingMax) a.pause();
    if (!a.waiting) return;
    if (a.accepted.empty() && a.error == 0 && !a.aborted)
      a.arm();
    else
      std::exchange(a.waiting, {}).resume();
  }
};

class UringListener final : public Listener {
 public:
  UringListener(UringLoop& loop, Fd fd, Address local, bool owns_file)
      : acceptor_(std::make_shared<Acceptor>(loop, fd.release())), local_(std::move(local)) {
    struct stat at;
    if (owns_file && lstat(local_.host.c_str(), &at) == 0) file_ = {at.st_dev, at.st_ino};
  }

  ~UringListener() override {
    CANOPY_CHECK(!acceptor_->waiting);
    acceptor_->aborted = true;
    acceptor_->pause();
    // Not the socket file of a process that has replaced us meanwhile.
    struct stat at;
    if (file_.second != 0 && lstat(local_.host.c_str(), &at) == 0 && file_ == std::pair(at.st_dev, at.st_ino))
      unlink(local_.host.c_str());
  }

  Task<Result<std::unique_ptr<Stream>>> accept() override {
    Acceptor& a = *acceptor_;
    CANOPY_CHECK(!a.waiting);
    if (a.accepted.empty() && a.error == 0 && !a.aborted) co_await Waiting{a};
    if (a.aborted) co_return fail(Code::kCancelled, local_.to_string(), "the listener was aborted");
    if (!a.accepted.empty()) {
      int fd = a.accepted.front();
      a.accepted.pop_front();
      if (local_.kind == Address::Kind::kUnix) make_room_for_chunks(fd);
      co_return std::unique_ptr<Stream>(std::make_unique<UringStream>(a.loop, fd));
    }
    int error = std::exchange(a.error, 0);
    if (error == EMFILE || error == ENFILE)
      co_return fail(Code::kTryAgain, local_.to_string(),
                     "accept: too many open files; raise LimitNOFILE (ulimit -n)");
    if (error == ENOMEM || error == ENOBUFS)
      co_return fail(Code::kTryAgain, local_.to_string(), "accept: the system is short of memory");
    co_return fail_errno(error, local_.to_string(), "accept");
  }

  void abort() override {
    acceptor_->aborted = true;
    acceptor_->pause();
    if (acceptor_->waiting) acceptor_->loop.defer(std::exchange(acceptor_->waiting, {}));
  }

  const Address& local() const override { return local_; }
  int fd() const { return acceptor_->fd; }

 private:
  struct Waiting {
    Acceptor& acceptor;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      acceptor.waiting = handle;
      acceptor.arm();
    }
    void await_resume() const noexcept {}
  };

  std::shared_ptr<Acceptor> acceptor_;
  Address local_;
  std::pair<dev_t, ino_t> file_{};
};

}  // namespace

Result<std::unique_ptr<Listener>> UringLoop::listen(const Address& address, const ListenOptions& options) {
  Result<Fd> fd = bound_socket(address, options, true);
  bool any = address.kind == Address::Kind::kTcp && address.host.empty();
  if (!fd && any && fd.error().code() != Code::kBusy)
    fd = bound_socket(address, options, false);  // no IPv6 here
  if (!fd) return fail(fd.error());
  Address local = address;
  if (address.kind == Address::Kind::kTcp) {
    sockaddr_storage at{};
    socklen_t length = sizeof at;
    if (getsockname(fd->get(), reinterpret_cast<sockaddr*>(&at), &length) != 0)
      return listen_error(errno, address, "getsockname");
    local.port = address_of(at, length).port;
  }
  bool owns_file = address.kind == Address::Kind::kUnix;
  return std::make_unique<UringListener>(*this, std::move(*fd), std::move(local), owns_file);
}

void notice_lost_peers(const Listener& of) {
  const auto* listener = dynamic_cast<const UringListener*>(&of);
  if (listener != nullptr && listener->local().kind == Address::Kind::kTcp) notice_lost_peers(listener->fd());
}

Result<std::unique_ptr<Listener>> UringLoop::share(const Listener& other) {
  const auto* listener = dynamic_cast<const UringListener*>(&other);
  if (listener == nullptr)
    return fail(Code::kInvalidArgument, other.local().to_string(), "not a listener of a UringLoop");
  Fd fd(fcntl(listener->fd(), F_DUPFD_CLOEXEC, 0));
  if (fd.get() < 0) return listen_error(errno, other.local(), "dup");
  return std::make_unique<UringListener>(*this, std::move(fd), other.local(), false);
}

Task<Result<std::unique_ptr<Stream>>> UringLoop::connect(Address address, Nanos deadline) {
  sockaddr_storage to;
  if (address.kind == Address::Kind::kUnix && address.host.size() > kUnixPathBytesMax)
    co_return fail(Code::kInvalidArgument, address.to_string(), "the path of the Unix socket is too long");
  socklen_t length = fill_sockaddr(address, false, to);
  if (length == 0)
    co_return fail(Code::kInvalidArgument, address.to_string(), "the host is no numeric address");
  Fd fd(socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) co_return fail_errno(errno, address.to_string(), "socket");
  if (address.kind == Address::Kind::kTcp) {
    set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    notice_lost_peers(fd.get());
  } else {
    make_room_for_chunks(fd.get());
  }
  SocketOp op(*this, nullptr, deadline);
  co_await SocketWait(op, [&](io_uring_sqe* sqe) {
    io_uring_prep_connect(sqe, fd.get(), reinterpret_cast<const sockaddr*>(&to), length);
  });
  if (op.result() < 0) {
    if (op.timed_out() && (op.result() == -ECANCELED || op.result() == -EINTR))
      co_return fail(Code::kDeadlineExceeded, address.to_string(), "connect: the deadline has passed");
    if (op.result() == -EAGAIN)
      co_return fail(Code::kTryAgain, address.to_string(), "connect: the server does not accept fast enough");
    if (op.result() == -EACCES || op.result() == -EPERM)
      co_return fail(Code::kPermissionDenied, address.to_string(), "connect: not permitted");
    co_return fail(Code::kConnectionLost, address.to_string(),
                   fmt::format("connect: {}", strerror(-op.result())));
  }
  co_return std::unique_ptr<Stream>(std::make_unique<UringStream>(*this, fd.release()));
}

}  // namespace canopy
