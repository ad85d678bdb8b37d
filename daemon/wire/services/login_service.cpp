#include "daemon/wire/services/login_service.h"

#include "daemon/account/scram.h"
#include "daemon/base/bytes.h"
#include "daemon/wire/services/access.h"

namespace canopy::wire {
namespace {

constexpr size_t kConversationsPerConnectionMax = 1024;
constexpr Nanos kConversationNanos = 60 * kSecond;
constexpr size_t kResponseBytesMax = 8192;

// SCRAM conversations of one connection that wait for the client's proof.
struct Conversations {
  struct One {
    ScramServer server;
    std::string account;  // empty: there is no such account
    Nanos until;
  };
  std::map<std::string, One> by_id;
};

}  // namespace

void LoginService::add_to(MethodTable& table) {
  table.add<v1::AuthenticateRequest, v1::AuthenticateResponse>("canopy.v1.Session", "Authenticate", this,
                                                               &LoginService::authenticate);
}

Task<Result<v1::AuthenticateResponse>> LoginService::authenticate(CallContext& call,
                                                                  const v1::AuthenticateRequest& request) {
  if (request.response().size() > kResponseBytesMax) {
    co_return fail(Code::kTooLarge, "response", fmt::format("it has at most {} bytes", kResponseBytesMax));
  }
  if (request.mechanism() == "PLAIN") co_return co_await plain(call, request);
  if (request.mechanism() == "SCRAM-SHA-256") co_return co_await scram(call, request);
  co_return fail(Code::kUnsupported, request.mechanism(), "mechanisms are PLAIN and SCRAM-SHA-256");
}

std::unexpected<Error> LoginService::refuse(const std::string& name) {
  node_.counters().login_failures.fetch_add(1, std::memory_order_relaxed);
  return fail(Code::kUnauthenticated, name, "wrong name or password");
}

static Result<AccountAddress> login_address(std::string_view name, const std::string& domain) {
  std::string full(name);
  if (full.find('@') == std::string::npos && !domain.empty()) full += "@" + domain;
  return parse_address(full);
}

static Result<PasswordRecord> password_of(const AccountSettings& settings, const std::string& name) {
  const dict::Value* stored = settings.own.dict.find(kPasswordKey);
  if (stored == nullptr || stored->dict() == nullptr) {
    return fail(Code::kUnauthenticated, name, "wrong name or password");
  }
  return PasswordRecord::from_dict(*stored->dict());
}

// On the account's loop, before and after.
Task<Result<void>> LoginService::check_password(Node::Found& found, std::string_view password) {
  std::string name = found.address.to_string();
  auto record = password_of(*found.settings, name);
  if (!record) co_return fail(std::move(record).error());
  Shard& shard = *found.shard;
  int64_t now = shard.loop.wall_clock_ns() / kSecond;
  if (shard.credentials.knows(name, record->argon2, password, now)) {
    node_.counters().cached_logins.fetch_add(1, std::memory_order_relaxed);
    co_return Result<void>();
  }
  const PasswordRecord& stored = *record;
  auto right = co_await node_.workers().run(
      shard.loop, [&stored, password] { return verify_password(stored, password); });
  if (!right) co_return fail(std::move(right).error());
  if (!*right) co_return refuse(name);
  shard.credentials.remember(name, record->argon2, password, now);
  co_return Result<void>();
}

Result<v1::AuthenticateResponse> LoginService::grant(CallContext& call, const Node::Found& found) {
  Ticket ticket;
  ticket.account = found.address.to_string();
  ticket.peer = call.peer_name();
  ticket.expires = call.loop().wall_clock_ns() / kSecond + kTicketSeconds;
  ticket.generation = found.settings->session_generation;
  v1::AuthenticateResponse out;
  out.set_done(true);
  out.set_account(ticket.account);
  out.set_ticket(seal_ticket(ticket, node_.ticket_key()));
  out.set_ticket_expires(ticket.expires);
  node_.counters().logins.fetch_add(1, std::memory_order_relaxed);
  return out;
}

static Result<void> may_log_in(const Node::Found& found) {
  if (found.settings->use == AccountUse::kActive) return {};
  return fail(Code::kSuspended, found.address.to_string(),
              fmt::format("the account is {}", account_use_name(found.settings->use)));
}

Task<Result<v1::AuthenticateResponse>> LoginService::plain(CallContext& call,
                                                           const v1::AuthenticateRequest& request) {
  // RFC 4616: [authzid] NUL authcid NUL passwd
  std::string_view message = request.response();
  size_t first = message.find('\0');
  size_t second = first == std::string_view::npos ? first : message.find('\0', first + 1);
  if (second == std::string_view::npos)
    co_return fail(Code::kInvalidArgument, "response", "it is no PLAIN message");
  std::string_view authorization = message.substr(0, first);
  std::string_view name = message.substr(first + 1, second - first - 1);
  std::string_view password = message.substr(second + 1);
  if (!authorization.empty() && authorization != name) {
    co_return fail(Code::kPermissionDenied, std::string(authorization), "nobody may act for another account");
  }
  auto address = login_address(name, request.domain());
  if (!address) co_return refuse(std::string(name));
  auto found = co_await node_.find(std::move(*address));
  if (!found) {
    if (found.error().code() != Code::kNotFound) co_return fail(std::move(found).error());
    // As slow as for an account that exists.
    Loop& here = node_.here().loop;
    auto spent =
        co_await node_.workers().run(here, [password] { return make_password(password).has_value(); });
    if (!spent && spent.error().retryable()) co_return fail(std::move(spent).error());
    co_return refuse(std::string(name));
  }
  CANOPY_CO_TRY(co_await check_password(*found, password));
  CANOPY_CO_TRY(may_log_in(*found));
  co_return grant(call, *found);
}

Task<Result<v1::AuthenticateResponse>> LoginService::scram(CallContext& call,
                                                           const v1::AuthenticateRequest& request) {
  Conversations& conversations = call.connection().attachment<Conversations>();
  Loop& home = call.loop();
  if (request.conversation().empty()) {
    CANOPY_CO_ASSIGN(ScramFirst first, ScramFirst::parse(request.response()));
    if (!first.authorization.empty() && first.authorization != first.user) {
      co_return fail(Code::kPermissionDenied, first.authorization, "nobody may act for another account");
    }
    ScramKeys keys = invented_scram_keys(first.user, node_.ticket_key());
    std::string account;
    if (auto address = login_address(first.user, request.domain())) {
      auto found = co_await node_.find(std::move(*address));
      if (found) {
        auto record = password_of(*found->settings, found->address.to_string());
        if (record) {
          keys = record->scram;
          account = found->address.to_string();
        }
      } else if (found.error().code() != Code::kNotFound) {
        co_return fail(std::move(found).error());
      }
      co_await home.switch_to();
    }
    std::erase_if(conversations.by_id, [&](const auto& held) { return held.second.until < home.now(); });
    if (conversations.by_id.size() >= kConversationsPerConnectionMax) {
      co_return fail(Code::kTryAgain, "Authenticate", "too many conversations wait for their proof");
    }
    std::string nonce = hex64(home.random()) + hex64(home.random());
    std::string id = hex64(home.random());
    ScramServer server(std::move(first), std::move(keys), nonce);
    v1::AuthenticateResponse out;
    out.set_challenge(server.challenge());
    out.set_conversation(id);
    conversations.by_id.emplace(
        id, Conversations::One{std::move(server), account, home.now() + kConversationNanos});
    co_return out;
  }
  auto at = conversations.by_id.find(request.conversation());
  if (at == conversations.by_id.end()) {
    co_return fail(Code::kUnauthenticated, "conversation",
                   "there is none of that id on this connection; begin again");
  }
  Conversations::One conversation = std::move(at->second);
  conversations.by_id.erase(at);
  auto final_message = conversation.server.finish(request.response());
  if (!final_message || conversation.account.empty()) co_return refuse(conversation.account);
  CANOPY_CO_ASSIGN(AccountAddress address, parse_address(conversation.account));
  auto found = co_await node_.find(std::move(address));
  if (!found) co_return fail(std::move(found).error());
  CANOPY_CO_TRY(may_log_in(*found));
  CANOPY_CO_ASSIGN(v1::AuthenticateResponse out, grant(call, *found));
  out.set_challenge(std::move(*final_message));
  co_return out;
}

}  // namespace canopy::wire
