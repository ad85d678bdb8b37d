// A Backend in memory, with the failures that a test asks for, and a client that plays a script against a
// session.
#pragma once

#include <map>

#include "daemon/runtime/uring_loop.h"
#include "proto-frontends/common/server.h"
#include "proto-frontends/lmtp/session.h"
#include "proto-frontends/pop3/session.h"

namespace canopy::frontend {

class FakeBackend final : public Backend {
 public:
  struct Account {
    std::string password;
    uint32_t uid_validity = 7;
    uint32_t next_uid = 1;
    std::map<uint32_t, std::string> messages;
    uint64_t lock = 0;
  };
  std::map<std::string, Account> accounts;
  std::map<std::string, Error> refusals;  // by address, at Resolve and Deliver
  std::optional<Error> down;              // every call fails with it
  std::optional<Error> expunge_fails, list_fails;
  uint64_t fetch_fails_at = UINT64_MAX;  // Fetch at this offset and beyond
  int resolves = 0, delivers = 0, fetches = 0, uploads = 0, locks_held = 0;
  std::vector<std::string> dropped;
  std::string return_path, last_sasl_address;
  std::map<uint64_t, std::string> upload_data;
  std::vector<std::string> request_ids;

  Account& add(const std::string& name, const std::string& password = "secret") {
    accounts[name].password = password;
    return accounts[name];
  }
  static void put(Account& account, std::string content) {
    account.messages[account.next_uid++] = std::move(content);
  }

  Result<std::string> judge(const std::string& address) const {
    if (auto at = refusals.find(address); at != refusals.end()) return fail(at->second);
    if (!accounts.contains(address)) return fail(Code::kNotFound, address, "no such account");
    return address;
  }

