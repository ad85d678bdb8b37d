// canopy-bench open: how long the first request to a large account takes: of a canopyd that runs, and with
// --canopyd and --dir of one that was just started, anew each round.
#include "daemon/runtime/sync.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"
#include "tools/canopy-bench/cold_server.h"
#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/mail.h"
#include "tools/canopy-bench/process_figures.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

struct Options {
  std::string server, account;
  std::string canopyd, dir;  // instead of server
  std::string sizes = "512-2048";
  uint32_t messages = 100'000, parallel = 64, rounds = 20;
  bool fill = false;
};

struct Run {
  UringLoop& loop;
  wire::Client& client;
  const Options& options;
  Report report{"open"};
  Mail mail;
  uint32_t next = 0;
  std::optional<Error> error = {};
};

struct Opened {
  uint32_t messages = 0;
  Nanos took = 0;
  Nanos processor = 0;  // the server's, with the connection's; of a cold open only
};

Task<Result<Opened>> open_account(Run& run) {
  v1::MailboxRequest request;
  request.mutable_account()->set_name(run.options.account);
  request.set_mailbox("INBOX");
  Nanos begun = run.loop.now();
  CANOPY_CO_ASSIGN(auto mailbox, co_await wire::MailboxesStub(run.client).status(request));
  Opened opened;
  opened.messages = mailbox.messages();
  opened.took = run.loop.now() - begun;
  co_return opened;
}

Task<void> append_some(Run& run) {
  while (run.next < run.options.messages && !run.error) {
    v1::DeliverRequest request;
    v1::Recipient& recipient = *request.add_recipients();
    recipient.set_address(run.options.account);
    recipient.set_request_id(run.client.new_request_id());
    request.set_content(run.mail.messages[run.next++ % run.mail.messages.size()]);
    auto delivered = co_await wire::MailboxesStub(run.client).deliver(request);
    if (!delivered) {
      run.error.emplace(delivered.error());
    } else if (delivered->results(0).has_error()) {
      run.error.emplace(Code::kInternal, run.options.account, delivered->results(0).error().message());
    }
  }
}

Task<Result<void>> fill(Run& run) {
  CANOPY_CO_ASSIGN(Opened before, co_await open_account(run));
  run.next = before.messages;
  Nanos begun = run.loop.now();
  TaskGroup group(run.loop);
  for (uint32_t i = 0; i < run.options.parallel; ++i) group.spawn(append_some(run));
  co_await group.join();
  if (run.error) co_return fail(*run.error);
  double took = static_cast<double>(run.loop.now() - begun) / 1e9;
  uint32_t filled = run.options.messages - std::min(run.options.messages, before.messages);
  run.report.add_note(
      fmt::format("{} messages delivered to one account, {:.0f} a second", filled, filled / took));
  co_return Result<void>{};
}

Task<Result<void>> all_steps(Run& run) {
  CANOPY_CO_TRY(co_await run.client.connect());
  if (run.options.fill) CANOPY_CO_TRY(co_await fill(run));
  CANOPY_CO_ASSIGN(Opened first, co_await open_account(run));
  Latencies opens;
  v1::AccountRef account;
  account.set_name(run.options.account);
  for (uint32_t i = 0; i < run.options.rounds; ++i) {
    CANOPY_CO_TRY(co_await wire::ClusterStub(run.client).close_account(account));
    CANOPY_CO_ASSIGN(Opened opened, co_await open_account(run));
    opens.add(opened.took);
  }
  Json cold{{"what", "first request of this run"}, {"messages", first.messages}};
  cold["p50_us"] = rounded(static_cast<double>(first.took) / 1000);
  run.report.add_row(std::move(cold));
  Json reopened{{"what", "after CloseAccount"}, {"messages", first.messages}};
  opens.put(reopened);
  run.report.add_row(std::move(reopened));
  run.report.add_note("the first row is a cold open when canopyd was started just before, without --fill");
  co_return Result<void>{};
}

