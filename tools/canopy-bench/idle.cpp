// canopy-bench idle: holds many POP3 connections, says what each costs the server, then asks all of them at
// once.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <liburing.h>

#include <thread>

#include "daemon/runtime/socket_address.h"
#include "daemon/runtime/sync.h"
#include "tools/canopy-bench/patterns.h"
#include "tools/canopy-bench/pop3_session.h"
#include "tools/canopy-bench/process_figures.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

constexpr uint32_t kOpeningAtOnce = 128;
constexpr uint32_t kLoggingInAtOnce = 16;  // a login may cost the server a password hash: none waits for long

struct Options {
  std::string connect;
  uint32_t connections = 50'000, sources = 250;
  std::map<std::string, TlsMode> tls_modes = {
      {"none", TlsMode::kNone}, {"stls", TlsMode::kStls}, {"pop3s", TlsMode::kPop3s}};
  TlsMode tls = TlsMode::kNone;
  bool login = false;
  std::string pattern = "user%05d@company.com", passwords = "secret", probe;
  double settle = 2;
  uint32_t rounds = 3, processes = 1;
  std::vector<pid_t> pids;
};

struct Run {
  UringLoop& loop;
  const Options& options;
  Address to;
  const TlsSettings& tls;
  std::vector<std::unique_ptr<Pop3Session>> sessions = {};
  uint32_t next, end, failed = 0;
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
  while (run.next < run.end) {
    Result<void> opened = co_await open_one(run, run.next++);
    if (opened) continue;
    ++run.failed;
    run.last_error = opened.error().to_string();
  }
}

Task<void> open_all(Run& run) {
  TaskGroup group(run.loop);
  const uint32_t at_once = run.options.login ? kLoggingInAtOnce : kOpeningAtOnce;
  for (uint32_t i = 0; i < at_once; ++i) group.spawn(open_some(run));
  co_await group.join();
}

struct Probes {
  uint32_t answered = 0, failed = 0;
};

Task<void> probe_one(Run& run, Pop3Session& session, Probes& probes) {
  std::string_view words = !run.options.probe.empty() ? std::string_view(run.options.probe)
                           : run.options.login        ? "NOOP"
                                                      : "CAPA";
  Result<void> answered = co_await session.probe(words);
  ++(answered ? probes.answered : probes.failed);
}

Task<void> probe_all(Run& run, Probes& probes) {
  TaskGroup group(run.loop);
  for (auto& session : run.sessions) group.spawn(probe_one(run, *session, probes));
  co_await group.join();
}

// ---- Several processes: each may have only so many open files, and all of them ask at the same moment.

struct Opened {
  uint32_t held = 0, failed = 0;
  std::array<char, 256> last_error{};
};

struct Probed {
  uint32_t answered = 0, failed = 0;
  double cpu_seconds = 0;
};

class Share {
 public:
  // Forks the process that holds the connections from `first` to before `end`. It ends with this object.
  static Result<Share> begin(const Options& options, const Address& to, uint32_t first, uint32_t end);
  Share(Share&& other) noexcept
      : process_(std::exchange(other.process_, -1)), channel_(std::exchange(other.channel_, -1)) {}
  Share& operator=(Share&&) = delete;
  ~Share() {
    if (process_ < 0) return;
    ::shutdown(channel_, SHUT_RDWR);  // younger processes have a copy of our end
    close(channel_);
    waitpid(process_, nullptr, 0);
  }
  bool ask() const { return send(channel_, "?", 1, MSG_NOSIGNAL) == 1; }
  template <class T>
  Result<T> hear() const {
    T answer;
    if (recv(channel_, &answer, sizeof answer, MSG_WAITALL) == sizeof answer) return answer;
    return fail(Code::kInternal, fmt::format("process {}", process_), "ended before it answered");
  }

 private:
  Share(pid_t process, int channel) : process_(process), channel_(channel) {}
  pid_t process_;
  int channel_;
};

// In the process of its own: opens, then probes as often as it is asked.
Result<void> hold(const Options& options, const Address& to, uint32_t first, uint32_t end, int channel) {
  CANOPY_ASSIGN(auto loop, UringLoop::create({.entries = 16384}));
  CANOPY_ASSIGN(auto tls, TlsSettings::create());
  Run run{.loop = *loop, .options = options, .to = to, .tls = *tls, .next = first, .end = end};
  run.loop.run_until_done(open_all(run));
  Opened opened{.held = static_cast<uint32_t>(run.sessions.size()), .failed = run.failed};
  run.last_error.copy(opened.last_error.data(), opened.last_error.size() - 1);
  char asked;
  for (bool heard = send(channel, &opened, sizeof opened, MSG_NOSIGNAL) > 0;
       heard && read(channel, &asked, 1) == 1;) {
    Probes probes;
    double before = own_cpu_seconds();
    run.loop.run_until_done(probe_all(run, probes));
    Probed probed{.answered = probes.answered, .failed = probes.failed};
    probed.cpu_seconds = own_cpu_seconds() - before;
    heard = send(channel, &probed, sizeof probed, MSG_NOSIGNAL) > 0;
  }
  return {};
}

