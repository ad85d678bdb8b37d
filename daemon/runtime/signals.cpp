#include "daemon/runtime/signals.h"

#include <liburing.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace canopy {
namespace {

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int number : signals) sigaddset(&set, number);
  return set;
}

Task<int> wait_for(UringLoop& loop, sigset_t set) {
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  int fd = signalfd(-1, &set, SFD_CLOEXEC);
  if (fd < 0) co_return -errno;
  signalfd_siginfo info{};
  int got = 0;
  do {
    got =
        co_await loop.submit([&](io_uring_sqe* sqe) { io_uring_prep_read(sqe, fd, &info, sizeof info, 0); });
  } while (got == -EINTR || got == -EAGAIN);
  close(fd);
  co_return got == sizeof info ? static_cast<int>(info.ssi_signo) : std::min(got, -EIO);
}

}  // namespace

void block_signals(std::initializer_list<int> signals) {
  sigset_t set = set_of(signals);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

// Not itself a coroutine: the list's array lives only as long as the caller's expression.
Task<int> wait_signal(UringLoop& loop, std::initializer_list<int> signals) {
  return wait_for(loop, set_of(signals));
}

}  // namespace canopy
