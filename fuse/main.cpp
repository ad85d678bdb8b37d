// canopy-mount: the account tree as a file system. A client of the wire protocol.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <CLI/CLI.hpp>

#include "daemon/base/log.h"
#include "daemon/base/log_file.h"
#include "daemon/runtime/signals.h"
#include "daemon/runtime/tls.h"
#include "daemon/wire/framing_log.h"
#include "fuse/command_line.h"
#include "fuse/draft.h"
#include "fuse/mount.h"
#include "fuse/root_view.h"

namespace canopy::mount {
namespace {

Result<wire::ClientOptions> client_options(const Options& options) {
  wire::ClientOptions client;
  CANOPY_ASSIGN(Address address, Address::parse(options.url));
  if (address.kind == Address::Kind::kTcp) {
    if (options.ca.empty() || options.certificate.empty() || options.key.empty()) {
      return fail(Code::kInvalidArgument, options.url,
                  "tcp needs --ca, and --cert with --key of a certificate with the role mount");
    }
    TlsOptions tls;
    tls.side = TlsOptions::Side::kClient;
    tls.verify = TlsOptions::Verify::kRequired;
    tls.ca_file = options.ca;
    tls.certificates.push_back({options.certificate, options.key});
    CANOPY_ASSIGN(client.tls, TlsContext::create(std::move(tls)));
    client.server_name = address.host;
  }
  client.addresses.push_back(std::move(address));
  client.name = "canopy-mount/0.1";
  client.call_timeout = static_cast<Nanos>(options.wait_seconds * kSecond);
  // So that an operation which begins while the backend comes back is not given up before the next try.
  client.backoff_max = std::min(client.backoff_max, client.call_timeout / 4);
  return client;
}

// sd_notify(3), for a unit of Type=notify.
void notify_service_manager(const std::string& text) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') return;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t size = std::min(strlen(path), sizeof address.sun_path - 1);
  memcpy(address.sun_path, path, size);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  (void)sendto(fd, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&address),
               static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size));
  close(fd);
}

