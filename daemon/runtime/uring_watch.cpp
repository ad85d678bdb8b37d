// Readiness of descriptors by IORING_OP_POLL_ADD.
#include <liburing.h>
#include <poll.h>

#include "daemon/runtime/uring_loop.h"

namespace canopy {
namespace {

class UringWatch final : public DescriptorWatch {
 public:
  UringWatch(UringLoop& loop, int fd, std::move_only_function<void(uint32_t)> ready)
      : loop_(loop), fd_(fd), wait_(std::make_shared<Wait>()) {
    wait_->ready = std::move(ready);
    wait_->done = [](UringLoop::Completion* completion, int32_t result, uint32_t) {
      // The callback may destroy the watch, and with it the last other hold on the wait.
      const std::shared_ptr<Wait> wait = static_cast<Wait*>(completion)->shared_from_this();
      wait->armed = false;
      if (!wait->ended) wait->ready(result < 0 ? uint32_t{POLLERR} : static_cast<uint32_t>(result));
    };
  }
  ~UringWatch() override {
    wait_->ended = true;
    if (!wait_->armed) return;
    // The poll holds the file: without the cancellation the socket would stay open after its close().
    loop_.keep(*wait_, wait_);
    loop_.cancel(*wait_);
  }

  void arm(uint32_t events) override {
    if (std::exchange(wait_->armed, true)) return;
    io_uring_prep_poll_add(loop_.entry(*wait_), fd_, events);
  }

 private:
  struct Wait : UringLoop::Completion, std::enable_shared_from_this<Wait> {
    std::move_only_function<void(uint32_t)> ready;
    bool armed = false;
    bool ended = false;
  };
  UringLoop& loop_;
  int fd_;
  std::shared_ptr<Wait> wait_;
};

}  // namespace

Result<std::unique_ptr<DescriptorWatch>> UringLoop::watch(int fd,
                                                          std::move_only_function<void(uint32_t)> ready) {
  return std::make_unique<UringWatch>(*this, fd, std::move(ready));
}

}  // namespace canopy
