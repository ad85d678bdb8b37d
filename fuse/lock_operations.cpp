#include "fuse/lock_operations.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>

#include "fuse/answer.h"

namespace canopy::mount {
namespace {

constexpr uint64_t kOffsetMax = INT64_MAX;  // the kernel's "to the end of the file"

FileLock lock_of(const struct flock& in, uint64_t owner, bool wait) {
  FileLock lock;
  lock.exclusive = in.l_type == F_WRLCK;
  lock.wait = wait;
  lock.start = static_cast<uint64_t>(in.l_start);
  lock.end = in.l_len == 0 ? UINT64_MAX : lock.start + static_cast<uint64_t>(in.l_len) - 1;
  if (lock.end >= kOffsetMax) lock.end = UINT64_MAX;
  lock.owner = owner;
  lock.pid = static_cast<uint32_t>(in.l_pid);
  return lock;
}

// The kernel interrupts a request that waits when a signal comes.
void on_interrupt(fuse_req_t, void* cancellation) {
  static_cast<wire::Cancellation*>(cancellation)->cancel();
}

Task<void> take_lock(fuse_req_t request, NodeRef node, OpenFileRef file, FileLock lock) {
  auto cancellation = std::make_unique<wire::Cancellation>();
  if (lock.wait) fuse_req_interrupt_func(request, on_interrupt, cancellation.get());
  if (file != nullptr && !lock.whole &&
      std::ranges::find(file->lock_owners, lock.owner) == file->lock_owners.end())
    file->lock_owners.push_back(lock.owner);
  auto done = co_await node->view->lock(node, lock, *cancellation);
  // Not interrupted any more from here on: libfuse lets go of the pointer with the answer.
  if (!done && cancellation->cancelled()) done = refuse(EINTR, node->key, "the caller was interrupted");
  fuse_req_interrupt_func(request, nullptr, nullptr);
  if (done)
    fuse_reply_err(request, 0);
  else if (done.error().error_number() == EINTR)
    fuse_reply_err(request, EINTR);
  else
    answer_error(request, done.error(), {*node});
}

Task<void> give_back(fuse_req_t request, NodeRef node, FileLock range) {
  answer_done(request, co_await node->view->unlock(node, range), {*node});
}

void start(fuse_req_t request, fuse_ino_t number, fuse_file_info* info, const FileLock& lock, bool unlock) {
  Mount& mount = mount_of(request);
  NodeRef node = mount.nodes().find(number);
  if (node == nullptr) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  if (unlock)
    mount.loop().spawn(give_back(request, std::move(node), lock));
  else
    mount.loop().spawn(take_lock(request, std::move(node), mount.file(info->fh), lock));
}

void on_setlk(fuse_req_t request, fuse_ino_t number, fuse_file_info* info, struct flock* wanted, int sleep) {
  start(request, number, info, lock_of(*wanted, info->lock_owner, sleep != 0), wanted->l_type == F_UNLCK);
}

void on_flock(fuse_req_t request, fuse_ino_t number, fuse_file_info* info, int operation) {
  FileLock lock;
  lock.whole = true;
  lock.exclusive = (operation & LOCK_EX) != 0;
  lock.wait = (operation & LOCK_NB) == 0;
  lock.owner = info->lock_owner;
  start(request, number, info, lock, (operation & LOCK_UN) != 0);
}

Task<void> look(fuse_req_t request, NodeRef node, FileLock lock) {
  auto found = co_await node->view->lock_in_the_way(node, lock);
  if (!found) {
    answer_error(request, found.error(), {*node});
    co_return;
  }
  struct flock out = {};
  out.l_type = F_UNLCK;
  if (*found) {
    out.l_type = (*found)->exclusive ? F_WRLCK : F_RDLCK;
    out.l_start = static_cast<off_t>((*found)->start);
    if ((*found)->end < kOffsetMax) out.l_len = static_cast<off_t>((*found)->end - (*found)->start + 1);
    out.l_pid = static_cast<pid_t>((*found)->pid);
  }
  fuse_reply_lock(request, &out);
}

void on_getlk(fuse_req_t request, fuse_ino_t number, fuse_file_info* info, struct flock* wanted) {
  Mount& mount = mount_of(request);
  NodeRef node = mount.nodes().find(number);
  if (node == nullptr) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  mount.loop().spawn(look(request, std::move(node), lock_of(*wanted, info->lock_owner, false)));
}

}  // namespace

void add_lock_operations(fuse_lowlevel_ops& operations) {
  operations.getlk = on_getlk;
  operations.setlk = on_setlk;
  operations.flock = on_flock;
}

Task<void> give_back_locks_of_owner(NodeRef node, uint64_t owner) {
  FileLock whole_file;
  whole_file.owner = owner;
  if (node->view->holds_lock(*node, whole_file)) (void)co_await node->view->unlock(node, whole_file);
}

// Owners of fcntl(2) locks have given theirs back already, at the closing of their descriptors; what is left
// are locks of the opening itself (F_OFD_SETLK).
Task<void> give_back_locks_of_file(OpenFileRef file, uint64_t owner) {
  for (uint64_t each : file->lock_owners) co_await give_back_locks_of_owner(file->node, each);
  FileLock flock;
  flock.whole = true;
  flock.owner = owner;
  if (file->node->view->holds_lock(*file->node, flock))
    (void)co_await file->node->view->unlock(file->node, flock);
}

}  // namespace canopy::mount
