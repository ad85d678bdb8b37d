// Mailboxes as such, and the maildrop lock. Messages: mailboxes_messages.cpp; delivery and uploads:
// mailboxes_delivery.cpp.
#include "daemon/wire/services/mailboxes_service.h"

#include "daemon/account/mailbox_name.h"
#include "daemon/base/bytes.h"
#include "daemon/base/limits.h"

namespace canopy::wire {

void MailboxesService::add_to(MethodTable& table) {
  constexpr std::string_view kName = "canopy.v1.Mailboxes";
  using S = MailboxesService;
  table.add<v1::ListMailboxesRequest, v1::ListMailboxesResponse>(kName, "List", this, &S::list);
  table.add<v1::CreateMailboxRequest, v1::Mailbox>(kName, "Create", this, &S::create);
  table.add<v1::RenameMailboxRequest, v1::Empty>(kName, "Rename", this, &S::rename);
  table.add<v1::DeleteMailboxRequest, v1::Empty>(kName, "Delete", this, &S::remove);
  table.add<v1::SubscribeRequest, v1::Empty>(kName, "Subscribe", this, &S::subscribe);
  table.add<v1::MailboxRequest, v1::Mailbox>(kName, "Status", this, &S::status);
  table.add<v1::OpenUploadRequest, v1::OpenUploadResponse>(kName, "OpenUpload", this, &S::open_upload);
  table.add<v1::UploadRequest, v1::UploadResponse>(kName, "Upload", this, &S::upload);
  table.add<v1::DeliverRequest, v1::DeliverResponse>(kName, "Deliver", this, &S::deliver);
  table.add<v1::AppendRequest, v1::AppendResponse>(kName, "Append", this, &S::append);
  table.add<v1::ListMessagesRequest, v1::ListMessagesResponse>(kName, "ListMessages", this,
                                                               &S::list_messages);
  table.add<v1::FetchRequest, v1::FetchResponse>(kName, "Fetch", this, &S::fetch);
  table.add<v1::FetchManyRequest, v1::FetchManyResponse>(kName, "FetchMany", this, &S::fetch_many);
  table.add<v1::SummariesRequest, v1::SummariesResponse>(kName, "Summaries", this, &S::summaries);
  table.add<v1::StoreFlagsRequest, v1::StoreFlagsResponse>(kName, "StoreFlags", this, &S::store_flags);
  table.add<v1::ExpungeRequest, v1::ExpungeResponse>(kName, "Expunge", this, &S::expunge);
  table.add<v1::CopyRequest, v1::CopyResponse>(kName, "Copy", this, &S::copy);
  table.add<v1::LockMaildropRequest, v1::LockMaildropResponse>(kName, "LockMaildrop", this,
                                                               &S::lock_maildrop);
  table.add<v1::UnlockMaildropRequest, v1::Empty>(kName, "UnlockMaildrop", this, &S::unlock_maildrop);
}

// INBOX of an account whose log was never begun, as it will be; of one that lost it to damage, without an id.
static const MailboxState& empty_inbox(const AccountState& state) {
  const auto make = [](uint32_t id) {
    MailboxState inbox;
    inbox.name = kInbox;
    inbox.id = id;
    return inbox;
  };
  static const MailboxState kToCome = make(kInboxId), kLost = make(0);
  return state.never_begun() ? kToCome : kLost;
}

Result<const MailboxState*> find_mailbox(const Account& account, uint32_t id, const std::string& name) {
  if (id != 0) {
    const MailboxState* box = account.state().mailbox(id);
    if (box == nullptr && id == kInboxId && account.state().never_begun())
      return &empty_inbox(account.state());
    if (box == nullptr)
      return fail(Code::kNotFound, account.name(), fmt::format("there is no mailbox with id {}", id));
    return box;
  }
  CANOPY_ASSIGN(std::string canonical,
                canonical_mailbox_name(name.empty() ? kInbox : std::string_view(name)));
  const MailboxState* box = account.state().mailbox(canonical);
  if (box == nullptr && canonical == kInbox) return &empty_inbox(account.state());
  if (box == nullptr)
    return fail(Code::kNotFound, account.name(), fmt::format("there is no mailbox {}", canonical));
  return box;
}

static void describe(const Account& account, const MailboxState& box, v1::Mailbox& out) {
  out.set_id(box.id);
  out.set_name(shown_mailbox_name(box.name));
  out.set_uid_validity(box.uidvalidity);
  out.set_uid_next(box.uidnext);
  out.set_highest_modseq(box.highest_modseq);
  out.set_messages(static_cast<uint32_t>(box.rows.size()));
  out.set_unseen(box.unseen);
  out.set_bytes(box.bytes);
  out.set_subscribed(account.state().subscriptions().contains(box.name));
}

namespace {

// Where the next page of a listing goes on: behind this mailbox and this subscription.
struct ListCursor {
  uint32_t mailbox_id = 0;
  std::string subscription;

  static Result<ListCursor> parse(std::string_view text) {
    ListCursor cursor;
    if (text.empty()) return cursor;
    if (text.size() < 4) return fail(Code::kInvalidArgument, "cursor", "it is of no answer to List");
    cursor.mailbox_id = get_le<uint32_t>(text.data());
    cursor.subscription = text.substr(4);
    return cursor;
  }
  std::string text() const {
    std::string bytes;
    put_le(bytes, mailbox_id);
    return bytes + subscription;
  }
};

// What one answer holds: `limit` entries, or what fits well into a message.
class ListPage {
 public:
  explicit ListPage(uint32_t limit) : limit_(limit) {}
  bool full() const { return (limit_ != 0 && entries_ >= limit_) || bytes_ >= kWireMessageBytesMax / 2; }
  void add(std::string_view name) {
    ++entries_;
    bytes_ += name.size() + kEntryBytesMax;
  }

