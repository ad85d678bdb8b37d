// The stores that the same tests run over: each factory makes two clients of one place, as two processes
// would have.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "daemon/runtime/uring_loop.h"
#include "daemon/store/faulty/faulty_store.h"
#include "daemon/store/local/local_store.h"
#include "daemon/store/memory/memory_store.h"
#include "daemon/store/store.h"
#include "tests/store/store_traits.h"
#ifdef CANOPY_STORE_TESTS_OVER_NFS
#include "tests/store/nfs_factory.h"
#endif
#ifdef CANOPY_STORE_TESTS_OVER_SET
#include "tests/store/set_factory.h"
#endif

namespace canopy {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "canopy_store_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

template <bool kShared>
class MemoryFactory : public AllCan {
 public:
  explicit MemoryFactory(UringLoop& loop)
      : one_(&loop, disk_, {.name = "one", .shared = kShared, .yields_max = 3, .seed = 1}),
        two_(&loop, disk_, {.name = "two", .shared = kShared, .yields_max = 3, .seed = 2}) {}
  Store& one() { return one_; }
  Store& two() { return two_; }
  static constexpr bool kOpenFileOutlivesItsName = !kShared;

 private:
  MemoryDisk disk_;
  MemoryStore one_, two_;
};

template <bool kShared>
class LocalFactory : public AllCan {
 public:
  explicit LocalFactory(UringLoop& loop) {
    umask(0);
    WorkerPool* workers = kShared ? &workers_ : nullptr;
    one_ = *LocalStore::open_root(loop, directory_.path(),
                                  {.name = "one", .shared = kShared, .workers = workers});
    two_ = *LocalStore::open_root(loop, directory_.path(),
                                  {.name = "two", .shared = kShared, .workers = workers});
  }
  Store& one() { return *one_; }
  Store& two() { return *two_; }
  static constexpr bool kOpenFileOutlivesItsName = true;

 private:
  TemporaryDirectory directory_;
  WorkerPool workers_{"store", 2, 1000};
  std::unique_ptr<LocalStore> one_, two_;
};

// With no fault planned the decorator must not be noticed.
class FaultyFactory : public AllCan {
 public:
  explicit FaultyFactory(UringLoop& loop)
      : memory_(loop), one_(memory_.one(), loop, FaultPlan{}, 7), two_(memory_.two(), loop, FaultPlan{}, 8) {}
  Store& one() { return one_; }
  Store& two() { return two_; }
  static constexpr bool kOpenFileOutlivesItsName = true;

 private:
  MemoryFactory<false> memory_;
  FaultyStore one_, two_;
};

template <class Factory>
class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = Factory::why_unavailable(); !why.empty())
      GTEST_SKIP() << "NOT TESTED: " << why;
    factory_ = std::make_unique<Factory>(*loop_);
  }

  template <class T>
  T run(Task<T> task) {
    return loop_->run_until_done(std::move(task));
  }
  template <class T>
  static Code code_of(const Result<T>& result) {
    return result ? Code::kOk : result.error().code();
  }
  // The value, or the end of the test.
  template <class T>
  T must(Task<Result<T>> task) {
    Result<T> result = run(std::move(task));
    if (!result) {
      ADD_FAILURE() << result.error().to_string();
      abort();
    }
    if constexpr (!std::is_void_v<T>) return std::move(*result);
  }
  template <class T>
  Code code(Task<Result<T>> task) {
    return code_of(run(std::move(task)));
  }

  std::unique_ptr<File> create(const std::string& path) {
    return must(store().open(path, {.write = true, .create = true, .exclusive = true}));
  }
  std::unique_ptr<File> open(const std::string& path, bool write = false) {
    return must(store().open(path, {.write = write}));
  }
  WriteOutcome write(File& file, uint64_t offset, std::string_view bytes, Durable durable = Durable::kNo) {
    std::string_view pieces[] = {bytes};
    return must(file.write(offset, pieces, durable));
  }
  std::string read(File& file, uint64_t offset, size_t size) {
    std::string bytes(size, '?');
    bytes.resize(must(file.read(offset, std::span<char>(bytes.data(), size))));
    return bytes;
  }
  std::vector<std::string> names(const std::string& path) {
    std::vector<std::string> out;
    for (const DirectoryEntry& entry : must(list_all(store(), path, 1'000'000))) out.push_back(entry.name);
    std::ranges::sort(out);
    return out;
  }
  Store& store() { return factory_->one(); }
  Store& other() { return factory_->two(); }

  std::unique_ptr<UringLoop> loop_ = *UringLoop::create();
  std::unique_ptr<Factory> factory_;
};

#if defined(CANOPY_STORE_TESTS_OVER_NFS)
using StoreFactories = testing::Types<NfsFactory<3>, NfsFactory<4>>;
#elif defined(CANOPY_STORE_TESTS_OVER_SET)
using StoreFactories = testing::Types<SetFactory>;
#else
using StoreFactories = testing::Types<MemoryFactory<false>, MemoryFactory<true>, LocalFactory<false>,
                                      LocalFactory<true>, FaultyFactory>;
#endif

}  // namespace canopy
