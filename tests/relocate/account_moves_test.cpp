// One account on its way from layout to layout: wherever the way is interrupted, all of it is found and stays
// whole.
#include "account_fixture.h"
#include "daemon/account/suspended_marks.h"
#include "daemon/relocate/folders.h"
#include "daemon/relocate/relocation_pass.h"
#include "daemon/store/store_path.h"

namespace canopy {
namespace {

constexpr const char* kFolderings[] = {"flat", "1", "2-1", "hash-1-1"};
constexpr int64_t kFastIndexes[] = {0, 1, 2};

dict::Dict layout_settings(const std::string& foldering, int64_t fast_index) {
  dict::Dict settings;
  settings.set(kAccountFolderingKey, foldering);
  settings.set(kFastIndexKey, fast_index);
  return settings;
}

class AccountMoves : public testing::Test {
 protected:
  AccountMoves() { restart(1); }
  ~AccountMoves() override { stop(); }

  void stop() {
    if (accounts) backend->run_void(accounts->close_all());
    accounts.reset();
    files.reset();
    backend.reset();
  }
  // Another process over the same disk, with what the domain's settings say now.
  void restart(uint64_t number) {
    stop();
    backend = std::make_unique<Backend>(world, disk, kEpoch + number, false, number);
    files = std::make_unique<SettingsFiles>(backend->store, kEpoch + number, 0);
    accounts = std::make_unique<Accounts>(backend->environment(), *files, AccountsOptions{});
    accounts->set_domains(table);
  }
  void put(dict::Dict settings) {
    auto next = std::make_shared<DomainTable>(*table);
    auto made = make_domain(next->tree, "company.com", {{1, 1}, std::move(settings)});
    ASSERT_TRUE(made) << made.error().to_string();
    domain = *made;
    next->domains["company.com"] = domain;
    table = next;
    accounts->set_domains(table);
  }
  void change_layout(const std::string& foldering, int64_t fast_index) {
    const auto layout = TreeLayout::make(*Foldering::parse("flat"), *Foldering::parse(foldering),
                                         static_cast<uint32_t>(fast_index));
    ASSERT_TRUE(layout);
    dict::Dict settings = layout_settings(foldering, fast_index);
    ASSERT_TRUE(supersede(*domain, *layout, settings));
    put(std::move(settings));
  }
  void create(const AccountAddress& of) {
    ASSERT_TRUE(backend->run(make_directories(backend->store, domain->directory(), 0700, Durable::kYes)));
    dict::Dict settings;
    settings.set("Colour", "green");
    ASSERT_TRUE(backend->run(accounts->create(of, std::move(settings))));
    ASSERT_TRUE(append(of, "first"));
    ASSERT_TRUE(count_up(of));
  }
  Result<RequestResult> append(const AccountAddress& of, std::string_view text) {
    auto account = backend->run(accounts->open(of));
    if (!account) return fail(account.error());
    NewMessage message;
    message.content = text;
    return backend->run((*account)->append(std::move(message)));
  }
  Result<dict::Version> count_up(const AccountAddress& of) {
    return backend->run(accounts->change_info(of, 0, [](dict::Dict& info) -> Result<void> {
      info.set("Count", info.number_or("Count", 0) + 1);
      return {};
    }));
  }
  // Everything of it is found by what users do.
  void expect_whole(const AccountAddress& of, size_t messages, int64_t count) {
    auto settings = backend->run(accounts->settings(of));
    ASSERT_TRUE(settings) << settings.error().to_string();
    EXPECT_EQ((*settings)->own.dict.string_or("Colour", ""), "green");
    auto info = backend->run(accounts->info(of));
    ASSERT_TRUE(info) << info.error().to_string();
    EXPECT_EQ(info->dict.number_or("Count", 0), count);
    auto account = backend->run(accounts->open(of));
    ASSERT_TRUE(account) << account.error().to_string();
    EXPECT_EQ((*account)->state().mailbox("INBOX")->rows.size(), messages);
  }
  Result<Accounts::Relocated> relocate(const AccountAddress& of) {
    auto place = backend->run(accounts->place(of));
    if (!place) return fail(place.error());
    return backend->run(accounts->relocate(of, place->directory));
  }
  bool exists(const std::string& path) { return disk.attributes(path).has_value(); }
  // It lies where the newest layout says, and nowhere else.
  void expect_at_newest(const AccountAddress& of, const std::vector<TreeLayout>& others) {
    const AccountPlace place = place_under(domain->layout, of);
    EXPECT_TRUE(exists(place.directory));
    EXPECT_TRUE(exists(place.settings_file));
    EXPECT_TRUE(exists(place.info_file));
    for (const TreeLayout& other : others) {
      const AccountPlace old = place_under(other, of);
      if (old.directory != place.directory) EXPECT_FALSE(exists(old.directory)) << old.directory;
      if (old.settings_file != place.settings_file)
        EXPECT_FALSE(exists(old.settings_file)) << old.settings_file;
      if (old.info_file != place.info_file) EXPECT_FALSE(exists(old.info_file)) << old.info_file;
    }
  }

