// canopy-bench moves: what users notice of accounts that move. Accounts are written to and looked at, first
// while nothing moves, then while a command makes them move, to another layout or another store: how many
// requests are answered a second, and how long the users of each account had to wait at most.
#include <cstdlib>
#include <thread>

#include "daemon/runtime/sync.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"
#include "tools/canopy-bench/clients.h"
#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/mail.h"
#include "tools/canopy-bench/patterns.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

constexpr Nanos kLookedAtEvery = 5 * kMillisecond;
constexpr uint32_t kFillBytes = 1u << 20;  // of a message that only takes room
constexpr uint32_t kConnections = 2;

struct Options {
  std::string server, pattern = "user%07d@bench.example.com", relocation = "/";
  std::vector<std::string> changes;
  uint32_t count = 100, parallel = 16, pause_ms = 0, fill_mib = 0, fill_count = 0;
  double seconds = 5;
};

// What was asked while one thing went on.
struct Phase {
  Nanos begun = 0;
  Latencies all = {};
  std::vector<Nanos> longest = {};  // by account
};

struct Run {
  UringLoop& loop;
  const Options& options;
  Clients clients;
  Mail mail;
  Report report{"moves"};
  Random random{11};
  Phase phase = {};
  bool over = false;
  double still_per_s = 0;
  std::optional<Error> error = {};

  void begin_phase() {
    phase = Phase{.begun = loop.now()};
    phase.longest.resize(options.count);
  }
};

v1::AccountRef account_of(const Run& run, uint32_t number) {
  v1::AccountRef account;
  account.set_name(*name_from_pattern(run.options.pattern, number));  // looked at before the run
  return account;
}

Task<Result<void>> append(Run& run, wire::Client& client, uint32_t number, std::string content) {
  v1::AppendRequest request;
  *request.mutable_account() = account_of(run, number);
  request.set_mailbox("INBOX");
  request.set_content(std::move(content));
  request.set_request_id(client.new_request_id());
  auto answered = co_await wire::MailboxesStub(client).append(request);
  if (!answered) co_return fail(std::move(answered).error());
  co_return Result<void>();
}

Task<Result<void>> look(Run& run, wire::Client& client, uint32_t number) {
  v1::MailboxRequest request;
  *request.mutable_account() = account_of(run, number);
  request.set_mailbox("INBOX");
  auto answered = co_await wire::MailboxesStub(client).status(request);
  if (!answered) co_return fail(std::move(answered).error());
  co_return Result<void>();
}

// The users of every `parallel`th account, one request at a time.
Task<void> use_some(Run& run, wire::Client& client, uint32_t first) {
  const uint32_t parts = std::min(run.options.parallel, run.options.count);
  const uint32_t own = (run.options.count - first + parts - 1) / parts;
  while (!run.over && !run.error) {
    const uint32_t number = first + parts * run.random.below(own);
    const Nanos begun = run.loop.now();
    auto done =
        run.random.below(2) == 0
            ? co_await append(
                  run, client, number,
                  run.mail.messages[run.random.below(static_cast<uint32_t>(run.mail.messages.size()))])
            : co_await look(run, client, number);
    const Nanos took = run.loop.now() - begun;
    run.phase.all.add(took);
    run.phase.longest[number] = std::max(run.phase.longest[number], took);
    if (!done && !run.error) run.error.emplace(done.error());
    if (run.options.pause_ms != 0) co_await run.loop.sleep(run.options.pause_ms * kMillisecond);
  }
}

Task<Result<void>> fill(Run& run) {
  std::string content = "Subject: large\r\n\r\n";
  while (content.size() < kFillBytes - 72) content += std::string(70, 'x') + "\r\n";
  for (uint32_t number = 0; number < run.options.fill_count; ++number)
    for (uint32_t i = 0; i < run.options.fill_mib; ++i)
      CANOPY_CO_TRY(co_await append(run, *run.clients.front(), number, content));
  co_return Result<void>();
}

void report_phase(Run& run, std::string what, const Json& more) {
  const double seconds = static_cast<double>(run.loop.now() - run.phase.begun) / 1e9;
  const double per_s = static_cast<double>(run.phase.all.count()) / seconds;
  Json row{{"while", std::move(what)}, {"seconds", rounded(seconds)}, {"per_s", rounded(per_s)}};
  if (more.empty())
    run.still_per_s = per_s;
  else
    row["ratio"] = rounded(per_s / run.still_per_s);
  run.phase.all.put(row);
  std::vector<Nanos> longest;
  for (Nanos each : run.phase.longest)
    if (each != 0) longest.push_back(each);
  std::ranges::sort(longest);
  const auto ms = [](Nanos nanos) { return rounded(static_cast<double>(nanos) / 1e6); };
  row["accounts"] = longest.size();
  row["wait_p99_ms"] = longest.empty() ? 0 : ms(longest[longest.size() * 99 / 100]);
  row["wait_max_ms"] = longest.empty() ? 0 : ms(longest.back());
  if (!more.empty()) row.update(more);
  double load = 0;
  getloadavg(&load, 1);
  row["load"] = rounded(load);
  run.report.add_row(std::move(row));
}

