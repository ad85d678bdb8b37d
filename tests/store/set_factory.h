// A set of memory stores for the tests that run over every store: they see a directory that lies on three
// stores, whose entries lie on one of them, with a row that was superseded.
#pragma once

#include "daemon/runtime/uring_loop.h"
#include "daemon/store/marker.h"
#include "daemon/store/memory/memory_store.h"
#include "daemon/store/set/store_set.h"
#include "daemon/store/store_path.h"
#include "tests/store/store_traits.h"

namespace canopy {

// A directory of another store as a store.
class Below final : public Store {
 public:
  Below(Store& of, std::string directory) : of_(of), directory_(std::move(directory)) {}

  std::string_view name() const override { return of_.name(); }
  bool shared() const override { return of_.shared(); }
  Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override {
    if (auto good = check_store_path(path); !good) co_return fail(good.error());
    co_return co_await of_.open(at(path), options);
  }
  Task<Result<Attributes>> attributes(std::string path) override {
    if (auto good = check_store_path(path); !good) co_return fail(good.error());
    co_return co_await of_.attributes(at(path));
  }
  Task<Result<void>> set_attributes(std::string path, SetAttributes change, Durable durable) override {
    if (auto good = check_store_path(path); !good) co_return fail(good.error());
    co_return co_await of_.set_attributes(at(path), change, durable);
  }
  Task<Result<void>> make_directory(std::string path, uint32_t mode, Durable durable) override {
    if (path.empty()) co_return fail(Code::kAlreadyExists, "/", "it is there");
    if (auto good = check_store_name(path); !good) co_return fail(good.error());
    co_return co_await of_.make_directory(at(path), mode, durable);
  }
  Task<Result<void>> remove_directory(std::string path, Durable durable) override {
    if (auto good = check_store_name(path); !good) co_return fail(good.error());
    co_return co_await of_.remove_directory(at(path), durable);
  }
  Task<Result<void>> remove(std::string path, Durable durable) override {
    if (auto good = check_store_name(path); !good) co_return fail(good.error());
    co_return co_await of_.remove(at(path), durable);
  }
  Task<Result<void>> rename(std::string from, std::string to, RenameMode mode, Durable durable) override {
    if (auto good = check_store_name(from); !good) co_return fail(good.error());
    if (auto good = check_store_name(to); !good) co_return fail(good.error());
    co_return co_await of_.rename(at(from), at(to), mode, durable);
  }
  Task<Result<void>> link(std::string from, std::string to, Durable durable) override {
    if (auto good = check_store_name(from); !good) co_return fail(good.error());
    if (auto good = check_store_name(to); !good) co_return fail(good.error());
    co_return co_await of_.link(at(from), at(to), durable);
  }
  Task<Result<void>> make_symlink(std::string target, std::string path, Durable durable) override {
    if (auto good = check_store_name(path); !good) co_return fail(good.error());
    co_return co_await of_.make_symlink(std::move(target), at(path), durable);
  }
  Task<Result<std::string>> read_symlink(std::string path) override {
    if (auto good = check_store_path(path); !good) co_return fail(good.error());
    co_return co_await of_.read_symlink(at(path));
  }
  Task<Result<DirectoryPage>> list(std::string path, uint64_t cookie, Listing listing) override {
    if (auto good = check_store_path(path); !good) co_return fail(good.error());
    co_return co_await of_.list(at(path), cookie, listing);
  }
  Task<Result<DirectoryPage>> list_few(std::string path, uint64_t cookie, size_t most) override {
    if (auto good = check_store_path(path); !good) co_return fail(good.error());
    co_return co_await of_.list_few(at(path), cookie, most);
  }
  Task<Result<void>> sync_directory(std::string path) override {
    if (auto good = check_store_path(path); !good) co_return fail(good.error());
    co_return co_await of_.sync_directory(at(path));
  }
  Task<Result<StoreSpace>> space() override { return of_.space(); }
  Task<Result<std::string>> xattr(std::string path, std::string name) override {
    return of_.xattr(at(path), std::move(name));
  }
  Task<Result<std::vector<std::string>>> list_xattrs(std::string path) override {
    return of_.list_xattrs(at(path));
  }
  Task<Result<void>> set_xattr(std::string path, std::string name, std::string value, XattrMode mode,
                               Durable durable) override {
    return of_.set_xattr(at(path), std::move(name), std::move(value), mode, durable);
  }
  Task<Result<void>> remove_xattr(std::string path, std::string name, Durable durable) override {
    return of_.remove_xattr(at(path), std::move(name), durable);
  }

