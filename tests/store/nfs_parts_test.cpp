// The parts of an NFS store that need no server: addresses, remembered names, the circuit breaker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/store/nfs/client.h"
#include "daemon/store/nfs/name_cache.h"
#include "daemon/store/nfs/nfs_options.h"
#include "daemon/store/nfs/server_health.h"

namespace canopy::nfs {
namespace {

TEST(NfsAddress, NamesHostExportAndParameters) {
  auto options = parse_nfs_address(
      "nfs://nas1.example/vol/mail%20store/"
      "?version=4&nfsport=12049&mountport=12050&uid=12&gid=34&connections=3");
  ASSERT_TRUE(options) << options.error().to_string();
  EXPECT_EQ(options->host, "nas1.example");
  EXPECT_EQ(options->export_path, "/vol/mail store");
  EXPECT_EQ(options->version, 4u);
  EXPECT_EQ(options->nfs_port, 12049);
  EXPECT_EQ(options->mount_port, 12050);
  EXPECT_EQ(options->uid, 12u);
  EXPECT_EQ(options->gid, 34u);
  EXPECT_EQ(options->connections, 3u);
  auto plain = parse_nfs_address("nfs://[2001:db8::1]/e");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->host, "2001:db8::1");
  EXPECT_EQ(plain->version, 3u);
  EXPECT_EQ(plain->uid, geteuid());
  EXPECT_EQ(plain->connections, 2u);
}

TEST(NfsAddress, WhatIsWrongIsRefusedByItsName) {
  const std::pair<std::string, std::string> rows[] = {
      {"http://h/e", "nfs://"},
      {"nfs:///e", "no host"},
      {"nfs://h", "no export"},
      {"nfs://h/", "no export"},
      {"nfs://h:2049/e", "nfsport="},
      {"nfs://[::1/e", "']'"},
      {"nfs://h/%zz", "hexadecimal"},
      {"nfs://h/%00", "hexadecimal"},
      {"nfs://h/%4", "hexadecimal"},
      {"nfs://h/e?version=2", "version=2"},
      {"nfs://h/e?version=", "version="},
      {"nfs://h/e?nfsport=0", "nfsport=0"},
      {"nfs://h/e?mountport=65536", "mountport=65536"},
      {"nfs://h/e?uid=-1", "uid=-1"},
      {"nfs://h/e?connections=17", "from 1 to 16"},
      {"nfs://h/e?soft=1", "soft=1: parameters are"},
      {"nfs://h/" + std::string(2000, 'x'), "at most 1024"},
  };
  for (const auto& [address, words] : rows) {
    auto options = parse_nfs_address(address);
    ASSERT_FALSE(options) << address;
    EXPECT_EQ(options.error().code(), Code::kInvalidArgument) << address;
    EXPECT_THAT(options.error().message(), testing::HasSubstr(words)) << address;
    EXPECT_EQ(options.error().object(), address);
  }
}

NamedFile file(uint64_t id) {
  return NamedFile{.handle = FileHandle(std::to_string(id)), .type = FileType::kRegular, .file_id = id};
}

struct Names : NameCache {
  using NameCache::NameCache;
  void put(std::string_view path, uint64_t id, Nanos now = 0) { learn(path, file(id), now, moment()); }
  uint64_t at(std::string_view path, Nanos now = 0) {
    const NamedFile* found = find(path, now);
    return found == nullptr ? 0 : found->file_id;
  }
};

TEST(NfsNames, AreBelievedForATimeAndTheLeastUsedGoFirst) {
  Names names(3, 10 * kSecond);
  names.put("a", 1);
  names.put("b", 2);
  names.put("c", 3);
  EXPECT_EQ(names.at("a", 10 * kSecond), 1u);
  EXPECT_EQ(names.at("a", 10 * kSecond + 1), 0u);
  EXPECT_EQ(names.at("b"), 2u);
  names.put("d", 4);
  EXPECT_EQ(names.size(), 3u);
  EXPECT_EQ(names.at("c"), 0u);
  EXPECT_EQ(names.at("a"), 1u);
  EXPECT_EQ(names.at("d"), 4u);
}

TEST(NfsNames, ForgettingTakesTheSubtreeAndNothingElse) {
  Names names(100, kSecond);
  for (auto [path, id] :
       {std::pair{"a", 1}, {"a/b", 2}, {"a/b/c", 3}, {"a/b-c", 4}, {"a/bc", 5}, {"a/b.d", 6}})
    names.put(path, static_cast<uint64_t>(id));
  names.forget("a/b");
  EXPECT_EQ(names.at("a"), 1u);
  EXPECT_EQ(names.at("a/b"), 0u);
  EXPECT_EQ(names.at("a/b/c"), 0u);
  EXPECT_EQ(names.at("a/b-c"), 4u);
  EXPECT_EQ(names.at("a/bc"), 5u);
  EXPECT_EQ(names.at("a/b.d"), 6u);
  names.forget_way("a/bc");
  EXPECT_EQ(names.at("a"), 0u);
  EXPECT_EQ(names.at("a/b-c"), 4u);
}

TEST(NfsNames, ARenameTakesWhatIsKnownBelowAlong) {
  Names names(100, kSecond);
  names.put("from", 1);
  names.put("from/x/y", 2);
  names.put("to", 3);
  names.put("to/old", 4);
  names.moved("from", "to");
  EXPECT_EQ(names.at("from"), 0u);
  EXPECT_EQ(names.at("from/x/y"), 0u);
  EXPECT_EQ(names.at("to"), 1u);
  EXPECT_EQ(names.at("to/x/y"), 2u);
  EXPECT_EQ(names.at("to/old"), 0u);
}

TEST(NfsNames, AnAnswerToAQuestionFromBeforeAChangeIsNotRemembered) {
  Names names(100, kSecond);
  const auto asked = names.moment();
  names.forget("a/b");
  names.learn("a/b", file(1), 0, asked);
  names.learn("a/b/c", file(2), 0, asked);
  names.learn("a/x", file(3), 0, asked);
  EXPECT_EQ(names.at("a/b"), 0u);
  EXPECT_EQ(names.at("a/b/c"), 0u);
  EXPECT_EQ(names.at("a/x"), 3u);
  names.learn("a/b", file(1), 0, names.moment());
  EXPECT_EQ(names.at("a/b"), 1u);
  // More changes than are kept: nothing that old is taken.
  const auto long_ago = names.moment();
  for (int i = 0; i < 65; ++i) names.forget("elsewhere");
  names.learn("a/new", file(9), 0, long_ago);
  EXPECT_EQ(names.at("a/new"), 0u);
}

TEST(NfsNames, StageDirectoriesAreKnownByTheirPath) {
  EXPECT_TRUE(is_in_stage(".canopy/stage/12.3/x"));
  EXPECT_TRUE(is_in_stage("prefix/.canopy/stage/12.3"));
  EXPECT_FALSE(is_in_stage(".canopy/stage"));
  EXPECT_FALSE(is_in_stage("x.canopy/stage/12.3"));
  EXPECT_FALSE(is_in_stage("SharedDomains/stage/x"));
}

TEST(NfsServerHealth, IsSlowAtTheFirstFailureDownAfterTheLimitAndUpAtTheFirstAnswer) {
  ServerHealth health(20 * kSecond, 0);
  EXPECT_FALSE(health.update(kSecond, kNever));
  EXPECT_EQ(health.state(), ServerState::kUp);
  health.failed(2 * kSecond, "connection refused");
  EXPECT_TRUE(health.update(2 * kSecond, kNever));
  EXPECT_EQ(health.state(), ServerState::kSlow);
  health.failed(15 * kSecond, "still refused");
  EXPECT_FALSE(health.update(22 * kSecond - 1, kNever));
  EXPECT_TRUE(health.update(22 * kSecond, kNever));
  EXPECT_EQ(health.state(), ServerState::kDown);
  EXPECT_EQ(health.last_problem(), "still refused");
  health.answered(30 * kSecond, kMillisecond);
  EXPECT_TRUE(health.update(30 * kSecond, kNever));
  EXPECT_EQ(health.state(), ServerState::kUp);
  EXPECT_EQ(health.since(), 30 * kSecond);
}

TEST(NfsServerHealth, IsSlowWhileAnAnswerIsLate) {
  ServerHealth health(20 * kSecond, 0);
  EXPECT_FALSE(health.update(kSecond, kSecond / 2));
  EXPECT_TRUE(health.update(2 * kSecond, kSecond));
  EXPECT_EQ(health.state(), ServerState::kSlow);
  health.answered(2 * kSecond, kSecond);
  EXPECT_FALSE(health.update(2 * kSecond + 1, kNever));
  EXPECT_TRUE(health.update(4 * kSecond, kNever));
  EXPECT_EQ(health.state(), ServerState::kUp);
}

TEST(NfsLatency, IsCountedInPowersOfTwo) {
  LatencyHistogram latency;
  EXPECT_EQ(latency.at_most(0.5), 0);
  for (int i = 0; i < 99; ++i) latency.add(100 * kMicrosecond);
  latency.add(5 * kSecond);
  EXPECT_EQ(latency.count(), 100u);
  EXPECT_EQ(latency.buckets[7], 99u);
  EXPECT_EQ(latency.at_most(0.5), 128 * kMicrosecond);
  EXPECT_EQ(latency.at_most(0.99), 128 * kMicrosecond);
  EXPECT_EQ(latency.at_most(1.0), (Nanos{1} << 23) * kMicrosecond);
  latency.add(kNever);
  EXPECT_EQ(latency.buckets.back(), 1u);
}

TEST(NfsUnsynced, OfClosedFilesTheLatestAreKnownAndOfOpenOnesAll) {
  UnsyncedFiles files(3);
  const auto handle = [](int number) { return FileHandle(std::to_string(number)); };
  auto write = [&](int number) {
    Unsynced* of = files.make(handle(number));
    if (of != nullptr) of->order = static_cast<uint64_t>(number);
    return of != nullptr;
  };
  for (int number : {1, 2, 3}) files.opened(handle(number));
  for (int number : {1, 2, 3}) EXPECT_TRUE(write(number));
  files.opened(handle(4));
  EXPECT_FALSE(write(4)) << "all are of open files";
  files.opened(handle(1));  // twice
  for (int number : {1, 2, 3}) files.closed(handle(number));
  EXPECT_TRUE(write(4));
  EXPECT_EQ(files.find(handle(2)), nullptr) << "it was closed first";
  ASSERT_NE(files.find(handle(1)), nullptr);
  ASSERT_NE(files.find(handle(3)), nullptr) << "of a file that is opened again the writes are known";
  files.opened(handle(3));
  files.opened(handle(5));
  EXPECT_FALSE(write(5));
  files.synced(handle(3));
  EXPECT_TRUE(write(5));
  files.closed(handle(3));
  EXPECT_EQ(files.size(), 3u);
}

TEST(NfsUnsynced, AFileThatWasClosedUnwrittenIsForgotten) {
  UnsyncedFiles files(1);
  files.opened(FileHandle("a"));
  EXPECT_NE(files.make(FileHandle("a")), nullptr);
  files.closed(FileHandle("a"));
  EXPECT_EQ(files.size(), 0u);
}

TEST(NfsBirthmarks, AreMultiplesOfWhatTheServerKeeps) {
  constexpr int64_t kNow = 1'700'000'000;
  Birthmarks exact;
  const FileTime mark = exact.next(kNow, 123'456'789);
  EXPECT_EQ(mark.seconds, kNow);
  EXPECT_EQ(mark.nanoseconds, 123'456'789u);
  exact.learn(mark, mark);
  exact.learn(mark, {.seconds = 17, .nanoseconds = 4});  // somebody has changed it
  EXPECT_EQ(exact.unit(), 1);
  for (auto [unit, kept] : {std::pair<Nanos, uint32_t>{100, 123'456'700},
                            {kMicrosecond, 123'456'000},
                            {kMillisecond, 123'000'000},
                            {kSecond, 0}}) {
    Birthmarks marks;
    marks.learn(mark, {.seconds = kNow, .nanoseconds = kept});
    EXPECT_EQ(marks.unit(), unit);
    const FileTime next = marks.next(kNow, (uint64_t{77} << 32) + 987'654'321);
    EXPECT_EQ(next.nanoseconds % std::min<Nanos>(unit, kSecond), 0u);
    EXPECT_LE(next.seconds, kNow);
    EXPECT_EQ(next.seconds<kNow, unit> kMicrosecond) << "too few multiples are in one second";
    marks.learn(next, next);
    EXPECT_EQ(marks.unit(), unit);
  }
}

}  // namespace
}  // namespace canopy::nfs
