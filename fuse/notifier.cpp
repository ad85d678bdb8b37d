#include "fuse/notifier.h"

#include <cerrno>

#include "fuse/operations.h"

namespace canopy::mount {

void tell_kernel(fuse_session* session, const Notification& what) {
  switch (what.kind) {
    case Notification::Kind::kExpireName:
      if (fuse_lowlevel_notify_expire_entry(session, what.number, what.name.data(), what.name.size(),
                                            FUSE_LL_EXPIRE_ONLY) != -ENOSYS)
        break;
      [[fallthrough]];
    case Notification::Kind::kDropName:
      (void)fuse_lowlevel_notify_inval_entry(session, what.number, what.name.data(), what.name.size());
      break;
    case Notification::Kind::kAttributes:
      (void)fuse_lowlevel_notify_inval_inode(session, what.number, -1, 0);
      break;
    case Notification::Kind::kContent:
      (void)fuse_lowlevel_notify_inval_inode(session, what.number, 0, 0);
      break;
  }
}

Notifier::~Notifier() { stop(); }

void Notifier::stop() {
  {
    std::lock_guard lock(gate_);
    over_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();  // after over_ none is added
  threads_.clear();
}

void Notifier::start(std::function<void(const Notification&)> tell) {
  std::lock_guard lock(gate_);
  tell_ = std::move(tell);
  see_to_a_spare();
}

Notifier::Key Notifier::key_of(const Notification& of) {
  const bool is_name = of.kind == Notification::Kind::kExpireName || of.kind == Notification::Kind::kDropName;
  return of.number * 2 + (is_name ? 1 : 0);
}

void Notifier::add(Notification notification) {
  {
    std::lock_guard lock(gate_);
    if (over_ || waiting_ >= kNotificationsMax) return;
    ++waiting_;
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
  return waiting_;
}

// Somebody has to look when what is being told lasts.
void Notifier::see_to_a_spare() {
  if (idle_ != 0 || over_ || threads_.size() >= kNotifiersMax) return;
  ++idle_;
  threads_.emplace_back([this] { run(); });
}

// Passes over what has to wait for the same that is being told.
bool Notifier::take(Notification& next) {
  while (!queue_.empty()) {
    Notification first = std::move(queue_.front());
    queue_.pop_front();
    auto [told, free] = being_told_.try_emplace(key_of(first));
    if (free) {
      next = std::move(first);
      return true;
    }
    told->second.push_back(std::move(first));
  }
  return false;
}

void Notifier::run() {
  std::unique_lock lock(gate_);
  while (true) {
    Notification next;
    while (true) {
      if (over_) return;
      if (queue_.empty()) {
        changed_.wait(lock);
      } else if (telling_ == 0) {
        if (take(next)) break;
      } else if (changed_.wait_until(lock, begun_ + kNotifierLasts) == std::cv_status::timeout &&
                 std::chrono::steady_clock::now() >= begun_ + kNotifierLasts) {
        telling_ = 0;
      }
    }
    --idle_;
    --waiting_;
    const uint64_t mine = telling_ = ++taken_;
    begun_ = std::chrono::steady_clock::now();
    see_to_a_spare();
    if (!queue_.empty()) changed_.notify_one();  // for the spare, should this one last
    lock.unlock();
    tell_(next);
    lock.lock();
    ++idle_;
    if (telling_ == mine) telling_ = 0;
    auto told = being_told_.find(key_of(next));
    queue_.insert(queue_.begin(), std::make_move_iterator(told->second.begin()),
                  std::make_move_iterator(told->second.end()));
    being_told_.erase(told);
  }
}

}  // namespace canopy::mount