// The account was not touched since the process began; the connection is there already.
Task<Result<Opened>> connect_and_open(Run& run) {
  CANOPY_CO_TRY(co_await run.client.connect());
  co_return co_await open_account(run);
}

Result<Opened> open_cold(const Options& options) {
  CANOPY_ASSIGN(ColdServer server, ColdServer::start(options.canopyd, options.dir));
  CANOPY_ASSIGN(Address to, Address::parse(server.address()));
  CANOPY_ASSIGN(auto loop, UringLoop::create());
  wire::ClientOptions client_options;
  client_options.addresses = {to};
  client_options.name = "canopy-bench";
  wire::Client client(*loop, client_options);
  Run run{.loop = *loop, .client = client, .options = options, .mail = {}};
  const double before = cpu_seconds_exactly(server.pid());
  Result<Opened> opened = loop->run_until_done(connect_and_open(run));
  if (opened) opened->processor = static_cast<Nanos>((cpu_seconds_exactly(server.pid()) - before) * 1e9);
  loop->run_until_done(client.close());
  return opened;
}

Result<Report> run_cold(const Options& options) {
  Report report("open");
  Latencies opens, processor;
  Nanos least = INT64_MAX, least_processor = INT64_MAX;
  uint32_t messages = 0;
  for (uint32_t i = 0; i < options.rounds; ++i) {
    CANOPY_ASSIGN(Opened opened, open_cold(options));
    messages = opened.messages;
    least = std::min(least, opened.took);
    least_processor = std::min(least_processor, opened.processor);
    opens.add(opened.took);
    processor.add(opened.processor);
  }
  const auto add = [&](const char* what, const Latencies& all, Nanos min) {
    Json row{{"what", what}, {"messages", messages}};
    row["min_us"] = rounded(static_cast<double>(min) / 1000);
    all.put(row);
    report.add_row(std::move(row));
  };
  add("first request of a new process", opens, least);
  add("its CPU time, with the connection's", processor, least_processor);
  return report;
}

Result<Report> run_open(const Options& options) {
  if (!options.canopyd.empty()) return run_cold(options);
  CANOPY_ASSIGN(Address to, Address::parse(options.server));
  CANOPY_ASSIGN(SizeRange sizes, SizeRange::parse(options.sizes));
  CANOPY_ASSIGN(auto loop, UringLoop::create());
  wire::ClientOptions client_options;
  client_options.addresses = {to};
  client_options.name = "canopy-bench";
  wire::Client client(*loop, client_options);
  Run run{.loop = *loop, .client = client, .options = options, .mail = Mail::generate(sizes)};
  Result<void> done = loop->run_until_done(all_steps(run));
  loop->run_until_done(client.close());
  CANOPY_TRY(std::move(done));
  return std::move(run.report);
}

}  // namespace

void add_open(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("open", "open a large account");
  CLI::Option_group* where = command->add_option_group("server");
  where->require_option(1);
  where->add_option("--server", options->server, "unix:PATH or tcp:HOST:PORT of canopyd");
  auto* canopyd = where->add_option("--canopyd", options->canopyd,
                                    "instead: the program, started anew for each round, without --fill");
  auto* dir = command->add_option("--dir", options->dir, "the base directory that --canopyd serves");
  dir->needs(canopyd);
  canopyd->needs(dir);
  canopyd->excludes(command->add_flag("--fill", options->fill, "first deliver what is missing"));
  command->add_option("--account", options->account, "name@domain, which must exist")->required();
  command->add_option("--messages", options->messages, "how many it should hold, for --fill");
  command->add_option("--sizes", options->sizes, "of messages, for --fill");
  command->add_option("--parallel", options->parallel, "deliveries under way at once")
      ->check(CLI::Range(1, 4000));
  command->add_option("--rounds", options->rounds, "how often it is closed (or canopyd started) and opened")
      ->check(CLI::Range(1, 100'000));
  choose(command, chosen, options, &run_open);
}

}  // namespace canopy::bench
