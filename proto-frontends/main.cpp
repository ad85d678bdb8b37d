// canopy-frontend: the protocol servers in front of canopyd (docs/frontends.md).
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <thread>

#include "daemon/base/log_file.h"
#include "daemon/runtime/signals.h"
#include "proto-frontends/common/server.h"
#include "proto-frontends/common/wire_backend.h"
#include "proto-frontends/lmtp/session.h"
#include "proto-frontends/pop3/session.h"

namespace canopy::frontend {
namespace {

// Exit codes, in docs/frontends.md.
enum ExitCode { kExitOk = 0, kExitUsage = 2, kExitConfig = 3, kExitStart = 4 };

constexpr std::string_view kVersion = "canopy-frontend/0.1";

Task<std::string> serve_lmtp(Connection& connection, const SessionContext& context, void* state) {
  lmtp::Session session(connection, context, *static_cast<lmtp::RecipientCache*>(state));
  co_await session.run();
  co_return fmt::format("{} delivered", session.delivered());
}

// A frame of its own, so that an idle connection does not keep one for what is said at its end.
Task<std::string> serve_pop3(Connection& connection, const SessionContext& context, void*) {
  pop3::Session session(connection, context);
  co_await session.run();
  co_return session.account();
}

// One loop and what runs on it.
struct Worker {
  std::unique_ptr<UringLoop> loop;
  std::unique_ptr<WireBackend> backend;
  std::unique_ptr<Server> server;
  std::unique_ptr<Event> stopping;
  lmtp::RecipientCache recipients;

  ProtocolHandler handler(Protocol protocol) {
    if (protocol == Protocol::kLmtp)
      return {serve_lmtp, &recipients, lmtp::kReadBytes, "421 4.3.2 Too many connections\r\n"};
    return {serve_pop3, nullptr, pop3::kReadBytes, "-ERR [SYS/TEMP] Too many connections\r\n"};
  }
};

struct Frontend {
  explicit Frontend(Config given) : config(std::move(given)) {}

  const Config config;
  std::vector<std::unique_ptr<ListenerShared>> listeners;
  std::vector<Worker> workers;
  std::string addresses;  // for the line that says ready

