#include "daemon/account/account.h"

#include "daemon/account/account_compaction.h"
#include "daemon/account/account_parts.h"
#include "daemon/account/domains.h"
#include "daemon/account/mailbox_name.h"
#include "daemon/base/log.h"
#include "daemon/log/content.h"

namespace canopy {

Account::Account(LogEnvironment environment, std::string name, std::string directory, AccountOptions options)
    : environment_(std::move(environment)),
      name_(std::move(name)),
      directory_(std::move(directory)),
      options_(options),
      lane_(*environment_.loop),
      operations_(*environment_.loop) {}

Account::~Account() { CANOPY_CHECK(operations_.count() == 0); }

Task<Result<std::shared_ptr<Account>>> Account::open(LogEnvironment environment, std::string name,
                                                     std::string directory, AccountOptions options) {
  std::shared_ptr<Account> account(
      new Account(std::move(environment), std::move(name), std::move(directory), options));
  auto log = co_await AccountLog::open(account->environment_, account->directory_, account->state_);
  if (log) {
    account->log_ = std::move(*log);
    for (const Damage& damage : account->log_->damages()) {
      log_event(LogLevel::kError, "damage", account->name_,
                {{"file", account->directory_ + "/" + damage.file},
                 {"offset", damage.offset},
                 {"length", damage.length},
                 {"what", damage.what}});
    }
  } else if (log.error().code() != Code::kNotFound) {
    co_return fail(std::move(log).error());
  } else {
    account->state_.reset();  // nothing was ever done in it
  }
  co_return account;
}

Task<void> Account::close() {
  closing_ = true;
  while (operations_.count() > 0) co_await operations_.wait();
  if (log_ == nullptr) co_return;
  if (sound() && writable_ && log_->bytes_since_checkpoint() > options_.checkpoint_tail_bytes / 8) {
    auto written = co_await write_checkpoint();
    if (!written) {
      log_event(LogLevel::kWarning, "checkpoint-failed", name_, {{"error", written.error().to_string()}});
    }
  }
  co_await log_->close();
}

bool Account::usable() const { return !closing_ && sound(); }

bool Account::sound() const { return !failed_ && (log_ == nullptr || (!log_->broken() && !log_->fenced())); }

Task<std::optional<Result<RequestResult>>> Account::claim(RequestId id, Claim& claim) {
  if (is_none(id)) co_return std::nullopt;
  // Taking the account over may bring in frames of another process, this request's among them: look after
  // that.
  if (!writable_) {
    auto hold = co_await enter_alone();
    if (!hold) co_return Result<RequestResult>(fail(hold.error()));
  }
  for (auto under_way = in_flight_.find(id); under_way != in_flight_.end(); under_way = in_flight_.find(id)) {
    std::shared_ptr<Event> over = under_way->second;
    co_await over->wait();
  }
  int64_t now = environment_.loop->wall_clock_ns();
  state_.forget_requests_before(now - kRequestIdRememberedSeconds * kSecond);
  if (auto before = state_.remembered(id)) {
    auto result = RequestResult::decode(before->result);
    if (log_ != nullptr) {
      auto held = co_await log_->hold();
      if (!held) co_return Result<RequestResult>(fail(held.error()));
    }
    co_return result;
  }
  claim.take(*this, id);
  co_return std::nullopt;
}

Task<Result<Lane::Hold>> Account::enter_shared() {
  for (;;) {
    auto hold = co_await lane_.shared();
    if (!usable()) co_return fail(Code::kTryAgain, name_, "the account has to be opened again");
    CANOPY_CO_TRY(check_lease());
    if (writable_) co_return hold;
    hold.release();
    auto alone = co_await lane_.alone();
    CANOPY_CO_TRY(co_await make_writable());
  }
}

Task<Result<Lane::Hold>> Account::enter_alone() {
  auto hold = co_await lane_.alone();
  CANOPY_CO_TRY(co_await make_writable());
  co_return hold;
}

Result<void> Account::check_lease() const {
  if (!environment_.lease_held || environment_.lease_held()) return {};
  return fail(Code::kTryAgain, name_, "this backend does not hold its lease now");
}

Task<Result<void>> Account::make_writable() {
  CANOPY_CO_TRY(check_lease());
  if (!usable()) co_return fail(Code::kTryAgain, name_, "the account has to be opened again");
  if (writable_) co_return Result<void>();
  if (log_ == nullptr) {
    CANOPY_CO_TRY(co_await make_log());
  } else {
    CANOPY_CO_TRY(co_await log_->take_over());
  }
  state_.forget_plans();
  writable_ = true;
  co_return Result<void>();
}

uint32_t Account::new_uidvalidity() {
  auto seconds = static_cast<uint32_t>(environment_.loop->wall_clock_ns() / kSecond);
  return std::max(seconds, state_.last_uidvalidity() + 1);
}

MailboxCreate Account::plan_create(const std::string& name, uint32_t id) {
  MailboxCreate create;
  create.mailbox_id = id;
  create.uidvalidity = new_uidvalidity();
  create.modseq = state_.plan_modseq();
  create.name = name;
  return create;
}

Task<Result<void>> Account::make_log() {
  Frame first;
  state_.reset();
  first.add(plan_create(std::string(kInbox), kInboxId));
  Subscribe inbox;
  inbox.name = kInbox;
  inbox.on = true;
  first.add(inbox);
  auto made = co_await AccountLog::create(environment_, directory_, state_, std::move(first));
  if (!made) {
    failed_ = true;  // whether it is there is found out by opening again
    if (made.error().code() == Code::kNotFound)
      co_return fail(Code::kTryAgain, name_, fmt::format("its directory is not at {} any more", directory_));
    co_return fail(std::move(made).error());
  }
  log_ = std::move(*made);
  co_return Result<void>();
}

Task<Result<RequestResult>> Account::commit(Frame frame, RequestResult result, RequestId id, Apply apply,
                                            Frees frees) {
  frame.set_request_id(id);
  uint64_t frame_bytes = frame.size();
  content_bytes_ += frame_bytes;
  auto appended = co_await log_->append(std::move(frame));
  content_bytes_ -= frame_bytes;
  if (!appended) {
    Code code = appended.error().code();
    bool nothing_happened = code == Code::kBusy || code == Code::kTooLarge || code == Code::kInvalidArgument;
    if (!nothing_happened) failed_ = true;
    co_return fail(std::move(appended).error());
  }
  apply(*appended);
  if (!is_none(id)) state_.remember(id, appended->time_ns, result.encode());
  changed(frees == Frees::kYes);
  co_return result;
}

Task<Result<RequestResult>> Account::nothing_to_change(RequestId id, RequestResult result) {
  if (is_none(id)) co_return result;
  RequestRemembered remembered;
  remembered.request_id = id;
  remembered.time_ns = environment_.loop->wall_clock_ns();
  remembered.result = result.encode();
  Frame frame;
  frame.add(remembered);
  co_return co_await commit(std::move(frame), std::move(result), id, [](const Appended&) {});
}

void Account::changed(bool freed) {
  if (on_change_) on_change_();
  maintain(freed);
}

Task<Result<void>> Account::check_capacity(uint64_t bytes) {
  StoreCapacity* capacity = options_.capacity;
  if (capacity == nullptr) co_return Result<void>();
  if (!capacity->known()) co_await capacity->look();
  co_return capacity->take(bytes);
}

Error limits_unknown(const std::string& account) {
  return Error(Code::kDamaged, std::string(kDefaultsFile),
               fmt::format("it cannot be read, and neither {} nor its domain states both limits: until it is "
                           "repaired nothing is added to the account",
                           account));
}

Result<void> Account::check_room(uint64_t bytes, uint64_t messages) const {
  if (!limits_.known && (bytes > 0 || messages > 0)) return fail(limits_unknown(name_));
  if (limits_.bytes_max != 0 && state_.bytes() + planned_bytes_ + bytes > limits_.bytes_max) {
    return fail(Code::kQuotaExceeded, name_,
                fmt::format("the account is limited to {} bytes", limits_.bytes_max));
  }
  if (limits_.messages_max != 0 && state_.messages() + planned_messages_ + messages > limits_.messages_max) {
    return fail(Code::kQuotaExceeded, name_,
                fmt::format("the account is limited to {} messages", limits_.messages_max));
  }
  return {};
}

Result<const MailboxState*> Account::mailbox(uint32_t id) const {
  const MailboxState* box = state_.mailbox(id);
  if (box == nullptr)
    return fail(Code::kNotFound, name_, fmt::format("there is no mailbox with the id {}", id));
  return box;
}

bool Account::garbage_is_due() const {
  if (environment_.loop->now() < compact_not_before_) return false;
  auto live_slices = log_->slices();
  if (live_slices.size() > options_.slices_max) return true;
  uint64_t stored = 0;
  for (const SliceInfo& slice : live_slices) stored += slice.entry.length;
  uint64_t live = state_.bytes() + state_.messages() * (sizeof(MessageRow) + 64);
  // On a full store whatever can be had counts.
  bool full = options_.capacity != nullptr && options_.capacity->full();
  return stored > 2 * live + (full ? options_.garbage_bytes_min / 64 : options_.garbage_bytes_min);
}

void Account::maintain(bool freed) {
  if (maintaining_ || closing_ || !writable_ || !usable()) return;
  uint64_t tail = log_->bytes_since_checkpoint();
  bool tail_long = tail > options_.checkpoint_tail_bytes && tail > state_.memory_bytes();
  // Garbage comes with an expunge, however little that writes, and with long tails of flag changes.
  if (!tail_long && !(freed && garbage_is_due())) return;
  maintaining_ = true;
  environment_.loop->spawn(maintain_later(shared_from_this()));
}

// What was uploaded for a message that did not come is garbage, and an upload keeps compactions off.
void Account::upload_end() {
  if (--uploads_open_ == 0) maintain(true);
}

Task<void> Account::maintain_later(std::shared_ptr<Account> self) {
  Operation operation(*self);
  bool garbage = self->garbage_is_due();
  Result<void> done;
  bool put_off = false;  // until the uploads have ended
  if (garbage) {
    done = co_await self->compact();
    put_off = !done && done.error().code() == Code::kBusy && self->uploads_open_ > 0;
    if (!done && !put_off)
      self->compact_not_before_ = self->environment_.loop->now() + self->options_.compact_again_after;
  } else {
    done = co_await self->write_checkpoint();
  }
  if (!done && !put_off) {
    log_event(LogLevel::kWarning, garbage ? "compaction-failed" : "checkpoint-failed", self->name_,
              {{"error", done.error().to_string()}});
  }
  self->maintaining_ = false;
}

Task<Result<void>> Account::write_checkpoint() {
  // Alone in the lane: the state is then exactly what the log has acknowledged.
  CheckpointPayload payload;
  CoveredPoint covered;
  {
    auto hold = co_await lane_.alone();
    if (!sound() || log_ == nullptr)
      co_return fail(Code::kTryAgain, name_, "the account has to be opened again");
    state_.forget_requests_before(environment_.loop->wall_clock_ns() - kRequestIdRememberedSeconds * kSecond);
    covered = log_->covered();
    payload = state_.save_checkpoint();
  }
  co_return co_await log_->write_checkpoint(std::move(covered), std::move(payload));
}

Task<Result<CompactionReport>> Account::compact_with(CompactionRequest request) {
  auto hold = co_await enter_alone();
  if (!hold) co_return fail(std::move(hold).error());
  if (compaction_ != nullptr) co_return fail(Code::kBusy, name_, "a compaction is under way");
  // Pieces of an upload are named by nothing yet: they would be dropped. None may arrive before the roll
  // point.
  if (uploads_open_ > 0) co_return fail(Code::kBusy, name_, "an upload is under way");
  AccountCompaction source(*this, std::move(*hold));
  auto report = co_await log_->compact(source, std::move(request));
  if (!report) co_return report;
  log_event(
      LogLevel::kInfo, "compacted", name_,
      {{"slices", report->slices_dropped}, {"before", report->bytes_before}, {"after", report->bytes_after}});
  co_return report;
}

Task<Result<void>> Account::hold() {
  Operation operation(*this);
  if (log_ == nullptr) co_return Result<void>();
  {
    auto hold = co_await enter_alone();
    if (!hold) co_return fail(std::move(hold).error());
  }
  co_return co_await log_->hold();
}

Task<Result<void>> Account::compact() {
  Operation operation(*this);
  if (log_ == nullptr) co_return Result<void>();
  auto report = co_await compact_with(CompactionRequest{});
  if (!report) co_return fail(std::move(report).error());
  // What crashes left goes as well. It harms nobody but takes room.
  auto orphans = co_await log_->remove_orphans();
  if (!orphans) co_return fail(std::move(orphans).error());
  co_return co_await write_checkpoint();
}

Task<Result<Account::Repair>> Account::repair() {
  Operation operation(*this);
  Repair repair;
  if (log_ == nullptr) co_return repair;
  CompactionRequest request;
  request.set_damaged_aside = true;
  auto report = co_await compact_with(std::move(request));
  if (!report) co_return fail(std::move(report).error());
  repair.lost = std::move(report->lost);
  for (const LostMessage& lost : repair.lost) {
    auto gone = co_await expunge(lost.mailbox_id, {{lost.uid, lost.uid}}, false, RequestId{});
    if (!gone && gone.error().code() != Code::kNotFound) co_return fail(std::move(gone).error());
  }
  CANOPY_CO_ASSIGN(repair.files_removed, co_await log_->remove_orphans());
  auto saved = co_await write_checkpoint();
  if (!saved) co_return fail(std::move(saved).error());
  co_return repair;
}

Task<Result<CheckReport>> Account::check() {
  Operation operation(*this);
  if (log_ == nullptr) co_return CheckReport{};
  co_return co_await log_->check();
}

std::vector<SliceInfo> Account::slices() const {
  return log_ == nullptr ? std::vector<SliceInfo>() : log_->slices();
}

const std::vector<Damage>& Account::damages() const {
  static const std::vector<Damage> kNone;
  return log_ == nullptr ? kNone : log_->damages();
}

}  // namespace canopy