// Runs the command on a thread of its own, and waits until what it has begun has ended.
Task<Result<void>> change(Run& run, std::string command) {
  std::atomic<int> status{-1};
  std::jthread shell([&] { status = std::system(command.c_str()); });
  v1::DomainRequest of;
  of.set_name(run.options.relocation);
  run.begin_phase();
  for (bool moving = false; !run.error;) {
    co_await run.loop.sleep(kLookedAtEvery);
    if (status == -1) continue;
    if (status != 0)
      co_return fail(Code::kInternal, command, fmt::format("it ended with status {}", status.load()));
    CANOPY_CO_ASSIGN(const v1::RelocationInfo now,
                     co_await wire::RelocationStub(*run.clients.front()).get(of));
    if (!now.last_error().empty()) co_return fail(Code::kInternal, now.domain(), now.last_error());
    if (!moving && now.state() == "waiting") run.begin_phase();  // the daemon looks every second
    moving = moving || now.state() == "moving";
    if (now.state() != "finished" && now.state() != "none" && now.state() != "settling") continue;
    report_phase(
        run, command,
        {{"moved", now.moved()}, {"bytes_copied", now.bytes_copied()}, {"held_max_ms", now.held_ms_max()}});
    break;
  }
  co_return Result<void>();
}

Task<Result<void>> changes(Run& run) {
  for (const std::string& command : run.options.changes) {
    run.begin_phase();
    const Nanos until = run.phase.begun + static_cast<Nanos>(run.options.seconds * 1e9);
    while (run.loop.now() < until && !run.error) co_await run.loop.sleep(kLookedAtEvery);
    report_phase(run, "nothing moves", {});
    CANOPY_CO_TRY(co_await change(run, command));
  }
  co_return Result<void>();
}

Task<Result<void>> all_steps(Run& run) {
  for (auto& client : run.clients) CANOPY_CO_TRY(co_await client->connect());
  CANOPY_CO_TRY(co_await fill(run));
  for (uint32_t number = 0; number < run.options.count; ++number)  // each is open before anything is measured
    CANOPY_CO_TRY(co_await look(run, *run.clients.front(), number));
  run.begin_phase();
  Result<void> done;
  {
    TaskGroup users(run.loop);
    for (uint32_t i = 0; i < std::min(run.options.parallel, run.options.count); ++i)
      users.spawn(use_some(run, *run.clients[i % run.clients.size()], i));
    done = co_await changes(run);
    run.over = true;
    co_await users.join();
  }
  if (done && run.error) co_return fail(*run.error);
  co_return done;
}

Result<Report> run_moves(const Options& options) {
  CANOPY_ASSIGN(Address to, Address::parse(options.server));
  CANOPY_TRY(name_from_pattern(options.pattern, 0));
  CANOPY_ASSIGN(auto loop, UringLoop::create());
  Run run{.loop = *loop, .options = options, .clients = {}, .mail = Mail::generate({1024, 16'384})};
  run.clients = make_clients(*loop, to, kConnections);
  Result<void> done = loop->run_until_done(all_steps(run));
  close_clients(*loop, run.clients);
  CANOPY_TRY(std::move(done));
  return std::move(run.report);
}

}  // namespace

void add_moves(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "moves", "write to accounts and look at them, while nothing moves and while a command makes them move");
  command->add_option("--server", options->server, "unix:PATH or tcp:HOST:PORT of canopyd")->required();
  command->add_option("--account-pattern", options->pattern,
                      "with %d or %0Nd for the number, from 0; they must exist (canopy-bench accounts)");
  command->add_option("--count", options->count, "how many of them are used")
      ->check(CLI::Range(1, 10'000'000));
  command
      ->add_option("--parallel", options->parallel, "requests under way at once, each to accounts of its own")
      ->check(CLI::Range(1, 10'000));
  command->add_option("--pause-ms", options->pause_ms, "between two requests of one of them");
  command->add_option("--seconds", options->seconds, "while nothing moves, before each change")
      ->check(CLI::PositiveNumber);
  command->add_option("--fill-mib", options->fill_mib, "first bring so much into each of the first accounts");
  command->add_option("--fill-count", options->fill_count, "how many those are");
  command
      ->add_option("--change", options->changes,
                   "a shell command that begins a relocation (may be repeated, one after the other)")
      ->required();
  command->add_option("--relocation", options->relocation,
                      "what the commands begin: a domain's, or / (the mount table's)");
  choose(command, chosen, options, &run_moves);
}

}  // namespace canopy::bench
