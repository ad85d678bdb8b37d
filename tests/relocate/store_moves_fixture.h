// Three stores that processes of a backend share, and what is asked of an account that goes from one to the
// other: for the tests of such moves.
#pragma once

#include "account_fixture.h"
#include "daemon/account/account_copy.h"
#include "daemon/account/older_stages.h"
#include "daemon/relocate/mount_walk.h"
#include "daemon/store/departure.h"
#include "daemon/store/marker.h"
#include "daemon/store/set/store_set.h"

namespace canopy {

inline constexpr char kFolder[] = "SharedDomains/company.com";

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

inline const AccountAddress kWho{"jsmith", "company.com"};

}  // namespace canopy
