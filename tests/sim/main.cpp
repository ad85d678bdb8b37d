// canopy-sim: runs seeds of the whole-system simulation (docs/architecture/simulator.md), each in a worker
// process, so that a failed assertion of the product is a failure of its seed and nothing else.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <thread>

#include "daemon/base/log.h"
#include "tests/sim/simulation.h"

namespace canopy::sim {
namespace {

struct Options {
  uint64_t first = 1, last = 1;
  uint32_t jobs = 0;
  std::string bug;
  bool keep_going = false;
  bool twice = false;
  SimulationOptions simulation;
};

std::string replay_line(const Options& options, uint64_t seed) {
  const std::string bug = options.bug.empty() ? "" : fmt::format(" --bug {}", options.bug);
  return fmt::format("build/release/bin/canopy-sim --seed {}{} --trace", seed, bug);
}

// What a worker tells its parent about each seed.
struct Report {
  uint64_t seed;
  uint64_t steps;
  int64_t virtual_ns;
  char violation[400];  // empty: none; written whole, so that a pipe delivers it whole
};
static_assert(sizeof(Report) <= 512);

struct Worker {
  pid_t pid = -1;
  int reports = -1;
  uint64_t next = 0;  // the seed that it is at
};

[[noreturn]] void work(const Options& options, uint64_t from, int to) {
  for (uint64_t seed = from; seed <= options.last; seed += options.jobs) {
    Verdict verdict = simulate(seed, options.simulation);
    if (options.twice && verdict.violation.empty() &&
        simulate(seed, options.simulation).hash != verdict.hash) {
      verdict.violation = "it went another way the second time";
    }
    Report report{seed, verdict.steps, verdict.took, {}};
    snprintf(report.violation, sizeof report.violation, "%s", verdict.violation.c_str());
    if (write(to, &report, sizeof report) != sizeof report) _exit(3);
  }
  _exit(0);
}

Worker start_worker(const Options& options, uint64_t from) {
  int ends[2];
  if (pipe(ends) != 0) {
    std::perror("canopy-sim: pipe");
    _exit(3);
  }
  fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    work(options, from, ends[1]);
  }
  close(ends[1]);
  return {pid, ends[0], from};
}

struct Tally {
  uint64_t seeds = 0, failures = 0, steps = 0;
  double virtual_seconds = 0;
  uint64_t first_failure = 0;
};

void count_failure(const Options& options, Tally& tally, uint64_t seed, const std::string& what) {
  ++tally.failures;
  if (tally.first_failure == 0 || seed < tally.first_failure) tally.first_failure = seed;
  fmt::print("seed {} FAILED: {}\n  {}\n", seed, what, replay_line(options, seed));
  fflush(stdout);
}

// False when the worker has ended.
bool take_report(const Options& options, Worker& worker, Tally& tally) {
  Report report;
  const ssize_t got = read(worker.reports, &report, sizeof report);
  if (got == sizeof report) {
    ++tally.seeds;
    tally.steps += report.steps;
    tally.virtual_seconds += static_cast<double>(report.virtual_ns) / kSecond;
    worker.next = report.seed + options.jobs;
    if (report.violation[0] != '\0') count_failure(options, tally, report.seed, report.violation);
    return true;
  }
  int status = 0;
  waitpid(worker.pid, &status, 0);
  close(worker.reports);
  const bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!well) {
    ++tally.seeds;
    count_failure(options, tally, worker.next,
                  WIFSIGNALED(status) ? fmt::format("the simulator died of signal {}", WTERMSIG(status))
                                      : fmt::format("the simulator ended with {}", WEXITSTATUS(status)));
    worker.next += options.jobs;
  }
  worker.pid = -1;
  return !well && worker.next <= options.last;
}

Tally run_all(const Options& options) {
  Tally tally;
  std::vector<Worker> workers;
  for (uint32_t i = 0; i < options.jobs && options.first + i <= options.last; ++i) {
    workers.push_back(start_worker(options, options.first + i));
  }
  const bool until_found = !options.bug.empty();
  while (!workers.empty() && !((until_found || !options.keep_going) && tally.failures > 0)) {
    std::vector<pollfd> polls;
    for (const Worker& worker : workers) polls.push_back({worker.reports, POLLIN, 0});
    poll(polls.data(), polls.size(), -1);
    std::vector<Worker> running;
    for (size_t i = 0; i < polls.size(); ++i) {
      Worker& worker = workers[i];
      if (polls[i].revents == 0 || take_report(options, worker, tally)) {
        running.push_back(worker.pid == -1 ? start_worker(options, worker.next) : worker);
      }
    }
    workers = std::move(running);
  }
  for (const Worker& worker : workers) {
    kill(worker.pid, SIGKILL);
    waitpid(worker.pid, nullptr, 0);
  }
  return tally;
}

