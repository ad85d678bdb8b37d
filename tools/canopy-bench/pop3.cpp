// canopy-bench pop3: log in, UIDL, RETR everything, QUIT, again and again.
#include "daemon/runtime/sync.h"
#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/lmtp_session.h"
#include "tools/canopy-bench/mail.h"
#include "tools/canopy-bench/patterns.h"
#include "tools/canopy-bench/pop3_session.h"
#include "tools/canopy-bench/process_figures.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

struct Options {
  std::string connect, lmtp;
  std::vector<uint32_t> connections = {16};
  uint32_t accounts = 100, messages = 50;
  std::string pattern = "user%05d@company.com", passwords = "secret";
  std::string sizes = "2048-76800";
  std::map<std::string, TlsMode> tls_modes = {
      {"none", TlsMode::kNone}, {"stls", TlsMode::kStls}, {"pop3s", TlsMode::kPop3s}};
  std::map<std::string, Pop3Auth> auths = {{"user", Pop3Auth::kUser}, {"plain", Pop3Auth::kPlain}};
  TlsMode tls = TlsMode::kNone;
  Pop3Auth auth = Pop3Auth::kPlain;
  double seconds = 10, warmup = 1;
  bool fill = false, once = false, login_only = false;
  std::vector<pid_t> pids;
};

struct Row {
  UringLoop& loop;
  const Options& options;
  Address to;
  const TlsSettings& tls;
  std::vector<std::string> accounts, passwords;
  uint32_t next = 0;  // account; connections take turns, so that none is asked for twice at once
  std::vector<bool> busy = {};
  Nanos count_from = 0, stop_at = 0;
  Latencies sessions = {}, logins = {};
  uint64_t messages = 0, bytes = 0, errors = 0;
  std::string last_error = {};
};

Task<Result<std::unique_ptr<Pop3Session>>> logged_in(Row& row, uint32_t account) {
  CANOPY_CO_ASSIGN(auto session, co_await Pop3Session::connect(row.loop, row.to, row.options.tls, &row.tls));
  CANOPY_CO_TRY(co_await session->log_in(row.accounts[account], row.passwords[account], row.options.auth));
  co_return session;
}

struct Fetched {
  uint64_t messages = 0, bytes = 0;
};

Task<Result<void>> fetch_all(Row& row, Pop3Session& session, Fetched& fetched) {
  if (row.options.login_only) co_return Result<void>{};
  std::string uids;
  CANOPY_CO_TRY(co_await session.long_command("UIDL", &uids));
  auto count = static_cast<uint64_t>(std::ranges::count(uids, '\n'));
  for (uint64_t i = 1; i <= count; ++i) {
    std::string words = fmt::format("RETR {}", i);
    CANOPY_CO_ASSIGN(uint64_t bytes, co_await session.long_command(words));
    fetched.bytes += bytes;
  }
  fetched.messages = count;
  if (count == 0) co_return fail(Code::kNotFound, "UIDL", "lists no message: run once with --fill");
  co_return Result<void>{};
}

Task<Result<void>> one_session(Row& row, uint32_t account) {
  Nanos begun = row.loop.now();
  CANOPY_CO_ASSIGN(auto session, co_await logged_in(row, account));
  Nanos in = row.loop.now();
  Fetched fetched;
  CANOPY_CO_TRY(co_await fetch_all(row, *session, fetched));
  CANOPY_CO_TRY(co_await session->command("QUIT"));
  Nanos ended = row.loop.now();
  if (ended < row.count_from || ended > row.stop_at) co_return Result<void>{};
  row.logins.add(in - begun);
  row.sessions.add(ended - begun);
  row.messages += fetched.messages;
  row.bytes += fetched.bytes;
  co_return Result<void>{};
}

// The next account that no other connection is in (a maildrop has one session at a time).
std::optional<uint32_t> take_account(Row& row) {
  for (size_t tries = 0; tries < row.busy.size(); ++tries) {
    if (row.options.once && row.next >= row.busy.size()) return std::nullopt;
    auto account = static_cast<uint32_t>(row.next++ % row.busy.size());
    if (row.busy[account]) continue;
    row.busy[account] = true;
    return account;
  }
  return std::nullopt;
}

Task<void> one_connection(Row& row) {
  while (row.loop.now() < row.stop_at) {
    std::optional<uint32_t> account = take_account(row);
    if (!account) co_return;
    Result<void> done = co_await one_session(row, *account);
    row.busy[*account] = false;
    if (done) continue;
    ++row.errors;
    row.last_error = done.error().to_string();
    co_await row.loop.sleep(20 * kMillisecond);
  }
}

Task<void> all_connections(Row& row, uint32_t count) {
  TaskGroup group(row.loop);
  for (uint32_t i = 0; i < count; ++i) group.spawn(one_connection(row));
  co_await group.join();
}

Json measure(Row& row, uint32_t connections) {
  const Options& options = row.options;
  Nanos begun = row.loop.now();
  row.count_from = begun + (options.once ? 0 : static_cast<Nanos>(options.warmup * 1e9));
  row.stop_at = options.once ? kNever : row.count_from + static_cast<Nanos>(options.seconds * 1e9);
  double own_before = own_cpu_seconds(), theirs_before = cpu_seconds(options.pids);
  row.loop.run_until_done(all_connections(row, connections));
  double whole = static_cast<double>(row.loop.now() - begun) / 1e9;
  double counted = options.once ? whole : options.seconds;
  Json figures{{"connections", connections},
               {"sessions", row.sessions.count()},
               {"messages", row.messages},
               {"sessions_per_s", rounded(static_cast<double>(row.sessions.count()) / counted)},
               {"messages_per_s", rounded(static_cast<double>(row.messages) / counted)},
               {"mb_per_s", rounded(static_cast<double>(row.bytes) / 1e6 / counted)},
               {"login_p50_us", rounded(row.logins.percentile_us(0.5))}};
  row.sessions.put(figures);
  figures["errors"] = row.errors;
  figures["client_cpu"] = rounded((own_cpu_seconds() - own_before) / whole);
  if (!options.pids.empty())
    figures["server_cpu"] = rounded((cpu_seconds(options.pids) - theirs_before) / whole);
  return figures;
}

