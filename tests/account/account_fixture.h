// What the tests of the account layer share: simulated processes over one disk, each with an account, or with
// all accounts.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/account/account.h"
#include "daemon/account/accounts.h"
#include "daemon/dict/dict.h"
#include "daemon/log/compaction.h"
#include "daemon/runtime/sim_loop.h"
#include "daemon/store/faulty/faulty_store.h"
#include "daemon/store/memory/memory_store.h"

namespace canopy {

inline constexpr char kName[] = "jsmith@company.com";
inline constexpr char kDirectory[] = "SharedDomains/company.com/jsmith.macnt";
inline constexpr uint64_t kEpoch = (1ull << 32) | 1;

inline RequestId request(uint8_t number) {
  RequestId id{};
  id.fill(number);
  return id;
}

inline std::string message_text(uint32_t number, size_t size = 0) {
  std::string text = fmt::format("Subject: message {}\r\n\r\n", number);
  uint64_t x = number * 0x9e3779b97f4a7c15ull + 1;
  while (text.size() < size) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    text.push_back(static_cast<char>('!' + x % 90));
  }
  return text;
}

// One process of a backend: a loop and its view of the disk that all processes share.
struct Backend {
  Backend(SimWorld& in, MemoryDisk& disk, uint64_t own_epoch = kEpoch, bool shared = false, uint64_t seed = 1)
      : world(in),
        loop(in.add_loop("backend")),
        outside(in.add_loop("disk")),
        inner(&outside, disk, {.name = "root", .shared = shared}),
        store(inner, loop, quiet(), seed, &outside),
        epoch(own_epoch) {}

  static FaultPlan quiet() {
    FaultPlan plan;
    plan.check_unclosed = false;
    return plan;
  }
  LogEnvironment environment() {
    LogEnvironment made;
    made.store = &store;
    made.loop = &loop;
    made.files = &slices;
    made.epoch = epoch;
    made.lease_held = [this] { return lease; };
    made.options = log_options;
    return made;
  }

  template <class T>
  Result<T> run(Task<Result<T>> task) {
    auto result = world.run_until_done(loop, std::move(task), world.now() + 3600 * kSecond);
    if (!result) return fail(Code::kInternal, "test", "the task did not end");
    return std::move(*result);
  }
  void run_void(Task<void> task) { EXPECT_TRUE(world.run_until_done(loop, std::move(task))); }

  Result<void> open() {
    CANOPY_TRY(run(make_directories(inner, std::string(kDirectory), 0700, Durable::kYes)));
    CANOPY_ASSIGN(account, run(Account::open(environment(), kName, kDirectory, options)));
    return {};
  }
  void close() {
    if (account) run_void(account->close());
    account.reset();
  }
  Result<void> reopen() {
    close();
    return open();
  }

  // The operations, run to their end.
  Result<RequestResult> append(std::string_view text, std::string mailbox = "INBOX", uint16_t flags = 0,
                               std::vector<std::string> keywords = {}, RequestId id = {}) {
    NewMessage message;
    message.mailbox = std::move(mailbox);
    message.content = text;
    message.flags = flags;
    message.keywords = std::move(keywords);
    message.request_id = id;
    return run(account->append(std::move(message)));
  }
  Result<RequestResult> flag(uint32_t box, std::vector<UidRange> uids, FlagsMode mode, uint16_t flags,
                             std::vector<std::string> keywords = {}, uint64_t unchanged_since = 0,
                             RequestId id = {}) {
    return run(
        account->store_flags({box, std::move(uids), mode, flags, std::move(keywords), unchanged_since, id}));
  }
  Result<RequestResult> expunge(uint32_t box, std::vector<UidRange> uids, bool only_deleted = false,
                                RequestId id = {}) {
    return run(account->expunge(box, std::move(uids), only_deleted, id));
  }
  Result<RequestResult> copy(uint32_t from, std::string to, std::vector<UidRange> uids, bool move = false,
                             RequestId id = {}) {
    return run(account->copy(from, std::move(to), std::move(uids), move, id));
  }
  Result<RequestResult> create(std::string name, RequestId id = {}) {
    return run(account->create_mailbox(std::move(name), id));
  }
  Result<RequestResult> rename(std::string from, std::string to, RequestId id = {}) {
    return run(account->rename_mailbox(std::move(from), std::move(to), id));
  }
  Result<std::string> fetch(uint32_t box, uint32_t uid, uint64_t offset = 0, uint64_t bytes = 1u << 20) {
    return run(account->fetch(box, uid, offset, bytes));
  }
  const MailboxState* box(std::string_view name) const { return account->state().mailbox(name); }
  uint32_t id(std::string_view name) const { return box(name) == nullptr ? 0 : box(name)->id; }

  SimWorld& world;
  SimLoop& loop;
  SimLoop& outside;  // carries out what the store was asked for, also after the process has died
  MemoryStore inner;
  FaultyStore store;
  SliceFiles slices;
  uint64_t epoch;
  bool lease = true;
  AccountLogOptions log_options;
  AccountOptions options;
  std::shared_ptr<Account> account;
};

template <class T>
Code code_of(const Result<T>& result) {
  return result ? Code::kOk : result.error().code();
}

inline std::vector<uint32_t> uids_of(const MailboxState& box) {
  std::vector<uint32_t> uids;
  for (const MessageRow& row : box.rows) uids.push_back(row.uid);
  return uids;
}

// Everything that a client could see of an account.
inline std::string picture_of(const AccountState& state) {
  std::string out =
      fmt::format("messages {} bytes {} modseq {} next {} last {}\n", state.messages(), state.bytes(),
                  state.highest_modseq(), state.next_mailbox_id(), state.last_uidvalidity());
  for (const auto& [id, box] : state.mailboxes()) {
    out += fmt::format("{} {} validity {} next {} created {} modseq {} floor {} bytes {} unseen {}\n", id,
                       box.name, box.uidvalidity, box.uidnext, box.created_modseq, box.highest_modseq,
                       box.floor, box.bytes, box.unseen);
    for (const MessageRow& row : box.rows) {
      out += fmt::format("  {} {} {} {} {} {}", row.uid, row.size, row.modseq, row.date_seconds,
                         row.zone_minutes, row.flags & kSystemFlagsMask);
      for (uint16_t keyword : state.keyword_sets().get(row.keyword_set))
        out += " " + *state.keyword_name(keyword);
      out += "\n";
    }
    for (const ExpungedRange& range : box.expunged) {
      out += fmt::format("  gone {}-{} at {}\n", range.first, range.last, range.modseq);
    }
  }
  for (const std::string& name : state.subscriptions()) out += "subscribed " + name + "\n";
  return out;
}

class AccountTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(backend.open()); }
  void TearDown() override { backend.close(); }
  // The same account as another process sees it.
  std::string seen_by_another() {
    Backend other(world, disk, backend.epoch + 100);
    EXPECT_TRUE(other.open());
    std::string picture = picture_of(other.account->state());
    EXPECT_THAT(other.account->damages(), testing::IsEmpty());
    other.close();
    return picture;
  }
  std::string picture() { return picture_of(backend.account->state()); }

  SimWorld world{1};
  MemoryDisk disk;
  Backend backend{world, disk};
};

}  // namespace canopy
