// A root store and others, in memory, as one tree whose mount table the tests change.
#pragma once

#include "daemon/store/faulty/faulty_store.h"
#include "daemon/store/marker.h"
#include "daemon/store/set/store_set.h"
#include "tests/store/store_fixture.h"

namespace canopy {

inline constexpr char kDomain[] = "SharedDomains/company.com";

class StoreSetTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"one", "two"}) add_store(name);
    StoreSetOptions options;
    options.open = [this](StoreConfig config) { return open(config.name); };
    options.probe_every = probe_every;
    options.probe_again_after = 20 * kMillisecond;
    auto root = std::make_unique<MemoryStore>(loop.get(), root_disk, MemoryStoreOptions{.name = "root"});
    set = std::make_unique<StoreSet>(*loop, std::move(root), options);
    ok(make_directories(*set, kDomain, 0700, Durable::kYes));
  }
  void TearDown() override {
    run(set->stop());
    set.reset();
  }

  void add_store(const std::string& name, MemoryDiskOptions disk = {}) {
    disks[name] = std::make_unique<MemoryDisk>(disk);
    MemoryStore store(loop.get(), *disks[name], {.name = name});
    auto marker = run(create_marker(store, *loop, name, "accounts", StoreContent::kMustBeEmpty));
    ASSERT_TRUE(marker);
    StoreConfig config;
    config.name = name;
    config.address = "dir:/" + name;
    config.id = marker->id;
    configs[name] = config;
  }
  Task<Result<std::unique_ptr<Store>>> open(std::string name) {
    if (name == sluggish) co_await loop->sleep(kStoreSlow + 100 * kMillisecond);
    if (away.contains(name)) co_return fail(Code::kStoreUnavailable, name, "connection refused");
    auto store = std::make_unique<MemoryStore>(loop.get(), *disks[name], MemoryStoreOptions{.name = name});
    if (name == watched) {
      behind_watched = std::move(store);
      auto faulty = std::make_unique<FaultyStore>(*behind_watched, *loop, FaultPlan{}, 1);
      faulty->on_operation([this](uint64_t, StoreOperation operation, std::string_view object) {
        if (before) before(operation, object);
      });
      co_return faulty;
    }
    if (name != silent) co_return store;
    behind_silent = std::move(store);
    FaultPlan plan{.late = 1, .deadline = 4 * kSecond, .late_max = kSecond};
    plan.operations = FaultPlan::only(StoreOperation::kAttributes);
    plan.object_contains = "SharedDomains";
    co_return std::make_unique<FaultyStore>(*behind_silent, *loop, plan, 1);
  }
  void mount(std::initializer_list<std::string_view> lines) {
    auto config = std::make_shared<StoresConfig>();
    config->stores = configs;
    std::vector<MountRow> rows;
    for (std::string_view line : lines) rows.push_back(*parse_mount_row(line));
    auto changed = set->config()->mounts->changed(std::move(rows));
    ASSERT_TRUE(changed) << changed.error().to_string();
    config->mounts = std::make_shared<const Mounts>(std::move(*changed));
    ASSERT_TRUE(config->check());
    set->apply(std::move(config));
    run(set->settle(loop->now() + 5 * kSecond));
  }
  // Without anything that older tables left.
  void mount_fresh(std::initializer_list<std::string_view> lines) {
    auto config = std::make_shared<StoresConfig>();
    config->stores = configs;
    std::vector<MountRow> rows;
    for (std::string_view line : lines) rows.push_back(*parse_mount_row(line));
    config->mounts = std::make_shared<const Mounts>(*Mounts::make(std::move(rows)));
    set->apply(std::move(config));
    run(set->settle(loop->now() + 5 * kSecond));
  }

  template <class T>
  T run(Task<T> task) {
    return loop->run_until_done(std::move(task));
  }
  template <class T>
  T ok(Task<Result<T>> task) {
    Result<T> result = run(std::move(task));
    if (!result) {
      ADD_FAILURE() << result.error().to_string();
      abort();
    }
    if constexpr (!std::is_void_v<T>) return std::move(*result);
  }
  template <class T>
  Error refused(Task<Result<T>> task) {
    Result<T> result = run(std::move(task));
    return result ? Error(Code::kOk, "", "it was done") : result.error();
  }
  void write(const std::string& path, std::string_view text) {
    auto file = ok(set->open(path, {.write = true, .create = true}));
    ok(file->write(0, std::span(&text, 1), Durable::kYes));
  }
  // As one store has it, without the set.
  std::string on(const std::string& store, const std::string& path) {
    MemoryStore direct(loop.get(), store == "root" ? root_disk : *disks[store], {.name = store});
    auto text = run(read_file(direct, path, 1000));
    return text ? *text : std::string(code_name(text.error().code()));
  }
  std::vector<std::string> names(const std::string& path) {
    std::vector<std::string> out;
    for (const DirectoryEntry& entry : ok(list_all(*set, path, 100'000))) out.push_back(entry.name);
    std::ranges::sort(out);
    return out;
  }

  std::unique_ptr<UringLoop> loop = *UringLoop::create();
  Nanos probe_every = 20 * kMillisecond;  // of a store that does well
  MemoryDisk root_disk;
  std::map<std::string, std::unique_ptr<MemoryDisk>> disks;
  std::map<std::string, StoreConfig> configs;
  std::set<std::string> away;
  std::string sluggish;  // takes its time to be opened
  std::string silent;    // answers for seconds nothing that it is asked about the tree
  std::unique_ptr<Store> behind_silent;
  std::string watched;  // `before` is called before any operation on it
  std::unique_ptr<Store> behind_watched;
  std::function<void(StoreOperation operation, std::string_view object)> before;
  std::unique_ptr<StoreSet> set;
};

inline const std::string kA = std::string(kDomain) + "/a.sub";
inline const std::string kE = std::string(kDomain) + "/e.sub";

}  // namespace canopy
