// One account on its way from store to store: cut off at every step, with requests that fail, are lost or
// arrive late, and processes that succeed each other, it is whole at exactly one place that counts.
#include "account_fixture.h"
#include "daemon/account/account_copy.h"
#include "daemon/account/older_stages.h"
#include "daemon/relocate/mount_walk.h"
#include "daemon/store/departure.h"
#include "daemon/store/marker.h"
#include "daemon/store/set/store_set.h"

namespace canopy {
namespace {

constexpr char kFolder[] = "SharedDomains/company.com";

struct HoldsMemory {
  std::unique_ptr<MemoryStore> memory;
};

// What one store asks and is asked; its faults are the test's.
class Member final : public HoldsMemory, public Store {
 public:
  Member(SimLoop& loop, SimLoop& outside, MemoryDisk& disk, std::string name, bool shared, uint64_t seed)
      : HoldsMemory{std::make_unique<MemoryStore>(&outside, disk, MemoryStoreOptions{name, shared})},
        faulty(*memory, loop, Backend::quiet(), seed, &outside) {}
  ~Member() override {
    if (on_end) on_end(this);
  }

  std::string_view name() const override { return faulty.name(); }
  bool shared() const override { return faulty.shared(); }
  Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override {
    return faulty.open(std::move(path), options);
  }
  Task<Result<Attributes>> attributes(std::string path) override {
    return faulty.attributes(std::move(path));
  }
  Task<Result<void>> set_attributes(std::string path, SetAttributes change, Durable durable) override {
    return faulty.set_attributes(std::move(path), change, durable);
  }
  Task<Result<void>> make_directory(std::string path, uint32_t mode, Durable durable) override {
    return faulty.make_directory(std::move(path), mode, durable);
  }
  Task<Result<void>> remove_directory(std::string path, Durable durable) override {
    return faulty.remove_directory(std::move(path), durable);
  }
  Task<Result<void>> remove(std::string path, Durable durable) override {
    return faulty.remove(std::move(path), durable);
  }
  Task<Result<void>> rename(std::string from, std::string to, RenameMode mode, Durable durable) override {
    return faulty.rename(std::move(from), std::move(to), mode, durable);
  }
  Task<Result<void>> link(std::string from, std::string to, Durable durable) override {
    return faulty.link(std::move(from), std::move(to), durable);
  }
  Task<Result<void>> make_symlink(std::string target, std::string path, Durable durable) override {
    return faulty.make_symlink(std::move(target), std::move(path), durable);
  }
  Task<Result<std::string>> read_symlink(std::string path) override {
    return faulty.read_symlink(std::move(path));
  }
  Task<Result<DirectoryPage>> list(std::string path, uint64_t cookie, Listing listing) override {
    return faulty.list(std::move(path), cookie, listing);
  }
  Task<Result<void>> sync_directory(std::string path) override {
    return faulty.sync_directory(std::move(path));
  }
  Task<Result<StoreSpace>> space() override { return faulty.space(); }

