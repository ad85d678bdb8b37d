// canopy-bench info: what a SIP registrar asks of the store: the info of accounts at random is rewritten,
// durably, many at once. Then what the settings and info of all accounts take on the disk, and how long
// reading them takes.
#include <sys/stat.h>

#include <filesystem>

#include "daemon/runtime/sync.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"
#include "tools/canopy-bench/bare_replace.h"
#include "tools/canopy-bench/clients.h"
#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/mail.h"
#include "tools/canopy-bench/patterns.h"
#include "tools/canopy-bench/process_figures.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

constexpr uint64_t kCheckedMax = 1000;

struct Options {
  std::string server, pattern = "user%07d@bench.example.com", dir, bare_dir;
  uint32_t count = 100'000, connections = 2, parallel = 256, bytes = 300;
  double seconds = 10;
  bool fill = false, no_rewrite = false, read = false;
  std::vector<pid_t> pids;
};

struct Run {
  UringLoop& loop;
  const Options& options;
  Clients clients;
  Report report{"info"};
  Random random{5};
  uint32_t next = 0;
  Nanos stop_at = 0;
  uint64_t stamp = 0;                                   // in each info that is written: which one it is
  std::unordered_map<uint32_t, uint64_t> written = {};  // by account: what was acknowledged last
  std::unordered_set<uint32_t> under_way =
      {};  // one change of an account at a time, so that the last is known
  Latencies latencies = {};
  std::optional<Error> error = {};
};

v1::AccountRef account_of(const Run& run, uint32_t number) {
  v1::AccountRef account;
  account.set_name(*name_from_pattern(run.options.pattern, number));  // looked at before the run
  return account;
}

// A registration: where the phone is, until when, and who it says it is.
std::string registration(const Run& run, uint64_t stamp) {
  std::string text =
      fmt::format("{{Stamp=#{};Contact=\"sip:{:x}@198.51.100.{}:5060;transport=udp\";Expires=#{};Agent=\"",
                  stamp, stamp * 0x9e3779b97f4a7c15ull, stamp % 250, stamp + 3600);
  text.append(run.options.bytes - std::min<size_t>(run.options.bytes, text.size() + 3), 'a' + stamp % 26);
  return text + "\";}";
}

Task<void> write_one(Run& run, wire::Client& client, uint32_t number) {
  v1::SetInfoRequest request;
  *request.mutable_account() = account_of(run, number);
  request.set_kind(v1::INFO);
  const uint64_t stamp = ++run.stamp;
  request.set_text(registration(run, stamp));
  request.set_request_id(client.new_request_id());
  const Nanos begun = run.loop.now();
  auto answered = co_await wire::InfoStub(client).set(request);
  run.latencies.add(run.loop.now() - begun);
  if (answered)
    run.written[number] = stamp;
  else if (!run.error)
    run.error.emplace(answered.error());
}

Task<void> fill_some(Run& run, wire::Client& client) {
  while (run.next < run.options.count && !run.error) co_await write_one(run, client, run.next++);
}

Task<void> rewrite_some(Run& run, wire::Client& client) {
  while (run.loop.now() < run.stop_at && !run.error) {
    const uint32_t number = run.random.below(run.options.count);
    if (!run.under_way.insert(number).second) {
      co_await run.loop.yield();  // as many under way as there are accounts
      continue;
    }
    co_await write_one(run, client, number);
    run.under_way.erase(number);
  }
}

Task<void> read_some(Run& run, wire::Client& client) {
  while (run.next < run.options.count && !run.error) {
    const uint32_t number = run.next++;
    for (v1::InfoKind kind : {v1::SETTINGS, v1::INFO}) {
      v1::GetInfoRequest request;
      *request.mutable_account() = account_of(run, number);
      request.set_kind(kind);
      const Nanos begun = run.loop.now();
      auto answered = co_await wire::InfoStub(client).get(request);
      run.latencies.add(run.loop.now() - begun);
      if (!answered && !run.error) run.error.emplace(answered.error());
    }
  }
}

// Runs `work` so many times at once over all connections, and makes a row of it.
Task<Result<void>> measured(Run& run, std::string step, Task<void> (*work)(Run&, wire::Client&)) {
  run.next = 0;
  run.latencies = {};
  const double server_before = cpu_seconds(run.options.pids), own_before = own_cpu_seconds();
  const Nanos begun = run.loop.now();
  run.stop_at = begun + static_cast<Nanos>(run.options.seconds * 1e9);
  TaskGroup group(run.loop);
  for (uint32_t i = 0; i < run.options.parallel; ++i)
    group.spawn(work(run, *run.clients[i % run.clients.size()]));
  co_await group.join();
  if (run.error) co_return fail(*run.error);
  const double took = static_cast<double>(run.loop.now() - begun) / 1e9;
  const auto count = static_cast<double>(run.latencies.count());
  Json row{{"step", std::move(step)}, {"count", run.latencies.count()}, {"seconds", rounded(took)}};
  row["per_s"] = rounded(count / took);
  if (!run.options.pids.empty()) {
    const double used = cpu_seconds(run.options.pids) - server_before;
    row["server_cores"] = rounded(used / took);
    row["per_core_s"] = rounded(used > 0 ? count / used : 0);
  }
  row["client_cores"] = rounded((own_cpu_seconds() - own_before) / took);
  run.latencies.put(row);
  run.report.add_row(std::move(row));
  co_return Result<void>{};
}