// The process that stays when the command returns. Its parent waits until it has mounted, or says why not.
class Background {
 public:
  // In the child: answers. In the parent: ends with the child's word.
  void enter() {
    int ends[2];
    if (pipe(ends) != 0) {
      std::perror("canopy-mount: pipe");
      std::_Exit(1);
    }
    const pid_t child = fork();
    if (child < 0) {
      std::perror("canopy-mount: fork");
      std::_Exit(1);
    }
    if (child > 0) {
      close(ends[1]);
      unsigned char status = 1;  // the child ended without a word
      if (read(ends[0], &status, 1) != 1) status = 1;
      std::_Exit(status);
    }
    close(ends[0]);
    fd_ = ends[1];
    setsid();
  }
  void say(unsigned char status) {
    if (fd_ < 0) return;
    (void)!write(fd_, &status, 1);
    close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

// Serving ends then at once, unless another mount namespace still holds a copy of the mount, and nothing here
// can take it away: the end of the process does.
Task<void> unmount_on_signal(UringLoop& loop, Mount& mount) {
  co_await wait_signal(loop, {SIGINT, SIGTERM, SIGHUP});
  mount.unmount();
  co_await loop.sleep(2 * kSecond);
  std::fflush(nullptr);
  std::_Exit(0);
}

Task<void> say_on_signal(UringLoop& loop, const NodeTable& nodes, const Options& options) {
  while (true) {
    co_await wait_signal(loop, {SIGUSR1});
    log_event(LogLevel::kInfo, "nodes-known", options.directory, {{"nodes", nodes.size()}});
  }
}

Task<Result<void>> run(UringLoop& loop, const Options& options, Background& background) {
  CANOPY_CO_ASSIGN(wire::ClientOptions with, client_options(options));
  wire::Client client(loop, std::move(with));
  CANOPY_CO_TRY(co_await client.connect(loop.now() + 10 * kSecond));
  const std::string role = client.hello().role();
  if (role != "mount" && role != "admin")
    co_return fail(Code::kPermissionDenied, options.url,
                   fmt::format("the role {} may not mount; use a certificate with the role mount", role));

  Backend backend(client, static_cast<Nanos>(options.wait_seconds * kSecond));
  NodeTable* nodes_for_views = nullptr;
  RawView raw(backend, nodes_for_views);
  AccountsView accounts(backend, loop, {options.uid, options.gid});
  RootView root(raw, accounts);
  NodeTable nodes(root);
  nodes_for_views = &nodes;
  raw.names().keep_for(static_cast<Nanos>(options.told_seconds * kSecond));
  MountOptions mount_options;
  mount_options.directory = options.directory;
  mount_options.source = options.url;
  mount_options.fuse_options = options.for_fuse;
  mount_options.cache_seconds = options.cache_seconds;
  mount_options.told_seconds = options.told_seconds;
  mount_options.nodes_max = options.nodes_max;
  Mount mount(loop, backend, nodes, std::move(mount_options));
  CANOPY_CO_TRY(mount.begin());
  TreeWatch watch(backend, nodes, raw, mount.notifier());
  mount.follow(watch);
  loop.spawn(watch.run());
  loop.spawn(unmount_on_signal(loop, mount));
  loop.spawn(say_on_signal(loop, nodes, options));
  (void)co_await mount.space("");  // to be known when the backend is gone
  log_event(LogLevel::kInfo, "mounted", options.directory, {{"server", options.url}, {"role", role}});
  notify_service_manager("READY=1");
  if (options.foreground) {
    std::printf("mounted %s\n", options.directory.c_str());
    std::fflush(stdout);
  } else {
    background.say(0);
    (void)!chdir("/");
    for (FILE* stream : {stdin, stdout})
      (void)!std::freopen("/dev/null", stream == stdin ? "r" : "w", stream);
    if (!options.log_file.empty()) (void)!std::freopen("/dev/null", "w", stderr);
  }
  co_await mount.serve();
  log_event(LogLevel::kInfo, "unmounted", options.directory);
  mount.unmount();
  std::fflush(nullptr);
  std::_Exit(0);  // requests that the kernel no longer waits for may still be under way
}

// What shows only when it is needed otherwise.
Result<void> check_files(const Options& options) {
  CANOPY_TRY(check_log_file(options.log_file));
  if (std::ranges::find(options.for_fuse, "ro") != options.for_fuse.end()) return {};
  return check_draft_directory();
}

int start(Options& options) {
  if (auto taken = take_options(options); !taken) {
    std::fprintf(stderr, "canopy-mount: %s\n", taken.error().to_string().c_str());
    return 2;
  }
  struct stat at = {};
  if (stat(options.directory.c_str(), &at) != 0 || !S_ISDIR(at.st_mode)) {
    std::fprintf(stderr, "canopy-mount: %s: it is no directory; make it first\n", options.directory.c_str());
    return 2;
  }
  if (char* whole = realpath(options.directory.c_str(), nullptr)) {
    options.directory = whole;
    std::free(whole);
  }
  if (auto usable = check_files(options); !usable) {
    std::fprintf(stderr, "canopy-mount: %s\n", usable.error().to_string().c_str());
    return 2;
  }
  if (options.fake) return 0;
  Background background;
  if (!options.foreground) background.enter();
  block_signals({SIGINT, SIGTERM, SIGHUP, SIGUSR1});
  log_start({.level = LogLevel::kInfo, .file = options.log_file});
  wire::log_protobuf();
  auto loop = UringLoop::create({.entries = 1024, .file_workers = 4});
  Result<void> ended = loop ? (*loop)->run_until_done(run(**loop, options, background)) : fail(loop.error());
  if (ended) return 0;
  std::fprintf(stderr, "canopy-mount: %s\n", ended.error().to_string().c_str());
  background.say(1);
  std::fflush(nullptr);
  std::_Exit(1);
}

}  // namespace
}  // namespace canopy::mount

int main(int argc, char** argv) {
  canopy::mount::Options options;
  CLI::App app;
  canopy::mount::add_command_line(app, options);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const std::string program = argv[0];
  if (program.substr(program.rfind('/') + 1).starts_with("mount."))
    arguments = canopy::mount::arguments_of_helper(arguments, options.fake);
  std::ranges::reverse(arguments);  // as CLI11 takes them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : 2;
  }
  return canopy::mount::start(options);
}