  Task<Result<std::vector<Result<std::string>>>> resolve(std::vector<std::string> addresses,
                                                         uint64_t) override {
    ++resolves;
    if (down) co_return fail(*down);
    std::vector<Result<std::string>> results;
    for (const auto& address : addresses) results.push_back(judge(address));
    co_return results;
  }
  Task<Result<std::vector<Result<void>>>> deliver(Delivery delivery) override {
    ++delivers;
    if (down) co_return fail(*down);
    std::string content = delivery.content;
    if (delivery.upload_id != 0) {
      content = upload_data[delivery.upload_id];
      upload_data.erase(delivery.upload_id);
    }
    return_path = delivery.return_path;
    std::vector<Result<void>> results;
    for (const auto& to : delivery.recipients) {
      request_ids.push_back(to.request_id);
      auto judged = judge(to.address);
      if (!judged) {
        results.push_back(fail(judged.error()));
        continue;
      }
      put(accounts[to.address], content);
      results.emplace_back();
    }
    co_return results;
  }
  Task<Result<uint64_t>> open_upload(std::vector<std::string>, uint64_t) override {
    if (down) co_return fail(*down);
    uint64_t id = static_cast<uint64_t>(++uploads);
    upload_data[id] = {};
    co_return id;
  }
  Task<Result<void>> upload(uint64_t id, uint64_t offset, std::string data) override {
    if (down) co_return fail(*down);
    CANOPY_CHECK(upload_data[id].size() == offset);
    CANOPY_CHECK(data.size() <= (1u << 20));
    upload_data[id] += data;
    co_return Result<void>{};
  }
  void drop_upload(uint64_t id) override {
    upload_data.erase(id);
    dropped.push_back(std::to_string(id));
  }
  Task<Result<SaslAnswer>> authenticate(SaslRound round) override {
    if (down) co_return fail(*down);
    last_sasl_address = round.client_address;
    SaslAnswer answer;
    if (round.mechanism == "SCRAM-SHA-256") {  // the shape of it: two rounds and a last word
      if (round.conversation.empty()) {
        answer.challenge = "server-first:" + round.response;
        answer.conversation = "1";
        co_return answer;
      }
      if (round.response != "proof") co_return fail(Code::kUnauthenticated, "x", "no");
      answer.done = true;
      answer.challenge = "v=signature";
      answer.access = {"ann@x.org", "ticket"};
      co_return answer;
    }
    size_t name_end = round.response.find('\0', 1);
    std::string name = round.response.substr(1, name_end - 1);
    if (name.find('@') == name.npos) name += "@" + round.domain;
    auto at = accounts.find(name);
    if (at == accounts.end() || at->second.password != round.response.substr(name_end + 1))
      co_return fail(Code::kUnauthenticated, name, "no");
    answer.done = true;
    answer.access = {name, "ticket"};
    co_return answer;
  }
  Task<Result<uint64_t>> lock_maildrop(const AccountAccess& access, uint32_t) override {
    if (down) co_return fail(*down);
    Account& account = accounts[access.account];
    if (account.lock != 0) co_return fail(Code::kBusy, access.account, "locked");
    ++locks_held;
    co_return account.lock = 42;
  }
  Task<Result<void>> unlock_maildrop(const AccountAccess& access, uint64_t lock_id) override {
    Account& account = accounts[access.account];
    CANOPY_CHECK(account.lock == lock_id);
    account.lock = 0;
    --locks_held;
    co_return Result<void>{};
  }
  Task<Result<MessageList>> list_inbox(const AccountAccess& access) override {
    if (list_fails) co_return fail(*list_fails);
    MessageList list;
    list.uid_validity = accounts[access.account].uid_validity;
    list.mailbox_id = 1;
    for (const auto& [uid, content] : accounts[access.account].messages) {
      list.uids.push_back(uid);
      list.sizes.push_back(static_cast<uint32_t>(content.size()));
    }
    co_return list;
  }
  Task<Result<std::vector<FetchedContent>>> fetch_many(const AccountAccess& access, uint32_t,
                                                       std::vector<uint32_t> uids,
                                                       uint32_t max_bytes) override {
    ++fetches;
    if (down) co_return fail(*down);
    std::vector<FetchedContent> contents;
    uint64_t bytes = 0;
    for (uint32_t uid : uids) {
      auto at = accounts[access.account].messages.find(uid);
      if (at == accounts[access.account].messages.end()) continue;
      bytes += at->second.size();
      if (!contents.empty() && bytes > max_bytes) break;
      contents.push_back({uid, at->second, false});
    }
    co_return contents;
  }
  Task<Result<FetchedPart>> fetch(const AccountAccess& access, uint32_t, uint32_t uid, uint64_t offset,
                                  uint32_t bytes) override {
    ++fetches;
    if (down) co_return fail(*down);
    if (offset >= fetch_fails_at) co_return fail(Code::kStoreUnavailable, "store", "gone");
    const std::string& whole = accounts[access.account].messages[uid];
    FetchedPart part;
    part.data = whole.substr(offset, bytes);
    part.end = offset + part.data.size() >= whole.size();
    co_return part;
  }
  Task<Result<void>> expunge(const AccountAccess& access, uint32_t, std::vector<uint32_t> uids,
                             std::string) override {
    if (expunge_fails) co_return fail(*expunge_fails);
    for (uint32_t uid : uids) accounts[access.account].messages.erase(uid);
    co_return Result<void>{};
  }
};

inline Task<std::string> serve_lmtp_session(Connection& connection, const SessionContext& context,
                                            void* state) {
  lmtp::Session session(connection, context, *static_cast<lmtp::RecipientCache*>(state));
  co_await session.run();
  co_return std::string();
}
inline Task<std::string> serve_pop3_session(Connection& connection, const SessionContext& context, void*) {
  pop3::Session session(connection, context);
  co_await session.run();
  co_return std::string();
}

// A server on a loop with a fake behind it. Members may be changed before the first script.
class Fixture {
 public:
  explicit Fixture(Protocol protocol) : loop(*UringLoop::create({.entries = 64, .file_workers = 1})) {
    config.protocol = protocol;
    config.session.hostname = "mx.x.org";
    config.session.domain = "x.org";
    config.session.idle = 5 * kSecond;
    config.session.plaintext_auth = true;
    config.session.message_bytes_max = 8 << 20;
    shared = std::make_unique<ListenerShared>(config);
    server = std::make_unique<Server>(*loop, backend);
  }
  ~Fixture() { loop->run_until_done(server->stop(loop->now() + kSecond)); }

  std::unique_ptr<Stream> connect();
  // Sends all of it in pieces of `piece_bytes` (0: at once), ends our direction, and reads to the end.
  std::string talk(std::string script, size_t piece_bytes = 0);

  std::unique_ptr<UringLoop> loop;
  FakeBackend backend;
  ListenerConfig config;
  std::unique_ptr<ListenerShared> shared;
  std::unique_ptr<Server> server;
  lmtp::RecipientCache cache;
  bool half_close = true;  // whether talk() ends our direction
};

// Reads until what came ends with `end`, or the stream ends.
Task<std::string> read_until(Loop& loop, Stream& stream, std::string end);
Task<std::string> send_and_read(Loop& loop, Stream& stream, std::string line, std::string end);

size_t count_of(std::string_view text, std::string_view word);

}  // namespace canopy::frontend
