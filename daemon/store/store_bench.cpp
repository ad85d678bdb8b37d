#include "daemon/store/store_bench.h"

#include <algorithm>

#include "daemon/runtime/sync.h"
#include "daemon/store/store_check.h"

namespace canopy {
namespace {

constexpr size_t kBlockBytes = 2048;  // a small message
constexpr size_t kLatenciesMax = 1'000'000;

struct Run {
  Store& store;
  Loop& loop;
  std::string directory;
  Nanos until;
  std::vector<Nanos> latencies = {};
  uint64_t bytes = 0;
  Result<void> result = {};

  bool goes_on() const { return result && loop.now() < until && latencies.size() < kLatenciesMax; }
};

std::string block() { return std::string(kBlockBytes, 'b'); }

Task<Result<std::unique_ptr<File>>> make(Run& run, std::string name) {
  OpenOptions options;
  options.write = options.create = true;
  co_return co_await run.store.open(run.directory + "/" + name, options);
}

// One worker of a row; `number` tells it from the others.
using Worker = Task<Result<void>> (*)(Run& run, int number);

Task<Result<void>> append(Run& run, int number) {
  CANOPY_CO_ASSIGN(auto file, co_await make(run, fmt::format("append-{}", number)));
  const std::string bytes = block();
  const std::string_view piece = bytes;
  for (uint64_t at = 0; run.goes_on(); at += kBlockBytes) {
    const Nanos begun = run.loop.now();
    CANOPY_CO_TRY(co_await file->write(at, std::span(&piece, 1), Durable::kYes));
    run.latencies.push_back(run.loop.now() - begun);
    run.bytes += kBlockBytes;
  }
  co_return Result<void>();
}

Task<Result<void>> replace(Run& run, int number) {
  const std::string bytes = block();
  const std::string_view piece = bytes;
  for (uint64_t i = 0; run.goes_on(); ++i) {
    const Nanos begun = run.loop.now();
    const std::string staged = fmt::format("staged-{}-{}", number, i);
    CANOPY_CO_ASSIGN(auto file, co_await make(run, staged));
    CANOPY_CO_TRY(co_await file->write(0, std::span(&piece, 1), Durable::kYes));
    CANOPY_CO_TRY(co_await run.store.rename(run.directory + "/" + staged,
                                            fmt::format("{}/file-{}", run.directory, number),
                                            RenameMode::kReplace, Durable::kYes));
    run.latencies.push_back(run.loop.now() - begun);
    run.bytes += kBlockBytes;
  }
  co_return Result<void>();
}

Task<Result<void>> read(Run& run, int number) {
  CANOPY_CO_ASSIGN(auto file, co_await make(run, fmt::format("append-{}", number % 16)));
  std::string into(kBlockBytes, '\0');
  while (run.goes_on()) {
    const Nanos begun = run.loop.now();
    CANOPY_CO_ASSIGN(size_t got, co_await file->read(0, std::span<char>(into.data(), into.size())));
    run.latencies.push_back(run.loop.now() - begun);
    run.bytes += got;
  }
  co_return Result<void>();
}

Task<Result<void>> look(Run& run, int number) {
  while (run.goes_on()) {
    const Nanos begun = run.loop.now();
    auto of = co_await run.store.attributes(fmt::format("{}/append-{}", run.directory, number % 16));
    if (!of) co_return fail(std::move(of).error());
    run.latencies.push_back(run.loop.now() - begun);
  }
  co_return Result<void>();
}

Task<void> work(Run& run, Worker worker, int number) {
  auto done = co_await worker(run, number);
  if (!done) run.result = std::move(done);
}

struct Row {
  std::string_view operation;
  uint32_t depth;
  Worker worker;
};
constexpr Row kRows[] = {
    {"append 2 KiB, durable", 1, append},
    {"append 2 KiB, durable", 16, append},
    {"replace a file, durable", 1, replace},
    {"replace a file, durable", 16, replace},
    {"read 2 KiB of an open file", 1, read},
    {"read 2 KiB of an open file", 16, read},
    {"attributes", 1, look},
    {"attributes", 16, look},
};

Task<Result<StoreMeasurement>> measure(Store& store, Loop& loop, std::string directory, Row row, Nanos each) {
  const Nanos begun = loop.now();
  Run run{store, loop, std::move(directory), begun + each};
  TaskGroup workers(loop);
  for (uint32_t i = 0; i < row.depth; ++i) workers.spawn(work(run, row.worker, static_cast<int>(i)));
  co_await workers.join();
  CANOPY_CO_TRY(std::move(run.result));
  StoreMeasurement out;
  out.operation = row.operation;
  out.depth = row.depth;
  out.took = loop.now() - begun;
  out.operations = run.latencies.size();
  out.bytes = run.bytes;
  if (run.latencies.empty()) co_return out;
  std::ranges::sort(run.latencies);
  out.p50 = run.latencies[run.latencies.size() / 2];
  out.p99 = run.latencies[run.latencies.size() * 99 / 100];
  co_return out;
}

}  // namespace

Task<Result<std::vector<StoreMeasurement>>> measure_store(Store& store, Loop& loop, Nanos each) {
  auto directory = co_await make_trial_directory(store, loop, "bench");
  if (!directory) co_return fail(std::move(directory).error());
  std::vector<StoreMeasurement> rows;
  Result<void> result;
  for (const Row& row : kRows) {
    auto measured = co_await measure(store, loop, *directory, row, each);
    if (!measured) {
      result = fail(std::move(measured).error());
      break;
    }
    rows.push_back(std::move(*measured));
  }
  auto entries = co_await list_all(store, *directory, 10'000);
  for (const DirectoryEntry& entry : entries ? *entries : std::vector<DirectoryEntry>())
    (void)co_await store.remove(*directory + "/" + entry.name, Durable::kNo);
  (void)co_await store.remove_directory(*directory, Durable::kNo);
  if (!result) co_return fail(std::move(result).error());
  co_return rows;
}

}  // namespace canopy
