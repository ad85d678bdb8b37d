// canopy-bench staleness: how long one mount goes on showing what another has changed. Both are mounts of one
// backend; the one that looks has looked right before each change, so that its caches are as fresh as can be.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr auto kLookEvery = std::chrono::milliseconds(1);
constexpr auto kPatience = std::chrono::seconds(10);

struct Options {
  std::string directory, other, raw = "SharedDomains", mailbox;
  uint32_t rounds = 100;
};

std::string content_at(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  std::string content(4096, '\0');
  const ssize_t got = read(file, content.data(), content.size());
  close(file);
  content.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return content;
}

Result<void> write_at(const std::string& path, std::string_view content) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return fail_errno(errno, path, "open");
  const ssize_t wrote = write(file, content.data(), content.size());
  const int error = wrote == static_cast<ssize_t>(content.size()) ? 0 : errno;
  if (close(file) != 0 || error != 0) return fail_errno(error != 0 ? error : errno, path, "write");
  return {};
}

std::vector<std::string> messages_in(const std::string& mailbox) {
  std::vector<std::string> names;
  DIR* stream = opendir(mailbox.c_str());
  if (stream == nullptr) return names;
  while (const dirent* entry = readdir(stream))
    if (std::string_view(entry->d_name).ends_with(".eml")) names.emplace_back(entry->d_name);
  closedir(stream);
  return names;
}

off_t size_at(const std::string& path) {
  struct stat found = {};
  return stat(path.c_str(), &found) == 0 ? found.st_size : -1;
}

// One kind of change, many times.
class Row {
 public:
  explicit Row(std::string_view what) : what_(what) {}

  // The change is made; counts until `seen`.
  Result<void> until(const std::function<bool()>& seen) {
    const auto changed = SteadyClock::now();
    while (!seen()) {
      if (SteadyClock::now() - changed > kPatience)
        return fail(Code::kInternal, std::string(what_), "it was not seen within 10 s");
      std::this_thread::sleep_for(kLookEvery);
    }
    const int64_t took = (SteadyClock::now() - changed) / std::chrono::nanoseconds(1);
    latencies_.add(took);
    most_ = std::max(most_, took);
    return {};
  }
  Json row() const {
    return {{"change", what_},
            {"times", latencies_.count()},
            {"p50_ms", rounded(latencies_.percentile_us(0.5) / 1000)},
            {"p99_ms", rounded(latencies_.percentile_us(0.99) / 1000)},
            {"most_ms", rounded(static_cast<double>(most_) / 1e6)}};
  }

 private:
  std::string_view what_;
  Latencies latencies_;
  int64_t most_ = 0;
};

Result<void> measure_raw(const Options& options, Report& report) {
  Row made("file made"), grown("file grown"), rewritten("file rewritten, same size"), renamed("file renamed"),
      removed("file removed");
  for (uint32_t round = 0; round < options.rounds; ++round) {
    const std::string name = fmt::format("{}/canopy-bench-staleness-{}-{}", options.raw, getpid(), round);
    const std::string here = options.directory + "/" + name, there = options.other + "/" + name;
    size_at(here);
    CANOPY_TRY(write_at(there, "one"));
    CANOPY_TRY(made.until([&] { return size_at(here) == 3; }));
    content_at(here);
    CANOPY_TRY(write_at(there, "longer"));
    CANOPY_TRY(grown.until([&] { return size_at(here) == 6; }));
    content_at(here);
    CANOPY_TRY(write_at(there, "others"));
    CANOPY_TRY(rewritten.until([&] { return content_at(here) == "others"; }));
    const std::string here_new = here + "-new";
    size_at(here);
    size_at(here_new);
    if (rename(there.c_str(), (there + "-new").c_str()) != 0) return fail_errno(errno, there, "rename");
    CANOPY_TRY(renamed.until([&] { return size_at(here_new) == 6 && size_at(here) < 0; }));
    if (unlink((there + "-new").c_str()) != 0) return fail_errno(errno, there, "unlink");
    CANOPY_TRY(removed.until([&] { return size_at(here_new) < 0; }));
  }
  for (const Row* row : {&made, &grown, &rewritten, &renamed, &removed}) report.add_row(row->row());
  return {};
}

Result<void> measure_mail(const Options& options, Report& report) {
  Row delivered("message delivered"), expunged("message expunged");
  const std::string here = options.directory + "/" + options.mailbox;
  const std::string there = options.other + "/" + options.mailbox;
  for (uint32_t round = 0; round < options.rounds; ++round) {
    const std::vector<std::string> before = messages_in(here);
    CANOPY_TRY(write_at(there + "/new.eml", fmt::format("Subject: {}\r\n\r\ntext\r\n", round)));
    std::vector<std::string> now;
    CANOPY_TRY(delivered.until([&] { return (now = messages_in(here)).size() > before.size(); }));
    std::string name;
    for (const std::string& each : now)
      if (std::find(before.begin(), before.end(), each) == before.end()) name = each;
    size_at(here + "/" + name);
    if (unlink((there + "/" + name).c_str()) != 0) return fail_errno(errno, there + "/" + name, "unlink");
    CANOPY_TRY(expunged.until([&] { return size_at(here + "/" + name) < 0; }));
  }
  for (const Row* row : {&delivered, &expunged}) report.add_row(row->row());
  return {};
}

Result<Report> run_staleness(const Options& options) {
  Report report("staleness");
  CANOPY_TRY(measure_raw(options, report));
  if (!options.mailbox.empty()) CANOPY_TRY(measure_mail(options, report));
  return report;
}

}  // namespace

void add_staleness(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "staleness", "how long one mount goes on showing what another mount of the same backend has changed");
  command->add_option("--dir", options->directory, "the mount that looks")->required();
  command->add_option("--other", options->other, "the mount that changes")->required();
  command->add_option("--raw", options->raw, "directory of the raw tree, below both");
  command->add_option(
      "--mailbox", options->mailbox,
      "folder of a mailbox, as accounts/DOMAIN/NAME/INBOX; mail is written there, and expunged");
  command->add_option("--rounds", options->rounds)->check(CLI::Range(1, 1'000'000));
  choose(command, chosen, options, &run_staleness);
}

}  // namespace canopy::bench