Result<Share> Share::begin(const Options& options, const Address& to, uint32_t first, uint32_t end) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return fail_errno(errno, "idle", "socketpair");
  pid_t process = fork();
  if (process == 0) {
    close(ends[0]);
    Result<void> held = hold(options, to, first, end, ends[1]);
    if (!held) std::fprintf(stderr, "canopy-bench: %s\n", held.error().to_string().c_str());
    _exit(held ? 0 : 1);
  }
  close(ends[1]);
  if (process > 0) return Share(process, ends[0]);
  close(ends[0]);
  return fail_errno(errno, "idle", "fork");
}

void put_memory(Json& row, const Options& options, uint64_t before, uint64_t now, size_t connections) {
  if (options.pids.empty()) return;
  row["pss_before_mib"] = rounded(static_cast<double>(before) / (1 << 20));
  row["pss_now_mib"] = rounded(static_cast<double>(now) / (1 << 20));
  double grown = static_cast<double>(now) - static_cast<double>(before);
  row["kib_per_connection"] = rounded(grown / 1024 / static_cast<double>(std::max<size_t>(connections, 1)));
}

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

Result<Json> probe(const Options& options, const std::vector<Share>& shares) {
  double server_before = cpu_seconds(options.pids);
  auto begun = std::chrono::steady_clock::now();
  for (const Share& share : shares)
    if (!share.ask()) return fail_errno(errno, "idle", "asking a process to probe");
  Probed all;
  for (const Share& share : shares) {
    CANOPY_ASSIGN(Probed one, share.hear<Probed>());
    all.answered += one.answered;
    all.failed += one.failed;
    all.cpu_seconds += one.cpu_seconds;
  }
  Json row{{"step", "probe all at once"},
           {"connections", all.answered},
           {"failed", all.failed},
           {"seconds", rounded(seconds_since(begun))},
           {"client_cpu_seconds", rounded(all.cpu_seconds)}};
  if (!options.pids.empty()) row["server_cpu_seconds"] = rounded(cpu_seconds(options.pids) - server_before);
  return row;
}

Result<Report> measure(const Options& options, const Address& to, uint32_t processes) {
  CANOPY_ASSIGN(uint64_t before, pss_bytes(options.pids));
  auto begun = std::chrono::steady_clock::now();
  std::vector<Share> shares;
  for (uint64_t i = 0; i < processes; ++i) {
    auto first = static_cast<uint32_t>(options.connections * i / processes);
    auto end = static_cast<uint32_t>(options.connections * (i + 1) / processes);
    CANOPY_ASSIGN(Share share, Share::begin(options, to, first, end));
    shares.push_back(std::move(share));
  }
  Opened all;
  for (const Share& share : shares) {
    CANOPY_ASSIGN(Opened one, share.hear<Opened>());
    all.held += one.held;
    all.failed += one.failed;
    if (one.failed > 0) all.last_error = one.last_error;
  }
  Json row{{"step", "open and hold"},
           {"connections", all.held},
           {"failed", all.failed},
           {"seconds", rounded(seconds_since(begun))}};
  std::this_thread::sleep_for(std::chrono::duration<double>(options.settle));
  CANOPY_ASSIGN(uint64_t held, pss_bytes(options.pids));
  put_memory(row, options, before, held, all.held);
  Report report("idle");
  report.add_row(std::move(row));
  for (uint32_t round = 0; round < options.rounds; ++round) {
    CANOPY_ASSIGN(Json probed, probe(options, shares));
    CANOPY_ASSIGN(uint64_t now, pss_bytes(options.pids));
    put_memory(probed, options, before, now, all.held);
    report.add_row(std::move(probed));
  }
  if (all.failed > 0) report.add_note(fmt::format("last error: {}", all.last_error.data()));
  return report;
}

Result<Report> run_idle(const Options& options) {
  CANOPY_ASSIGN(Address to, Address::parse(options.connect));
  constexpr uint64_t kOtherFiles = 100;
  uint64_t files = raise_open_files();
  if (files <= 2 * kOtherFiles)
    return fail(Code::kInvalidArgument, "ulimit -n", fmt::format("only {} files may be open", files));
  uint64_t each = files - kOtherFiles;
  auto needed = static_cast<uint32_t>((options.connections + each - 1) / each);
  return measure(options, to, std::max(options.processes, needed));
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
  command
      ->add_option("--processes", options->processes,
                   "of the client; more where so many files may not be open")
      ->check(CLI::Range(1, 64));
  command->add_option("--settle", options->settle, "seconds of quiet before memory is looked at");
  command->add_option("--pid", options->pids, "processes of the server whose memory is wanted")
      ->delimiter(',');
  choose(command, chosen, options, &run_idle);
}

}  // namespace canopy::bench
