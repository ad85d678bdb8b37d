#include "daemon/base/log.h"
#include "daemon/log/log_state.h"

namespace canopy {
namespace {

// Waits for the answer of one append. Answers are given in offset order, and callers run in that order.
template <class StateType, class WaitingType>
class AnswerAwaiter {
 public:
  AnswerAwaiter(std::shared_ptr<StateType> state, std::shared_ptr<WaitingType> waiting)
      : state_(std::move(state)), waiting_(std::move(waiting)) {}
  AnswerAwaiter(const AnswerAwaiter&) = delete;
  ~AnswerAwaiter() {  // also when the waiting coroutine is destroyed: a killed process
    waiting_->waiter = {};
    state_->appends.done();
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) noexcept { waiting_->waiter = handle; }
  Result<Appended> await_resume() {
    if (*waiting_->result) {
      state_->answered_slice = waiting_->slice;
      state_->answered_end = waiting_->frame_end;
    }
    return std::move(*waiting_->result);
  }

 private:
  std::shared_ptr<StateType> state_;
  std::shared_ptr<WaitingType> waiting_;
};

}  // namespace

Task<Result<Appended>> AccountLog::State::append(Frame frame) {
  if (frame.empty()) co_return fail(Code::kInvalidArgument, directory, "a frame without records");
  if (frame.size() > kFrameBytesMax || frame.records() > kRecordsPerFrameMax)
    co_return fail(Code::kTooLarge, directory, "the frame has " + std::to_string(frame.size()) + " bytes");
  const uint64_t planned_against = loads;
  CANOPY_CO_TRY(co_await take_over());
  if (loads != planned_against)
    co_return fail(Code::kConflict, directory, "the account was taken over with newer changes; plan again");
  if (queue.size() >= kAppendsWaitingMax)
    co_return fail(Code::kBusy, directory, "too many changes of the account wait");
  auto waiting = std::make_shared<Waiting>();
  waiting->frame = std::move(frame);
  queue.push_back(waiting);
  appends.add();
  AnswerAwaiter<State, Waiting> answered(shared_from_this(), waiting);
  if (!writer_running) {
    writer_running = true;
    environment.loop->spawn(write_waiting(shared_from_this()));
  }
  co_return co_await answered;
}

// Runs while something waits. It starts a turn later, so that what came in one turn goes out together.
Task<void> AccountLog::State::write_waiting(std::shared_ptr<State> self) {
  while (!self->queue.empty()) {
    auto guard = co_await self->lane.lock();
    if (self->queue.empty()) break;
    Result<void> written = fail(Code::kTryAgain, self->directory, "the account log must be opened anew");
    if (!self->is_broken && !self->is_fenced && !self->is_elsewhere) {
      written = Result<void>();
      if (self->preamble.empty() &&
          self->set->slices.back()->end >= self->environment.options.slice_bytes_max)
        written = co_await self->roll();
      auto group = self->take_group();
      if (written) written = co_await self->write_group(group);
      if (!written) {
        self->break_log();
        for (auto& waiting : group) self->answer(*waiting, fail(written.error()));
      }
    }
    if (!written) self->fail_waiting(written.error());
  }
  self->writer_running = false;
}

std::vector<std::shared_ptr<AccountLog::State::Waiting>> AccountLog::State::take_group() {
  std::vector<std::shared_ptr<Waiting>> group;
  uint64_t bytes = 0;
  while (!queue.empty() && group.size() < kCommitBatchFramesMax) {
    const uint64_t size = queue.front()->frame.size();
    if (!group.empty() && bytes + size > kCommitBatchBytesMax) break;
    bytes += size;
    group.push_back(std::move(queue.front()));
    queue.pop_front();
  }
  return group;
}

void AccountLog::State::seal_for(Frame& frame, uint64_t offset, uint64_t acknowledged, Appended& where) {
  const LiveSlice& slice = *set->slices.back();
  FrameHeader head;
  head.records = static_cast<uint32_t>(frame.records());
  head.time_ns = environment.loop->wall_clock_ns();
  head.acknowledged = acknowledged;
  head.request_id = frame.request_id();
  seal_frame(frame.resolve(slice.id.number, offset), head, slice.seed, offset);
  where.slice = slice.id.number;
  where.offset = offset;
  where.time_ns = head.time_ns;
  where.record_offsets.reserve(frame.records());
  for (size_t i = 0; i < frame.records(); ++i)
    where.record_offsets.push_back(offset + frame.record_offset(i));
}

Task<Result<void>> AccountLog::State::write_group(std::vector<std::shared_ptr<Waiting>>& group) {
  const std::shared_ptr<LiveSlice> slice = set->slices.back();
  const uint64_t acknowledged = preamble.empty() ? slice->end : 0;
  std::vector<Appended> places(group.size());
  std::vector<std::string_view> pieces;
  uint64_t at = slice->end;
  for (size_t i = 0; i < group.size(); ++i) {
    Waiting& waiting = *group[i];
    seal_for(waiting.frame, at, acknowledged, places[i]);
    at += waiting.frame.size();
    waiting.slice = slice->id;
    waiting.frame_end = at;
    pieces.push_back(waiting.frame.resolve(slice->id.number, places[i].offset));
  }
  CANOPY_CO_TRY(co_await write_durably(std::move(pieces), slice->end, at));
  for (size_t i = 0; i < group.size(); ++i) answer(*group[i], std::move(places[i]));
  co_return Result<void>();
}

Task<Result<void>> AccountLog::State::write_durably(std::vector<std::string_view> pieces, uint64_t offset,
                                                    uint64_t end) {
  const std::shared_ptr<LiveSlice> slice = set->slices.back();
  if (!preamble.empty()) {
    CANOPY_CHECK(offset == preamble.size());
    pieces.insert(pieces.begin(), preamble);
    offset = 0;
  }
  touched = true;
  auto wrote = co_await active_file->write(offset, pieces, Durable::kYes);
  // That the file is gone says nothing of the account, which is opened anew.
  if (!wrote && wrote.error().code() == Code::kNotFound)
    co_return fail(Code::kTryAgain, wrote.error().object(),
                   "the slice is no longer there: " + wrote.error().message());
  CANOPY_CO_ASSIGN(const WriteOutcome outcome, std::move(wrote));
  // A successor seals before it reads: bytes that it may not have seen come back with the mode that it set.
  if (store().shared_at(directory) && (outcome.after.mode & 0200) == 0)
    co_return fenced("another process has sealed the slice");
  if (!name_durable) {
    CANOPY_CO_TRY(co_await store().sync_directory(directory));
    name_durable = true;
  }
  if (environment.lease_held && !environment.lease_held())
    co_return fenced("the lease ended before the write was answered");
  if (!preamble.empty()) {
    preamble.clear();
    superseded.reset();
    environment.files->forget_ends(store(), directory);
  }
  slice->end = end;
  co_return Result<void>();
}

Task<Result<Appended>> AccountLog::State::write_in_lane(Frame& frame) {
  Appended where;
  const uint64_t offset = set->slices.back()->end;
  seal_for(frame, offset, preamble.empty() ? offset : 0, where);
  std::vector<std::string_view> pieces{frame.resolve(where.slice, offset)};
  auto written = co_await write_durably(std::move(pieces), offset, offset + frame.size());
  if (!written) {
    break_log();
    co_return fail(std::move(written).error());
  }
  co_return where;
}

// The slice ends at its last acknowledged byte. The process remembers that, also while the account is closed,
// until a manifest says so; a slice whose first write failed does not count at all. But its manifest may be
// there, now or later, and then ends our older slices where they end now: nothing may be appended to them
// either.
void AccountLog::State::break_log() {
  if (is_broken) return;
  is_broken = true;
  if (!owner || !touched) return;
  const LiveSlice& slice = *set->slices.back();
  environment.files->end_slice(store(), slice.path, preamble.empty() ? slice.end : 0);
  if (!preamble.empty() && superseded != nullptr) {
    for (const auto& older : superseded->slices)
      if (older->id.epoch == environment.epoch && older->id != slice.id)
        environment.files->end_slice(store(), older->path, older->end);
  }
  log_event(LogLevel::kWarning, "account-log-broken", directory,
            {{"slice", slice.file_name}, {"end", slice.end}});
}

// Resumes the caller here and now, since only that keeps the order of answers; it runs to its next
// suspension.
void AccountLog::State::answer(Waiting& waiting, Result<Appended> result) {
  if (!waiting.waiter) return;  // its coroutine was destroyed
  waiting.result = std::move(result);
  std::exchange(waiting.waiter, {}).resume();
}

void AccountLog::State::fail_waiting(const Error& error) {
  std::deque<std::shared_ptr<Waiting>> all = std::move(queue);
  queue.clear();
  for (auto& waiting : all) answer(*waiting, fail(error));
}

Task<void> AccountLog::State::quiesce() {
  while (appends.count() > 0) co_await appends.wait();
}

}  // namespace canopy
