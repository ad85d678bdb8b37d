// canopy-bench raw: what the file system gives: append and fdatasync over many files, by blocking threads.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/mail.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

struct Options {
  std::string directory;
  std::vector<uint32_t> writers = {1, 16, 64};
  uint32_t files = 1000;
  std::string sizes = "2048-76800";
  double seconds = 5;
};

using SteadyClock = std::chrono::steady_clock;

struct Writer {
  uint32_t first = 0, step = 1;  // its files, so that no two write to the same one
  Latencies latencies = {};
  uint64_t bytes = 0;
  int error_number = 0;
};

void append_until(Writer& writer, const Mail& mail, const std::vector<int>& files,
                  SteadyClock::time_point end) {
  Random random(writer.first + 1);
  auto own = static_cast<uint32_t>((files.size() - writer.first + writer.step - 1) / writer.step);
  for (auto begun = SteadyClock::now(); begun < end; begun = SteadyClock::now()) {
    const std::string& message = mail.messages[random.below(static_cast<uint32_t>(mail.messages.size()))];
    int file = files[writer.first + random.below(own) * writer.step];
    ssize_t wrote = write(file, message.data(), message.size());
    bool whole = wrote == static_cast<ssize_t>(message.size());
    if (!whole || fdatasync(file) != 0) {
      writer.error_number = wrote >= 0 && !whole ? ENOSPC : errno;
      return;
    }
    writer.latencies.add((SteadyClock::now() - begun) / std::chrono::nanoseconds(1));
    writer.bytes += message.size();
  }
}

Result<Json> measure(const Options& options, const Mail& mail, const std::vector<int>& files,
                     uint32_t count) {
  std::vector<std::unique_ptr<Writer>> writers;
  std::vector<std::thread> threads;
  auto end = SteadyClock::now() + std::chrono::nanoseconds(static_cast<int64_t>(options.seconds * 1e9));
  for (uint32_t i = 0; i < count; ++i) {
    writers.push_back(std::make_unique<Writer>(Writer{.first = i, .step = count}));
    threads.emplace_back(append_until, std::ref(*writers.back()), std::cref(mail), std::cref(files), end);
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t appends = 0, bytes = 0;
  Latencies all;
  for (const auto& writer : writers) {
    if (writer->error_number != 0) return fail_errno(writer->error_number, options.directory, "append");
    appends += writer->latencies.count();
    bytes += writer->bytes;
    all.merge(writer->latencies);
  }
  Json row{{"writers", count},
           {"appends_per_s", rounded(static_cast<double>(appends) / options.seconds)},
           {"mb_per_s", rounded(static_cast<double>(bytes) / 1e6 / options.seconds)}};
  all.put(row);
  return row;
}

Result<Report> run(const Options& options) {
  CANOPY_ASSIGN(SizeRange sizes, SizeRange::parse(options.sizes));
  if (std::ranges::max(options.writers) > options.files)
    return fail(Code::kInvalidArgument, "--files", "must be at least the number of writers");
  Mail mail = Mail::generate(sizes);
  std::filesystem::path directory = std::filesystem::path(options.directory) / "canopy-bench-raw";
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  std::vector<int> files;
  Report report("raw");
  for (uint32_t i = 0; i < options.files; ++i) {
    files.push_back(
        open((directory / std::to_string(i)).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (files.back() < 0) return fail_errno(errno, directory, "create a file");
  }
  Result<void> done;
  for (uint32_t count : options.writers) {
    Result<Json> row = measure(options, mail, files, count);
    if (!row) {
      done = fail(std::move(row).error());
      break;
    }
    report.add_row(std::move(*row));
  }
  for (int file : files) close(file);
  std::filesystem::remove_all(directory, ignored);
  CANOPY_TRY(std::move(done));
  return report;
}

}  // namespace

void add_raw(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("raw", "append and fdatasync, without any server");
  command->add_option("--dir", options->directory, "where the files are made, and removed at the end")
      ->required();
  command->add_option("--writers", options->writers, "threads; one row for each")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  command->add_option("--files", options->files)->check(CLI::Range(1, 100'000));
  command->add_option("--sizes", options->sizes, "bytes of an append, log-uniform: LEAST-MOST");
  command->add_option("--seconds", options->seconds, "for each row")->check(CLI::PositiveNumber);
  choose(command, chosen, options, &run);
}

}  // namespace canopy::bench