  FaultyStore faulty;
  std::function<void(Member*)> on_end;
};

// The disks of three stores, which all processes share.
struct Disks {
  Disks() {
    for (const char* name : {"root", "one", "two"}) by_name[name] = std::make_unique<MemoryDisk>();
  }
  MemoryDisk& at(const std::string& name) { return *by_name.at(name); }
  std::map<std::string, std::unique_ptr<MemoryDisk>> by_name;
  std::vector<std::unique_ptr<MemoryStore>>
      kept;  // of members that have ended: late requests still come to them
};

// One process of a backend on them.
struct Process {
  Process(SimWorld& in, Disks& over, std::map<std::string, StoreConfig> of,
          std::shared_ptr<const Mounts> table, uint64_t own_epoch, bool shared)
      : world(in),
        disks(over),
        configs(std::move(of)),
        loop(in.add_loop("backend")),
        outside(in.add_loop("disks")),
        epoch(own_epoch),
        shared_stores(shared) {
    StoreSetOptions options;
    options.open = [this](StoreConfig config) -> Task<Result<std::unique_ptr<Store>>> {
      if (away.contains(config.name)) co_return fail(Code::kStoreUnavailable, config.name, "away");
      co_return make(config.name);
    };
    options.prepare = [this](std::shared_ptr<Store> store) { return prepare(std::move(store)); };
    options.probe_every = options.probe_again_after = 500 * kMillisecond;
    auto root = make("root");
    set = std::make_unique<StoreSet>(loop, std::move(root), options);
    auto config = std::make_shared<StoresConfig>();
    config->stores = configs;
    config->mounts = std::move(table);
    set->apply(std::move(config));
    files = std::make_unique<SettingsFiles>(*set, epoch, 0);
    LogEnvironment environment;
    environment.store = set.get();
    environment.loop = &loop;
    environment.files = &slices;
    environment.epoch = epoch;
    environment.lease_held = [this] { return lease; };
    environment.options.slice_bytes_max = 64u << 10;
    accounts = std::make_unique<Accounts>(environment, *files, AccountsOptions{});
  }
  static Task<Result<void>> retire(std::shared_ptr<Store> store, uint64_t epoch) {
    auto trash = co_await retire_older_stages(*store, epoch);
    if (!trash) co_return fail(std::move(trash).error());
    co_await empty_trash(*store, std::move(*trash));
    co_return Result<void>();
  }
  Task<Result<void>> prepare(std::shared_ptr<Store> store) { return retire(std::move(store), epoch); }
  std::unique_ptr<Member> make(const std::string& name) {
    auto member = std::make_unique<Member>(loop, outside, disks.at(name), name, shared_stores, epoch);
    member->faulty.on_operation([this](uint64_t, StoreOperation, std::string_view) {
      if (++operations == cut_at || (cut_when && cut_when())) halt();
    });
    member->faulty.set_plan(faults_now);
    member->on_end = [this](Member* of) {  // the set has opened it anew, or the process has ended
      std::erase(members, of);
      disks.kept.push_back(std::move(of->memory));
    };
    members.push_back(member.get());
    return member;
  }
  // Until its stores are ready.
  void start() {
    auto root_ready = run(retire(std::shared_ptr<Store>(members.front(), [](Store*) {}), epoch));
    ASSERT_TRUE(root_ready) << root_ready.error().to_string();
    ASSERT_TRUE(world.run_until_done(loop, set->settle(world.now() + 5 * kSecond)));
  }
  void halt() {
    for (Member* member : members) member->faulty.halt();
  }
  void plan(const FaultPlan& faults) {
    faults_now = faults;
    for (Member* member : members) member->faulty.set_plan(faults);
  }
  // As kill -9 does.
  void kill() {
    halt();
    world.kill(loop);
  }
  template <class T>
  Result<T> run(Task<Result<T>> task) {
    auto result = world.run_until_done(loop, std::move(task), world.now() + 600 * kSecond);
    if (!result) return fail(Code::kInternal, "test", "the task did not end");
    return std::move(*result);
  }

  SimWorld& world;
  Disks& disks;
  std::map<std::string, StoreConfig> configs;
  SimLoop& loop;
  SimLoop& outside;
  const uint64_t epoch;
  const bool shared_stores;
  bool lease = true;
  std::set<std::string> away;
  FaultPlan faults_now = Backend::quiet();
  uint64_t operations = 0, cut_at = 0;
  std::function<bool()> cut_when;
  std::vector<Member*> members;
  std::unique_ptr<StoreSet> set;
  SliceFiles slices;
  std::unique_ptr<SettingsFiles> files;
  std::unique_ptr<Accounts> accounts;
};

class StoreMoves : public testing::TestWithParam<bool> {  // whether other machines write to the stores, too
 protected:
  StoreMoves() {
    SimLoop& loop = world.add_loop("setup");
    for (const auto& [name, disk] : disks.by_name) {
      if (name == "root") continue;
      MemoryStore store(&loop, *disk, {.name = name});
      auto marker = world.run_until_done(
          loop, create_marker(store, loop, name, "accounts", StoreContent::kMustBeEmpty));
      StoreConfig config;
      config.name = name;
      config.address = "dir:/" + name;
      config.id = (*marker)->id;
      configs[name] = config;
    }
    auto next = std::make_shared<DomainTable>(*table);
    auto made = make_domain(next->tree, "company.com", {{1, 1}, {}});
    domain = *made;
    next->domains["company.com"] = domain;
    table = next;
    mount({"/ root", "SharedDomains/company.com/* one"});
    start();
    CANOPY_CHECK(process->run(make_directories(*process->set, kFolder, 0700, Durable::kYes)));
  }
  ~StoreMoves() override { stop(); }

