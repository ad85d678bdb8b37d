#include "tests/crash/load.h"

#include "tests/crash/load_parts.h"

namespace canopy::crash {

Load::Load(UringLoop& loop, LoadOptions options)
    : loop_(loop), options_(std::move(options)), random_(options_.seed), gate_(loop), actors_(loop) {
  for (uint32_t i = 0; i < options_.accounts; ++i) {
    accounts_.emplace_back();
    wire::ClientOptions client;
    client.addresses = {options_.server};
    client.name = "kill-loop";
    client.call_timeout = kPatience;
    client.backoff_max = 100 * kMillisecond;
    clients_.push_back(std::make_unique<wire::Client>(loop_, std::move(client)));
  }
}

Load::~Load() = default;

void Load::complain(std::string sentence) {
  std::fprintf(stderr, "FAULT %s\n", sentence.c_str());
  complaints_.push_back(std::move(sentence));
}

std::string Load::new_token(uint32_t account) {
  uint32_t size = 200u << random_.below(8);  // 200 bytes to 25 KiB, and what lies between
  size += random_.below(size);
  return fmt::format("{}.{}.{}", account, next_number_++, size);
}

void Load::remember(Again again) {
  answered_.push_back(std::move(again));
  if (answered_.size() > kAnsweredMax) answered_.pop_front();
}

Task<Result<void>> Load::make_domain() {
  for (uint32_t number = 1;; ++number) {
    domain_ = fmt::format("crash{}.example", number);
    v1::CreateDomainRequest request;
    request.set_name(domain_);
    request.set_request_id(clients_[0]->new_request_id());
    auto made = co_await insist(*clients_[0], &wire::DirectoryStub::create_domain, request);
    if (made) co_return Result<void>();
    if (made.error().code() != Code::kAlreadyExists) co_return fail(std::move(made).error());
  }
}

Task<Result<void>> Load::prepare() {
  CANOPY_CO_TRY(co_await make_domain());
  for (uint32_t i = 0; i < accounts_.size(); ++i) accounts_[i].name = fmt::format("user{}@{}", i, domain_);
  v1::CreateAccountsRequest rows;
  for (const Account& account : accounts_) rows.add_accounts()->set_name(account.name);
  rows.set_request_id(clients_[0]->new_request_id());
  auto created = co_await insist(*clients_[0], &wire::DirectoryStub::create_accounts, rows);
  if (!created) co_return fail(std::move(created).error());
  for (uint32_t i = 0; i < accounts_.size(); ++i) {
    if (created->results(static_cast<int>(i)).has_error())
      co_return fail(Code::kInternal, accounts_[i].name,
                     created->results(static_cast<int>(i)).error().message());
    v1::CreateMailboxRequest archive;
    archive.mutable_account()->set_name(accounts_[i].name);
    archive.set_name("Archive");
    archive.set_request_id(clients_[i]->new_request_id());
    auto box = co_await insist(*clients_[i], &wire::MailboxesStub::create, archive);
    if (!box) co_return fail(std::move(box).error());
    accounts_[i].mailboxes["Archive"].uid_validity = box->uid_validity();
    accounts_[i].mailboxes["INBOX"];
    for (auto [kind, into] :
         {std::pair{v1::SETTINGS, &accounts_[i].settings}, std::pair{v1::INFO, &accounts_[i].info}}) {
      auto seen = co_await look_at_dictionary(i, kind);
      if (!seen) co_return fail(std::move(seen).error());
      into->version = seen->version;
    }
  }
  co_return Result<void>();
}

void Load::start() {
  for (uint32_t i = 0; i < accounts_.size(); ++i) {
    actors_.spawn(act(&Load::deliver, i, 10));
    actors_.spawn(act(&Load::append, i, 20));
    actors_.spawn(act(&Load::lmtp, i, 10));
    actors_.spawn(act(&Load::lmtp, i, 30));
    actors_.spawn(act(&Load::change_even, i, 4));
    actors_.spawn(act(&Load::change_odd, i, 4));
    actors_.spawn(act(&Load::change_mailboxes, i, 100));
    actors_.spawn(act(&Load::change_settings, i, 30));
    actors_.spawn(act(&Load::compact, i, 200));
  }
}

Task<void> Load::act(Task<void> (Load::*once)(uint32_t), uint32_t account, uint32_t pause_ms) {
  gate_.enter();
  while (!ending_ && complaints_.empty()) {
    co_await loop_.sleep(random_.below(2 * pause_ms + 1) * kMillisecond);
    co_await gate_.pass();
    if (ending_) break;
    co_await (this->*once)(account);
  }
  gate_.leave();
}

Task<void> Load::stop() {
  ending_ = true;
  co_await actors_.join();
  for (auto& client : clients_) co_await client->close();
}

// ------------------------------------------------------------------------------------------------
// verification
Task<Result<Versioned>> Load::look_at_dictionary(uint32_t account, v1::InfoKind kind) {
  v1::GetInfoRequest request;
  request.mutable_account()->set_name(accounts_[account].name);
  request.set_kind(kind);
  auto answer = co_await insist(client_of(account), &wire::InfoStub::get, request);
  if (!answer) co_return fail(std::move(answer).error());
  Versioned out;
  out.version = answer->version();
  // Ours are lines such as "  CrashTest17=#4;": the writer puts each entry on a line of its own.
  for (size_t at = answer->text().find("CrashTest"); at != std::string::npos;
       at = answer->text().find("CrashTest", at + 1)) {
    std::string entry = answer->text().substr(at, answer->text().find(';', at) - at);
    size_t equals = entry.find('=');
    if (equals == std::string::npos) continue;
    std::string value = entry.substr(equals + 1);
    std::erase_if(value, [](char c) { return c == ' ' || c == '"'; });
    std::string key = entry.substr(0, equals);
    std::erase(key, ' ');
    out.entries[key] = value;
  }
  co_return out;
}

static Task<Result<std::string>> fetch_whole(wire::Client& client, std::string account, std::string box,
                                             uint32_t uid) {
  std::string content;
  v1::FetchRequest request;
  request.mutable_account()->set_name(std::move(account));
  request.set_mailbox(std::move(box));
  request.set_uid(uid);
  for (;;) {
    request.set_offset(content.size());
    auto piece = co_await wire::MailboxesStub(client).fetch(request);
    if (!piece) co_return fail(std::move(piece).error());
    content += piece->data();
    if (piece->end()) co_return content;
  }
}

Task<Result<void>> Load::look_at_mailbox(uint32_t account, std::string box, Mailbox& out) {
  wire::Client& client = client_of(account);
  v1::ListMessagesRequest list;
  list.mutable_account()->set_name(accounts_[account].name);
  list.set_mailbox(box);
  v1::FetchManyRequest fetch;
  *fetch.mutable_account() = list.account();
  fetch.set_mailbox(box);
  for (bool end = false; !end;) {
    auto page = co_await insist(client, &wire::MailboxesStub::list_messages, list);
    if (!page) co_return fail(std::move(page).error());
    end = page->end();
    out.uid_validity = page->uid_validity();
    out.modseq = page->highest_modseq();
    for (const v1::Message& message : page->messages()) {
      Message& row = out.messages[message.uid()];
      row.flags = message.system_flags();
      row.keywords.insert(message.keywords().begin(), message.keywords().end());
      row.date = message.internal_date();
      fetch.add_uids(message.uid());
      list.set_after_uid(message.uid());
    }
  }
  while (fetch.uids_size() > 0) {
    auto some = co_await insist(client, &wire::MailboxesStub::fetch_many, fetch);
    if (!some) co_return fail(std::move(some).error());
    if (some->messages().empty()) co_return fail(Code::kInternal, box, "FetchMany answers nothing");
    for (const v1::FetchedMessage& message : some->messages()) {
      ++counts_.verified;
      if (message.has_error())
        co_return fail(Code::kDamaged, fmt::format("{} UID {}", box, message.uid()),
                       message.error().message());
      if (!message.too_large()) {
        out.messages[message.uid()].token = token_of(message.content());
        continue;
      }
      CANOPY_CO_ASSIGN(std::string whole,
                       co_await fetch_whole(client, accounts_[account].name, box, message.uid()));
      out.messages[message.uid()].token = token_of(whole);
    }
    auto first = fetch.uids().begin();
    auto last = std::find(first, fetch.uids().end(), some->messages().rbegin()->uid());
    if (last == fetch.uids().end())
      co_return fail(Code::kInternal, box, "FetchMany answers what was not asked");
    fetch.mutable_uids()->erase(first, last + 1);
  }
  co_return Result<void>();
}

Task<Result<Seen>> Load::look_at(uint32_t account) {
  Seen seen;
  v1::ListMailboxesRequest who;
  who.set_name(accounts_[account].name);
  auto boxes = co_await insist(client_of(account), &wire::MailboxesStub::list, who);
  if (!boxes) co_return fail(std::move(boxes).error());
  for (const v1::Mailbox& box : boxes->mailboxes()) {
    seen.names.insert(box.name());
    CANOPY_CO_TRY(co_await look_at_mailbox(account, box.name(), seen.mailboxes[box.name()]));
  }
  CANOPY_CO_ASSIGN(seen.settings, co_await look_at_dictionary(account, v1::SETTINGS));
  CANOPY_CO_ASSIGN(seen.info, co_await look_at_dictionary(account, v1::INFO));
  co_return seen;
}

Task<void> Load::send_doubles() {
  auto rows = answered_;
  for (size_t i = 0; i < rows.size(); ++i) {
    ++counts_.doubled_on_purpose;
    std::string wrong = co_await rows[i](*clients_[i % clients_.size()]);
    if (!wrong.empty()) complain(std::move(wrong));
  }
}

Task<void> Load::verify() {
  co_await send_doubles();
  for (uint32_t i = 0; i < accounts_.size(); ++i) {
    auto seen = co_await look_at(i);
    if (!seen) {
      complain(fmt::format("{}: cannot be read: {}", accounts_[i].name, seen.error().to_string()));
      continue;
    }
    for (std::string& sentence : compare(accounts_[i], *seen)) complain(std::move(sentence));
  }
  v1::CheckRequest check;
  for (;;) {
    check.set_scope("@" + domain_);
    auto part = co_await insist(*clients_[0], &wire::StoresStub::check, check);
    if (!part) {
      complain("Stores.Check: " + part.error().to_string());
      co_return;
    }
    for (const v1::Damage& damage : part->damages())
      complain(fmt::format("damage: {} at {}: {}", damage.file(), damage.offset(), damage.what()));
    if (part->end()) co_return;
    check.set_cursor(part->cursor());
  }
}

}  // namespace canopy::crash
