#include "tools/canopy-bench/bare_replace.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/mail.h"
#include "tools/canopy-bench/process_figures.h"

namespace canopy::bench {
namespace {

constexpr uint32_t kFolders = 256;
using SteadyClock = std::chrono::steady_clock;

int64_t since(SteadyClock::time_point begun) {
  return (SteadyClock::now() - begun) / std::chrono::nanoseconds(1);
}

// The directories, open; the files to be replaced lie in `folders`.
struct Ground {
  int root = -1, stage = -1;
  std::vector<int> folders;
  std::string text;

  ~Ground() {
    for (int fd : folders) close(fd);
    close(stage);
    close(root);
  }
  int folder_of(uint32_t file) const { return folders[file % kFolders]; }
  static std::string name_of(uint32_t file) { return fmt::format("user{:07}.info", file); }
};

int make_and_open(const std::filesystem::path& directory) {
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  return open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

Result<void> write_new(int directory, const std::string& name, const std::string& text, bool durable) {
  const int fd = openat(directory, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return fail_errno(errno, name, "create");
  const bool whole = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const bool synced = whole && (!durable || fdatasync(fd) == 0);
  const int error_number = whole ? errno : ENOSPC;
  close(fd);
  if (!synced) return fail_errno(error_number, name, "write");
  return {};
}

Result<void> prepare(const BareReplace& options, const std::filesystem::path& at, Ground& ground) {
  ground.text.assign(options.bytes, 'b');
  ground.root = make_and_open(at);
  ground.stage = make_and_open(at / "stage");
  for (uint32_t i = 0; i < kFolders; ++i)
    ground.folders.push_back(make_and_open(at / fmt::format("{:02x}.sub", i)));
  if (ground.root < 0 || ground.stage < 0 || std::ranges::min(ground.folders) < 0)
    return fail_errno(errno, at, "open a directory");
  for (uint32_t file = 0; file < options.files; ++file)
    CANOPY_TRY(write_new(ground.folder_of(file), Ground::name_of(file), ground.text, false));
  if (syncfs(ground.root) != 0) return fail_errno(errno, at, "syncfs");
  return {};
}

struct Thread {
  uint32_t number = 0;
  Latencies latencies = {};
  Result<void> result = {};
};

void replace_one_by_one(const BareReplace& options, const Ground& ground, Thread& thread,
                        SteadyClock::time_point end) {
  Random random(thread.number + 1);
  for (uint64_t i = 0; SteadyClock::now() < end && thread.result; ++i) {
    const auto begun = SteadyClock::now();
    const uint32_t file = random.below(options.files);
    const std::string staged = fmt::format("{}.{}", thread.number, i), name = Ground::name_of(file);
    thread.result = write_new(ground.stage, staged, ground.text, true);
    if (!thread.result) return;
    if (renameat(ground.stage, staged.c_str(), ground.folder_of(file), name.c_str()) != 0 ||
        fsync(ground.folder_of(file)) != 0 || fsync(ground.stage) != 0)
      thread.result = fail_errno(errno, name, "rename");
    thread.latencies.add(since(begun));
  }
}

Result<void> one_by_one(const BareReplace& options, const Ground& ground, Latencies& all) {
  std::vector<std::unique_ptr<Thread>> state;
  std::vector<std::thread> threads;
  const auto end = SteadyClock::now() + std::chrono::nanoseconds(static_cast<int64_t>(options.seconds * 1e9));
  for (uint32_t i = 0; i < options.parallel; ++i) {
    state.push_back(std::make_unique<Thread>(Thread{.number = i}));
    threads.emplace_back(replace_one_by_one, std::cref(options), std::cref(ground), std::ref(*state.back()),
                         end);
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& thread : state) {
    CANOPY_TRY(thread->result);
    all.merge(thread->latencies);
  }
  return {};
}

Result<void> in_groups(const BareReplace& options, const Ground& ground, Latencies& all) {
  struct Staged {
    uint32_t file;
    std::string name;
    SteadyClock::time_point begun;
  };
  Random random(99);
  std::vector<Staged> durable, written;
  uint64_t next = 0;
  const auto end = SteadyClock::now() + std::chrono::nanoseconds(static_cast<int64_t>(options.seconds * 1e9));
  while (SteadyClock::now() < end) {
    for (const Staged& each : durable) {
      const std::string name = Ground::name_of(each.file);
      if (renameat(ground.stage, each.name.c_str(), ground.folder_of(each.file), name.c_str()) != 0)
        return fail_errno(errno, name, "rename");
    }
    written.clear();
    for (uint32_t i = 0; i < std::max(1u, options.parallel / 2); ++i) {
      written.push_back({random.below(options.files), fmt::format("g.{}", next++), SteadyClock::now()});
      CANOPY_TRY(write_new(ground.stage, written.back().name, ground.text, false));
    }
    if (syncfs(ground.root) != 0) return fail_errno(errno, options.directory, "syncfs");
    for (const Staged& each : durable) all.add(since(each.begun));
    durable.swap(written);
  }
  return {};
}

}  // namespace

Result<void> measure_bare_replace(const BareReplace& options, Report& report) {
  const std::filesystem::path at = std::filesystem::path(options.directory) / "canopy-bench-replace";
  Result<void> done;
  {
    Ground ground;
    done = prepare(options, at, ground);
    struct Way {
      const char* name;
      Result<void> (*run)(const BareReplace&, const Ground&, Latencies&);
    };
    for (const Way& way : {Way{"bare, one by one", &one_by_one}, Way{"bare, in groups", &in_groups}}) {
      if (!done) break;
      Latencies latencies;
      const double cpu_before = own_cpu_seconds();
      const auto begun = SteadyClock::now();
      done = way.run(options, ground, latencies);
      const double took = static_cast<double>(since(begun)) / 1e9;
      Json row{{"step", way.name}, {"count", latencies.count()}, {"seconds", rounded(took)}};
      row["per_s"] = rounded(static_cast<double>(latencies.count()) / took);
      row["client_cores"] = rounded((own_cpu_seconds() - cpu_before) / took);
      latencies.put(row);
      report.add_row(std::move(row));
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(at, ignored);
  return done;
}

}  // namespace canopy::bench