 private:
  std::string at(const std::string& path) const {
    return path.empty() ? directory_ : directory_ + "/" + path;
  }

  Store& of_;
  const std::string directory_;
};

inline constexpr char kBelow[] = "SharedDomains/company.com";

// One client: a set of its own over the disks that both have.
class SetClient {
 public:
  SetClient(UringLoop& loop, MemoryDisk& root, MemoryDisk& older, MemoryDisk& newer, uint64_t seed)
      : loop_(loop), older_(older), newer_(newer) {
    StoreSetOptions options;
    options.open = [this, seed](StoreConfig config) { return open(std::move(config), seed); };
    auto store = std::make_unique<MemoryStore>(
        &loop, root, MemoryStoreOptions{.name = "root", .yields_max = 3, .seed = seed});
    set_ = std::make_unique<StoreSet>(loop, std::move(store), std::move(options));
    below_ = std::make_unique<Below>(*set_, kBelow);
  }
  ~SetClient() { loop_.run_until_done(set_->stop()); }

  Store& store() { return *below_; }
  void start(std::shared_ptr<const StoresConfig> config) {
    set_->apply(std::move(config));
    loop_.run_until_done(set_->settle(kNever));
    auto made = loop_.run_until_done(make_directories(*set_, kBelow, 0700, Durable::kYes));
    CANOPY_CHECK(made.has_value());
  }

 private:
  Task<Result<std::unique_ptr<Store>>> open(StoreConfig config, uint64_t seed) {
    MemoryDisk& disk = config.name == "older" ? older_ : newer_;
    co_return std::make_unique<MemoryStore>(
        &loop_, disk, MemoryStoreOptions{.name = config.name, .yields_max = 3, .seed = seed});
  }

  UringLoop& loop_;
  MemoryDisk &older_, &newer_;
  std::unique_ptr<StoreSet> set_;
  std::unique_ptr<Below> below_;
};

class SetFactory : public AllCan {
 public:
  explicit SetFactory(UringLoop& loop)
      : one_(loop, root_, older_, newer_, 1), two_(loop, root_, older_, newer_, 2) {
    auto config = std::make_shared<StoresConfig>();
    for (auto [name, disk] : {std::pair{"older", &older_}, {"newer", &newer_}}) {
      MemoryStore store(nullptr, *disk, {.name = name});
      auto marker = loop.run_until_done(create_marker(store, loop, name, "", StoreContent::kMustBeEmpty));
      CANOPY_CHECK(marker.has_value());
      StoreConfig& of = config->stores[name];
      of.name = name;
      of.address = fmt::format("dir:/{}", name);
      of.id = marker->id;
    }
    const std::string entries = std::string(kBelow) + "/*";
    auto mounts = Mounts::make({{"/", "root", ""}, {entries, "newer", "deep"}}, {{entries, "older", ""}});
    CANOPY_CHECK(mounts.has_value());
    config->mounts = std::make_shared<const Mounts>(std::move(*mounts));
    one_.start(config);
    two_.start(config);
  }
  Store& one() { return one_.store(); }
  Store& two() { return two_.store(); }
  static constexpr bool kOpenFileOutlivesItsName = true;
  static constexpr bool kLinksOfTheRoot = false;  // a directory on several stores: not known, which is 1

 private:
  MemoryDisk root_, older_, newer_;
  SetClient one_, two_;
};

}  // namespace canopy
