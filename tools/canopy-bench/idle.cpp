// canopy-bench idle: holds many POP3 connections, says what each costs the server, then asks all of them at
// once.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <liburing.h>

#include "daemon/runtime/socket_address.h"
#include "daemon/runtime/sync.h"
#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/patterns.h"
#include "tools/canopy-bench/pop3_session.h"
#include "tools/canopy-bench/process_figures.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

constexpr uint32_t kOpeningAtOnce = 128;

struct Options {
  std::string connect;
  uint32_t connections = 50'000, sources = 250;
  std::map<std::string, TlsMode> tls_modes = {
      {"none", TlsMode::kNone}, {"stls", TlsMode::kStls}, {"pop3s", TlsMode::kPop3s}};
  TlsMode tls = TlsMode::kNone;
  bool login = false;
  std::string pattern = "user%05d@company.com", passwords = "secret", probe;
  double settle = 2;
  uint32_t rounds = 3;
  std::vector<pid_t> pids;
};

struct Run {
  UringLoop& loop;
  const Options& options;
  Address to;
  const TlsSettings& tls;
  std::vector<std::unique_ptr<Pop3Session>> sessions = {};
  uint32_t next = 0, failed = 0;
  std::string last_error = {};
};

// 127.0.0.2, 127.0.0.3 … 127.0.1.1 …: each has ports of its own, and limits of its own in the server.
sockaddr_in source_address(uint32_t number) {
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number);
  return source;
}

Task<Result<std::unique_ptr<Stream>>> connect_from(Run& run, uint32_t number) {
  if (run.to.kind != Address::Kind::kTcp || !run.to.host.starts_with("127."))
    co_return co_await run.loop.connect(run.to, run.loop.now() + 30 * kSecond);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) co_return fail_errno(errno, run.to.to_string(), "socket");
  int on = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  sockaddr_in source = source_address(number % run.options.sources);
  int bound = bind(fd, reinterpret_cast<sockaddr*>(&source), sizeof source);
  sockaddr_storage target{};
  socklen_t length = fill_sockaddr(run.to, false, target);
  int32_t connected = bound != 0 ? -errno : co_await run.loop.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_connect(sqe, fd, reinterpret_cast<sockaddr*>(&target), length);
  });
  if (connected == 0) co_return run.loop.adopt(fd);
  close(fd);
  co_return fail_errno(-connected, run.to.to_string(), "connect");
}

Task<Result<void>> open_one(Run& run, uint32_t number) {
  CANOPY_CO_ASSIGN(auto stream, co_await connect_from(run, number));
  CANOPY_CO_ASSIGN(auto session,
                   co_await Pop3Session::begin(run.loop, std::move(stream), run.options.tls, &run.tls));
  if (run.options.login) {
    CANOPY_CO_ASSIGN(std::string account, name_from_pattern(run.options.pattern, number));
    CANOPY_CO_ASSIGN(std::string password, name_from_pattern(run.options.passwords, number));
    CANOPY_CO_TRY(co_await session->log_in(account, password, Pop3Auth::kPlain));
  }
  session->release();
  run.sessions.push_back(std::move(session));
  co_return Result<void>{};
}

Task<void> open_some(Run& run) {
  while (run.next < run.options.connections) {
    Result<void> opened = co_await open_one(run, run.next++);
    if (opened) continue;
    ++run.failed;
    run.last_error = opened.error().to_string();
  }
}

Task<void> open_all(Run& run) {
  TaskGroup group(run.loop);
  for (uint32_t i = 0; i < kOpeningAtOnce; ++i) group.spawn(open_some(run));
  co_await group.join();
  co_await run.loop.sleep(static_cast<Nanos>(run.options.settle * 1e9));
}

struct Probes {
  Latencies answers;
  uint32_t failed = 0;
};

Task<void> probe_one(Run& run, Pop3Session& session, Probes& probes, Nanos begun) {
  std::string_view words = !run.options.probe.empty() ? std::string_view(run.options.probe)
                           : run.options.login        ? "NOOP"
                                                      : "CAPA";
  Result<void> answered = co_await session.probe(words);
  if (answered)
    probes.answers.add(run.loop.now() - begun);
  else
    ++probes.failed;
}

