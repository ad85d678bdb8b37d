// canopy-bench accounts: creates many accounts through the wire protocol, lists them page by page, opens
// some.
#include "daemon/runtime/sync.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"
#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/mail.h"
#include "tools/canopy-bench/patterns.h"
#include "tools/canopy-bench/process_figures.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

struct Options {
  std::string server, pattern = "user%07d@bench.example.com", foldering, password;
  uint32_t count = 100'000, first = 0, batch = 500, parallel = 8, opens = 10'000, block = 100'000;
  std::vector<pid_t> pids;
};

struct Run {
  UringLoop& loop;
  wire::Client& client;
  const Options& options;
  Report report{"accounts"};
  uint32_t next = 0, end = 0;
  Random random{3};
  std::optional<Error> error = {};
};

std::string account_name(const Options& options, uint32_t number) {
  return *name_from_pattern(options.pattern, number);  // looked at before the run
}

std::string domain_of(const Options& options) {
  return options.pattern.substr(options.pattern.find('@') + 1);
}

void put_memory(Json& row, const Options& options) {
  if (auto pss = pss_bytes(options.pids); pss && !options.pids.empty())
    row["pss_mib"] = rounded(static_cast<double>(*pss) / (1 << 20));
}

Task<Result<void>> create_domain(Run& run) {
  v1::CreateDomainRequest request;
  request.set_name(domain_of(run.options));
  request.set_account_foldering(run.options.foldering);
  request.set_request_id(run.client.new_request_id());
  auto created = co_await wire::DirectoryStub(run.client).create_domain(request);
  if (!created && created.error().code() != Code::kAlreadyExists) co_return fail(std::move(created).error());
  co_return Result<void>{};
}

Task<Result<void>> create_batch(Run& run, uint32_t first, uint32_t count) {
  v1::CreateAccountsRequest request;
  for (uint32_t i = first; i < first + count; ++i) {
    v1::NewAccount& account = *request.add_accounts();
    account.set_name(account_name(run.options, i));
    account.set_password(run.options.password);
  }
  request.set_exist_ok(true);
  request.set_request_id(run.client.new_request_id());
  wire::CallOptions patient;
  patient.deadline = run.loop.now() + 300 * kSecond;
  CANOPY_CO_ASSIGN(auto response, co_await wire::DirectoryStub(run.client).create_accounts(request, patient));
  for (const auto& result : response.results())
    if (result.has_error()) co_return fail(Code::kInternal, result.name(), result.error().message());
  co_return Result<void>{};
}

Task<void> create_some(Run& run) {
  while (run.next < run.end && !run.error) {
    uint32_t first = run.next;
    uint32_t count = std::min(run.options.batch, run.end - first);
    run.next += count;
    Result<void> done = co_await create_batch(run, first, count);
    if (!done) run.error.emplace(done.error());
  }
}

Task<Result<void>> create_all(Run& run) {
  CANOPY_CO_TRY(co_await create_domain(run));
  uint32_t last = run.options.first + run.options.count;
  for (uint32_t begin = run.options.first; begin < last; begin = run.end) {
    run.next = begin;
    run.end = std::min(last, begin + run.options.block);
    Nanos begun = run.loop.now();
    TaskGroup group(run.loop);
    for (uint32_t i = 0; i < run.options.parallel; ++i) group.spawn(create_some(run));
    co_await group.join();
    if (run.error) co_return fail(*run.error);
    double took = static_cast<double>(run.loop.now() - begun) / 1e9;
    Json row{{"step", "create"}, {"from", begin}, {"count", run.end - begin}, {"seconds", rounded(took)}};
    row["per_s"] = rounded((run.end - begin) / took);
    put_memory(row, run.options);
    run.report.add_row(std::move(row));
  }
  co_return Result<void>{};
}

Task<Result<void>> list_all(Run& run) {
  v1::ListRequest request;
  request.set_domain(domain_of(run.options));
  Latencies pages;
  uint64_t names = 0;
  Nanos begun = run.loop.now();
  for (bool end = false; !end;) {
    Nanos page_begun = run.loop.now();
    CANOPY_CO_ASSIGN(auto page, co_await wire::DirectoryStub(run.client).list_accounts(request));
    pages.add(run.loop.now() - page_begun);
    names += static_cast<uint64_t>(page.names_size());
    end = page.end() || page.names().empty();
    if (!page.names().empty()) request.set_after(*page.names().rbegin());
  }
  double took = static_cast<double>(run.loop.now() - begun) / 1e9;
  Json row{{"step", "list"}, {"from", 0}, {"count", names}, {"seconds", rounded(took)}};
  row["per_s"] = rounded(static_cast<double>(names) / took);
  put_memory(row, run.options);
  pages.put(row);
  run.report.add_row(std::move(row));
  co_return Result<void>{};
}

