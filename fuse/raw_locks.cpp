// The raw tree's locks, which the daemon keeps among all mounts.
#include <algorithm>
#include <cerrno>

#include "daemon/base/log.h"
#include "fuse/raw_view.h"

namespace canopy::mount {
namespace {

constexpr Nanos kLockCall = 30 * kSecond;  // the daemon answers earlier, and is asked again

}  // namespace

v1::TreeLockRequest RawView::lock_request(const std::string& key, const FileLock& lock) const {
  v1::TreeLockRequest request;
  request.set_session(backend_.session());
  fill_identity(key, *request.mutable_file());
  request.set_owner(lock.owner);
  request.set_kind(lock.whole ? v1::TreeLockRequest::WHOLE : v1::TreeLockRequest::RANGE);
  request.set_type(lock.exclusive ? v1::TreeLockRequest::WRITE : v1::TreeLockRequest::READ);
  request.set_start(lock.start);
  request.set_end(lock.end);
  request.set_pid(lock.pid);
  return request;
}

Task<Result<void>> RawView::lock(NodeRef node, FileLock lock, wire::Cancellation& cancellation) {
  v1::TreeLockRequest request = lock_request(node->key, lock);
  request.set_wait(lock.wait);
  while (true) {
    wire::CallOptions options = backend_.options();
    if (lock.wait) options.deadline = backend_.loop().now() + std::max(kLockCall, backend_.patience());
    options.cancellation = &cancellation;
    auto done = co_await backend_.tree().lock(request, options);
    if (done) {
      locks_.take(node->key, lock);
      co_return Result<void>();
    }
    if (cancellation.cancelled()) break;
    if (!lock.wait || done.error().error_number() != EAGAIN) co_return fail(std::move(done).error());
  }
  // It may have been given to us all the same.
  CANOPY_CO_ASSIGN(const bool given, co_await put_back_locks(node, lock));
  if (!given) co_return refuse(EINTR, node->key, "the caller was interrupted");
  locks_.take(node->key, lock);
  co_return Result<void>();
}

// Makes what was held before the request what is held, without a moment in which less is held. True: somebody
// else has got what would have to be taken away from him for that, as the lock that was asked for was given,
// which is weaker there: then that is what is held.
Task<Result<bool>> RawView::put_back_locks(NodeRef node, FileLock wanted) {
  std::vector<FileLock> parts;  // of what was held, within what was asked for
  for (FileLock each : locks_.of(node->key, wanted.whole, wanted.owner)) {
    if (each.end < wanted.start || each.start > wanted.end) continue;
    each.start = std::max(each.start, wanted.start);
    each.end = std::min(each.end, wanted.end);
    parts.push_back(each);
  }
  // The only ones that can be refused, before anything is given back.
  std::ranges::sort(parts, std::ranges::greater(), &FileLock::exclusive);
  std::vector<FileLock> free = {wanted};
  for (const FileLock& each : parts) {
    auto done = co_await backend_.tree().lock(lock_request(node->key, each), backend_.options());
    if (!done && done.error().error_number() == EAGAIN && !wanted.exclusive) {
      CANOPY_CO_TRY(co_await backend_.tree().lock(lock_request(node->key, wanted), backend_.options()));
      co_return true;
    }
    if (!done) co_return fail(std::move(done).error());
    free = without(free, each);
  }
  for (const FileLock& each : free) CANOPY_CO_TRY(co_await send_unlock(node->key, each));
  co_return false;
}

Task<Result<void>> RawView::send_unlock(std::string key, FileLock range) {
  v1::TreeLockRequest request = lock_request(key, range);
  request.set_type(v1::TreeLockRequest::NONE);
  auto done = co_await backend_.tree().lock(request, backend_.options());
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

Task<Result<void>> RawView::unlock(NodeRef node, FileLock range) {
  locks_.give_back(node->key, range);
  co_return co_await send_unlock(node->key, range);
}

bool RawView::holds_lock(const Node& node, const FileLock& of) const {
  return locks_.holds(node.key, of.whole, of.owner);
}

Task<Result<std::optional<FileLock>>> RawView::lock_in_the_way(NodeRef node, FileLock lock) {
  v1::TreeLockRequest request = lock_request(node->key, lock);
  request.set_test(true);
  auto found = co_await backend_.tree().lock(request, backend_.options());
  if (!found) co_return fail(std::move(found).error());
  if (found->type() == v1::TreeLockRequest::NONE) co_return std::nullopt;
  FileLock other;
  other.exclusive = found->type() == v1::TreeLockRequest::WRITE;
  other.start = found->start();
  other.end = found->end();
  other.pid = found->pid();
  co_return other;
}

Task<void> RawView::take_locks_again() {
  for (const HeldLocks::Held& held : locks_.all()) {
    v1::TreeLockRequest request = lock_request(held.key, held.lock);
    request.set_again(true);
    auto done = co_await backend_.tree().lock(request, backend_.options());
    if (done) continue;
    locks_.give_back(held.key, held.lock);
    log_event(LogLevel::kError, "lock-lost", held.key,
              {{"owner", held.lock.owner}, {"error", done.error().to_string()}});
  }
}

// Those that the daemon does not know any more, since their connection is gone.
Task<void> RawView::reopen_all() {
  std::vector<OpenFileRef> open;
  for (const auto& [address, weak] : files_)
    if (auto file = weak.lock(); file != nullptr && file->node != nullptr) open.push_back(std::move(file));
  for (const OpenFileRef& file : open) {
    auto done = co_await reopen_if_lost(file);
    if (!done)
      log_event(LogLevel::kError, "file-lost", file->node->key, {{"error", done.error().to_string()}});
  }
}

}  // namespace canopy::mount
