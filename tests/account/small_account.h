// A small account as the daemon writes it, on a memory disk, for the tests of what is read back: mailboxes,
// keywords, flags, copies, a message in parts, expunges, over several slices. Each process has a world of its
// own, so that thousands of them cost the same each.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "daemon/account/account.h"
#include "daemon/runtime/sim_loop.h"
#include "daemon/store/memory/memory_store.h"

namespace canopy {

inline constexpr char kSmallAccount[] = "SharedDomains/company.com/jsmith.macnt";
inline constexpr uint64_t kFirstEpoch = (1ull << 32) | 1;

// One process that has the account open.
class AccountProcess {
 public:
  AccountProcess(MemoryDisk& disk, uint64_t epoch, MemoryStoreOptions store_options = {})
      : world_(epoch + store_options.seed),
        loop_(world_.add_loop("backend")),
        store_(&loop_, disk, store_options),
        epoch_(epoch) {
    options.checkpoint_tail_bytes = 1u << 30;  // no checkpoint unless a test asks for one
  }

  template <class T>
  Result<T> run(Task<Result<T>> task) {
    auto result = world_.run_until_done(loop_, std::move(task));
    if (!result) return fail(Code::kInternal, "test", "the task did not end");
    return std::move(*result);
  }
  Result<void> open() {
    LogEnvironment environment;
    environment.store = &store_;
    environment.loop = &loop_;
    environment.files = &files_;
    environment.epoch = epoch_;
    environment.options.copy_chunk_bytes = 16u << 10;
    CANOPY_TRY(run(make_directories(store_, std::string(kSmallAccount), 0700, Durable::kYes)));
    CANOPY_ASSIGN(account, run(Account::open(environment, "jsmith@company.com", kSmallAccount, options)));
    return {};
  }
  void close() {
    world_.run_until_done(loop_, account->close());
    world_.run_for(kSecond);  // what was dropped is removed
    account.reset();
  }
  Store& store() { return store_; }
  SimWorld& world() { return world_; }
  SimLoop& loop() { return loop_; }

  void deliver(std::string mailbox, std::string content, uint16_t flags = 0,
               std::vector<std::string> keywords = {}) {
    NewMessage message;
    message.mailbox = std::move(mailbox);
    message.content = content;
    message.date_seconds = 1'700'000'000 + static_cast<int64_t>(content.size());
    message.zone_minutes = -210;
    message.flags = flags;
    message.keywords = std::move(keywords);
    auto done = run(account->append(std::move(message)));
    ASSERT_TRUE(done) << done.error().to_string();
  }
  void deliver_in_parts(const std::vector<std::string>& parts) {
    account->upload_begin();
    NewMessage message;
    message.date_seconds = 1'700'000'777;
    for (const std::string& bytes : parts) {
      auto part = run(account->upload(bytes));
      ASSERT_TRUE(part);
      message.parts.push_back(*part);
      message.parts_bytes += bytes.size();
    }
    auto done = run(account->append(std::move(message)));
    account->upload_end();
    ASSERT_TRUE(done) << done.error().to_string();
  }

  AccountOptions options;
  std::shared_ptr<Account> account;

 private:
  SimWorld world_;
  SimLoop& loop_;
  MemoryStore store_;
  SliceFiles files_;
  uint64_t epoch_;
};

inline std::string small_content(int number, size_t size = 90) {
  std::string text = "Subject: number " + std::to_string(number) + "\r\n\r\n";
  uint64_t x = static_cast<uint64_t>(number) * 0x9E3779B97F4A7C15ull + 1;
  while (text.size() < size) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    text.push_back(static_cast<char>('!' + x % 90));
  }
  return text;
}

struct SmallAccountShape {
  bool compacted = false;
  bool checkpoint = false;  // the last process leaves one that covers everything
};

inline void ok(const auto& result) { ASSERT_TRUE(result) << result.error().to_string(); }

// Leaves an account of two append slices; or, compacted, of one data slice and two append slices.
inline void write_small_account(MemoryDisk& disk, SmallAccountShape shape) {
  {
    AccountProcess first(disk, kFirstEpoch);
    ok(first.open());
    first.deliver("", small_content(1));
    first.deliver("", small_content(2), kFlagSeen, {"$Forwarded", "later"});
    ok(first.run(first.account->create_mailbox("Archive/2026", RequestId{1})));
    first.deliver_in_parts({small_content(3, 50), small_content(4, 61)});
    first.deliver("", small_content(5, 33));
    ok(first.run(first.account->copy(1, "Archive", {{1, 2}}, false, RequestId{2})));
    ok(first.run(first.account->copy(1, "Archive/2026", {{4, 4}}, true, RequestId{3})));
    StoreFlags flags;
    flags.mailbox_id = 1;
    flags.uids = {{1, 3}};
    flags.mode = FlagsMode::kAdd;
    flags.flags = kFlagFlagged;
    flags.keywords = {"later"};
    ok(first.run(first.account->store_flags(flags)));
    ok(first.run(first.account->subscribe("Archive", true, RequestId{})));
    if (shape.compacted) ok(first.run(first.account->compact()));
    first.close();
  }
  AccountProcess second(disk, kFirstEpoch + 1);
  if (shape.checkpoint) second.options.checkpoint_tail_bytes = 8;
  ok(second.open());
  second.deliver("Archive", small_content(6));
  ok(second.run(second.account->expunge(1, {{2, 2}}, false, RequestId{4})));
  second.deliver("", small_content(7), kFlagAnswered);
  ok(second.run(second.account->rename_mailbox("Archive/2026", "Old", RequestId{5})));
  second.deliver("", small_content(8, 40));
  second.close();
}

inline std::vector<std::string> account_files(MemoryDisk& disk) {
  std::vector<std::string> all;
  for (const auto& entry : disk.list(kSmallAccount, 0)->entries) all.push_back(entry.name);
  std::sort(all.begin(), all.end());
  return all;
}

inline std::string file_bytes(MemoryDisk& disk, const std::string& name) {
  const std::string path = std::string(kSmallAccount) + "/" + name;
  auto id = disk.open(path, OpenOptions{});
  std::string bytes(disk.attributes(path)->size, '\0');
  EXPECT_TRUE(disk.read(*id, false, 0, std::span<char>(bytes)));
  disk.close(*id);
  return bytes;
}

inline void write_file(MemoryDisk& disk, const std::string& name, std::string_view bytes) {
  OpenOptions options;
  options.write = options.create = options.truncate = true;
  auto id = disk.open(std::string(kSmallAccount) + "/" + name, options);
  ASSERT_TRUE(id);
  const std::string_view pieces[] = {bytes};
  ASSERT_TRUE(disk.write(*id, false, 0, pieces, Durable::kYes));
  disk.close(*id);
}

}  // namespace canopy