  SimWorld world{1};
  MemoryDisk disk;
  std::shared_ptr<const DomainTable> table = std::make_shared<DomainTable>();
  std::shared_ptr<const Domain> domain;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<SettingsFiles> files;
  std::unique_ptr<Accounts> accounts;
};

// From every layout to every other one: used before it moves, moved, and used again.
TEST_F(AccountMoves, BetweenAllPairsOfLayouts) {
  int number = 0;
  for (const char* from : kFolderings) {
    for (int64_t from_index : kFastIndexes) {
      for (const char* to : kFolderings) {
        for (int64_t to_index : kFastIndexes) {
          SCOPED_TRACE(fmt::format("{} {} to {} {}", from, from_index, to, to_index));
          const AccountAddress of{fmt::format("jsmith{}", ++number), "company.com"};
          put(layout_settings(from, from_index));
          create(of);
          change_layout(to, to_index);
          const std::vector<TreeLayout> older = domain->older;
          expect_whole(of, 1, 1);
          ASSERT_TRUE(append(of, "second"));
          ASSERT_TRUE(count_up(of));
          auto moved = relocate(of);
          ASSERT_TRUE(moved) << moved.error().to_string();
          EXPECT_EQ(*moved == Accounts::Relocated::kMoved, !older.empty());
          expect_at_newest(of, older);
          expect_whole(of, 2, 2);
          ASSERT_TRUE(append(of, "third"));
          ASSERT_TRUE(count_up(of));
          expect_whole(of, 3, 3);
          auto again = relocate(of);
          ASSERT_TRUE(again);
          EXPECT_EQ(*again, Accounts::Relocated::kNothing);
        }
      }
    }
  }
}

// The process ends right before each operation of the move in turn; the next one finds everything, and moves
// on, or back to where it came from.
TEST_F(AccountMoves, CutOffAtEveryStep) {
  uint64_t process = 1;
  for (const bool back : {false, true}) {
    for (uint64_t steps = 1;; ++steps) {
      SCOPED_TRACE(fmt::format("cut off at step {}, back {}", steps, back));
      const AccountAddress of{fmt::format("jsmith{}-{}", steps, back), "company.com"};
      put(layout_settings("2-1", 2));
      create(of);
      change_layout("hash-1", 1);
      const std::string seen = backend->run(accounts->place(of))->directory;
      const uint64_t from = backend->store.operations();
      backend->store.on_operation([&](uint64_t index, StoreOperation, std::string_view) {
        if (index >= from + steps) backend->store.halt();
      });
      auto moved =
          world.run_until_done(backend->loop, accounts->relocate(of, seen), world.now() + 60 * kSecond);
      const bool ended = moved.has_value();
      world.kill(backend->loop);
      accounts.reset();
      restart(++process);
      expect_whole(of, 1, 1);
      if (back) change_layout("2-1", 2);
      ASSERT_TRUE(count_up(of));
      ASSERT_TRUE(append(of, "second"));
      auto again = relocate(of);
      ASSERT_TRUE(again) << again.error().to_string();
      expect_at_newest(of, domain->older);
      expect_whole(of, 2, 2);
      if (ended) break;
    }
  }
}

// A copy of settings that a move between stores has left behind does not count, and goes.
TEST_F(AccountMoves, AnOlderCopyThatWasLeftDoesNotCount) {
  const AccountAddress of{"jsmith", "company.com"};
  put(layout_settings("flat", 0));
  create(of);
  const std::string left = place_under(domain->layout, of).info_file;
  auto text = backend->run(read_file(backend->store, left, kDictBytesMax));
  ASSERT_TRUE(text);
  change_layout("flat", 1);
  ASSERT_TRUE(relocate(of));
  ASSERT_TRUE(count_up(of));
  // As if the file at the old place had not been removed; then back to the layout that has it first.
  OpenOptions options;
  options.write = options.create = true;
  auto file = disk.open(left, options);
  ASSERT_TRUE(file);
  const std::string_view piece = *text;
  ASSERT_TRUE(disk.write(*file, false, 0, std::span(&piece, 1), Durable::kYes));
  disk.close(*file);
  change_layout("flat", 0);
  restart(2);
  expect_whole(of, 1, 2);
  ASSERT_TRUE(relocate(of));
  expect_whole(of, 1, 2);
  expect_at_newest(of, domain->older);
}

// Before a superseded layout is forgotten, settings that no account has there go; those of accounts stay, as
// do those of an account whose directory other hands have, and what was never made here.
TEST_F(AccountMoves, SettingsOfNobodyUnderASupersededLayoutGo) {
  const AccountAddress of{"jsmith", "company.com"}, nobody{"nobody", "company.com"},
      moved{"ann", "company.com"}, away{"away", "company.com"}, foreign{"foreign", "company.com"};
  put(layout_settings("1", 2));
  create(of);
  create(moved);
  const std::string left = domain->layout.settings_file(nobody), copy = domain->layout.settings_file(moved);
  const std::string unknown = std::string(store_parent_of(left)) + "/No Body.settings";
  const std::string of_away = domain->layout.settings_file(away);
  const std::string of_foreign = domain->layout.settings_file(foreign);
  ASSERT_TRUE(backend->run(mark_suspended(*files, away, "")));
  change_layout("1", 1);
  ASSERT_TRUE(relocate(moved));
  auto text = backend->run(read_file(backend->store, domain->layout.settings_file(moved), kDictBytesMax));
  ASSERT_TRUE(text);
  for (const std::string& path : {left, copy, unknown, of_away, of_foreign}) {
    const std::string_view piece = path == of_foreign ? "{}" : std::string_view(*text);
    ASSERT_TRUE(backend->run(
        make_directories(backend->store, std::string(store_parent_of(path)), 0700, Durable::kYes)));
    OpenOptions options;
    options.write = options.create = true;
    auto file = disk.open(path, options);
    ASSERT_TRUE(file);
    ASSERT_TRUE(disk.write(*file, false, 0, std::span(&piece, 1), Durable::kYes));
    disk.close(*file);
  }
  std::set<std::string> met;
  auto visit = [&](std::vector<AccountAddress> page) -> Task<Result<void>> {
    for (const AccountAddress& address : page) {
      met.insert(address.account);
      auto gone = co_await accounts->remove_files_elsewhere(domain, address);
      EXPECT_EQ(gone.has_value(), address.account != of.account && address.account != away.account);
      // While it may come back at an older place, the layouts that lead there stay.
      if (address.account == away.account) EXPECT_EQ(code_of(gone), Code::kBusy);
    }
    co_return Result<void>();
  };
  ASSERT_TRUE(backend->run(visit_files_elsewhere(backend->store, domain, visit)));
  EXPECT_EQ(met, (std::set<std::string>{"ann", "away", "foreign", "jsmith", "nobody"}));
  EXPECT_FALSE(exists(left));
  EXPECT_FALSE(exists(copy));
  for (const std::string& path : {unknown, of_away, of_foreign}) EXPECT_TRUE(exists(path)) << path;
  expect_whole(of, 1, 1);
  expect_whole(moved, 1, 1);
  ASSERT_TRUE(relocate(of));
  expect_at_newest(of, domain->older);
  expect_at_newest(moved, domain->older);
}

TEST_F(AccountMoves, OneThatSomebodyGoesOnUsingStaysForNow) {
  const AccountAddress of{"jsmith", "company.com"};
  put(layout_settings("flat", 0));
  create(of);
  change_layout("1", 0);
  auto used = backend->run(accounts->open(of));
  ASSERT_TRUE(used);
  auto moved = relocate(of);
  ASSERT_TRUE(moved);
  EXPECT_EQ(*moved, Accounts::Relocated::kInUse);
  NewMessage message;
  message.content = "while in use";
  EXPECT_TRUE(backend->run((*used)->append(std::move(message))));
  used->reset();
  moved = relocate(of);
  ASSERT_TRUE(moved);
  EXPECT_EQ(*moved, Accounts::Relocated::kMoved);
  expect_whole(of, 2, 1);
}

// A rename that a process sent before it was succeeded, and that comes while its successor serves the
// account.
TEST_F(AccountMoves, OneThatIsMovedWhileItIsReadIsLookedForAnew) {
  const AccountAddress of{"jsmith", "company.com"};
  put(layout_settings("flat", 0));
  create(of);
  const std::string from = domain->layout.account_directory(of);
  change_layout("1", 0);
  auto used = backend->run(accounts->open(of));
  ASSERT_TRUE(used);
  const uint32_t inbox = (*used)->state().mailbox("INBOX")->id;
  const std::string to = domain->layout.account_directory(of);
  ASSERT_TRUE(disk.make_directory(to.substr(0, to.rfind('/')), 0700, Durable::kYes));
  ASSERT_TRUE(disk.rename(from, to, RenameMode::kNoReplace, Durable::kYes));
  for (const DirectoryEntry& entry : disk.list(to, 0)->entries)
    backend->slices.forget(backend->store, from + "/" + entry.name);  // as when many are open
  EXPECT_EQ(backend->run((*used)->fetch(inbox, 1, 0, 100)).error().code(), Code::kTryAgain);
  used->reset();
  (void)backend->run(accounts->open(of));  // is told that it is not there any more
  auto anew = backend->run(accounts->open(of));
  ASSERT_TRUE(anew) << anew.error().to_string();
  auto read = backend->run((*anew)->fetch(inbox, 1, 0, 100));
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(*read, "first");
}

// Of two directories of one name the one that counts moves, whichever of them a walk meets first.
TEST_F(AccountMoves, ASecondDirectoryOfANameIsNamedAndDoesNotBecomeTheAccount) {
  const AccountAddress of{"jsmith", "company.com"};
  put(layout_settings("2-1", 0));
  create(of);
  change_layout("1", 0);
  change_layout("flat", 0);
  const std::string second = "SharedDomains/company.com/old.sub/jsmith.macnt";
  ASSERT_TRUE(backend->run(make_directories(backend->store, second, 0700, Durable::kYes)));
  restart(2);
  auto moved = backend->run(accounts->relocate(of, second));
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code(), Code::kConflict);
  EXPECT_EQ(moved.error().object(), second);
  EXPECT_TRUE(exists(second));
  ASSERT_TRUE(relocate(of));
  expect_whole(of, 1, 1);
  expect_at_newest(of, domain->older);
  // One that is not there any more was seen before it moved.
  ASSERT_TRUE(backend->run(backend->store.remove_directory(second, Durable::kYes)));
  restart(3);
  moved = backend->run(accounts->relocate(of, second));
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_EQ(*moved, Accounts::Relocated::kNothing);
  expect_whole(of, 1, 1);
}

// A session that locks the maildrop while the account moves keeps it.
TEST_F(AccountMoves, AMaildropStaysLockedWhileItsAccountMoves) {
  const AccountAddress of{"jsmith", "company.com"};
  put(layout_settings("flat", 0));
  create(of);
  change_layout("1", 0);
  restart(2);
  std::optional<uint64_t> lock;
  accounts->on_move([&](const AccountAddress& address, bool begins) {
    if (!begins) return;
    auto locked = accounts->lock_maildrop(address, world.now() + 600 * kSecond);
    ASSERT_TRUE(locked);
    lock = *locked;
  });
  auto moved = backend->run(accounts->relocate(of, domain->older.front().account_directory(of)));
  ASSERT_TRUE(moved);
  EXPECT_EQ(*moved, Accounts::Relocated::kMoved);
  ASSERT_TRUE(lock);
  EXPECT_EQ(code_of(accounts->lock_maildrop(of, world.now() + kSecond)), Code::kBusy);
  accounts->unlock_maildrop(of, *lock);
  EXPECT_TRUE(accounts->lock_maildrop(of, world.now() + kSecond));
}

// What is remembered of a name under which there is no account must not hide another one's info.
TEST_F(AccountMoves, NoInfoIsRememberedOfANameWithoutAnAccount) {
  const AccountAddress of{"jsmith", "company.com"}, free{"zoe", "company.com"};
  put(layout_settings("1", 1));
  create(of);
  EXPECT_EQ(code_of(backend->run(accounts->info(free))), Code::kNotFound);
  ASSERT_TRUE(backend->run(accounts->rename(of, free)));
  expect_whole(free, 1, 1);
  ASSERT_TRUE(count_up(free));
  expect_whole(free, 1, 2);
}

// Two that get the same name at once: one of them has it, with its own settings; the other stays as it was.
TEST_F(AccountMoves, OfTwoThatWantANameAtOnceOneGetsIt) {
  put(layout_settings("1", 1));
  for (int round = 0; round < 8; ++round) {
    SCOPED_TRACE(round);
    const AccountAddress name{fmt::format("zoe{}", round), "company.com"};
    const AccountAddress both[] = {{fmt::format("ann{}", round), "company.com"},
                                   {fmt::format("bob{}", round), "company.com"}};
    for (const AccountAddress& of : both) {
      ASSERT_TRUE(backend->run(make_directories(backend->store, domain->directory(), 0700, Durable::kYes)));
      dict::Dict settings;
      settings.set("Colour", of.account);
      ASSERT_TRUE(backend->run(accounts->create(of, std::move(settings))));
    }
    auto rename = [](Accounts& in, Loop& loop, Nanos after, AccountAddress from,
                     AccountAddress to) -> Task<Result<void>> {
      co_await loop.sleep(after);
      co_return co_await in.rename(std::move(from), std::move(to));
    };
    std::vector<Task<Result<void>>> at_once;
    at_once.push_back(rename(*accounts, backend->loop, round * kMillisecond / 4, both[0], name));
    at_once.push_back(rename(*accounts, backend->loop, 0, both[1], name));
    auto all = [](Loop& loop,
                  std::vector<Task<Result<void>>> tasks) -> Task<Result<std::vector<Result<void>>>> {
      co_return co_await join_all(loop, std::move(tasks));
    };
    auto done = backend->run(all(backend->loop, std::move(at_once)));
    ASSERT_TRUE(done);
    ASSERT_NE((*done)[0].has_value(), (*done)[1].has_value());
    const size_t winner = (*done)[0] ? 0 : 1;
    restart(static_cast<uint64_t>(2 + round));
    for (const auto& [at, was] : {std::pair(name, winner), std::pair(both[1 - winner], 1 - winner)}) {
      auto settings = backend->run(accounts->settings(at));
      ASSERT_TRUE(settings) << settings.error().to_string();
      EXPECT_EQ((*settings)->own.dict.string_or("Colour", ""), both[was].account);
    }
  }
}

TEST_F(AccountMoves, AnAccountThatLiesUnderAnOlderLayoutIsNotMadeAgain) {
  const AccountAddress of{"jsmith", "company.com"};
  put(layout_settings("flat", 0));
  create(of);
  change_layout("1", 2);
  restart(2);
  EXPECT_EQ(code_of(backend->run(accounts->create(of, {}))), Code::kAlreadyExists);
  const AccountAddress other{"zoe", "company.com"};
  ASSERT_TRUE(backend->run(accounts->create(other, {})));
  EXPECT_EQ(code_of(backend->run(accounts->rename(of, other))), Code::kAlreadyExists);
  ASSERT_TRUE(backend->run(accounts->remove(of)));
  EXPECT_EQ(code_of(backend->run(accounts->settings(of))), Code::kNotFound);
}

TEST_F(AccountMoves, AWalkMeetsEachAccountOnceAndEmptyFoldersGo) {
  put(layout_settings("2-1", 2));
  for (int i = 0; i < 40; ++i)
    create(AccountAddress{fmt::format("{}user{}", static_cast<char>('a' + i % 7), i), "company.com"});
  change_layout("1", 0);
  std::map<std::string, int> met;
  NamesRemembered remembered;
  RelocationPass pass(
      backend->store, domain, &remembered,
      [&](std::vector<SeenAccount> page) -> Task<bool> {
        for (SeenAccount& seen : page) {
          ++met[seen.address.account];
          EXPECT_TRUE(may_have_to_move(*domain, seen));
          EXPECT_TRUE(co_await accounts->relocate(seen.address, seen.directory));
        }
        co_return true;
      },
      [] { return false; });
  auto whole = backend->run(pass.run());
  ASSERT_TRUE(whole);
  EXPECT_TRUE(*whole);
  EXPECT_EQ(met.size(), 40u);
  EXPECT_EQ(remembered.count, 0u);
  ASSERT_TRUE(backend->run(sync_folders(backend->store, domain, 0)));
  ASSERT_TRUE(backend->run(remove_empty_folders(backend->loop, backend->store, domain)));
  EXPECT_FALSE(exists("SharedDomains/company.com/fast"));
  EXPECT_FALSE(exists("SharedDomains/company.com/au.sub"));
  EXPECT_TRUE(exists("SharedDomains/company.com/a.sub"));
  for (const auto& [name, times] : met) expect_at_newest(AccountAddress{name, "company.com"}, domain->older);
}

// More folders than are synced one by one, and all of them removed as the walk has met them.
TEST_F(AccountMoves, WhatHasMovedOutOfManyFoldersSurvivesAPowerCutOnceTheyAreSynced) {
  put(layout_settings("hash-1-1", 0));
  std::vector<AccountAddress> all;
  for (int i = 0; i < 120; ++i) create(all.emplace_back(fmt::format("user{}", i), "company.com"));
  change_layout("1", 0);
  NamesRemembered remembered;
  std::atomic<uint64_t> left_alone = 0;
  auto walk = [&](size_t& handed_on) {
    RelocationPass pass(
        backend->store, domain, &remembered,
        [&](std::vector<SeenAccount> page) -> Task<bool> {
          handed_on += page.size();
          for (SeenAccount& seen : page)
            EXPECT_TRUE(co_await accounts->relocate(seen.address, seen.directory));
          co_return true;
        },
        [] { return false; });
    pass.leave_alone(left_alone);
    auto whole = backend->run(pass.run());
    EXPECT_TRUE(whole && *whole);
    EXPECT_EQ(pass.folders().size(), pass.folder_count());
    return pass.folders();
  };
  size_t first = 0, second = 0;
  walk(first);
  EXPECT_EQ(first, all.size());
  left_alone = 0;
  const std::vector<std::string> folders = walk(second);
  EXPECT_EQ(second, 0u);
  EXPECT_EQ(left_alone, all.size());
  ASSERT_GT(folders.size(), kSyncedOneByOneMax);
  EXPECT_GT(disk.unsynced_changes(), 0u);
  ASSERT_TRUE(backend->run(sync_folders(backend->store, domain, folders.size())));
  EXPECT_EQ(disk.unsynced_changes(), 0u);
  const std::vector<TreeLayout> older = domain->older;
  stop();
  disk.crash(7);
  restart(2);
  ASSERT_TRUE(backend->run(remove_empty_folders(backend->loop, backend->store, domain, &folders)));
  for (const std::string& folder : folders)
    EXPECT_EQ(exists(folder), folder == "SharedDomains/company.com/u.sub") << folder;
  for (const AccountAddress& of : all) {
    expect_at_newest(of, older);
    expect_whole(of, 1, 1);
  }
}

TEST_F(AccountMoves, AWalkGoesByFileNumbersAndLeavesNoneOutWhereOthersRememberAsManyNamesAsTheyMay) {
  put(layout_settings("flat", 0));
  for (int i = 300; i > 0; --i) create(AccountAddress{fmt::format("user{:03}", i), "company.com"});
  for (const bool full : {false, true}) {
    NamesRemembered remembered{full ? NamesRemembered::kMost : 0};
    std::vector<uint64_t> numbers;
    RelocationPass pass(
        backend->store, domain, &remembered,
        [&](std::vector<SeenAccount> page) -> Task<bool> {
          for (const SeenAccount& seen : page) {
            auto there = co_await backend->store.attributes(seen.directory);
            EXPECT_TRUE(there);
            if (there) numbers.push_back(there->file_id);
          }
          co_return true;
        },
        [] { return false; });
    auto whole = backend->run(pass.run());
    ASSERT_TRUE(whole);
    EXPECT_EQ(numbers.size(), 300u);
    if (!full) EXPECT_TRUE(std::ranges::is_sorted(numbers));
    EXPECT_EQ(remembered.count, full ? NamesRemembered::kMost : 0);
  }
}

TEST_F(AccountMoves, AWalkEndsWhenItIsToldAndVisitsWhatItMetBeforeAFolderThatCannotBeListed) {
  put(layout_settings("1", 0));
  for (const char* name : {"a1", "a2", "b1", "b2"}) create(AccountAddress{name, "company.com"});
  size_t met = 0;
  auto count = [&](std::vector<SeenAccount> page) -> Task<bool> {
    met += page.size();
    co_return true;
  };
  NamesRemembered remembered;
  {
    RelocationPass ended(backend->store, domain, &remembered, count, [] { return true; });
    auto whole = backend->run(ended.run());
    ASSERT_TRUE(whole);
    EXPECT_FALSE(*whole);
    EXPECT_EQ(met, 0u);
  }
  {
    int listed = 0;
    RelocationPass failing(backend->store, domain, &remembered, count, [&] {
      if (++listed == 3) backend->store.set_plan({.error = 1});
      return false;
    });
    EXPECT_FALSE(backend->run(failing.run()));
    EXPECT_EQ(met, 2u);
  }
  EXPECT_EQ(remembered.count, 0u);
}

}  // namespace
}  // namespace canopy
