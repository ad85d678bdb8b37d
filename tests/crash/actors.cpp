// What each client of the load does, once.
#include "tests/crash/load_parts.h"
#include "tools/canopy-bench/lmtp_session.h"

namespace canopy::crash {
namespace {

constexpr const char* kKeywords[] = {"$Junk", "$Forwarded", "crash", "a-longer-keyword"};
constexpr uint64_t kFirstDate = 1'600'000'000;

void add_uid(v1::UidRange& range, uint32_t uid) {
  range.set_first(uid);
  range.set_last(uid);
}

bool is_whole(const Result<void>& delivered) { return delivered.has_value(); }

}  // namespace

Task<void> Load::deliver(uint32_t account) {
  std::string token = new_token(account);
  std::vector<uint32_t> to = {account};
  if (chance(20) && accounts_.size() > 1) to.push_back((account + 1) % options_.accounts);
  v1::DeliverRequest request;
  request.set_content(content_of(token));
  request.set_return_path("crash@example.com");
  for (uint32_t each : to) {
    v1::Recipient& recipient = *request.add_recipients();
    recipient.set_address(accounts_[each].name);
    recipient.set_request_id(client_of(account).new_request_id());
  }
  const Nanos give_up = loop_.now() + kPatience;
  for (;;) {
    auto answer = co_await insist(client_of(account), &wire::MailboxesStub::deliver, request);
    if (!answer) co_return complain("Deliver: " + answer.error().to_string());
    bool all = true;
    for (const v1::DeliverResult& result : answer->results()) {
      if (!result.has_error()) continue;
      all = false;
      if (!result.error().retryable() || loop_.now() > give_up)
        co_return complain("Deliver: " + result.error().message());
    }
    if (!all) {
      ++counts_.sent_again;
      co_await loop_.sleep(20 * kMillisecond);
      continue;
    }
    for (size_t i = 0; i < to.size(); ++i) {
      const v1::DeliverResult& result = answer->results(static_cast<int>(i));
      std::string wrong =
          accounts_[to[i]].mailboxes["INBOX"].add(result.uid(), result.uid_validity(), {token, 0, {}, 0});
      if (!wrong.empty()) complain(accounts_[to[i]].name + ": Deliver: " + wrong);
      ++counts_.delivered;
    }
    if (chance(20)) remember(again(&wire::MailboxesStub::deliver, request, *answer));
    co_return;
  }
}

// An upload belongs to its connection: when that is lost the pieces are sent again, and the Append bears the
// same id.
Task<Result<uint64_t>> Load::upload(wire::Client& client, v1::AccountRef account,
                                    const std::string& content) {
  v1::OpenUploadRequest open;
  *open.mutable_account() = account;
  open.set_bytes(content.size());
  wire::MailboxesStub stub(client);
  auto opened = co_await stub.open_upload(open);
  if (!opened) co_return fail(std::move(opened).error());
  v1::UploadRequest piece;
  piece.set_upload_id(opened->upload_id());
  for (uint64_t at = 0; at < content.size(); at += piece.data().size()) {
    piece.set_offset(at);
    piece.set_data(content.substr(at, 256 << 10));
    auto taken = co_await stub.upload(piece);
    if (!taken) co_return fail(std::move(taken).error());
  }
  co_return opened->upload_id();
}

Task<void> Load::append(uint32_t account) {
  wire::Client& client = client_of(account);
  bool large = chance(4);
  std::string token =
      large ? fmt::format("{}.{}.{}", account, next_number_++, 1'200'000 + random_.below(500'000))
            : new_token(account);
  Message message{
      token, random_.below(32), {}, static_cast<int64_t>(kFirstDate + random_.below(100'000'000))};
  if (chance(40)) message.keywords.insert(kKeywords[random_.below(std::size(kKeywords))]);
  v1::AppendRequest request;
  request.mutable_account()->set_name(accounts_[account].name);
  request.set_mailbox(chance(50) ? "INBOX" : "Archive");
  request.mutable_flags()->set_system(message.flags);
  for (const std::string& keyword : message.keywords) request.mutable_flags()->add_keywords(keyword);
  request.set_internal_date(message.date);
  request.set_request_id(client.new_request_id());
  std::string content = content_of(token);
  if (!large) request.set_content(content);
  const Nanos give_up = loop_.now() + kPatience;
  for (;;) {
    Result<v1::AppendResponse> answer = fail(Code::kTryAgain, "upload", "not yet");
    if (!large) {
      answer = co_await insist(client, &wire::MailboxesStub::append, request);
    } else if (auto id = co_await upload(client, request.account(), content); id) {
      request.set_upload_id(*id);
      answer = co_await wire::MailboxesStub(client).append(request);
      // The daemon that knew the upload is gone: another turn.
      if (!answer && answer.error().code() == Code::kNotFound)
        answer = fail(Code::kTryAgain, "upload", "forgotten");
    } else if (id.error().code() != Code::kNotFound) {
      answer = fail(id.error());
    }
    if (answer) {
      std::string wrong =
          accounts_[account].mailboxes[request.mailbox()].add(answer->uid(), answer->uid_validity(), message);
      if (!wrong.empty()) complain(accounts_[account].name + ": Append: " + wrong);
      ++counts_.appended;
      if (!large && chance(20)) remember(again(&wire::MailboxesStub::append, request, *answer));
      co_return;
    }
    if (!answer.error().retryable() || loop_.now() > give_up)
      co_return complain("Append: " + answer.error().to_string());
    ++counts_.sent_again;
    co_await loop_.sleep(20 * kMillisecond);
  }
}

// A few messages on one connection. Each is sent once: LMTP has no way to tell a resend from a second
// message.
Task<void> Load::lmtp(uint32_t account) {
  auto session = co_await bench::LmtpSession::connect(loop_, options_.lmtp);
  if (!session) co_return;  // the frontend is being started
  for (uint32_t left = 1 + random_.below(5); left > 0; --left) {
    co_await gate_.pass();
    std::string token = new_token(account);
    accounts_[account].unplaced.emplace(token, false);
    ++counts_.lmtp_sent;
    auto done = co_await (*session)->deliver(accounts_[account].name, content_of(token), chance(50));
    if (!is_whole(done)) co_return;
    // It may have been seen by a check meanwhile, and have left the map.
    auto waiting = accounts_[account].unplaced.find(token);
    if (waiting != accounts_[account].unplaced.end()) waiting->second = true;
    ++counts_.lmtp_acknowledged;
  }
  co_await (*session)->quit();
}

Task<void> Load::change_even(uint32_t account) { return change(account, 0); }
Task<void> Load::change_odd(uint32_t account) { return change(account, 1); }

// Two of these share an account: each changes messages whose UID has its parity, so that the model knows the
// order.
Task<void> Load::change(uint32_t account, uint32_t parity) {
  std::string box = chance(70) ? "INBOX" : "Archive";
  const Mailbox& known = accounts_[account].mailboxes[box];
  std::vector<uint32_t> uids;
  for (const auto& [uid, message] : known.messages) {
    if (uid % 2 == parity) uids.push_back(uid);
  }
  if (uids.empty()) co_return;
  uint32_t uid = uids[random_.below(static_cast<uint32_t>(uids.size()))];
  uint32_t dice = random_.below(100);
  if (dice < (known.messages.size() > kMessagesWanted ? 60u : 15u))
    co_await expunge(account, box, uid);
  else if (dice < 75)
    co_await change_flags(account, box, uid);
  else if (dice < 85)
    co_await copy(account, box, uid);
  else
    co_await change_flags(account, box, uid);
}

Task<void> Load::change_flags(uint32_t account, std::string box, uint32_t uid) {
  v1::StoreFlagsRequest request;
  request.mutable_account()->set_name(accounts_[account].name);
  request.set_mailbox(box);
  request.set_request_id(client_of(account).new_request_id());
  add_uid(*request.add_uids(), uid);
  uint32_t flags = random_.below(32);
  std::set<std::string> keywords;
  if (chance(50)) keywords.insert(kKeywords[random_.below(std::size(kKeywords))]);
  request.mutable_flags()->set_system(flags);
  for (const std::string& keyword : keywords) request.mutable_flags()->add_keywords(keyword);
  auto mode = static_cast<v1::StoreFlagsRequest::Mode>(random_.below(3));
  request.set_mode(mode);
  auto answer = co_await insist(client_of(account), &wire::MailboxesStub::store_flags, request);
  if (!answer) co_return complain("StoreFlags: " + answer.error().to_string());
  Message& message = accounts_[account].mailboxes[box].messages.at(uid);
  if (mode == v1::StoreFlagsRequest::REPLACE) {
    message.flags = flags;
    message.keywords = keywords;
  } else if (mode == v1::StoreFlagsRequest::ADD) {
    message.flags |= flags;
    message.keywords.insert(keywords.begin(), keywords.end());
  } else {
    message.flags &= ~flags;
    for (const std::string& keyword : keywords) message.keywords.erase(keyword);
  }
  Mailbox& known = accounts_[account].mailboxes[box];
  known.modseq = std::max(known.modseq, answer->modseq());
  ++counts_.flags;
  if (chance(10)) remember(again(&wire::MailboxesStub::store_flags, request, *answer));
}

Task<void> Load::expunge(uint32_t account, std::string box, uint32_t uid) {
  v1::ExpungeRequest request;
  request.mutable_account()->set_name(accounts_[account].name);
  request.set_mailbox(box);
  request.set_request_id(client_of(account).new_request_id());
  add_uid(*request.add_uids(), uid);
  auto answer = co_await insist(client_of(account), &wire::MailboxesStub::expunge, request);
  if (!answer) co_return complain("Expunge: " + answer.error().to_string());
  if (answer->expunged_size() != 1)
    complain(fmt::format("{}: {} UID {} was not there to expunge", accounts_[account].name, box, uid));
  accounts_[account].mailboxes[box].remove(uid);
  ++counts_.expunged;
  if (chance(20)) remember(again(&wire::MailboxesStub::expunge, request, *answer));
}

Task<void> Load::copy(uint32_t account, std::string from, uint32_t uid) {
  std::string to = from == "INBOX" ? "Archive" : "INBOX";
  v1::CopyRequest request;
  request.mutable_account()->set_name(accounts_[account].name);
  request.set_from(from);
  request.set_to(to);
  request.set_move(chance(50));
  request.set_request_id(client_of(account).new_request_id());
  add_uid(*request.add_uids(), uid);
  auto answer = co_await insist(client_of(account), &wire::MailboxesStub::copy, request);
  if (!answer) co_return complain("Copy: " + answer.error().to_string());
  Account& known = accounts_[account];
  if (answer->target_uids_size() != 1)
    co_return complain(fmt::format("{}: {} UID {} was not there to copy", known.name, from, uid));
  Message message = known.mailboxes[from].messages.at(uid);
  message.date = 0;
  if (request.move()) known.mailboxes[from].remove(uid);
  std::string wrong = known.mailboxes[to].add(answer->target_uids(0), answer->uid_validity(), message);
  if (!wrong.empty()) complain(known.name + ": Copy: " + wrong);
  ++counts_.copied;
  if (chance(20)) remember(again(&wire::MailboxesStub::copy, request, *answer));
}

// Makes a mailbox, renames it, removes it.
Task<void> Load::change_mailboxes(uint32_t account) {
  Account& known = accounts_[account];
  wire::Client& client = client_of(account);
  std::string name = fmt::format("Box/{}", next_number_++), other = name + "-renamed";
  v1::CreateMailboxRequest create;
  create.mutable_account()->set_name(known.name);
  create.set_name(name);
  create.set_request_id(client.new_request_id());
  auto made = co_await insist(client, &wire::MailboxesStub::create, create);
  if (!made) co_return complain("Create: " + made.error().to_string());
  known.other_mailboxes.insert(name);
  co_await gate_.pass();
  v1::RenameMailboxRequest rename;
  *rename.mutable_account() = create.account();
  rename.set_from(name);
  rename.set_to(other);
  rename.set_request_id(client.new_request_id());
  auto renamed = co_await insist(client, &wire::MailboxesStub::rename, rename);
  if (!renamed) co_return complain("Rename: " + renamed.error().to_string());
  known.other_mailboxes.erase(name);
  known.other_mailboxes.insert(other);
  known.removed_mailboxes.insert(name);
  co_await gate_.pass();
  v1::DeleteMailboxRequest remove;
  *remove.mutable_account() = create.account();
  remove.set_name(other);
  remove.set_request_id(client.new_request_id());
  auto removed = co_await insist(client, &wire::MailboxesStub::remove, remove);
  if (!removed) co_return complain("Delete: " + removed.error().to_string());
  known.other_mailboxes.erase(other);
  known.removed_mailboxes.insert(other);
  counts_.mailboxes += 3;
}

Task<void> Load::change_settings(uint32_t account) { return set(account, chance(50)); }

Task<void> Load::set(uint32_t account, bool info) {
  Versioned& known = info ? accounts_[account].info : accounts_[account].settings;
  std::string key = fmt::format("CrashTest{}", random_.below(8));
  std::string value = fmt::format("#{}", next_number_++);
  v1::SetInfoRequest request;
  request.mutable_account()->set_name(accounts_[account].name);
  request.set_kind(info ? v1::INFO : v1::SETTINGS);
  request.set_text(fmt::format("{{{}={};}}", key, value));
  request.set_expected_version(known.version);
  request.set_request_id(client_of(account).new_request_id());
  auto answer = co_await insist(client_of(account), &wire::InfoStub::set, request);
  uint64_t version = answer ? answer->version() : 0;
  if (!answer && answer.error().code() == Code::kConflict) {
    // The answer was lost, and the change was found done when it was sent again: settings have no memory of
    // requests.
    auto seen = co_await look_at_dictionary(account, request.kind());
    if (!seen) co_return complain(accounts_[account].name + ": Get: " + seen.error().to_string());
    if (seen->entries[key] == value) version = seen->version;
  }
  if (version != known.version + 1) {
    co_return complain(fmt::format("{}: version {} became {} by one change: {}", accounts_[account].name,
                                   known.version, version, answer ? "" : answer.error().to_string()));
  }
  known.version = version;
  known.entries[key] = value;
  ++counts_.settings;
}

Task<void> Load::compact(uint32_t account) {
  v1::AccountRef who;
  who.set_name(accounts_[account].name);
  bool close = chance(40);
  auto done = close ? co_await insist(client_of(account), &wire::ClusterStub::close_account, who)
                    : co_await wire::ClusterStub(client_of(account)).compact_account(who);
  if (!done && !done.error().retryable()) co_return complain("CompactAccount: " + done.error().to_string());
  ++(close ? counts_.closes : counts_.compactions);
}

}  // namespace canopy::crash