  void mount(std::initializer_list<std::string_view> lines) {
    std::vector<MountRow> rows;
    for (std::string_view line : lines) rows.push_back(*parse_mount_row(line));
    auto changed = mounts == nullptr ? Mounts::make(std::move(rows)) : mounts->changed(std::move(rows));
    ASSERT_TRUE(changed) << changed.error().to_string();
    mounts = std::make_shared<const Mounts>(std::move(*changed));
    if (process == nullptr) return;
    auto config = std::make_shared<StoresConfig>();
    config->stores = configs;
    config->mounts = mounts;
    process->set->apply(std::move(config));
  }
  void to(const std::string& store) { mount({"/ root", "SharedDomains/company.com/* " + store}); }
  void start() {
    process = std::make_unique<Process>(world, disks, configs, mounts, kEpoch + ++epochs, GetParam());
    process->accounts->set_domains(table);
    process->start();
  }
  void stop() {
    if (!process) return;
    process->plan(Backend::quiet());
    world.run_until_done(process->loop, process->accounts->close_all());
    world.run_until_done(process->loop, process->set->stop());
    process.reset();
  }
  // The one that ran is killed, and another one starts.
  void succeed() {
    process->kill();
    dead.push_back(std::move(process));
    start();
  }

  void create(const AccountAddress& of) {
    dict::Dict settings;
    settings.set("Colour", "green");
    auto made = process->run(process->accounts->create(of, std::move(settings)));
    ASSERT_TRUE(made) << made.error().to_string();
  }
  Result<RequestResult> append(const AccountAddress& of, std::string_view text, RequestId id = {}) {
    auto account = process->run(process->accounts->open(of));
    if (!account) return fail(account.error());
    NewMessage message;
    message.content = text;
    message.request_id = id;
    return process->run((*account)->append(std::move(message)));
  }
  Result<Accounts::Relocated> relocate(const AccountAddress& of, Accounts::MoveFigures* figures = nullptr) {
    return process->run(process->accounts->relocate(of, domain->layout.account_directory(of), figures));
  }
  // What its messages say, and its settings.
  Result<std::vector<std::string>> contents(const AccountAddress& of) {
    CANOPY_ASSIGN(const auto settings, process->run(process->accounts->settings(of)));
    EXPECT_EQ(settings->own.dict.string_or("Colour", ""), "green");
    CANOPY_ASSIGN(const auto account, process->run(process->accounts->open(of)));
    std::vector<std::string> texts;
    EXPECT_THAT(account->damages(), testing::IsEmpty());
    const MailboxState* inbox = account->state().mailbox("INBOX");
    if (inbox == nullptr) return texts;
    for (const MessageRow& row : inbox->rows) {
      CANOPY_ASSIGN(std::string text, process->run(account->fetch(inbox->id, row.uid, 0, 1u << 20)));
      texts.push_back(std::move(text));
    }
    return texts;
  }
  bool is_on(const std::string& store, const AccountAddress& of) {
    return disks.at(store).attributes(domain->layout.account_directory(of)).has_value();
  }
  void expect_whole(const AccountAddress& of, const std::vector<std::string>& wanted) {
    auto found = contents(of);
    ASSERT_TRUE(found) << found.error().to_string();
    EXPECT_EQ(*found, wanted);
  }
  // Nothing of it anywhere but there, and nothing left over.
  void expect_only_on(const std::string& store, const AccountAddress& of) {
    for (const auto& [name, disk] : disks.by_name) EXPECT_EQ(is_on(name, of), name == store) << name;
    pass(kSecond);  // the trash is emptied beside
    for (const auto& [name, disk] : disks.by_name) {
      auto stages = disk->list(".canopy/stage/" + hex(process->epoch) + "/" + std::to_string(slot_of(of)), 0);
      if (stages) EXPECT_EQ(stages->entries.size(), 0u) << name;
    }
    const std::string left = domain->layout.account_directory(of) + "/moving.to";
    EXPECT_FALSE(!GetParam() && disks.at(store).attributes(left).has_value());
  }
  void pass(Nanos time) {
    world.run_until([] { return false; }, world.now() + time);
  }
  static std::string hex(uint64_t number) { return fmt::format("{:016x}", number); }