Task<Result<void>> fill_account(Row& row, LmtpSession& lmtp, const Mail& mail, uint32_t account) {
  CANOPY_CO_ASSIGN(auto pop3, co_await logged_in(row, account));
  CANOPY_CO_ASSIGN(uint32_t there, co_await pop3->message_count());
  CANOPY_CO_TRY(co_await pop3->command("QUIT"));
  for (uint32_t i = there; i < row.options.messages; ++i)
    CANOPY_CO_TRY(co_await lmtp.deliver(row.accounts[account],
                                        mail.messages[(account * 7 + i) % mail.messages.size()], true));
  co_return Result<void>{};
}

Task<Result<void>> fill_some(Row& row, Address lmtp, const Mail& mail) {
  CANOPY_CO_ASSIGN(auto session, co_await LmtpSession::connect(row.loop, lmtp));
  while (row.next < row.accounts.size()) {
    uint32_t account = row.next++;
    CANOPY_CO_TRY(co_await fill_account(row, *session, mail, account));
  }
  co_await session->quit();
  co_return Result<void>{};
}

Task<Result<void>> fill(Row& row, Address lmtp, const Mail& mail) {
  constexpr size_t kConnections = 16;
  std::vector<Task<Result<void>>> tasks;
  tasks.reserve(kConnections);
  while (tasks.size() < kConnections) tasks.push_back(fill_some(row, lmtp, mail));
  std::vector<Result<void>> results = co_await join_all(row.loop, std::move(tasks));
  for (Result<void>& result : results) CANOPY_CO_TRY(std::move(result));
  co_return Result<void>{};
}

Result<Report> run(const Options& options) {
  CANOPY_ASSIGN(Address to, Address::parse(options.connect));
  CANOPY_ASSIGN(SizeRange sizes, SizeRange::parse(options.sizes));
  CANOPY_ASSIGN(auto accounts, names_from_pattern(options.pattern, options.accounts));
  CANOPY_ASSIGN(auto passwords, names_from_pattern(options.passwords, options.accounts));
  CANOPY_ASSIGN(auto loop, UringLoop::create());
  CANOPY_ASSIGN(auto tls, TlsSettings::create());
  Mail mail = Mail::generate(sizes);
  const auto new_row = [&] {
    return Row{.loop = *loop,
               .options = options,
               .to = to,
               .tls = *tls,
               .accounts = accounts,
               .passwords = passwords};
  };
  if (options.fill) {
    CANOPY_ASSIGN(Address lmtp, Address::parse(options.lmtp));
    Row row = new_row();
    CANOPY_TRY(loop->run_until_done(fill(row, lmtp, mail)));
  }
  Report report("pop3");
  for (uint32_t connections : options.connections) {
    Row row = new_row();
    row.busy.resize(accounts.size());
    report.add_row(measure(row, connections));
    if (row.sessions.count() == 0 && row.errors > 0)
      return fail(Code::kIo, to.to_string(), "no session came to its end; last error: " + row.last_error);
    if (row.errors > 0) report.add_note("last error: " + row.last_error);
  }
  return report;
}

}  // namespace

void add_pop3(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("pop3", "log in, UIDL, RETR all, QUIT");
  command->add_option("--connect", options->connect, "tcp:HOST:PORT or unix:PATH")->required();
  command->add_option("--connections", options->connections, "one row for each")
      ->delimiter(',')
      ->check(CLI::Range(1, 60000));
  command
      ->add_option("--accounts", options->accounts,
                   "how many accounts, by --account-pattern; at least as many as "
                   "connections, or some of these stay out")
      ->check(CLI::Range(1, 100'000'000));
  command->add_option("--account-pattern", options->pattern, "with %d or %0Nd for the number, from 0");
  command->add_option("--password-pattern", options->passwords, "likewise");
  command->add_option("--messages", options->messages, "in each account, for --fill");
  command->add_option("--sizes", options->sizes, "of messages, for --fill");
  command->add_flag("--fill", options->fill, "first deliver what is missing in the accounts, over --lmtp");
  command->add_option("--lmtp", options->lmtp, "tcp:HOST:PORT or unix:PATH, for --fill");
  command->add_option("--tls", options->tls)
      ->transform(CLI::Transformer(options->tls_modes))
      ->type_name("none|stls|pop3s");
  command->add_option("--auth", options->auth)
      ->transform(CLI::Transformer(options->auths))
      ->type_name("user|plain");
  command->add_option("--seconds", options->seconds, "measured, for each row")->check(CLI::PositiveNumber);
  command->add_option("--warmup", options->warmup, "seconds before them that do not count");
  command->add_flag("--once", options->once,
                    "one session for each account in place of --seconds: cold logins after a "
                    "restart of the server");
  command->add_flag("--login-only", options->login_only, "log in and QUIT");
  command->add_option("--pid", options->pids, "processes of the server whose CPU time is wanted")
      ->delimiter(',');
  choose(command, chosen, options, &run);
}

}  // namespace canopy::bench