Task<Result<void>> open_some(Run& run) {
  Latencies opens;
  Nanos begun = run.loop.now();
  for (uint32_t i = 0; i < run.options.opens; ++i) {
    v1::MailboxRequest request;
    uint32_t number = run.options.first + run.random.below(run.options.count);
    request.mutable_account()->set_name(account_name(run.options, number));
    request.set_mailbox("INBOX");
    Nanos open_begun = run.loop.now();
    CANOPY_CO_TRY(co_await wire::MailboxesStub(run.client).status(request));
    opens.add(run.loop.now() - open_begun);
  }
  double took = static_cast<double>(run.loop.now() - begun) / 1e9;
  Json row{{"step", "open at random"}, {"from", 0}, {"count", run.options.opens}, {"seconds", rounded(took)}};
  row["per_s"] = rounded(run.options.opens / took);
  put_memory(row, run.options);
  opens.put(row);
  run.report.add_row(std::move(row));
  co_return Result<void>{};
}

Task<Result<void>> all_steps(Run& run) {
  CANOPY_CO_TRY(co_await run.client.connect());
  CANOPY_CO_TRY(co_await create_all(run));
  CANOPY_CO_TRY(co_await list_all(run));
  co_return co_await open_some(run);
}

// The first and the last whole block: whether time per account stays flat.
void compare_blocks(Run& run) {
  std::vector<double> rates;
  for (const Json& row : run.report.rows())
    if (row["step"] == "create" && row["count"] == run.options.block)
      rates.push_back(row["per_s"].get<double>());
  if (rates.size() < 2) return;
  run.report.add_note(
      fmt::format("time per account, last block to first: {:.2f}", rates.front() / rates.back()));
}

Result<Report> run_accounts(const Options& options) {
  CANOPY_ASSIGN(Address to, Address::parse(options.server));
  CANOPY_TRY(name_from_pattern(options.pattern, 0));
  if (domain_of(options).size() == options.pattern.size())
    return fail(Code::kInvalidArgument, "--account-pattern", "needs a domain");
  CANOPY_ASSIGN(auto loop, UringLoop::create());
  wire::ClientOptions client_options;
  client_options.addresses = {to};
  client_options.name = "canopy-bench";
  wire::Client client(*loop, client_options);
  Run run{.loop = *loop, .client = client, .options = options};
  Result<void> done = loop->run_until_done(all_steps(run));
  loop->run_until_done(client.close());
  CANOPY_TRY(std::move(done));
  compare_blocks(run);
  return std::move(run.report);
}

}  // namespace

void add_accounts(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("accounts", "create many accounts, list them, open some");
  command->add_option("--server", options->server, "unix:PATH or tcp:HOST:PORT of canopyd")->required();
  command->add_option("--account-pattern", options->pattern,
                      "with %d or %0Nd for the number; the domain is created "
                      "when it is not there");
  command->add_option("--foldering", options->foldering, "of the domain's accounts, when it is created");
  command->add_option("--password", options->password,
                      "of every account; each costs one argon2id. Default: none");
  command->add_option("--count", options->count)->check(CLI::Range(1, 100'000'000));
  command->add_option("--first", options->first, "number of the first account, to go on where a run ended");
  command->add_option("--batch", options->batch, "accounts in one call")->check(CLI::Range(1, 10'000));
  command->add_option("--parallel", options->parallel, "calls under way at once")->check(CLI::Range(1, 1000));
  command->add_option("--block", options->block, "accounts in one row of the table")
      ->check(CLI::Range(1, 10'000'000));
  command->add_option("--opens", options->opens, "accounts to open at random, one after another");
  command->add_option("--pid", options->pids, "processes of the server whose memory is wanted")
      ->delimiter(',');
  choose(command, chosen, options, &run_accounts);
}

}  // namespace canopy::bench
