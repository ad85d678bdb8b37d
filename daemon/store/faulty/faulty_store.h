// FaultyStore: a decorator that puts a plan of faults, drawn from a seed, between callers and a store. The
// same seed, plan and order of calls give the same faults.
//
// Operations are carried out apart from their callers, by the world and not by the process that asked: a
// caller's coroutine may be destroyed while it waits, and the FaultyStore and its files too, as when a
// process is killed; what was already under way then still happens, now or later. Only the inner store and
// the two loops must outlive what is pending.
#pragma once

#include <array>
#include <functional>
#include <memory>

#include "daemon/runtime/loop.h"
#include "daemon/store/seeded.h"
#include "daemon/store/store.h"

namespace canopy {

enum class StoreOperation : uint8_t {
  kOpen,
  kRead,
  kWrite,
  kAttributes,
  kSetAttributes,
  kSync,
  kAllocate,
  kSeek,
  kMakeDirectory,
  kRemoveDirectory,
  kRemove,
  kRename,
  kLink,
  kMakeSymlink,
  kReadSymlink,
  kList,
  kSyncDirectory,
  kSpace,
  kXattr,
  kListXattrs,
  kSetXattr,
  kRemoveXattr,
  kSyncAll,
  kCount
};
std::string_view store_operation_name(StoreOperation operation);

// Probabilities (0 to 1) are drawn for each operation on its own, in this order; the first that hits decides.
struct FaultPlan {
  double error = 0;  // refused with error_code; nothing happens
  Code error_code = Code::kIo;
  double lost_answer = 0;  // carried out, but the caller gets kStoreUnavailable
  double late = 0;  // the caller gets kDeadlineExceeded or kStoreUnavailable after `deadline`; carried out at
                    // any time from now to late_max, before or after that answer
  double torn_write = 0;  // of a write: a part from its start is carried out, and the caller gets kIo
  double lying_sync = 0;  // a durable operation or sync answers well but makes nothing durable: what no store
                          // may do, for tests of tests
  double delay = 0;       // carried out after up to delay_max: overlapping operations change their order
  Nanos delay_max = 20 * kMillisecond;
  Nanos deadline = 5 * kSecond;
  Nanos late_max = 60 * kSecond;
  Nanos sync_delay = 0;                  // every durable operation takes so much longer
  uint64_t used_bytes_max = UINT64_MAX;  // kStoreFull for what would fill the store above this
  uint32_t operations = ~0u;             // bits of StoreOperation that faults apply to
  std::string object_contains = {};      // faults apply only to paths that hold this
  bool check_unclosed = true;            // ~FaultyStore() aborts when a file that it opened is still open

  static constexpr uint32_t only(StoreOperation operation) { return 1u << static_cast<uint32_t>(operation); }
};

class FaultyStore final : public Store {
 public:
  // `loop` is the callers'; `world` (null: the same) carries operations out and keeps time for them.
  FaultyStore(Store& inner, Loop& loop, FaultPlan plan, uint64_t seed, Loop* world = nullptr);
  ~FaultyStore() override;

  void set_plan(FaultPlan plan);
  // Called with the operation's number, from 1, right before it takes effect: the place to crash at any step.
  using OnOperation = std::function<void(uint64_t index, StoreOperation operation, std::string_view object)>;
  void on_operation(OnOperation hook);
  // The process has died: no operation that has not taken effect yet does, but those that a fault made late;
  // none answers.
  void halt();

  uint64_t operations() const;  // asked for
  uint64_t count(StoreOperation operation) const;
  uint64_t faults() const;  // injected
  size_t pending() const;   // asked for and not yet carried out
  size_t open_files() const;

  std::string_view name() const override;
  bool shared() const override;
  Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
  Task<Result<Attributes>> attributes(std::string path) override;
  Task<Result<void>> set_attributes(std::string path, SetAttributes change, Durable durable) override;
  Task<Result<void>> make_directory(std::string path, uint32_t mode, Durable durable) override;
  Task<Result<void>> remove_directory(std::string path, Durable durable) override;
  Task<Result<void>> remove(std::string path, Durable durable) override;
  Task<Result<void>> rename(std::string from, std::string to, RenameMode mode, Durable durable) override;
  Task<Result<void>> link(std::string from, std::string to, Durable durable) override;
  Task<Result<void>> make_symlink(std::string target, std::string path, Durable durable) override;
  Task<Result<std::string>> read_symlink(std::string path) override;
  Task<Result<DirectoryPage>> list(std::string path, uint64_t cookie,
                                   Listing listing = Listing::kNames) override;
  Task<Result<DirectoryPage>> list_few(std::string path, uint64_t cookie, size_t most) override;
  Task<Result<void>> sync_directory(std::string path) override;
  Task<Result<void>> sync_all() override;
  Task<Result<StoreSpace>> space() override;
  Task<Result<std::string>> xattr(std::string path, std::string name) override;
  Task<Result<std::vector<std::string>>> list_xattrs(std::string path) override;
  Task<Result<void>> set_xattr(std::string path, std::string name, std::string value, XattrMode mode,
                               Durable durable) override;
  Task<Result<void>> remove_xattr(std::string path, std::string name, Durable durable) override;

 private:
  std::shared_ptr<class FaultyWorld> world_;
};

}  // namespace canopy