  Result<void> load_certificates();
  Result<void> start();
  Result<void> listen(ListenerShared& shared);
  void reload();
};

Result<void> Frontend::load_certificates() {
  for (const ListenerConfig& listener : config.listeners) {
    auto shared = std::make_unique<ListenerShared>(listener);
    if (!listener.certificates.empty()) {
      TlsOptions options;
      options.version_min = TlsOptions::Version::k12;
      options.certificates = listener.certificates;
      CANOPY_ASSIGN(shared->tls, TlsContext::create(std::move(options)));
    }
    listeners.push_back(std::move(shared));
  }
  return {};
}

Result<void> Frontend::start() {
  size_t count = config.loops != 0 ? config.loops : std::max(1u, std::thread::hardware_concurrency());
  wire::ClientOptions options;
  options.addresses = config.backend.addresses;
  options.name = kVersion;
  options.role = "frontend";
  options.call_timeout = config.backend.timeout;
  if (config.backend.use_tls) {
    CANOPY_ASSIGN(options.tls, TlsContext::create(config.backend.tls));
    options.server_name = config.backend.server_name;
  }
  workers = std::vector<Worker>(count);
  for (Worker& worker : workers) {
    CANOPY_ASSIGN(worker.loop, UringLoop::create());
    worker.backend = std::make_unique<WireBackend>(*worker.loop, options);
    worker.server = std::make_unique<Server>(*worker.loop, *worker.backend);
    worker.stopping = std::make_unique<Event>(*worker.loop);
  }
  for (auto& shared : listeners) CANOPY_TRY(listen(*shared));
  return {};
}

Result<void> Frontend::listen(ListenerShared& shared) {
  const ListenerConfig& config_of = shared.config;
  ListenOptions options;
  options.unix_mode = config_of.unix_mode;
  options.reuse_port = workers.size() > 1 && config_of.address.kind == Address::Kind::kTcp;
  Address address = config_of.address;
  std::vector<std::unique_ptr<Listener>> made;
  for (Worker& worker : workers) {
    bool share = !made.empty() && address.kind == Address::Kind::kUnix;
    auto listener = share ? worker.loop->share(*made.front()) : worker.loop->listen(address, options);
    if (!listener) return fail(listener.error());
    address = (*listener)->local();  // port 0 was asked for once
    made.push_back(std::move(*listener));
  }
  addresses += fmt::format(" {}={}", protocol_name(config_of.protocol), address.to_string());
  for (size_t i = 0; i < workers.size(); ++i)
    workers[i].server->serve(std::move(made[i]), shared, workers[i].handler(config_of.protocol));
  return {};
}

void Frontend::reload() {
  for (auto& shared : listeners) {
    if (shared->tls == nullptr) continue;
    auto reloaded = shared->tls->reload();
    std::string object = shared->config.address.to_string();
    if (reloaded)
      log_event(LogLevel::kInfo, "certificates-reloaded", object);
    else
      log_event(LogLevel::kError, "certificates-kept", object, {{"error", reloaded.error().to_string()}});
  }
}

// systemd's readiness protocol (sd_notify(3)): one datagram.
void notify_service_manager(std::string_view message) {
  const char* path = getenv("NOTIFY_SOCKET");
  sockaddr_un to{};
  if (path == nullptr || std::strlen(path) >= sizeof to.sun_path) return;
  to.sun_family = AF_UNIX;
  std::strcpy(to.sun_path, path);
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
  if (to.sun_path[0] == '@') to.sun_path[0] = '\0';
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (sendto(fd, message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&to), length) < 0)
    log_event(LogLevel::kWarning, "notify-failed", path, {{"errno", errno}});
  close(fd);
}

Task<void> run_worker(Worker& worker, Nanos drain) {
  co_await worker.stopping->wait();
  co_await worker.server->stop(worker.loop->now() + drain);
  co_await worker.backend->close();
}

Task<void> wait_for_end(Frontend& frontend) {
  UringLoop& loop = *frontend.workers[0].loop;
  for (;;) {
    int signal = co_await wait_signal(loop, {SIGTERM, SIGINT, SIGHUP});
    if (signal != SIGHUP) break;
    frontend.reload();
  }
  notify_service_manager("STOPPING=1");
  log_event(LogLevel::kInfo, "stopping", "canopy-frontend");
  for (Worker& worker : frontend.workers)
    worker.loop->post([event = worker.stopping.get()] { event->set(); });
  co_await run_worker(frontend.workers[0], frontend.config.drain);
}

void run(Frontend& frontend) {
  std::vector<std::thread> threads;
  for (size_t i = 1; i < frontend.workers.size(); ++i) {
    Worker& worker = frontend.workers[i];
    threads.emplace_back(
        [&worker, drain = frontend.config.drain] { worker.loop->run_until_done(run_worker(worker, drain)); });
  }
  fmt::print("canopy-frontend ready{}\n", frontend.addresses);
  std::fflush(stdout);
  notify_service_manager("READY=1");
  frontend.workers[0].loop->run_until_done(wait_for_end(frontend));
  for (std::thread& thread : threads) thread.join();
}

// Every connection is a descriptor; the soft limit is often 1,024.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int fail_with(const Error& error, ExitCode code) {
  fmt::print(stderr, "canopy-frontend: {}\n", error.to_string());
  return code;
}

}  // namespace

int frontend_main(int argc, char** argv) {
  CLI::App app("Canopy's protocol servers: LMTP and POP3 in front of canopyd.", "canopy-frontend");
  std::string file;
  bool check = false;
  uint32_t loops = 0;
  std::string level;
  app.add_option("--config", file, "Configuration file (docs/frontends.md)")->required();
  app.add_flag("--check-config", check,
               "Read the configuration and its certificates, say what is wrong, and end");
  app.add_option("--loops", loops, "Event loops, in place of the configuration's")->check(CLI::Range(1, 256));
  app.add_option("--log-level", level, "In place of the configuration's")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.set_version_flag("--version", std::string(kVersion));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  block_signals({SIGTERM, SIGINT, SIGHUP});
  auto config = Config::load(file);
  if (!config) return fail_with(config.error(), kExitConfig);
  if (loops != 0) config->loops = loops;
  if (level == "debug") config->log.level = LogLevel::kDebug;
  if (level == "info") config->log.level = LogLevel::kInfo;
  if (level == "warning") config->log.level = LogLevel::kWarning;
  if (level == "error") config->log.level = LogLevel::kError;
  Frontend frontend(std::move(*config));
  auto loaded = frontend.load_certificates();
  if (!loaded) return fail_with(loaded.error(), kExitConfig);
  if (check) {
    fmt::print("{}: {} listeners, all right\n", file, frontend.config.listeners.size());
    return kExitOk;
  }
  auto log_usable = check_log_file(frontend.config.log.file);
  if (!log_usable) return fail_with(log_usable.error(), kExitConfig);
  log_start(frontend.config.log);
  raise_descriptor_limit();
  auto started = frontend.start();
  if (!started) return fail_with(started.error(), kExitStart);
  run(frontend);
  return kExitOk;
}

}  // namespace canopy::frontend

int main(int argc, char** argv) { return canopy::frontend::frontend_main(argc, argv); }
