// canopy-bench files: what a mounted file system gives to blocking threads: small files made, looked at,
// listed, renamed and removed, and one large file written and read.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <barrier>
#include <filesystem>
#include <thread>

#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Options {
  std::string directory;
  std::vector<uint32_t> threads = {1, 16};
  uint32_t files = 20'000;
  uint64_t stream_mib = 1024;
  bool keep_caches = false;
};

double seconds_since(SteadyClock::time_point begun) {
  return std::chrono::duration<double>(SteadyClock::now() - begun).count();
}

// What the kernel remembers of names, attributes and contents is forgotten, so that the next look is a cold
// one.
Result<void> drop_caches() {
  sync();
  const int file = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  if (file < 0)
    return fail_errno(errno, "/proc/sys/vm/drop_caches", "open (needs root; --keep-caches does without)");
  const ssize_t wrote = write(file, "3\n", 2);
  close(file);
  if (wrote != 2) return fail_errno(errno, "/proc/sys/vm/drop_caches", "write");
  return {};
}

// The files of one directory, divided among threads: thread t has every file t, t + threads, ...
class Files {
 public:
  Files(std::string directory, uint32_t count, uint32_t threads)
      : directory_(std::move(directory)), count_(count), threads_(threads) {}

  std::string path(uint32_t number) const { return fmt::format("{}/file-{:06}", directory_, number); }
  std::string new_path(uint32_t number) const { return fmt::format("{}/renamed-{:06}", directory_, number); }
  uint32_t count() const { return count_; }

  // `each` answers errno or 0.
  Result<Json> phase(std::string_view name, const std::function<int(uint32_t number)>& each) const {
    std::vector<std::unique_ptr<Latencies>> latencies;
    std::vector<int> errors(threads_, 0);
    std::vector<std::thread> threads;
    std::barrier start(threads_ + 1);
    for (uint32_t t = 0; t < threads_; ++t) {
      latencies.push_back(std::make_unique<Latencies>());
      threads.emplace_back([&, t] {
        start.arrive_and_wait();
        for (uint32_t i = t; i < count_ && errors[t] == 0; i += threads_) {
          const auto begun = SteadyClock::now();
          errors[t] = each(i);
          latencies[t]->add((SteadyClock::now() - begun) / std::chrono::nanoseconds(1));
        }
      });
    }
    const auto begun = SteadyClock::now();  // before, as this thread may be the last to run again
    start.arrive_and_wait();
    for (std::thread& thread : threads) thread.join();
    const double took = seconds_since(begun);
    Latencies all;
    for (uint32_t t = 0; t < threads_; ++t) {
      if (errors[t] != 0) return fail_errno(errors[t], directory_, name);
      all.merge(*latencies[t]);
    }
    Json row{{"what", name}, {"threads", threads_}, {"per_s", rounded(count_ / took)}};
    all.put(row);
    return row;
  }

 private:
  std::string directory_;
  uint32_t count_, threads_;
};

int make_file(const std::string& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0) return errno;
  const ssize_t wrote = write(file, "small\n", 6);
  const int error = wrote == 6 ? 0 : errno;
  return close(file) == 0 || error != 0 ? error : errno;
}

int look_at(const std::string& path) {
  struct stat found;
  return stat(path.c_str(), &found) == 0 ? 0 : errno;
}

// Each thread lists the whole directory once; with `attributes` as `ls -l` does.
Result<Json> list(const std::string& directory, uint32_t files, uint32_t threads, bool attributes) {
  std::vector<std::thread> running;
  running.reserve(threads);
  std::vector<int> errors(threads, 0);
  const auto begun = SteadyClock::now();
  for (uint32_t t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      DIR* stream = opendir(directory.c_str());
      if (stream == nullptr) {
        errors[t] = errno;
        return;
      }
      uint32_t seen = 0;
      while (const dirent* entry = readdir(stream)) {
        if (entry->d_name[0] == '.') continue;
        ++seen;
        struct stat found;
        if (attributes && fstatat(dirfd(stream), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0)
          errors[t] = errno;
      }
      closedir(stream);
      if (seen != files && errors[t] == 0) errors[t] = ENOENT;
    });
  }
  for (std::thread& thread : running) thread.join();
  const double took = seconds_since(begun);
  for (const int error : errors)
    if (error != 0) return fail_errno(error, directory, "list");
  return Json{{"what", attributes ? "list with attributes" : "list"},
              {"threads", threads},
              {"per_s", rounded(double{1} * files * threads / took)}};
}

