#include "daemon/store/local/directory_sync.h"

#include <liburing.h>
#include <sys/stat.h>

#include <cerrno>

#include "daemon/base/check.h"
#include "daemon/store/local/system.h"

namespace canopy::local {

struct DirectorySync::Round {
  std::optional<Result<void>> result;
  std::vector<std::coroutine_handle<>> waiters;
};

struct DirectorySync::Waiter {
  Round& round;
  bool await_ready() const noexcept { return round.result.has_value(); }
  void await_suspend(std::coroutine_handle<> handle) { round.waiters.push_back(handle); }
  void await_resume() const noexcept {}
};

DirectorySync::~DirectorySync() = default;

Task<Result<void>> DirectorySync::sync(int fd, std::string object) {
  ++asked_;
  struct stat found;
  if (fstat(fd, &found) != 0) co_return fail_system(errno, std::move(object), "fstat");
  Key key{found.st_dev, found.st_ino};
  Group& group = groups_[key];
  if (group.running) {
    // What runs may have started before our change. Whoever comes first leads the next round, with its own
    // descriptor.
    bool leads = group.next == nullptr;
    if (leads) group.next = std::make_shared<Round>();
    std::shared_ptr<Round> before = group.running, mine = group.next;
    co_await Waiter{leads ? *before : *mine};
    if (!leads) co_return *mine->result;
    CANOPY_CHECK(group.running == mine);  // finish() has moved us up
  } else {
    group.running = std::make_shared<Round>();
  }
  ++issued_;
  int32_t answer = co_await calls_.by_ring([fd](io_uring_sqe* sqe) { io_uring_prep_fsync(sqe, fd, 0); });
  Result<void> result;
  if (answer < 0) result = fail_system(-answer, std::move(object), "fsync of a directory");
  finish(key, group, result);
  co_return result;
}

void DirectorySync::finish(Key key, Group& group, Result<void> result) {
  std::shared_ptr<Round> done = std::move(group.running);
  group.running = std::move(group.next);
  group.next = nullptr;
  done->result = std::move(result);
  for (std::coroutine_handle<> waiter : done->waiters) calls_.loop().defer(waiter);
  if (!group.running) groups_.erase(key);
}

}  // namespace canopy::local
