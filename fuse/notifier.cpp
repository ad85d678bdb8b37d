#include "fuse/notifier.h"

#include <cerrno>

#include "fuse/operations.h"

namespace canopy::mount {

Notifier::~Notifier() { stop(); }

void Notifier::stop() {
  {
    std::lock_guard lock(gate_);
    over_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Notifier::start(fuse_session* session) {
  session_ = session;
  thread_ = std::thread([this] { run(); });
}

void Notifier::add(Notification notification) {
  {
    std::lock_guard lock(gate_);
    if (queue_.size() >= kNotificationsMax) return;
    queue_.push_back(std::move(notification));
  }
  changed_.notify_one();
}

void Notifier::expire_name(uint64_t parent, std::string name) {
  add({Notification::Kind::kExpireName, parent, std::move(name)});
}
void Notifier::drop_name(uint64_t parent, std::string name) {
  add({Notification::Kind::kDropName, parent, std::move(name)});
}
void Notifier::expire_node(uint64_t number, bool content) {
  add({content ? Notification::Kind::kContent : Notification::Kind::kAttributes, number, {}});
}

size_t Notifier::waiting() const {
  std::lock_guard lock(gate_);
  return queue_.size();
}

// What the kernel answers says only whether it knew the thing.
void Notifier::run() {
  std::unique_lock lock(gate_);
  while (true) {
    changed_.wait(lock, [&] { return over_ || !queue_.empty(); });
    if (over_) return;
    const Notification next = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    switch (next.kind) {
      case Notification::Kind::kExpireName:
        if (fuse_lowlevel_notify_expire_entry(session_, next.number, next.name.data(), next.name.size(),
                                              FUSE_LL_EXPIRE_ONLY) != -ENOSYS)
          break;
        [[fallthrough]];
      case Notification::Kind::kDropName:
        (void)fuse_lowlevel_notify_inval_entry(session_, next.number, next.name.data(), next.name.size());
        break;
      case Notification::Kind::kAttributes:
        (void)fuse_lowlevel_notify_inval_inode(session_, next.number, -1, 0);
        break;
      case Notification::Kind::kContent:
        (void)fuse_lowlevel_notify_inval_inode(session_, next.number, 0, 0);
        break;
    }
    lock.lock();
  }
}

}  // namespace canopy::mount