Result<void> measure_small(const Options& options, const std::string& directory, uint32_t threads,
                           Report& report) {
  const Files files(directory, options.files, threads);
  const auto cold = [&]() -> Result<void> { return options.keep_caches ? Result<void>() : drop_caches(); };
  const auto add = [&](std::string_view what, const std::function<int(uint32_t)>& each) -> Result<void> {
    CANOPY_ASSIGN(Json row, files.phase(what, each));
    report.add_row(std::move(row));
    return {};
  };
  CANOPY_TRY(add("create", [&](uint32_t i) { return make_file(files.path(i)); }));
  CANOPY_TRY(cold());
  CANOPY_TRY(add("stat cold", [&](uint32_t i) { return look_at(files.path(i)); }));
  CANOPY_TRY(add("stat warm", [&](uint32_t i) { return look_at(files.path(i)); }));
  for (const bool attributes : {false, true}) {
    CANOPY_TRY(cold());
    CANOPY_ASSIGN(Json row, list(directory, options.files, threads, attributes));
    report.add_row(std::move(row));
  }
  CANOPY_TRY(add("rename", [&](uint32_t i) {
    return rename(files.path(i).c_str(), files.new_path(i).c_str()) == 0 ? 0 : errno;
  }));
  return add("unlink", [&](uint32_t i) { return unlink(files.new_path(i).c_str()) == 0 ? 0 : errno; });
}

Result<void> measure_stream(const Options& options, const std::string& directory, Report& report) {
  const std::string path = directory + "/stream";
  const std::string block(1u << 20, 'x');
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return fail_errno(errno, path, "create");
  const auto close_it = [&](int error, std::string_view what) {
    close(file);
    return fail_errno(error, path, what);
  };
  auto begun = SteadyClock::now();
  for (uint64_t i = 0; i < options.stream_mib; ++i)
    if (write(file, block.data(), block.size()) != static_cast<ssize_t>(block.size()))
      return close_it(errno, "write");
  if (fsync(file) != 0) return close_it(errno, "fsync");
  const double megabytes = static_cast<double>(options.stream_mib << 20) / 1e6;
  report.add_row(
      {{"what", "write and fsync"}, {"threads", 1}, {"mb_per_s", rounded(megabytes / seconds_since(begun))}});
  if (!options.keep_caches) CANOPY_TRY(drop_caches());
  for (const char* what : {"read cold", "read warm"}) {
    std::string read_block(block.size(), '\0');
    begun = SteadyClock::now();
    for (uint64_t i = 0; i < options.stream_mib; ++i)
      if (pread(file, read_block.data(), read_block.size(), static_cast<off_t>(i << 20)) !=
          static_cast<ssize_t>(block.size()))
        return close_it(errno, "read");
    report.add_row({{"what", what}, {"threads", 1}, {"mb_per_s", rounded(megabytes / seconds_since(begun))}});
  }
  close(file);
  if (unlink(path.c_str()) != 0) return fail_errno(errno, path, "remove");
  return {};
}

Result<Report> run(const Options& options) {
  std::string directory = options.directory + "/canopy-bench-files";
  std::error_code error;
  if (!std::filesystem::create_directory(directory, error) || error)
    return fail_errno(error ? error.value() : EEXIST, directory, "make the directory");
  Report report("files");
  Result<void> done;
  for (const uint32_t threads : options.threads)
    if (done) done = measure_small(options, directory, threads, report);
  if (done && options.stream_mib != 0) done = measure_stream(options, directory, report);
  std::filesystem::remove_all(directory, error);
  CANOPY_TRY(std::move(done));
  return report;
}

}  // namespace

void add_files(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("files", "small files and one large one in a mounted file system");
  command->add_option("--dir", options->directory, "where a directory is made, and removed at the end")
      ->required();
  command->add_option("--threads", options->threads, "rows for each")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  command->add_option("--files", options->files)->check(CLI::Range(1, 1'000'000));
  command->add_option("--stream-mib", options->stream_mib, "size of the large file; 0: none");
  command->add_flag("--keep-caches", options->keep_caches,
                    "no cold rows: the kernel's caches are not dropped");
  choose(command, chosen, options, &run);
}

}  // namespace canopy::bench
