// store_speed SECONDS DIRECTORY: durable appends of 4 KiB a second over 1,000 files, by the local store and
// by threads that do pwrite and fdatasync, with 1, 16 and 64 writers, in one run, turn by turn: only the
// ratios mean anything.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <thread>

#include "daemon/store/local/local_store.h"

namespace canopy {
namespace {

constexpr int kFiles = 1000;
constexpr size_t kAppendBytes = 4096;
constexpr int kRounds = 3;
const std::string kBytes(kAppendBytes, 'm');
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double with_threads(const std::string& directory, int writers, double seconds) {
  std::vector<int> files;
  for (int i = 0; i < kFiles; ++i) {
    files.push_back(open(fmt::format("{}/raw{}", directory, i).c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600));
  }
  sync();
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> done{0};
  std::vector<std::thread> threads;
  auto start = Clock::now();
  for (int w = 0; w < writers; ++w) {
    threads.emplace_back([&, w] {
      uint64_t count = 0;
      for (int i = w; !stop.load(std::memory_order_relaxed); i += writers) {
        auto offset = static_cast<off_t>(static_cast<size_t>(i / kFiles) * kAppendBytes);
        int fd = files[static_cast<size_t>(i % kFiles)];
        if (pwrite(fd, kBytes.data(), kAppendBytes, offset) != static_cast<ssize_t>(kAppendBytes)) abort();
        if (fdatasync(fd) != 0) abort();
        ++count;
      }
      done += count;
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  for (auto& thread : threads) thread.join();
  double rate = static_cast<double>(done.load()) / since(start);
  for (int fd : files) close(fd);
  return rate;
}

struct Run {
  std::vector<std::unique_ptr<File>> files;
  int next = 0, writers = 0;
  uint64_t done = 0;
  bool stop = false;
};

Task<void> writer(UringLoop& loop, Run& run) {
  const std::string_view pieces[] = {kBytes};
  while (!run.stop) {
    int i = run.next++;
    uint64_t offset = static_cast<uint64_t>(i / kFiles) * kAppendBytes;
    auto outcome = co_await run.files[static_cast<size_t>(i % kFiles)]->write(offset, pieces, Durable::kYes);
    if (!outcome) {
      std::fprintf(stderr, "%s\n", outcome.error().to_string().c_str());
      abort();
    }
    ++run.done;
  }
  if (--run.writers == 0) loop.stop();
}

Task<void> end_after(UringLoop& loop, Run& run, double seconds) {
  co_await loop.sleep(static_cast<Nanos>(seconds * 1e9));
  run.stop = true;
}

double with_store(UringLoop& loop, LocalStore& store, int writers, double seconds) {
  Run run;
  for (int i = 0; i < kFiles; ++i) {
    auto file = loop.run_until_done(
        store.open(fmt::format("store{}", i), {.write = true, .create = true, .truncate = true}));
    if (!file) abort();
    run.files.push_back(std::move(*file));
  }
  sync();
  run.writers = writers;
  auto start = Clock::now();
  for (int w = 0; w < writers; ++w) loop.spawn(writer(loop, run));
  loop.spawn(end_after(loop, run, seconds));
  loop.run();
  return static_cast<double>(run.done) / since(start);
}

}  // namespace
}  // namespace canopy

int main(int argc, char** argv) {
  using namespace canopy;
  double seconds = argc > 1 ? atof(argv[1]) : 2;
  std::filesystem::path root = argc > 2 ? argv[2] : std::filesystem::temp_directory_path();
  std::string directory = root / fmt::format("store_speed_{}", getpid());
  std::filesystem::create_directories(directory);
  auto loop = *UringLoop::create();
  auto local = *LocalStore::open_root(*loop, directory, {.name = "local", .shared = false});
  auto shared = *LocalStore::open_root(*loop, directory, {.name = "shared", .shared = true});
  std::printf("durable 4-KiB appends/s over 1,000 files; best of %d rounds of %.1f s\n", kRounds, seconds);
  std::printf("%8s %22s %12s %28s\n", "writers", "pwrite+fdatasync", "LocalStore",
              "LocalStore, shared (statx)");
  for (int writers : {1, 16, 64}) {
    double best[3] = {};
    for (int round = 0; round < kRounds; ++round) {
      best[0] = std::max(best[0], with_threads(directory, writers, seconds));
      best[1] = std::max(best[1], with_store(*loop, *local, writers, seconds));
      best[2] = std::max(best[2], with_store(*loop, *shared, writers, seconds));
    }
    std::printf("%8d %22.0f %12.0f %28.0f\n", writers, best[0], best[1], best[2]);
  }
  std::filesystem::remove_all(directory);
}
