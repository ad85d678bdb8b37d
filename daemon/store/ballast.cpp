#include "daemon/store/ballast.h"

#include "daemon/base/log.h"
#include "daemon/store/capacity.h"

namespace canopy {

Task<void> keep_ballast(Store& store) {
  auto space = co_await store.space();
  if (!space) co_return;  // the next operation will say it
  const uint64_t reserve = store_reserve_bytes(space->bytes_total);
  const uint64_t wanted = std::min(kBallastBytesMax, reserve / 4);
  const std::string path(kBallastPath);
  if (space->bytes_free < wanted / 8) {
    auto gone = co_await store.remove(path, Durable::kYes);  // its space is free once that is on the disk
    if (gone)
      log_event(LogLevel::kWarning, "ballast-released", store.name(), {{"bytes", wanted}});
    else if (gone.error().code() != Code::kNotFound)
      log_event(LogLevel::kError, "ballast-stays", store.name(), {{"error", gone.error().to_string()}});
    co_return;
  }
  if (space->bytes_free < reserve + wanted) co_return;
  auto there = co_await store.attributes(path);
  if (there && there->size >= wanted) co_return;
  auto file = co_await store.open(path, OpenOptions{.write = true, .create = true, .mode = 0600});
  Result<void> made =
      file ? co_await (*file)->allocate(AllocateMode::kReserve, 0, wanted) : Result<void>(fail(file.error()));
  // Not everywhere can space be set aside (NFS 3): then the file is of no use.
  if (!made && file) (void)co_await store.remove(path, Durable::kNo);
  if (!made && made.error().code() != Code::kUnsupported)
    log_event(LogLevel::kWarning, "no-ballast", store.name(), {{"error", made.error().to_string()}});
}

}  // namespace canopy