Task<void> probe_all(Run& run, Probes& probes) {
  TaskGroup group(run.loop);
  Nanos begun = run.loop.now();
  for (auto& session : run.sessions) group.spawn(probe_one(run, *session, probes, begun));
  co_await group.join();
}

void put_memory(Json& row, const Options& options, uint64_t before, uint64_t now, size_t connections) {
  if (options.pids.empty()) return;
  row["pss_before_mib"] = rounded(static_cast<double>(before) / (1 << 20));
  row["pss_now_mib"] = rounded(static_cast<double>(now) / (1 << 20));
  double grown = static_cast<double>(now) - static_cast<double>(before);
  row["kib_per_connection"] = rounded(grown / 1024 / static_cast<double>(std::max<size_t>(connections, 1)));
}

double seconds_since(Run& run, Nanos begun) { return static_cast<double>(run.loop.now() - begun) / 1e9; }

Result<Report> measure(Run& run) {
  const Options& options = run.options;
  CANOPY_ASSIGN(uint64_t before, pss_bytes(options.pids));
  Nanos begun = run.loop.now();
  run.loop.run_until_done(open_all(run));
  CANOPY_ASSIGN(uint64_t held, pss_bytes(options.pids));
  Report report("idle");
  Json row{{"step", "open and hold"},
           {"connections", run.sessions.size()},
           {"failed", run.failed},
           {"seconds", rounded(seconds_since(run, begun) - options.settle)}};
  put_memory(row, options, before, held, run.sessions.size());
  report.add_row(std::move(row));
  for (uint32_t round = 0; round < options.rounds; ++round) {
    Probes probes;
    begun = run.loop.now();
    run.loop.run_until_done(probe_all(run, probes));
    Json probed{{"step", "probe all at once"},
                {"connections", probes.answers.count()},
                {"failed", probes.failed},
                {"seconds", rounded(seconds_since(run, begun))}};
    CANOPY_ASSIGN(uint64_t now, pss_bytes(options.pids));
    put_memory(probed, options, before, now, run.sessions.size());
    report.add_row(std::move(probed));
  }
  if (run.failed > 0) report.add_note("last error: " + run.last_error);
  return report;
}

Result<Report> run_idle(const Options& options) {
  CANOPY_ASSIGN(Address to, Address::parse(options.connect));
  uint64_t files = raise_open_files();
  if (files < options.connections + 100)
    return fail(Code::kInvalidArgument, "--connections", fmt::format("only {} files may be open", files));
  CANOPY_ASSIGN(auto loop, UringLoop::create({.entries = 16384}));
  CANOPY_ASSIGN(auto tls, TlsSettings::create());
  Run run{.loop = *loop, .options = options, .to = to, .tls = *tls};
  return measure(run);
}

}  // namespace

void add_idle(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("idle", "hold many POP3 connections, then ask all of them at once");
  command->add_option("--connect", options->connect, "tcp:HOST:PORT or unix:PATH")->required();
  command->add_option("--connections", options->connections)->check(CLI::Range(1, 900'000));
  command
      ->add_option("--sources", options->sources,
                   "local addresses 127.0.0.2 and up to connect from, when HOST is "
                   "127.x.x.x")
      ->check(CLI::Range(1, 60000));
  command->add_option("--tls", options->tls)
      ->transform(CLI::Transformer(options->tls_modes))
      ->type_name("none|stls|pop3s");
  command->add_flag("--login", options->login, "log in, each connection to its own account");
  command->add_option("--account-pattern", options->pattern, "with %d or %0Nd for the number, from 0");
  command->add_option("--password-pattern", options->passwords, "likewise");
  command->add_option("--probe", options->probe, "command to ask with; otherwise CAPA, after --login NOOP");
  command->add_option("--rounds", options->rounds, "how often all are asked");
  command->add_option("--settle", options->settle, "seconds of quiet before memory is looked at");
  command->add_option("--pid", options->pids, "processes of the server whose memory is wanted")
      ->delimiter(',');
  choose(command, chosen, options, &run_idle);
}

}  // namespace canopy::bench
