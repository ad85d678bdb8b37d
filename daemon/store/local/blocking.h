// Where system calls run that io_uring cannot do and that may read or write the disk: on worker threads where
// the store was given some, else on the loop.
#pragma once

#include "daemon/runtime/uring_loop.h"
#include "daemon/runtime/workers.h"

namespace canopy::local {

struct Blocking {
  UringLoop& loop;
  WorkerPool* workers = nullptr;

  // `work` answers a Result. What it refers to must stay until then.
  template <class F>
  auto run(F work) const -> Task<std::invoke_result_t<F&>> {
    if (workers == nullptr) co_return work();
    co_return co_await workers->run(loop, std::move(work));
  }
};

}  // namespace canopy::local