int run_many(const Options& options) {
  const auto began = std::chrono::steady_clock::now();
  const Tally tally = run_all(options);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  fmt::print("{} seeds, {} failed; {:.1f} s, {:.0f} simulated seconds, {} steps\n", tally.seeds,
             tally.failures, took.count(), tally.virtual_seconds, tally.steps);
  if (options.bug.empty()) return tally.failures == 0 ? 0 : 1;
  if (tally.failures == 0) {
    fmt::print("the bug {} was not found\n", options.bug);
    return 1;
  }
  fmt::print("the bug {} was found by seed {}, after {} seeds\n", options.bug, tally.first_failure,
             tally.seeds);
  return 0;
}

int run_one(const Options& options) {
  const Verdict verdict = simulate(options.first, options.simulation);
  fmt::print("seed {}: {} ({} steps, {:.3f} simulated seconds, events {:016x})\n", options.first,
             verdict.violation.empty() ? "ok" : "FAILED: " + verdict.violation, verdict.steps,
             static_cast<double>(verdict.took) / kSecond, verdict.hash);
  if (!verdict.violation.empty()) fmt::print("  {}\n", replay_line(options, options.first));
  return verdict.violation.empty() ? 0 : 1;
}

bool parse_seeds(const std::string& text, Options& options) {
  const size_t dash = text.find('-');
  try {
    size_t used = 0;
    const uint64_t one = std::stoull(text, &used);
    options.first = dash == std::string::npos ? 1 : one;
    options.last = dash == std::string::npos ? one : std::stoull(text.substr(dash + 1));
    return used == std::min(dash, text.size()) && options.first <= options.last;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace
}  // namespace canopy::sim

int main(int argc, char** argv) {
  using namespace canopy::sim;
  Options options;
  CLI::App app(
      "canopy-sim: the daemon and its clients on virtual time, with crashes, late requests and takeovers");
  std::string seeds;
  uint64_t seed = 0;
  auto* one = app.add_option("--seed", seed, "Run one seed in this process");
  app.add_option("--seeds", seeds, "Run seeds FROM-TO, or 1 to N")->excludes(one);
  app.add_option("--bug", options.bug, "Put in a deliberate bug and succeed when it is found");
  app.add_option("--jobs", options.jobs, "Processes for --seeds; 0: one a core")->capture_default_str();
  app.add_flag("--keep-going", options.keep_going, "Go on after a failure");
  app.add_flag("--twice", options.twice, "Run each seed twice and compare all events");
  app.add_flag("--trace", options.simulation.trace, "Print every event, and the daemon's log");
  app.add_flag("--trace-store", options.simulation.trace_store,
               "With --trace: every operation of the store, too");
  CLI11_PARSE(app, argc, argv);
  if (!options.bug.empty()) {
    auto bug = parse_bug(options.bug);
    if (!bug) {
      std::fprintf(stderr, "canopy-sim: there is no bug %s; there are:", options.bug.c_str());
      for (Bug known : kBugs) std::fprintf(stderr, " %s", std::string(bug_name(known)).c_str());
      std::fprintf(stderr, "\n");
      return 2;
    }
    options.simulation.bug = *bug;
  }
  canopy::LogOptions log;
  log.level = canopy::LogLevel::kDebug;
  if (options.simulation.trace) {
    setvbuf(stdout, nullptr, _IOLBF, 0);
  } else {
    log.level = canopy::LogLevel::kError;
    log.file = "/dev/null";
  }
  canopy::log_start(log);
  if (one->count() > 0) {
    options.first = options.last = seed;
    options.simulation.hash = true;
    return run_one(options);
  }
  if (!parse_seeds(seeds.empty() ? "1-200" : seeds, options)) {
    std::fprintf(stderr, "canopy-sim: --seeds is FROM-TO or a number, not %s\n", seeds.c_str());
    return 2;
  }
  options.simulation.hash = options.twice;
  if (options.jobs == 0) options.jobs = std::max(1u, std::thread::hardware_concurrency());
  options.simulation.trace = false;
  return run_many(options);
}
