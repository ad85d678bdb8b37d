// Creating, renaming, deleting and subscribing: the operations on mailboxes. Names are records, so none of
// them moves a file.
#include "daemon/account/account.h"
#include "daemon/account/account_parts.h"
#include "daemon/account/mailbox_name.h"

namespace canopy {
namespace {

RequestRemembered remembered_as(const RequestId& id, int64_t now_ns, const RequestResult& result) {
  RequestRemembered record;
  record.request_id = id;
  record.time_ns = now_ns;
  record.result = result.encode();
  return record;
}

}  // namespace

// An id is never given again. Only a damaged log comes this far.
Error Account::ids_used_up() const {
  return Error(Code::kTooLarge, name_, "the ids of mailboxes are used up: no mailbox can be made any more");
}

// Plans every level of `name` that is not there yet.
Result<void> Account::plan_levels(const std::string& name, Frame& frame,
                                  std::vector<MailboxCreate>& created) {
  uint32_t next_id = state_.next_mailbox_id() + static_cast<uint32_t>(created.size());
  uint32_t uidvalidity = new_uidvalidity() + static_cast<uint32_t>(created.size());
  for (size_t end = name.find('/');; end = name.find('/', end + 1)) {
    std::string level = name.substr(0, end);
    if (state_.mailbox(level) == nullptr) {
      if (state_.mailboxes().size() + created.size() >= kMailboxesPerAccountMax) {
        return fail(Code::kTooLarge, name_,
                    fmt::format("an account has at most {} mailboxes", kMailboxesPerAccountMax));
      }
      if (next_id == UINT32_MAX) return fail(ids_used_up());
      MailboxCreate create = plan_create(level, next_id++);
      create.uidvalidity = uidvalidity++;
      frame.add(create);
      created.push_back(std::move(create));
    }
    if (end == std::string::npos) return {};
  }
}

Task<Result<RequestResult>> Account::create_mailbox(std::string name, RequestId id) {
  CANOPY_BEGIN_MUTATION(id);
  CANOPY_CO_ASSIGN(name, canonical_mailbox_name(name));
  auto hold = co_await enter_alone();
  if (!hold) co_return fail(std::move(hold).error());
  if (state_.mailbox(name) != nullptr) {
    co_return fail(Code::kAlreadyExists, name_, fmt::format("there is a mailbox {} already", name));
  }
  std::vector<MailboxCreate> created;
  Frame frame;
  CANOPY_CO_TRY(plan_levels(name, frame, created));
  RequestResult result;
  result.mailbox_id = created.back().mailbox_id;
  result.uidvalidity = created.back().uidvalidity;
  result.modseq = created.back().modseq;
  if (!is_none(id)) frame.add(remembered_as(id, environment_.loop->wall_clock_ns(), result));
  co_return co_await commit(std::move(frame), std::move(result), id, [this, &created](const Appended&) {
    for (const MailboxCreate& create : created) state_.apply(create);
  });
}

Task<Result<RequestResult>> Account::rename_mailbox(std::string from, std::string to, RequestId id) {
  CANOPY_BEGIN_MUTATION(id);
  CANOPY_CO_ASSIGN(from, canonical_mailbox_name(from));
  CANOPY_CO_ASSIGN(to, canonical_mailbox_name(to));
  if (from != kInbox && to.starts_with(from + "/")) {
    co_return fail(Code::kInvalidArgument, to, "a mailbox cannot be moved below itself");
  }
  auto hold = co_await enter_alone();
  if (!hold) co_return fail(std::move(hold).error());
  const MailboxState* box = state_.mailbox(from);
  if (box == nullptr) co_return fail(Code::kNotFound, name_, fmt::format("there is no mailbox {}", from));
  if (state_.mailbox(to) != nullptr) {
    co_return fail(Code::kAlreadyExists, name_, fmt::format("there is a mailbox {} already", to));
  }
  std::vector<MailboxCreate> created;
  std::vector<MailboxRename> renames;
  Frame frame;
  if (size_t above = to.rfind('/'); above != std::string::npos) {
    CANOPY_CO_TRY(plan_levels(to.substr(0, above), frame, created));
  }
  uint64_t modseq = state_.plan_modseq();
  for (const auto& [box_id, other] : state_.mailboxes()) {
    bool below = from != kInbox && other.name.starts_with(from + "/");
    if (box_id != box->id && !below) continue;
    MailboxRename rename;
    rename.mailbox_id = box_id;
    rename.modseq = modseq;
    CANOPY_CO_ASSIGN(rename.name, canonical_mailbox_name(to + other.name.substr(from.size())));
    if (state_.mailbox(rename.name) != nullptr) {
      co_return fail(Code::kAlreadyExists, name_, fmt::format("there is a mailbox {} already", rename.name));
    }
    frame.add(rename);
    renames.push_back(std::move(rename));
  }
  // Created after the rename, also on replay: the name is free then.
  std::optional<MailboxCreate> inbox;
  if (from == kInbox) {
    const uint32_t next_id = state_.next_mailbox_id() + static_cast<uint32_t>(created.size());
    if (next_id == UINT32_MAX) co_return fail(ids_used_up());
    inbox = plan_create(from, next_id);
    inbox->uidvalidity += static_cast<uint32_t>(created.size());
    frame.add(*inbox);
  }
  RequestResult result;
  result.mailbox_id = box->id;
  result.uidvalidity = box->uidvalidity;
  result.modseq = modseq;
  if (!is_none(id)) frame.add(remembered_as(id, environment_.loop->wall_clock_ns(), result));
  co_return co_await commit(std::move(frame), std::move(result), id, [&, this](const Appended&) {
    for (const MailboxCreate& create : created) state_.apply(create);
    for (const MailboxRename& rename : renames) state_.apply(rename);
    if (inbox) state_.apply(*inbox);
  });
}

Task<Result<RequestResult>> Account::delete_mailbox(std::string name, RequestId id, bool only_empty) {
  CANOPY_BEGIN_MUTATION(id);
  CANOPY_CO_ASSIGN(name, canonical_mailbox_name(name));
  if (name == kInbox) co_return fail(Code::kInvalidArgument, name, "INBOX cannot be deleted");
  auto hold = co_await enter_alone();
  if (!hold) co_return fail(std::move(hold).error());
  const MailboxState* box = state_.mailbox(name);
  if (box == nullptr) co_return fail(Code::kNotFound, name_, fmt::format("there is no mailbox {}", name));
  if (only_empty && !box->rows.empty()) co_return fail(Code::kNotEmpty, name, "there are messages in it");
  for (const auto& [box_id, other] : state_.mailboxes()) {
    if (other.name.starts_with(name + "/")) {
      co_return fail(Code::kNotEmpty, name, "delete the mailboxes below it first");
    }
  }
  MailboxDelete record;
  record.mailbox_id = box->id;
  record.modseq = state_.plan_modseq();
  RequestResult result;
  result.mailbox_id = box->id;
  result.uidvalidity = box->uidvalidity;
  result.modseq = record.modseq;
  // Its UIDVALIDITY must never come again under this name.
  Counter counter;
  counter.next_mailbox_id = state_.next_mailbox_id();
  counter.last_uidvalidity = state_.last_uidvalidity();
  counter.highest_modseq = record.modseq;
  Frame frame;
  frame.add(record);
  frame.add(counter);
  if (!is_none(id)) frame.add(remembered_as(id, environment_.loop->wall_clock_ns(), result));
  co_return co_await commit(
      std::move(frame), std::move(result), id,
      [this, &record, &counter](const Appended&) {
        state_.apply(record);
        state_.apply(counter);
      },
      Frees::kYes);
}

Task<Result<RequestResult>> Account::subscribe(std::string name, bool on, RequestId id) {
  CANOPY_BEGIN_MUTATION(id);
  CANOPY_CO_ASSIGN(name, canonical_mailbox_name(name));
  auto hold = co_await enter_alone();
  if (!hold) co_return fail(std::move(hold).error());
  RequestResult result;
  if (state_.subscriptions().contains(name) == on) co_return co_await nothing_to_change(id, result);
  Subscribe record;
  record.name = name;
  record.on = on;
  Frame frame;
  frame.add(record);
  if (!is_none(id)) frame.add(remembered_as(id, environment_.loop->wall_clock_ns(), result));
  co_return co_await commit(std::move(frame), std::move(result), id,
                            [this, &record](const Appended&) { state_.apply(record); });
}

Task<Result<void>> Account::renew_uidvalidity() {
  Operation operation(*this);
  if (log_ == nullptr) co_return Result<void>();
  auto hold = co_await enter_alone();
  if (!hold) co_return fail(std::move(hold).error());
  std::vector<UidNext> renewed;
  Frame frame;
  uint32_t uidvalidity = new_uidvalidity();
  for (const auto& [id, box] : state_.mailboxes()) {
    UidNext record;
    record.mailbox_id = id;
    record.uidnext = box.uidnext;
    record.uidvalidity = uidvalidity++;
    record.highest_modseq = state_.plan_modseq();
    frame.add(record);
    renewed.push_back(record);
  }
  if (renewed.empty()) co_return Result<void>();
  auto done = co_await commit(std::move(frame), RequestResult(), RequestId{}, [&, this](const Appended&) {
    for (const UidNext& record : renewed) state_.apply(record);
  });
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

}  // namespace canopy
