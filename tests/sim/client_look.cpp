// SimClient's reading: everything of an account, as its owner says it.
#include "daemon/dict/dict.h"
#include "daemon/wire/client/listing.h"
#include "tests/sim/client_ask.h"

namespace canopy::sim {

Task<uint64_t> SimClient::barrier(size_t on) {
  // Subscriptions may name what is not there: this is a change that nothing else depends on.
  v1::SubscribeRequest request;
  *request.mutable_account() = ref(on);
  request.set_name(fmt::format("mark-{}", number_));
  subscribed_[on] = !subscribed_[on];
  request.set_on(subscribed_[on]);
  request.set_request_id(new_id());
  auto answer = co_await ask<v1::SubscribeRequest, v1::Empty>(
      on, CANOPY_SIM_METHOD(Mailboxes, Subscribe), request,
      fmt::format("subscription {} of {}", request.name(), account(on).name), false);
  co_return answer.epoch;
}

// Reading rests on the lease, which the simulator does not give; so the account is changed first, which its
// owner alone can do, and what is read counts when that very process answered everything and had no successor
// by then.
Task<std::optional<Seen>> SimClient::look(size_t on) {
  for (int attempt = 0; attempt < kLooksMax && site_.trace.violation().empty(); ++attempt) {
    const auto before = account(on).floor();
    Seen seen;
    seen.epoch = co_await barrier(on);
    if (seen.epoch == 0) continue;
    auto client = client_;
    auto done = co_await see_mailboxes(ref(on), seen);
    if (done) done = co_await see_dict(on, v1::SETTINGS, seen.settings);
    if (done) done = co_await see_dict(on, v1::INFO, seen.info);
    const bool one_owner =
        client == client_ && connected_epoch() == seen.epoch && seen.epoch == site_.highest_epoch;
    if (!done) {
      co_await cannot_read(account(on).name, done.error(), one_owner);
      continue;
    }
    if (!one_owner) continue;
    site_.trace.event("{} has read {} (by {:x})", name(), account(on).name, seen.epoch);
    account(on).saw(before, seen);
    co_return seen;
  }
  co_return std::nullopt;
}

Task<void> SimClient::cannot_read(std::string what, Error error, bool one_owner) {
  site_.trace.event("{} cannot read {}: {}", name(), what, error.to_string());
  if (one_owner && !leaves_it_open(error.code()) && error.code() != Code::kNotFound) {
    site_.trace.violation("{} cannot be read: {}", what, error.to_string());
  }
  if (error.code() == Code::kDeadlineExceeded) reconnect();
  co_await loop_.sleep(random_.between(5 * kMillisecond, 200 * kMillisecond));
}

Task<Result<void>> SimClient::see_mailboxes(v1::AccountRef of, Seen& seen) {
  auto client = client_;
  wire::MailboxesStub stub(*client);
  const wire::CallOptions options{.deadline = loop_.now() + 10 * kSecond};
  auto list = co_await wire::list_all_mailboxes(stub, of, options);
  if (!list) co_return fail(std::move(list).error());
  for (const v1::Mailbox& box : list->mailboxes()) {
    if (box.id() == 0) continue;  // nothing was ever done in the account
    v1::ListMessagesRequest request;
    *request.mutable_account() = of;
    request.set_mailbox_id(box.id());
    auto messages = co_await stub.list_messages(request, options);
    if (!messages && messages.error().code() == Code::kNotFound) continue;  // deleted meanwhile by its client
    if (!messages) co_return fail(std::move(messages).error());
    SeenMailbox& found = seen.mailboxes[box.id()];
    found.name = box.name();
    found.id = messages->mailbox_id();
    found.uid_validity = messages->uid_validity();
    found.uid_next = messages->uid_next();
    found.highest_modseq = messages->highest_modseq();
    for (const v1::Message& message : messages->messages()) {
      SeenMessage& row = found.messages[message.uid()];
      row.uid = message.uid();
      row.modseq = message.modseq();
      row.size = message.size();
      row.flags.system = message.system_flags();
      row.flags.keywords.insert(message.keywords().begin(), message.keywords().end());
    }
    CANOPY_CO_TRY(co_await see_contents(of, found));
  }
  co_return Result<void>();
}

Task<Result<void>> SimClient::see_contents(v1::AccountRef of, SeenMailbox& box) {
  auto client = client_;
  v1::FetchManyRequest request;
  *request.mutable_account() = of;
  request.set_mailbox_id(box.id);
  for (const auto& [uid, message] : box.messages) request.add_uids(uid);
  if (request.uids_size() == 0) co_return Result<void>();
  auto answer =
      co_await wire::MailboxesStub(*client).fetch_many(request, {.deadline = loop_.now() + 10 * kSecond});
  if (!answer) co_return fail(std::move(answer).error());
  std::set<uint32_t> got;
  for (const v1::FetchedMessage& fetched : answer->messages()) {
    SeenMessage& row = box.messages[fetched.uid()];
    got.insert(fetched.uid());
    if (!fetched.has_error()) {
      row.token = token_of(fetched.content());
      continue;
    }
    const auto code = static_cast<Code>(fetched.error().code());
    if (leaves_it_open(code) || code == Code::kNotFound) {
      co_return fail(Code::kTryAgain, box.name, fetched.error().object() + ": " + fetched.error().message());
    }
    row.error = fetched.error().object() + ": " + fetched.error().message();
  }
  // Expunged between the two calls by the client that it belongs to.
  std::erase_if(box.messages, [&](const auto& row) { return !got.contains(row.first); });
  co_return Result<void>();
}

Task<Result<void>> SimClient::see_dict(size_t on, v1::InfoKind kind, SeenDict& out) {
  auto client = client_;
  v1::GetInfoRequest request;
  *request.mutable_account() = ref(on);
  request.set_kind(kind);
  auto answer = co_await wire::InfoStub(*client).get(request, {.deadline = loop_.now() + 10 * kSecond});
  if (!answer) co_return fail(std::move(answer).error());
  out.epoch = answer->epoch();
  out.version = answer->version();
  CANOPY_CO_ASSIGN(const dict::Dict dict, dict::parse_dict(answer->text(), "answer"));
  for (const dict::Entry& entry : dict)
    if (entry.value.number() != nullptr) out.counters[entry.key] = *entry.value.number();
  co_return Result<void>();
}

}  // namespace canopy::sim
