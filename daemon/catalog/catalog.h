// Catalog: this node's derived data (catalog_rows.h) behind bounded worker threads, so that no loop ever
// waits for its disk. Usable from any loop. Until start() has opened it, and after a fault until it was made
// anew, work answers kTryAgain: whoever asks derives what it needs from the tree instead. The directory may
// be deleted at any time.
#pragma once

#include <atomic>
#include <shared_mutex>

#include "daemon/catalog/catalog_rows.h"
#include "daemon/runtime/workers.h"

namespace canopy {

inline constexpr uint32_t kCatalogJobsWaitingMax = 4096;

class Catalog {
 public:
  explicit Catalog(CatalogOptions options);
  ~Catalog();  // after all work has come back

  // Opens the tables on a worker. A failure is logged and leaves the catalog out of use until the next
  // attempt.
  Task<void> start(Loop& loop);

  // Runs `work`, a Result<T>(CatalogRows&), on a worker and comes back to `loop`, on which the caller runs. A
  // failure of the tables (kIo, kDamaged) makes them anew, empty.
  template <class F>
  auto run(Loop& loop, F work) -> Task<std::invoke_result_t<F&, CatalogRows&>> {
    co_return co_await workers_.run(loop, [this, &work]() -> std::invoke_result_t<F&, CatalogRows&> {
      std::shared_lock using_it(gate_);
      if (!rows_) {
        using_it.unlock();
        open_if_due();
        return closed();
      }
      uint64_t instance = instance_.load();
      auto result = work(*rows_);
      using_it.unlock();
      if (!result && (result.error().code() == Code::kIo || result.error().code() == Code::kDamaged)) {
        renew(instance, result.error());
      }
      return result;
    });
  }
  // Runs `work`, a T(), on a worker that is for what fills the catalog.
  template <class F>
  auto compute(Loop& loop, F work) {
    return workers_.run(loop, std::move(work));
  }

  // Which tables these are: rises whenever they were made anew, and 0 while there are none. Any thread.
  uint64_t instance() const { return instance_.load(std::memory_order_acquire); }
  const CatalogOptions& options() const { return options_; }

  uint64_t memory_bytes() const;  // on a worker: it asks the tables
  struct Counters {
    std::atomic<uint64_t> pages_from_rows{0}, pages_walked{0}, domains_walked{0};  // of names of accounts
    std::atomic<uint64_t> summaries_cached{0}, summaries_derived{0}, rows_dropped{0}, renewed{0};
  };
  Counters& counters() { return counters_; }

 private:
  std::unexpected<Error> closed() const;
  void open_rows();  // with gate_ held alone
  void open_if_due();
  void renew(uint64_t instance, const Error& reason);

  const CatalogOptions options_;
  mutable std::shared_mutex gate_;  // workers use the rows together; replacing them is alone
  std::unique_ptr<CatalogRows> rows_;
  std::atomic<uint64_t> instance_{0};
  uint64_t instances_ = 0;                       // under gate_
  std::chrono::steady_clock::time_point tried_;  // under gate_
  Counters counters_;
  WorkerPool workers_;
};

}  // namespace canopy
