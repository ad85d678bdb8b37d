// canopy-bench lmtp: deliveries over LMTP, against any server.
#include "daemon/runtime/sync.h"
#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/lmtp_session.h"
#include "tools/canopy-bench/mail.h"
#include "tools/canopy-bench/patterns.h"
#include "tools/canopy-bench/process_figures.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

struct Options {
  std::string connect;
  std::vector<uint32_t> connections = {1, 16, 64};
  uint32_t accounts = 1000;
  std::string pattern = "user%05d@company.com";
  std::string sizes = "2048-76800";
  double seconds = 10;
  double warmup = 1;
  bool pipelining = false;
  std::vector<pid_t> pids;
};

// What all connections of one row share. Lives longer than they do.
struct Row {
  UringLoop& loop;
  const Options& options;
  Address to;
  const std::vector<std::string>& accounts;
  const Mail& mail;
  Random random{7};
  Nanos count_from = 0, stop_at = 0;
  Latencies latencies = {};
  uint64_t bytes = 0, errors = 0;
  std::string last_error = {};
};

Task<Result<void>> deliver_until_end(Row& row) {
  CANOPY_CO_ASSIGN(auto session, co_await LmtpSession::connect(row.loop, row.to));
  while (row.loop.now() < row.stop_at) {
    const std::string& account = row.accounts[row.random.below(static_cast<uint32_t>(row.accounts.size()))];
    const std::string& content =
        row.mail.messages[row.random.below(static_cast<uint32_t>(row.mail.messages.size()))];
    Nanos begun = row.loop.now();
    CANOPY_CO_TRY(co_await session->deliver(account, content, row.options.pipelining));
    Nanos ended = row.loop.now();
    if (ended < row.count_from || ended > row.stop_at) continue;
    row.latencies.add(ended - begun);
    row.bytes += content.size();
  }
  co_await session->quit();
  co_return Result<void>{};
}

// A refused delivery costs its connection: a new one goes on, after a moment.
Task<void> one_connection(Row& row) {
  while (row.loop.now() < row.stop_at) {
    Result<void> done = co_await deliver_until_end(row);
    if (done) co_return;
    ++row.errors;
    row.last_error = done.error().to_string();
    co_await row.loop.sleep(10 * kMillisecond);
  }
}

Task<void> all_connections(Row& row, uint32_t count) {
  TaskGroup group(row.loop);
  for (uint32_t i = 0; i < count; ++i) group.spawn(one_connection(row));
  co_await group.join();
}

Json measure(Row& row, uint32_t connections) {
  const Options& options = row.options;
  row.count_from = row.loop.now() + static_cast<Nanos>(options.warmup * 1e9);
  row.stop_at = row.count_from + static_cast<Nanos>(options.seconds * 1e9);
  double own_before = own_cpu_seconds(), theirs_before = cpu_seconds(options.pids);
  row.loop.run_until_done(all_connections(row, connections));
  double whole = options.seconds + options.warmup;
  Json figures{{"connections", connections},
               {"deliveries", row.latencies.count()},
               {"deliveries_per_s", rounded(static_cast<double>(row.latencies.count()) / options.seconds)},
               {"mb_per_s", rounded(static_cast<double>(row.bytes) / 1e6 / options.seconds)}};
  row.latencies.put(figures);
  figures["errors"] = row.errors;
  figures["client_cpu"] = rounded((own_cpu_seconds() - own_before) / whole);
  if (!options.pids.empty())
    figures["server_cpu"] = rounded((cpu_seconds(options.pids) - theirs_before) / whole);
  return figures;
}

Result<Report> run(const Options& options) {
  CANOPY_ASSIGN(Address to, Address::parse(options.connect));
  CANOPY_ASSIGN(SizeRange sizes, SizeRange::parse(options.sizes));
  CANOPY_ASSIGN(auto accounts, names_from_pattern(options.pattern, options.accounts));
  CANOPY_ASSIGN(auto loop, UringLoop::create());
  Mail mail = Mail::generate(sizes);
  Report report("lmtp");
  for (uint32_t connections : options.connections) {
    Row row{*loop, options, to, accounts, mail};
    report.add_row(measure(row, connections));
    if (row.latencies.count() == 0 && row.errors > 0)
      return fail(Code::kIo, to.to_string(), "no delivery was taken; last error: " + row.last_error);
    if (row.errors > 0) report.add_note("last error: " + row.last_error);
  }
  return report;
}

}  // namespace

void add_lmtp(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("lmtp", "deliver messages over LMTP");
  command->add_option("--connect", options->connect, "tcp:HOST:PORT or unix:PATH")->required();
  command->add_option("--connections", options->connections, "one row for each")
      ->delimiter(',')
      ->check(CLI::Range(1, 60000));
  command->add_option("--accounts", options->accounts, "how many accounts, by --account-pattern")
      ->check(CLI::Range(1, 100'000'000));
  command->add_option("--account-pattern", options->pattern, "with %d or %0Nd for the number, from 0");
  command->add_option("--sizes", options->sizes, "bytes of a message, log-uniform: LEAST-MOST");
  command->add_option("--seconds", options->seconds, "measured, for each row")->check(CLI::PositiveNumber);
  command->add_option("--warmup", options->warmup, "seconds before them that do not count");
  command->add_flag("--pipelining", options->pipelining, "MAIL, RCPT and DATA in one write");
  command->add_option("--pid", options->pids, "processes of the server whose CPU time is wanted")
      ->delimiter(',');
  choose(command, chosen, options, &run);
}

}  // namespace canopy::bench