  Disks disks;
  SimWorld world{1};
  std::map<std::string, StoreConfig> configs;
  std::shared_ptr<const DomainTable> table = std::make_shared<DomainTable>();
  std::shared_ptr<const Domain> domain;
  std::shared_ptr<const Mounts> mounts;
  uint64_t epochs = 0;
  std::unique_ptr<Process> process;
  std::vector<std::unique_ptr<Process>> dead;
};

const AccountAddress kWho{"jsmith", "company.com"};

TEST_P(StoreMoves, AnAccountGoesToTheStoreThatTheTableNamesAndBack) {
  create(kWho);
  ASSERT_TRUE(append(kWho, "first"));
  std::vector<std::string> wanted{"first"};
  for (const char* store : {"two", "root", "one"}) {
    SCOPED_TRACE(store);
    to(store);
    expect_whole(kWho, wanted);
    wanted.push_back(fmt::format("before {}", store));
    ASSERT_TRUE(append(kWho, wanted.back()));
    Accounts::MoveFigures figures;
    auto moved = relocate(kWho, &figures);
    ASSERT_TRUE(moved) << moved.error().to_string();
    EXPECT_EQ(*moved, Accounts::Relocated::kMoved);
    EXPECT_GT(figures.bytes_copied, 0u);
    expect_only_on(store, kWho);
    expect_whole(kWho, wanted);
    wanted.push_back(fmt::format("on {}", store));
    ASSERT_TRUE(append(kWho, wanted.back()));
    moved = relocate(kWho);
    ASSERT_TRUE(moved);
    EXPECT_EQ(*moved, Accounts::Relocated::kNothing);
    succeed();
    expect_whole(kWho, wanted);
  }
}

TEST_P(StoreMoves, AnAccountThatWasNeverUsedAndFilesOfOthersGoAlong) {
  create(kWho);
  const std::string directory = domain->layout.account_directory(kWho);
  ASSERT_TRUE(
      process->run(make_directories(*process->set, directory + "/damaged/deep", 0700, Durable::kYes)));
  auto file =
      process->run(process->set->open(directory + "/damaged/deep/notes", {.write = true, .create = true}));
  ASSERT_TRUE(file);
  const std::string_view text = "kept";
  ASSERT_TRUE(process->run((*file)->write(0, std::span(&text, 1), Durable::kYes)));
  file->reset();
  ASSERT_TRUE(
      process->run(process->set->make_symlink("notes", directory + "/damaged/deep/link", Durable::kYes)));
  to("two");
  auto moved = relocate(kWho);
  ASSERT_TRUE(moved) << moved.error().to_string();
  expect_only_on("two", kWho);
  expect_whole(kWho, {});
  auto kept = process->run(read_file(*process->set, directory + "/damaged/deep/notes", 100));
  ASSERT_TRUE(kept);
  EXPECT_EQ(*kept, "kept");
  auto link = process->run(process->set->read_symlink(directory + "/damaged/deep/link"));
  ASSERT_TRUE(link);
  EXPECT_EQ(*link, "notes");
  ASSERT_TRUE(append(kWho, "first"));
  expect_whole(kWho, {"first"});
}

TEST_P(StoreMoves, OneThatIsUsedAllTheTimeStaysAndIsWhole) {
  create(kWho);
  ASSERT_TRUE(append(kWho, "first"));
  auto used = process->run(process->accounts->open(kWho));
  ASSERT_TRUE(used);
  to("two");
  auto moved = relocate(kWho);
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_EQ(*moved, Accounts::Relocated::kInUse);
  expect_only_on("one", kWho);
  used->reset();
  moved = relocate(kWho);
  ASSERT_TRUE(moved);
  EXPECT_EQ(*moved, Accounts::Relocated::kMoved);
  expect_whole(kWho, {"first"});
}

// Users go on meanwhile; what they are told is there afterwards, once.
TEST_P(StoreMoves, WhatIsDeliveredMeanwhileComesAlong) {
  create(kWho);
  std::vector<std::string> wanted;
  for (int i = 0; i < 40; ++i) wanted.push_back(message_text(static_cast<uint32_t>(i), 20'000));
  for (const std::string& text : wanted) ASSERT_TRUE(append(kWho, text));
  FaultPlan slow = Backend::quiet();
  slow.delay = 1;
  slow.delay_max = 2 * kMillisecond;
  process->plan(slow);
  to("two");
  std::atomic<bool> over{false};
  TaskGroup beside(process->loop);
  auto deliver = [](Process& in, const std::atomic<bool>& end, std::vector<std::string>& told) -> Task<void> {
    for (uint32_t i = 1000; !end; ++i) {
      auto account = co_await in.accounts->open(kWho);
      if (!account) {
        ADD_FAILURE() << account.error().to_string();
        co_return;
      }
      const std::string text = message_text(i, 3000);
      NewMessage message;
      message.content = text;
      auto done = co_await (*account)->append(std::move(message));
      if (!done) ADD_FAILURE() << done.error().to_string();
      if (done) told.push_back(text);
      account->reset();
      co_await in.loop.sleep(kMillisecond);
    }
  };
  process->loop.post([&] { beside.spawn(deliver(*process, over, wanted)); });
  auto moved = relocate(kWho);
  over = true;
  pass(kSecond);
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_EQ(*moved, Accounts::Relocated::kMoved);
  EXPECT_GT(wanted.size(), 45u);
  process->plan(Backend::quiet());
  expect_only_on("two", kWho);
  expect_whole(kWho, wanted);
}

// One file of the domain that cannot be moved holds up no account behind it.
TEST_P(StoreMoves, AFileThatCannotMoveHoldsUpNoAccount) {
  create(kWho);
  const AccountAddress other{"zoe", "company.com"};
  create(other);
  OpenOptions options;
  options.write = options.create = true;
  auto settings = process->run(process->set->open(std::string(kFolder) + "/domain.settings", options));
  ASSERT_TRUE(settings);
  settings->reset();
  to("two");
  std::set<std::string> met;
  std::vector<std::string> files;
  MountWalk walk(
      *process->set, mounts,
      [&](std::vector<SeenAccount> page) -> Task<bool> {
        for (const SeenAccount& seen : page) met.insert(seen.address.account);
        co_return true;
      },
      [&](std::string path, std::string) -> Task<Result<void>> {
        files.push_back(path);
        co_return fail(Code::kDamaged, path, "cannot be read");
      });
  for (int twice = 0; twice < 2; ++twice) {
    met.clear();
    auto whole = process->run(walk.run());
    ASSERT_FALSE(whole);
    EXPECT_EQ(whole.error().code(), Code::kDamaged);
    EXPECT_EQ(met, (std::set<std::string>{"jsmith", "zoe"}));
  }
  EXPECT_EQ(files.size(), 2u);
}

// What a compaction has written anew since is told before the account is held for it.
TEST_P(StoreMoves, ACopySaysWhatItLacks) {
  create(kWho);
  ASSERT_TRUE(append(kWho, message_text(1, 20'000)));
  auto account = process->run(process->accounts->open(kWho));
  ASSERT_TRUE(account);
  std::vector<SliceInfo> slices = (*account)->slices();
  AccountCopy copy(*process->set, process->loop, domain->layout.account_directory(kWho),
                   ".stores/two/.canopy/copy");
  ASSERT_TRUE(process->run(make_directories(*process->set, ".stores/two/.canopy", 0700, Durable::kYes)));
  ASSERT_TRUE(process->run(copy.begin()));
  EXPECT_GT(copy.missing(slices), 20'000u);
  ASSERT_TRUE(process->run(copy.follow(slices)));
  EXPECT_EQ(copy.missing(slices), 0u);
  SliceInfo written_anew = slices.front();
  written_anew.file = "other";
  written_anew.entry.length = 10u << 20;
  slices.push_back(written_anew);
  slices.front().entry.length += 100;
  EXPECT_EQ(copy.missing(slices), (10u << 20) + 100);
}

// The process ends right before each operation of the move in turn. The next one finds everything, moves it
// on, or back.
TEST_P(StoreMoves, CutOffAtEveryStep) {
  for (const bool back : {false, true}) {
    for (uint64_t steps = 1;; ++steps) {
      SCOPED_TRACE(fmt::format("cut off at step {}, back {}", steps, back));
      const AccountAddress who{fmt::format("jsmith{}-{}", steps, back), "company.com"};
      to("one");
      create(who);
      ASSERT_TRUE(append(who, "first"));
      to("two");
      process->cut_at = process->operations + steps;
      auto moved = world.run_until_done(
          process->loop, process->accounts->relocate(who, domain->layout.account_directory(who)),
          world.now() + 20 * kSecond);
      const bool ended = moved.has_value() && moved->has_value() && **moved == Accounts::Relocated::kMoved;
      succeed();
      expect_whole(who, {"first"});
      EXPECT_TRUE(is_on("one", who) || is_on("two", who));
      if (back) to("one");
      ASSERT_TRUE(append(who, "second"));
      auto again = relocate(who);
      ASSERT_TRUE(again) << again.error().to_string();
      expect_only_on(back ? "one" : "two", who);
      expect_whole(who, {"first", "second"});
      ASSERT_TRUE(append(who, "third"));
      succeed();
      expect_whole(who, {"first", "second", "third"});
      if (ended) break;
    }
  }
}

// Of two stores the one that is away says nothing of the other's accounts, but for one that may have gone
// there.
TEST_P(StoreMoves, AStoreThatIsAwayHoldsUpOnlyWhatMayHaveGoneThere) {
  create(kWho);
  ASSERT_TRUE(append(kWho, "first"));
  const AccountAddress other{"zoe", "company.com"};
  create(other);
  ASSERT_TRUE(append(other, "hers"));
  to("two");
  // Cut off where the copy has just been renamed: both directories are there.
  process->cut_when = [this] { return is_on("two", kWho); };
  (void)world.run_until_done(process->loop,
                             process->accounts->relocate(kWho, domain->layout.account_directory(kWho)),
                             world.now() + 20 * kSecond);
  ASSERT_TRUE(is_on("one", kWho) && is_on("two", kWho));
  process->kill();
  dead.push_back(std::move(process));
  process = std::make_unique<Process>(world, disks, configs, mounts, kEpoch + ++epochs, GetParam());
  process->away.insert("two");
  process->accounts->set_domains(table);
  process->start();
  EXPECT_EQ(code_of(append(kWho, "nowhere")), Code::kStoreUnavailable);
  EXPECT_EQ(code_of(process->run(process->accounts->remove(kWho))), Code::kStoreUnavailable);
  ASSERT_TRUE(append(other, "more"));
  process->away.clear();
  pass(2 * kSecond);
  ASSERT_TRUE(append(kWho, "second"));
  expect_whole(kWho, {"first", "second"});
  // What is left behind does not become an account again when the account goes.
  ASSERT_TRUE(process->run(process->accounts->remove(kWho)));
  EXPECT_EQ(code_of(process->run(process->accounts->settings(kWho))), Code::kNotFound);
  EXPECT_FALSE(is_on("one", kWho) || is_on("two", kWho));
}

// Requests fail, are carried out without an answer, or arrive a minute later, also after another process has
// taken over: what was acknowledged is there once, at one place.
TEST_P(StoreMoves, WhateverBecomesOfSingleRequestsNothingIsLostOrDoubled) {
  const char* stores[] = {"one", "two", "root"};
  uint64_t moves = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    SeededRandom random(seed);
    const AccountAddress who{fmt::format("user{}", seed), "company.com"};
    to("one");
    create(who);
    FaultPlan faults = Backend::quiet();
    const double often = static_cast<double>(seed % 4);
    faults.error = 0.001 + 0.002 * often;
    faults.error_code = Code::kStoreUnavailable;
    faults.lost_answer = 0.002 + 0.004 * often;
    faults.late = GetParam() ? 0.001 + 0.004 * often : 0;
    faults.delay = 0.2;
    process->plan(faults);
    std::set<std::string> told, perhaps;
    uint8_t number = 0;
    for (int step = 0; step < 12; ++step) {
      if (random.below(4) == 0) to(stores[random.below(3)]);
      if (random.below(6) == 0) {
        succeed();
        process->plan(faults);
      }
      const std::string text = message_text(++number, random.below(30'000));
      perhaps.insert(text);
      if (append(who, text, request(number))) told.insert(text);
      auto moved = relocate(who);
      if (moved && *moved == Accounts::Relocated::kMoved) ++moves;
    }
    pass(70 * kSecond);
    succeed();
    auto found = contents(who);
    ASSERT_TRUE(found) << found.error().to_string();
    const std::set<std::string> there(found->begin(), found->end());
    EXPECT_EQ(there.size(), found->size());
    EXPECT_TRUE(std::ranges::includes(there, told));
    EXPECT_TRUE(std::ranges::includes(perhaps, there));
    auto moved = relocate(who);
    ASSERT_TRUE(moved) << moved.error().to_string();
    moved = relocate(who);  // what the one before has left behind
    ASSERT_TRUE(moved) << moved.error().to_string();
    int places = 0;
    for (const auto& [name, disk] : disks.by_name) places += is_on(name, who) ? 1 : 0;
    EXPECT_EQ(places, 1);
    expect_whole(who, *found);
  }
  EXPECT_GT(moves, 20u);
}

INSTANTIATE_TEST_SUITE_P(, StoreMoves, testing::Bool(),
                         [](const auto& of) { return of.param ? "Shared" : "Alone"; });

}  // namespace
}  // namespace canopy