 private:
  static constexpr uint64_t kEntryBytesMax = 64;  // of a mailbox without its name
  uint64_t limit_, entries_ = 0, bytes_ = 0;
};

}  // namespace

Task<Result<v1::ListMailboxesResponse>> MailboxesService::list(CallContext& call,
                                                               const v1::ListMailboxesRequest& request) {
  v1::AccountRef who;
  who.set_name(request.name());
  who.set_ticket(request.ticket());
  CANOPY_CO_ASSIGN(ListCursor cursor, ListCursor::parse(request.cursor()));
  auto open = co_await open_account(node_, call, who);
  if (!open) co_return fail(std::move(open).error());
  const Account& account = *open->account;
  const AccountState& state = account.state();
  v1::ListMailboxesResponse out;
  ListPage page(request.limit());
  for (auto at = state.mailboxes().upper_bound(cursor.mailbox_id); at != state.mailboxes().end(); ++at) {
    if (page.full()) {
      out.set_next(cursor.text());
      co_return out;
    }
    v1::Mailbox& mailbox = *out.add_mailboxes();
    describe(account, at->second, mailbox);
    cursor.mailbox_id = at->first;
    page.add(mailbox.name());
  }
  if (state.mailboxes().empty() && request.cursor().empty()) {
    CANOPY_CO_ASSIGN(const MailboxState* inbox, find_mailbox(account, 0, std::string(kInbox)));
    describe(account, *inbox, *out.add_mailboxes());
    page.add(kInbox);
  }
  for (auto at = state.subscriptions().upper_bound(cursor.subscription); at != state.subscriptions().end();
       ++at) {
    if (page.full()) {
      out.set_next(cursor.text());
      co_return out;
    }
    out.add_subscriptions(shown_mailbox_name(*at));
    cursor.subscription = *at;
    page.add(*at);
  }
  co_return out;
}

Task<Result<v1::Mailbox>> MailboxesService::create(CallContext& call,
                                                   const v1::CreateMailboxRequest& request) {
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  auto made = co_await open->account->create_mailbox(request.name(), id);
  if (!made) co_return fail(std::move(made).error());
  node_.counters().mutations.fetch_add(1, std::memory_order_relaxed);
  v1::Mailbox out;
  CANOPY_CO_ASSIGN(const MailboxState* box, find_mailbox(*open->account, made->mailbox_id, ""));
  describe(*open->account, *box, out);
  co_return out;
}

Task<Result<v1::Empty>> MailboxesService::rename(CallContext& call, const v1::RenameMailboxRequest& request) {
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  auto done = co_await open->account->rename_mailbox(request.from(), request.to(), id);
  if (!done) co_return fail(std::move(done).error());
  co_return v1::Empty();
}

Task<Result<v1::Empty>> MailboxesService::remove(CallContext& call, const v1::DeleteMailboxRequest& request) {
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  auto done = co_await open->account->delete_mailbox(request.name(), id, request.only_empty());
  if (!done) co_return fail(std::move(done).error());
  co_return v1::Empty();
}

Task<Result<v1::Empty>> MailboxesService::subscribe(CallContext& call, const v1::SubscribeRequest& request) {
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  auto done = co_await open->account->subscribe(request.name(), request.on(), id);
  if (!done) co_return fail(std::move(done).error());
  co_return v1::Empty();
}

Task<Result<v1::Mailbox>> MailboxesService::status(CallContext& call, const v1::MailboxRequest& request) {
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  CANOPY_CO_ASSIGN(const MailboxState* box,
                   find_mailbox(*open->account, request.mailbox_id(), request.mailbox()));
  v1::Mailbox out;
  describe(*open->account, *box, out);
  co_return out;
}

namespace {

// The maildrops that sessions of one connection hold. For the connection's loop.
struct MaildropLocks {
  std::map<std::pair<Shard*, uint64_t>, AccountAddress> held;  // by lock id, which is the shard's

  MaildropLocks() = default;
  MaildropLocks(const MaildropLocks&) = delete;
  ~MaildropLocks() {
    for (auto& [lock, account] : held) {
      auto [shard, id] = lock;
      shard->loop.post(
          [shard, id, address = std::move(account)] { shard->accounts.unlock_maildrop(address, id); });
    }
  }
};

}  // namespace

Task<Result<v1::LockMaildropResponse>> MailboxesService::lock_maildrop(
    CallContext& call, const v1::LockMaildropRequest& request) {
  auto found = co_await enter(node_, call, request.account(), Need::kMailboxes);
  if (!found) co_return fail(std::move(found).error());
  Shard& shard = *found->shard;
  AccountAddress address = found->address;
  uint32_t seconds = std::clamp<uint32_t>(request.seconds(), 1, 24 * 3600);
  CANOPY_CO_ASSIGN(uint64_t lock,
                   shard.accounts.lock_maildrop(address, shard.loop.now() + seconds * kSecond));
  co_await call.loop().switch_to();
  // The attachment goes with the connection, and what is still in it then is unlocked.
  call.connection().attachment<MaildropLocks>().held[{&shard, lock}] = address;
  v1::LockMaildropResponse out;
  out.set_lock_id(lock);
  co_return out;
}

Task<Result<v1::Empty>> MailboxesService::unlock_maildrop(CallContext& call,
                                                          const v1::UnlockMaildropRequest& request) {
  auto found = co_await enter(node_, call, request.account(), Need::kRecord);
  if (!found) co_return fail(std::move(found).error());
  found->shard->accounts.unlock_maildrop(found->address, request.lock_id());
  co_await call.loop().switch_to();
  call.connection().attachment<MaildropLocks>().held.erase({found->shard, request.lock_id()});
  co_return v1::Empty();
}

}  // namespace canopy::wire
