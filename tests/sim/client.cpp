#include "tests/sim/client.h"

#include "daemon/dict/dict.h"
#include "daemon/wire/client/listing.h"
#include "tests/sim/client_ask.h"

namespace canopy::sim {

SimClient::SimClient(Site& site, uint32_t number, std::vector<Address> backends,
                     std::vector<std::shared_ptr<AccountFacts>> accounts)
    : site_(site),
      loop_(site.world.add_loop(fmt::format("client-{}", number))),
      random_(site.world.random().next()),
      backends_(std::move(backends)),
      accounts_(std::move(accounts)),
      facts_(accounts_.size()),
      number_(number),
      subscribed_(accounts_.size(), false) {
  reconnect();
}

void SimClient::reconnect() {
  wire::ClientOptions options;
  if (random_.one_in(2)) std::swap(backends_.front(), backends_.back());
  options.addresses = backends_;
  options.name = name();
  options.connect_timeout = kSecond;
  options.backoff_max = 300 * kMillisecond;
  client_ = std::make_shared<wire::Client>(loop_, options);
}

v1::AccountRef SimClient::ref(size_t index) const {
  v1::AccountRef out;
  out.set_name(accounts_[index]->name);
  return out;
}

Task<void> SimClient::set_up() {
  co_await add_stores();
  // Nothing fails yet, but connections may break: asked for again, a domain that is there is no failure.
  v1::CreateDomainRequest domain;
  domain.set_name(std::string(kSimDomain));
  domain.set_account_foldering("1");
  auto made = co_await wire::DirectoryStub(*client_).create_domain(domain);
  while (!made && made.error().code() == Code::kConnectionLost) {
    made = co_await wire::DirectoryStub(*client_).create_domain(domain);
  }
  if (!made && made.error().code() != Code::kAlreadyExists)
    site_.trace.violation("the domain cannot be created: {}", made.error().to_string());
  v1::CreateAccountsRequest request;
  for (const auto& account : accounts_) request.add_accounts()->set_name(account->name);
  request.set_exist_ok(true);
  auto created = co_await wire::DirectoryStub(*client_).create_accounts(request);
  while (!created && created.error().code() == Code::kConnectionLost) {
    created = co_await wire::DirectoryStub(*client_).create_accounts(request);
  }
  if (!created) site_.trace.violation("accounts cannot be created: {}", created.error().to_string());
  for (size_t i = 0; i < accounts_.size(); ++i) {
    co_await barrier(i);  // begins the log, so that INBOX has its id
    auto list = co_await wire::list_all_mailboxes(wire::MailboxesStub(*client_), ref(i));
    if (!list || list->mailboxes_size() != 1) {
      site_.trace.violation("{} has no INBOX", accounts_[i]->name);
      continue;
    }
    BoxFact& inbox = *accounts_[i]->inbox;
    inbox.name = "INBOX";
    inbox.id = list->mailboxes(0).id();
    inbox.uid_validity = list->mailboxes(0).uid_validity();
    inbox.is = Is::kThere;
  }
  ended_ = true;
}

Task<void> SimClient::live() {
  for (uint32_t i = 0; i < site_.plan.operations && site_.trace.violation().empty(); ++i) {
    co_await one_operation();
    if (random_.one_in(3)) co_await loop_.sleep(random_.between(0, 200 * kMillisecond));
  }
  site_.trace.event("{} has ended", name());
  ended_ = true;
}

Task<void> SimClient::one_operation() {
  if (number_ == 1 && random_.below(100) < site_.plan.relayouts) return change_layout();
  if (number_ == 1 && random_.below(100) < site_.plan.refolderings) return change_domain_foldering();
  if (number_ == 1 && site_.plan.remounts != 0 && random_.below(100) < site_.plan.remounts)
    return change_mounts();
  const auto on = static_cast<size_t>(random_.below(accounts_.size()));
  const uint64_t dice = random_.below(110);
  if (dice < 28) return deliver(on);
  if (dice < 36) return append(on);
  if (dice < 50) return store_flags(on);
  if (dice < 57) return expunge(on);
  if (dice < 64) return copy(on, false);
  if (dice < 72) return copy(on, true);
  if (dice < 76) return create_mailbox(on);
  if (dice < 79) return rename_mailbox(on);
  if (dice < 81) return delete_mailbox(on);
  if (dice < 87) return count_up(on, random_.one_in(2));
  if (dice < 90) return compact(on);
  if (dice < 93) return close(on);
  if (dice < 103) return one_own_account();
  return check(on);
}

// ---- what there is

std::shared_ptr<RowFact> SimClient::new_row(size_t account, std::shared_ptr<BoxFact> box) {
  auto row = std::make_shared<RowFact>();
  row->token = fmt::format("T:{}:{}", number_, next_token_++);
  row->size =
      static_cast<uint64_t>(random_.one_in(8) ? random_.between(1000, 6000) : random_.between(20, 400));
  row->box = std::move(box);
  row->busy = true;
  facts_[account].rows.push_back(row);
  return row;
}

std::shared_ptr<RowFact> SimClient::pick_row(size_t account) {
  std::vector<std::shared_ptr<RowFact>> free;
  for (const auto& row : facts_[account].rows)
    if (row->certain() && row->is == Is::kThere && row->box->certain()) free.push_back(row);
  if (free.empty()) return nullptr;
  auto row = free[random_.below(free.size())];
  row->busy = true;
  return row;
}

std::shared_ptr<BoxFact> SimClient::pick_box(size_t account, bool or_inbox) {
  std::vector<std::shared_ptr<BoxFact>> free;
  for (const auto& box : facts_[account].boxes)
    if (box->certain() && box->is == Is::kThere) free.push_back(box);
  if (or_inbox) free.push_back(accounts_[account]->inbox);
  if (free.empty()) return nullptr;
  return free[random_.below(free.size())];
}

std::string SimClient::new_box_name() {
  // Now and then a name that was there before: its UIDVALIDITY must be another one then.
  const uint32_t number = next_box_ > 2 && random_.one_in(3)
                              ? 1 + static_cast<uint32_t>(random_.below(next_box_ - 1))
                              : next_box_++;
  return fmt::format("c{}-{}", number_, number);
}

void SimClient::leave_alone(size_t account, BoxFact& box) {
  if (&box != accounts_[account]->inbox.get()) box.busy = true;
}

RowFact::Flags SimClient::draw_flags() {
  RowFact::Flags flags;
  flags.system = static_cast<uint32_t>(random_.below(32));
  for (std::string_view keyword : {"$Forwarded", "$Junk", "work"})
    if (random_.one_in(4)) flags.keywords.emplace(keyword);
  return flags;
}

// ---- operations on messages

static void put_flags(const RowFact::Flags& flags, v1::Flags& out) {
  out.set_system(flags.system);
  for (const std::string& keyword : flags.keywords) out.add_keywords(keyword);
}

Task<void> SimClient::deliver(size_t on) {
  const uint64_t many = random_.one_in(4) ? random_.below(5) + 1 : 1;
  TaskGroup group(loop_);
  for (uint64_t i = 0; i < many; ++i) group.spawn(deliver_one(on, new_row(on, accounts_[on]->inbox)));
  co_await group.join();
}

Task<void> SimClient::deliver_one(size_t on, std::shared_ptr<RowFact> row) {
  v1::DeliverRequest request;
  v1::Recipient* recipient = request.add_recipients();
  recipient->set_address(account(on).name);
  recipient->set_request_id(new_id());
  request.set_content(content_of(row->token, row->size));
  const auto before = account(on).floor();
  auto answer = co_await ask<v1::DeliverRequest, v1::DeliverResponse>(
      on, CANOPY_SIM_METHOD(Mailboxes, Deliver), request, "deliver " + row->token);
  if (!expect_done(answer, row->token)) co_return;
  row->uid = answer.response.results(0).uid();
  row->is = Is::kThere;
  row->busy = false;
  account(on).gave_uid(before, row->box->id, row->uid, row->token);
}

Task<void> SimClient::append(size_t on) {
  auto row = new_row(on, pick_box(on, true));
  row->flags = draw_flags();
  v1::AppendRequest request;
  *request.mutable_account() = ref(on);
  request.set_mailbox(row->box->name);
  request.set_content(content_of(row->token, row->size));
  put_flags(row->flags, *request.mutable_flags());
  request.set_internal_date(1'700'000'000 + static_cast<int64_t>(random_.below(1'000'000)));
  request.set_request_id(new_id());
  const auto before = account(on).floor();
  auto answer = co_await ask<v1::AppendRequest, v1::AppendResponse>(
      on, CANOPY_SIM_METHOD(Mailboxes, Append), request,
      fmt::format("append {} to {}", row->token, row->box->name));
  if (!expect_done(answer, row->token)) {
    leave_alone(on, *row->box);
    co_return;
  }
  row->uid = answer.response.uid();
  row->is = Is::kThere;
  row->busy = false;
  account(on).gave_uid(before, row->box->id, row->uid, row->token);
  account(on).gave_uid_validity(row->box->id, answer.response.uid_validity());
  account(on).gave_modseq(before, answer.response.modseq(), row->token);
}

Task<void> SimClient::store_flags(size_t on) {
  auto row = pick_row(on);
  if (!row) co_return;
  RowFact::Flags after = draw_flags();
  while (after == row->flags) after = draw_flags();
  v1::StoreFlagsRequest request;
  *request.mutable_account() = ref(on);
  request.set_mailbox_id(row->box->id);
  v1::UidRange* uid = request.add_uids();
  uid->set_first(row->uid);
  uid->set_last(row->uid);
  request.set_mode(v1::StoreFlagsRequest::REPLACE);
  put_flags(after, *request.mutable_flags());
  request.set_request_id(new_id());
  const auto before = account(on).floor();
  auto answer = co_await ask<v1::StoreFlagsRequest, v1::StoreFlagsResponse>(
      on, CANOPY_SIM_METHOD(Mailboxes, StoreFlags), request,
      fmt::format("flags of {} (UID {} of {}): {}", row->token, row->uid, row->box->name, after.to_string()));
  if (!expect_done(answer, row->token)) {
    row->or_flags = after;
    co_return;
  }
  row->flags = after;
  row->busy = false;
  account(on).gave_modseq(before, answer.response.modseq(), row->token);
}

Task<void> SimClient::expunge(size_t on) {
  auto row = pick_row(on);
  if (!row) co_return;
  v1::ExpungeRequest request;
  *request.mutable_account() = ref(on);
  request.set_mailbox_id(row->box->id);
  v1::UidRange* uid = request.add_uids();
  uid->set_first(row->uid);
  uid->set_last(row->uid);
  request.set_request_id(new_id());
  const auto before = account(on).floor();
  auto answer = co_await ask<v1::ExpungeRequest, v1::ExpungeResponse>(
      on, CANOPY_SIM_METHOD(Mailboxes, Expunge), request,
      fmt::format("expunge {} (UID {} of {})", row->token, row->uid, row->box->name));
  if (!expect_done(answer, row->token)) {
    row->is = Is::kMaybe;
    co_return;
  }
  row->is = Is::kGone;
  account(on).gave_modseq(before, answer.response.modseq(), row->token);
  if (answer.response.expunged_size() != 1 || answer.response.expunged(0).first() != row->uid) {
    site_.trace.violation("{}: the expunge of {} names {} ranges", account(on).name, row->token,
                          answer.response.expunged_size());
  }
}

Task<void> SimClient::copy(size_t on, bool move) {
  auto row = pick_row(on);
  if (!row) co_return;
  auto target = std::make_shared<RowFact>(*row);
  target->box = pick_box(on, true);
  target->uid = 0;
  target->is = Is::kMaybe;
  v1::CopyRequest request;
  *request.mutable_account() = ref(on);
  request.set_from(row->box->name);
  request.set_to(target->box->name);
  v1::UidRange* uid = request.add_uids();
  uid->set_first(row->uid);
  uid->set_last(row->uid);
  request.set_move(move);
  request.set_request_id(new_id());
  facts_[on].rows.push_back(target);
  const auto before = account(on).floor();
  auto answer = co_await ask<v1::CopyRequest, v1::CopyResponse>(
      on, CANOPY_SIM_METHOD(Mailboxes, Copy), request,
      fmt::format("{} {} (UID {}) from {} to {}", move ? "move" : "copy", row->token, row->uid,
                  row->box->name, target->box->name));
  if (!expect_done(answer, row->token)) {
    if (move) {
      row->is = Is::kMaybe;
      row->instead = target;
    }
    leave_alone(on, *row->box);
    leave_alone(on, *target->box);
    co_return;
  }
  if (answer.response.target_uids_size() != 1 || answer.response.source_uids(0) != row->uid) {
    site_.trace.violation("{}: the copy of {} names {} messages", account(on).name, row->token,
                          answer.response.target_uids_size());
    co_return;
  }
  target->uid = answer.response.target_uids(0);
  target->is = Is::kThere;
  target->busy = row->busy = false;
  if (move) row->is = Is::kGone;
  account(on).gave_uid(before, target->box->id, target->uid, target->token);
  account(on).gave_uid_validity(target->box->id, answer.response.uid_validity());
}

// ---- operations on mailboxes

Task<void> SimClient::create_mailbox(size_t on) {
  auto box = std::make_shared<BoxFact>();
  box->name = new_box_name();
  uint32_t validity_before = 0;
  for (const auto& other : facts_[on].boxes) {
    if (other->name != box->name && other->or_name != box->name) continue;
    if (other->is != Is::kGone || other->busy) co_return;  // the name is, or may be, taken
    validity_before = std::max(validity_before, other->uid_validity);
  }
  box->busy = true;
  facts_[on].boxes.push_back(box);
  v1::CreateMailboxRequest request;
  *request.mutable_account() = ref(on);
  request.set_name(box->name);
  request.set_request_id(new_id());
  auto answer = co_await ask<v1::CreateMailboxRequest, v1::Mailbox>(on, CANOPY_SIM_METHOD(Mailboxes, Create),
                                                                    request, "create " + box->name);
  if (!expect_done(answer, box->name)) co_return;
  box->is = Is::kThere;
  box->busy = false;
  box->id = answer.response.id();
  box->uid_validity = answer.response.uid_validity();
  account(on).gave_uid_validity(box->id, box->uid_validity);
  if (box->uid_validity <= validity_before) {
    site_.trace.violation("{}: {} has UIDVALIDITY {}, and had {} before it was deleted", account(on).name,
                          box->name, box->uid_validity, validity_before);
  }
}

Task<void> SimClient::rename_mailbox(size_t on) {
  auto box = pick_box(on, false);
  if (!box) co_return;
  const std::string to = fmt::format("c{}-{}", number_, next_box_++);
  v1::RenameMailboxRequest request;
  *request.mutable_account() = ref(on);
  request.set_from(box->name);
  request.set_to(to);
  request.set_request_id(new_id());
  box->busy = true;
  auto answer = co_await ask<v1::RenameMailboxRequest, v1::Empty>(
      on, CANOPY_SIM_METHOD(Mailboxes, Rename), request, fmt::format("rename {} to {}", box->name, to));
  if (!expect_done(answer, box->name)) {
    box->or_name = to;
    co_return;
  }
  box->name = to;
  box->busy = false;
}

Task<void> SimClient::delete_mailbox(size_t on) {
  auto box = pick_box(on, false);
  if (!box) co_return;
  v1::DeleteMailboxRequest request;
  *request.mutable_account() = ref(on);
  request.set_name(box->name);
  request.set_request_id(new_id());
  box->busy = true;
  auto answer = co_await ask<v1::DeleteMailboxRequest, v1::Empty>(on, CANOPY_SIM_METHOD(Mailboxes, Delete),
                                                                  request, "delete " + box->name);
  const bool done = expect_done(answer, box->name);
  box->is = done ? Is::kGone : Is::kMaybe;
  box->busy = !done;
  for (auto& row : facts_[on].rows) {
    if (row->box != box || row->is == Is::kGone) continue;
    row->is = done ? Is::kGone : Is::kMaybe;
    row->busy = true;
  }
}

// ---- settings, and what the daemon does by itself

Task<void> SimClient::count_up(size_t on, bool settings) {
  auto& counters = settings ? facts_[on].settings : facts_[on].info;
  if (counters.empty() || counters.back().busy) {
    counters.push_back({.key = fmt::format("C{}K{}", number_, counters.size())});
  }
  const size_t index = counters.size() - 1;
  counters[index].busy = true;
  const int64_t value = ++counters[index].asked;
  v1::SetInfoRequest request;
  *request.mutable_account() = ref(on);
  request.set_kind(settings ? v1::SETTINGS : v1::INFO);
  request.set_text(fmt::format("{{{}=#{};}}", counters[index].key, value));
  request.set_request_id(new_id());
  const auto before = account(on).floor();
  auto answer = co_await ask<v1::SetInfoRequest, v1::InfoResponse>(
      on, CANOPY_SIM_METHOD(Info, Set), request,
      fmt::format("{} {}={}", settings ? "settings" : "info", counters[index].key, value));
  if (!expect_done(answer, counters[index].key)) co_return;
  counters[index].acknowledged = value;
  counters[index].busy = false;
  account(on).gave_version(before, settings, answer.response.epoch(), answer.response.version());
}

Task<void> SimClient::compact(size_t on) {
  auto done =
      co_await wire::ClusterStub(*client_).compact_account(ref(on), {.deadline = loop_.now() + 2 * kSecond});
  site_.trace.event("{} compacts {}: {}", name(), account(on).name, done ? "done" : done.error().to_string());
}

Task<void> SimClient::close(size_t on) {
  auto done =
      co_await wire::ClusterStub(*client_).close_account(ref(on), {.deadline = loop_.now() + 2 * kSecond});
  site_.trace.event("{} closes {}: {}", name(), account(on).name, done ? "done" : done.error().to_string());
}

Task<void> SimClient::check(size_t on) {
  auto seen = co_await look(on);
  if (!seen) co_return;
  Explained explained;
  std::set<uint32_t> explained_boxes;
  check_facts(facts_[on], account(on).name, *seen, site_.trace, explained, explained_boxes);
}

}  // namespace canopy::sim