// What was acknowledged is what is there.
Task<Result<void>> check(Run& run) {
  uint64_t looked_at = 0;
  for (const auto& [number, stamp] : run.written) {
    if (++looked_at > kCheckedMax) break;
    v1::GetInfoRequest request;
    *request.mutable_account() = account_of(run, number);
    request.set_kind(v1::INFO);
    CANOPY_CO_ASSIGN(auto info, co_await wire::InfoStub(*run.clients.front()).get(request));
    const std::string wanted = fmt::format("#{};", stamp), &text = info.text();
    const size_t at = text.find("Stamp");
    if (at == std::string::npos || text.find(wanted, at) > at + 12)
      co_return fail(Code::kInternal, request.account().name(),
                     "its info is not what was acknowledged: " + text);
  }
  run.report.add_note(fmt::format("{} of the rewritten infos were read again and are what was acknowledged",
                                  std::min(looked_at, kCheckedMax)));
  co_return Result<void>{};
}

Task<Result<void>> all_steps(Run& run) {
  for (auto& client : run.clients) CANOPY_CO_TRY(co_await client->connect());
  if (run.options.fill) CANOPY_CO_TRY(co_await measured(run, "write each once", &fill_some));
  if (!run.options.no_rewrite) {
    CANOPY_CO_TRY(co_await measured(run, "rewrite at random", &rewrite_some));
    CANOPY_CO_TRY(co_await check(run));
  }
  if (run.options.read) CANOPY_CO_TRY(co_await measured(run, "read settings and info", &read_some));
  co_return Result<void>{};
}

// Of all files of one kind below a directory; the directories are counted apart.
Result<void> add_space(Report& report, const std::string& directory) {
  struct Sum {
    uint64_t files = 0, bytes = 0, allocated = 0;
  };
  std::map<std::string, Sum> sums;
  std::error_code error;
  std::filesystem::recursive_directory_iterator at(directory, error), end;
  for (; !error && at != end; at.increment(error)) {
    struct stat found{};
    if (lstat(at->path().c_str(), &found) != 0) continue;  // replaced just now
    const std::string kind = S_ISDIR(found.st_mode) ? "directories" : at->path().extension().string();
    if (kind != "directories" && kind != ".settings" && kind != ".info") continue;
    Sum& sum = sums[kind];
    ++sum.files;
    sum.bytes += static_cast<uint64_t>(found.st_size);
    sum.allocated += static_cast<uint64_t>(found.st_blocks) * 512;
  }
  if (error) return fail(Code::kIo, directory, error.message());
  for (const auto& [kind, sum] : sums) {
    Json row{{"step", "space of " + kind}, {"count", sum.files}};
    row["mib"] = rounded(static_cast<double>(sum.bytes) / (1 << 20));
    row["mib_on_disk"] = rounded(static_cast<double>(sum.allocated) / (1 << 20));
    report.add_row(std::move(row));
  }
  return {};
}

Result<Report> run_info(const Options& options) {
  CANOPY_ASSIGN(Address to, Address::parse(options.server));
  CANOPY_TRY(name_from_pattern(options.pattern, 0));
  CANOPY_ASSIGN(auto loop, UringLoop::create());
  Run run{.loop = *loop, .options = options, .clients = {}};
  run.clients = make_clients(*loop, to, options.connections);
  Result<void> done = loop->run_until_done(all_steps(run));
  close_clients(*loop, run.clients);
  CANOPY_TRY(std::move(done));
  if (!options.bare_dir.empty()) {
    const BareReplace bare{.directory = options.bare_dir,
                           .parallel = options.parallel,
                           .bytes = options.bytes,
                           .seconds = options.seconds};
    CANOPY_TRY(measure_bare_replace(bare, run.report));
  }
  if (!options.dir.empty()) CANOPY_TRY(add_space(run.report, options.dir));
  return std::move(run.report);
}

}  // namespace

void add_info(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("info", "rewrite the info of accounts at random, as a SIP registrar does");
  command->add_option("--server", options->server, "unix:PATH or tcp:HOST:PORT of canopyd")->required();
  command->add_option("--account-pattern", options->pattern,
                      "with %d or %0Nd for the number, from 0; they must exist (canopy-bench accounts)");
  command->add_option("--count", options->count, "how many accounts there are")
      ->check(CLI::Range(1, 100'000'000));
  command->add_option("--connections", options->connections)->check(CLI::Range(1, 64));
  command->add_option("--parallel", options->parallel, "changes under way at once")
      ->check(CLI::Range(1, 10'000));
  command->add_option("--bytes", options->bytes, "of each info, about")->check(CLI::Range(128, 65'536));
  command->add_option("--seconds", options->seconds, "of rewriting at random")->check(CLI::PositiveNumber);
  command->add_flag("--fill", options->fill, "first write the info of each account once");
  command->add_flag("--no-rewrite", options->no_rewrite, "leave the rewriting out");
  command->add_flag("--read", options->read, "then read the settings and info of all accounts");
  command->add_option("--dir", options->dir, "where the store's files are: then say how much room they take")
      ->check(CLI::ExistingDirectory);
  command
      ->add_option("--bare-dir", options->bare_dir,
                   "then replace files in this directory without a server, as many at once, for as long: "
                   "the limit of its file system")
      ->check(CLI::ExistingDirectory);
  command->add_option("--pid", options->pids, "processes of the server whose CPU time is wanted")
      ->delimiter(',');
  choose(command, chosen, options, &run_info);
}

}  // namespace canopy::bench
