// SimClient's own accounts: created, renamed and removed while everything else goes on. On a shared store the
// renames that do it may arrive late (docs/status.md): after an answer that took more than one attempt the
// account is what was answered, and is left so. Names are never used twice.
#include "tests/sim/client_ask.h"

namespace canopy::sim {
namespace {

constexpr size_t kOwnAccountsMax = 4;  // that are there, or may be

}  // namespace

std::string SimClient::new_account_name() {
  return fmt::format("c{}-{}@{}", number_, next_account_++, kSimDomain);
}

template <class Resp>
void SimClient::settle(OwnAccount& account, const Answer<Resp>& answer) {
  account.busy = !answer.done() || (site_.plan.any_shared() && answer.attempts > 1);
}

OwnAccount* SimClient::pick_own_account() {
  std::vector<OwnAccount*> free;
  for (OwnAccount& account : own_accounts_)
    if (account.is == Is::kThere && !account.busy) free.push_back(&account);
  return free.empty() ? nullptr : free[random_.below(free.size())];
}

Task<void> SimClient::one_own_account() {
  const uint64_t dice = random_.below(10);
  if (dice < 3) return create_own_account();
  if (dice < 4) return rename_own_account();
  if (dice < 5) return delete_own_account();
  if (dice < 8) return deliver_to_own_account();
  return check_own();
}

Task<void> SimClient::create_own_account() {
  size_t there = 0;
  for (const OwnAccount& each : own_accounts_) there += each.is != Is::kGone;
  if (there >= kOwnAccountsMax) co_return;
  OwnAccount& account = own_accounts_.emplace_back();
  account.name = new_account_name();
  account.busy = true;
  v1::CreateAccountsRequest request;
  request.add_accounts()->set_name(account.name);
  request.set_request_id(new_id());
  auto answer = co_await ask<v1::CreateAccountsRequest, v1::CreateAccountsResponse>(
      0, CANOPY_SIM_METHOD(Directory, CreateAccounts), request, "create account " + account.name);
  if (expect_done(answer, account.name)) account.is = Is::kThere;
  settle(account, answer);
}

Task<void> SimClient::rename_own_account() {
  OwnAccount* account = pick_own_account();
  if (account == nullptr) co_return;
  account->busy = true;
  account->or_name = new_account_name();
  v1::RenameRequest request;
  request.set_from(account->name);
  request.set_to(account->or_name);
  request.set_request_id(new_id());
  auto answer = co_await ask<v1::RenameRequest, v1::Account>(
      0, CANOPY_SIM_METHOD(Directory, RenameAccount), request,
      fmt::format("rename account {} to {}", account->name, account->or_name));
  if (expect_done(answer, account->name)) {
    account->had_names.push_back(account->name);
    account->name = std::exchange(account->or_name, "");
  }
  settle(*account, answer);
}

Task<void> SimClient::delete_own_account() {
  OwnAccount* account = pick_own_account();
  if (account == nullptr) co_return;
  account->busy = true;
  v1::DeleteRequest request;
  request.set_name(account->name);
  request.set_request_id(new_id());
  auto answer = co_await ask<v1::DeleteRequest, v1::Empty>(0, CANOPY_SIM_METHOD(Directory, DeleteAccount),
                                                           request, "delete account " + account->name);
  account->is = expect_done(answer, account->name) ? Is::kGone : Is::kMaybe;
  settle(*account, answer);
}

Task<void> SimClient::deliver_to_own_account() {
  OwnAccount* account = pick_own_account();
  if (account == nullptr) co_return;
  const std::string token = fmt::format("T:{}:{}", number_, next_token_++);
  account->maybe_tokens.insert(token);
  v1::DeliverRequest request;
  v1::Recipient* recipient = request.add_recipients();
  recipient->set_address(account->name);
  recipient->set_request_id(new_id());
  request.set_content(content_of(token, static_cast<uint64_t>(random_.between(20, 400))));
  auto answer = co_await ask<v1::DeliverRequest, v1::DeliverResponse>(
      0, CANOPY_SIM_METHOD(Mailboxes, Deliver), request,
      fmt::format("deliver {} to {}", token, account->name));
  // One that was given up may still be on its way, and there is one owner of the account at a time.
  if (expect_done(answer, token)) account->tokens.insert(token);
  if (!answer.done()) account->busy = true;
}

// ---- what there is

Task<Result<void>> SimClient::see_own(SeenAccounts& seen) {
  auto client = client_;
  v1::ListRequest request;
  request.set_domain(std::string(kSimDomain));
  request.set_prefix(fmt::format("c{}-", number_));
  auto list =
      co_await wire::DirectoryStub(*client).list_accounts(request, {.deadline = loop_.now() + 10 * kSecond});
  if (!list) co_return fail(std::move(list).error());
  for (const std::string& name : list->names()) {
    v1::AccountRef account;
    account.set_name(name + "@" + std::string(kSimDomain));
    Seen all;
    auto done = co_await see_mailboxes(account, all);
    // It goes while it is read, by what was given up.
    if (!done && done.error().code() == Code::kNotFound) continue;
    if (!done) co_return done;
    auto& tokens = seen[account.name()];
    for (const auto& [id, box] : all.mailboxes) {
      for (const auto& [uid, message] : box.messages) {
        if (!message.error.empty()) {
          site_.trace.violation("{}: UID {} cannot be read: {}", account.name(), uid, message.error);
        }
        tokens.insert(message.token);
      }
    }
  }
  co_return Result<void>();
}

Task<std::optional<SeenAccounts>> SimClient::look_at_own() {
  for (int attempt = 0; attempt < kLooksMax && site_.trace.violation().empty(); ++attempt) {
    const uint64_t epoch = co_await barrier(0);
    if (epoch == 0) continue;
    auto client = client_;
    SeenAccounts seen;
    auto done = co_await see_own(seen);
    const bool one_owner = client == client_ && connected_epoch() == epoch && epoch == site_.highest_epoch;
    if (!done) {
      co_await cannot_read(name() + "'s accounts", done.error(), one_owner);
    } else if (one_owner) {
      site_.trace.event("{} has read its {} accounts (by {:x})", name(), seen.size(), epoch);
      co_return seen;
    }
  }
  co_return std::nullopt;
}

Task<void> SimClient::check_own() {
  auto seen = co_await look_at_own();
  if (seen) check_own_accounts(own_accounts_, *seen, false, site_.trace);
}

}  // namespace canopy::sim
