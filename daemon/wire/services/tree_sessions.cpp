// What the Tree service does for clients that come and go: locks among them, and what each is told of the
// others' changes.
#include <algorithm>
#include <cerrno>

#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "daemon/wire/services/tree_guard.h"
#include "daemon/wire/services/tree_service.h"

namespace canopy::wire {
namespace {

constexpr Nanos kLockWaitMax = 20 * kSecond;  // of one call; the client asks again
constexpr uint32_t kWatchSecondsMax = 60;

std::unexpected<Error> fail_with(int error_number, std::string message) {
  return std::unexpected<Error>(Error(Code::kConflict, "lock", std::move(message), error_number));
}

Result<TreeLocks::Range> range_of(const v1::TreeLockRequest& request) {
  if (request.file().file_id() == 0) return fail(Code::kInvalidArgument, "file", "it names no file");
  if (request.start() > request.end()) return fail(Code::kInvalidArgument, "end", "it lies before the start");
  if (request.type() > v1::TreeLockRequest::WRITE || request.kind() > v1::TreeLockRequest::WHOLE)
    return fail(Code::kInvalidArgument, "type", "kind or type are none that this server knows");
  TreeLocks::Range range;
  range.start = request.kind() == v1::TreeLockRequest::WHOLE ? 0 : request.start();
  range.end = request.kind() == v1::TreeLockRequest::WHOLE ? UINT64_MAX : request.end();
  range.type = static_cast<TreeLocks::Type>(request.type());
  range.pid = request.pid();
  range.owner = TreeLocks::Owner{request.session(), request.owner()};
  return range;
}

void fill_change(const TreeChange& in, v1::TreeChange& out) {
  out.set_kind(static_cast<v1::TreeChange::Kind>(in.kind));
  out.set_path(in.path);
  out.set_to(in.to);
  out.mutable_file()->set_file_id(in.file.file_id);
  out.mutable_file()->mutable_born()->set_seconds(in.file.born.seconds);
  out.mutable_file()->mutable_born()->set_nanoseconds(in.file.born.nanoseconds);
}

}  // namespace

const std::string& TreeService::session_of(CallContext& call) {
  return call.connection().attachment<SessionOfConnection>().session;
}

Result<void> TreeService::attach(CallContext& call, const std::string& session) {
  if (session.size() != kRequestIdBytes)
    return fail(Code::kInvalidArgument, "session", fmt::format("it has {} bytes", kRequestIdBytes));
  std::string& attached = call.connection().attachment<SessionOfConnection>().session;
  if (attached == session) return {};
  if (!attached.empty())
    return fail(Code::kInvalidArgument, "session", "this connection has another one already");
  attached = session;
  locks_.attach(session);
  call.connection().on_close([this, session, &loop = call.loop()] { locks_.detach(session, loop.now()); });
  return {};
}

// ------------------------------------------------------------------------------------------------ locks

// After a restart those who held locks come first.
Task<Result<void>> TreeService::wait_for_grace(CallContext& call) {
  while (!locks_open_) {
    if (call.cancelled()) co_return fail(Code::kCancelled, "lock", "the client gave it up");
    co_await call.loop().sleep(20 * kMillisecond);
  }
  co_return Result<void>();
}

// A file that says to the next process that there are locks to wait for.
Task<Result<void>> TreeService::mark_locks() {
  if (locks_marked_) co_return Result<void>();
  auto file = co_await store().open(std::string(kTreeLocksMark),
                                    OpenOptions{.write = true, .create = true, .mode = 0600});
  if (!file) co_return fail(std::move(file).error());
  locks_marked_ = true;
  co_return Result<void>();
}

Task<Result<void>> TreeService::start_locks(Store& first) {
  auto mark = co_await first.attributes(std::string(kTreeLocksMark));
  if (!mark && mark.error().code() != Code::kNotFound) co_return fail(std::move(mark).error());
  locks_marked_ = mark.has_value();
  locks_open_ = !mark.has_value();
  co_return Result<void>();
}

Task<void> TreeService::sweep_locks(Shard& shard) {
  const Nanos now = shard.loop.now();
  if (const size_t gone = locks_.end_sessions(now); gone > 0)
    log_event(LogLevel::kWarning, "locks-ended", "tree", {{"ranges", gone}});
  if (locks_open_ || now < started_ + kTreeLocksGrace) co_return;
  if (locks_.size() == 0) {
    locks_marked_ = false;
    (void)co_await shard.store->remove(std::string(kTreeLocksMark), Durable::kNo);
  }
  locks_open_ = true;
}

Task<Result<void>> TreeService::wait_for_lock(CallContext& call, const FileIdentity& file,
                                              TreeLocks::Kind kind, TreeLocks::Range wanted) {
  auto waiter = std::make_shared<LoopWaiter>(call.loop());
  call.on_cancel([waiter] { waiter->event.set(); });
  const Nanos until = std::min(call.loop().now() + kLockWaitMax,
                               call.deadline() == kNever ? kNever : call.deadline() - kSecond / 2);
  while (true) {
    // Who has given it up may have said since what is to be held instead.
    if (call.cancelled()) co_return fail(Code::kCancelled, "lock", "the client gave it up");
    waiter->event.reset();
    CANOPY_CO_TRY(locks_.wait_for(file, kind, wanted, waiter));
    auto other = locks_.set(file, kind, wanted);
    const bool over = call.cancelled() || call.loop().now() >= until;
    if (other && *other && !over) co_await waiter->event.wait_until(until);
    locks_.stop_waiting(file, kind, waiter);
    if (!other) co_return fail(std::move(other).error());
    if (!*other) co_return Result<void>();
    if (call.cancelled()) co_return fail(Code::kCancelled, "lock", "the client gave it up");
    if (over) co_return fail_with(EAGAIN, "somebody holds it; ask again");
  }
}

Task<Result<v1::TreeLockResponse>> TreeService::lock(CallContext& call, const v1::TreeLockRequest& request) {
  CANOPY_CO_TRY(attach(call, request.session()));
  CANOPY_CO_ASSIGN(const TreeLocks::Range wanted, range_of(request));
  const FileIdentity file = identity_of(request.file());
  const auto kind = static_cast<TreeLocks::Kind>(request.kind());
  v1::TreeLockResponse out;
  if (!request.again() && wanted.type != TreeLocks::Type::kNone) CANOPY_CO_TRY(co_await wait_for_grace(call));
  if (request.test()) {
    if (const auto other = locks_.in_the_way(file, kind, wanted)) {
      out.set_type(static_cast<v1::TreeLockRequest::Type>(other->type));
      out.set_start(other->start);
      out.set_end(other->end);
      out.set_pid(other->pid);
    }
    co_return out;
  }
  if (wanted.type != TreeLocks::Type::kNone) CANOPY_CO_TRY(co_await mark_locks());
  if (request.wait()) {
    CANOPY_CO_TRY(co_await wait_for_lock(call, file, kind, wanted));
    co_return out;
  }
  CANOPY_CO_ASSIGN(const auto other, locks_.set(file, kind, wanted));
  if (other) co_return fail_with(EAGAIN, "somebody holds it");
  co_return out;
}

// ------------------------------------------------------------------------------------------------ changes

void TreeService::tell_name(CallContext& call, const std::string& path, const FileIdentity& now) {
  changes_.add(TreeChange{TreeChange::Kind::kName, path, {}, now, session_of(call)});
}

void TreeService::tell_content(CallContext& call, const FileIdentity& file) {
  if (file) changes_.add(TreeChange{TreeChange::Kind::kContent, {}, {}, file, session_of(call)});
}

void TreeService::tell_written(CallContext& call, OpenFile& file) {
  file.last_change = changes_.add_content(file.identity, session_of(call), file.last_change);
}

Task<Result<v1::TreeWatchResponse>> TreeService::watch(CallContext& call,
                                                       const v1::TreeWatchRequest& request) {
  CANOPY_CO_TRY(attach(call, request.session()));
  const std::string& session = request.session();
  v1::TreeWatchResponse out;
  out.set_epoch(node_.epoch());
  if (request.epoch() != node_.epoch()) {
    out.set_lost(true);
    out.set_cursor(changes_.last());
    co_return out;
  }
  auto waiter = std::make_shared<LoopWaiter>(call.loop());
  call.on_cancel([waiter] { waiter->event.set(); });
  Nanos until = call.loop().now() + std::min(request.seconds(), kWatchSecondsMax) * kSecond;
  if (call.deadline() != kNever) until = std::min(until, call.deadline() - kSecond / 2);
  uint64_t cursor = request.cursor();
  while (true) {
    const TreeChanges::Batch batch = changes_.take(session, cursor);
    cursor = batch.cursor;
    out.set_cursor(cursor);
    out.set_lost(batch.lost);
    for (const TreeChange& change : batch.changes) fill_change(change, *out.add_changes());
    const bool over = call.cancelled() || call.loop().now() >= until;
    if (batch.lost || !batch.changes.empty() || over) co_return out;
    waiter->event.reset();
    if (!changes_.wait(session, cursor, waiter)) continue;
    co_await waiter->event.wait_until(until);
    cursor = changes_.stop_waiting(waiter, cursor);
  }
}

}  // namespace canopy::wire
