// canopyd: one backend. Builds the parts, hands each what it needs, serves until SIGTERM or SIGINT.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <thread>

#include <CLI/CLI.hpp>

#include "daemon/account/older_stages.h"
#include "daemon/account/passwords.h"
#include "daemon/base/log.h"
#include "daemon/base/log_file.h"
#include "daemon/catalog/catalog.h"
#include "daemon/cluster/heartbeat.h"
#include "daemon/runtime/lost_peers.h"
#include "daemon/runtime/signals.h"
#include "daemon/runtime/tls.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/store/ballast.h"
#include "daemon/store/local/local_journals.h"
#include "daemon/store/marker.h"
#include "daemon/store/nfs/nfs_store.h"
#include "daemon/store/set/store_set.h"
#include "daemon/wire/framing_log.h"
#include "daemon/wire/server/rpc_server.h"
#include "daemon/wire/server/session_methods.h"
#include "daemon/wire/services/directory_service.h"
#include "daemon/wire/services/info_service.h"
#include "daemon/wire/services/login_service.h"
#include "daemon/wire/services/mailboxes_service.h"
#include "daemon/wire/services/relocation_service.h"
#include "daemon/wire/services/status_service.h"
#include "daemon/wire/services/stores_service.h"
#include "daemon/wire/services/tree_service.h"

namespace canopy {
namespace {

struct Options {
  std::string dir;
  std::vector<std::string> listen;
  std::string tls_certificate, tls_key, tls_ca;
  std::string cluster = "canopy";
  std::vector<uint32_t> frontend_uids;
  uint32_t loops = 0;
  uint32_t hash_threads = 2;
  uint64_t memory_mib = 1024;
  std::string catalog;
  uint64_t catalog_memory_mib = 64, catalog_disk_mib = 1024;
  bool init = false;
  std::string log_file;
  std::string log_level = "info";

  bool on_nfs() const { return dir.starts_with("nfs://"); }
};

struct Running {  // what lives as long as the process serves
  std::vector<std::unique_ptr<UringLoop>> loops;
  std::vector<std::thread> threads;
  std::unique_ptr<WorkerPool> file_workers, hash_workers;
  std::unique_ptr<LocalJournals> journals;
  JournaledStore* local_root = nullptr;       // of the first loop, where the root is a local directory
  std::vector<std::unique_ptr<Store>> roots;  // each loop's, until the sets have them
  std::optional<FileLock> lock;               // of a local tree
  std::vector<std::string> trash;             // of earlier processes
  Lease lease;
  std::unique_ptr<Heartbeat> heartbeat;
  std::atomic<bool> over{false};
  std::unique_ptr<Catalog> catalog;
  std::unique_ptr<wire::Node> node;
  std::vector<std::unique_ptr<wire::RpcServer>> servers;
};

int usage_error(const std::string& message) {
  std::fprintf(stderr, "canopyd: %s\n", message.c_str());
  return 2;
}

uint64_t epoch_of(uint32_t generation) { return static_cast<uint64_t>(generation) << 32 | 1; }

// The store's marker: made with --init in an empty directory, required otherwise.
Task<Result<void>> check_base(Store& store, Loop& loop, const Options& options) {
  auto marker = co_await check_marker(store, "", "");
  if (marker) co_return Result<void>();
  bool absent = marker.error().code() == Code::kStoreUnavailable;
  if (!absent || !options.init) {
    std::string hint = absent ? "; to make a new tree in an empty directory give --init" : "";
    co_return fail(marker.error().code(), options.dir, marker.error().message() + hint);
  }
  auto made =
      co_await create_marker(store, loop, "root", "SharedDomains, Settings", StoreContent::kMustBeEmpty);
  if (!made) co_return fail(std::move(made).error());
  CANOPY_CO_TRY(co_await make_directories(store, std::string(kTreeRoot), 0700, Durable::kYes));
  co_return co_await make_directories(store, std::string(kSettingsRoot), 0700, Durable::kYes);
}

Task<void> beat_on(Loop& loop, Heartbeat& heartbeat, const std::atomic<bool>& over) {
  while (!over) {
    co_await loop.sleep(kBeatNanos);
    auto done = co_await heartbeat.beat();
    if (done) continue;
    log_event(LogLevel::kError, "beat-failed", "SharedDomains/heartbeat.data",
              {{"error", done.error().to_string()}});
    if (done.error().code() == Code::kFenced) std::_Exit(75);  // somebody else serves this tree now
  }
}

// Node-local: by default beside the tree that it is derived from.
Task<Result<std::unique_ptr<Catalog>>> make_catalog(Store& store, const Options& options) {
  auto marker = co_await check_marker(store, "", "");
  if (!marker) co_return fail(std::move(marker).error());
  CatalogOptions catalog;
  catalog.directory = options.catalog.empty() ? options.dir + "/.canopy/catalog" : options.catalog;
  catalog.tree_id = marker->id;
  catalog.memory_bytes = options.catalog_memory_mib << 20;
  catalog.summary_bytes_max = options.catalog_disk_mib << 20;
  co_return std::make_unique<Catalog>(catalog);
}

// Asked on every loop, when an operation completes.
std::function<bool()> lease_of(Running& running, size_t loop) {
  return [&lease = running.lease, &on = *running.loops[loop]] { return lease.held(on.now()); };
}

constexpr Nanos kBallastEvery = 5 * kSecond;

Task<void> keep_ballast_on(wire::Shard& shard, const std::atomic<bool>& over) {
  while (!over) {
    co_await shard.loop.sleep(kBallastEvery);
    for (const MemberRef& member : shard.stores->members()) {
      const std::shared_ptr<Store> store = member->store();
      if (member->usable()) co_await keep_ballast(*store);
    }
  }
}

Task<void> read_domains_on(wire::Node& node, const std::atomic<bool>& over) {
  while (!over) {
    co_await node.shards().front()->loop.sleep(kSecond);
    co_await node.read_more_domains();
  }
}

constexpr Nanos kStoppingAtMost = 10 * kSecond;

// What waits for a store that does not answer must not keep the next process from serving all others.
Task<void> end_anyway(Loop& loop, std::string dir) {
  co_await loop.sleep(kStoppingAtMost);
  log_event(LogLevel::kWarning, "stopping-cut-short", dir,
            {{"seconds", kStoppingAtMost / kSecond}, {"why", "operations still wait for a store"}});
  std::fflush(nullptr);
  std::_Exit(0);
}

Task<void> sweep_on(wire::Shard& shard, const std::atomic<bool>& over) {
  while (!over) {
    co_await shard.loop.sleep(kSecond);
    while (co_await shard.accounts.sweep() && !over) co_await shard.loop.yield();
  }
}

Task<Result<void>> serve_on(wire::RpcServer& server, UringLoop& loop, Listener& first, bool share,
                            std::unique_ptr<Listener> own, std::shared_ptr<TlsContext> tls) {
  co_await loop.switch_to();
  std::unique_ptr<Listener> listener = std::move(own);
  if (share) {
    auto shared = loop.share(first);
    if (!shared) co_return fail(std::move(shared).error());
    listener = std::move(*shared);
  }
  server.serve(std::move(listener), std::move(tls));
  co_return Result<void>();
}

Result<std::shared_ptr<TlsContext>> tls_of(const Options& options) {
  TlsOptions tls;
  tls.side = TlsOptions::Side::kServer;
  tls.verify = TlsOptions::Verify::kRequired;
  tls.certificates.push_back({options.tls_certificate, options.tls_key});
  tls.ca_file = options.tls_ca;
  return TlsContext::create(std::move(tls));
}

Task<Result<void>> listen_all(Running& running, const Options& options, std::vector<std::string>& addresses) {
  for (const std::string& text : options.listen) {
    CANOPY_CO_ASSIGN(Address address, Address::parse(text));
    std::shared_ptr<TlsContext> tls;
    if (address.kind == Address::Kind::kTcp) {
      if (options.tls_certificate.empty() || options.tls_key.empty() || options.tls_ca.empty()) {
        co_return fail(Code::kInvalidArgument, text,
                       "a TCP address needs --tls-cert, --tls-key and --tls-ca");
      }
      CANOPY_CO_ASSIGN(tls, tls_of(options));
    }
    ListenOptions listen;
    listen.unix_mode = options.frontend_uids.empty() ? 0600 : 0666;
    UringLoop& first_loop = *running.loops.front();
    auto first = first_loop.listen(address, listen);
    if (!first) co_return fail(std::move(first).error());
    notice_lost_peers(**first);
    addresses.push_back((*first)->local().to_string());
    Listener& original = **first;
    for (size_t i = running.loops.size(); i-- > 0;) {
      std::unique_ptr<Listener> own;
      if (i == 0) own = std::move(*first);
      CANOPY_CO_TRY(
          co_await serve_on(*running.servers[i], *running.loops[i], original, i != 0, std::move(own), tls));
    }
    co_await first_loop.switch_to();
  }
  co_return Result<void>();
}

std::string host_name() {
  char name[256] = "localhost";
  gethostname(name, sizeof name - 1);
  return name;
}

Task<void> empty_trash_of(std::shared_ptr<Store> store, std::vector<std::string> names) {
  co_await empty_trash(*store, std::move(names));
}

// Before anything is served from a store, as for the root store.
Task<Result<void>> prepare_store(Loop& loop, std::shared_ptr<Store> store, uint64_t epoch, std::string tree) {
  // One that was added before markers named their tree. It serves all the same where that cannot be written.
  if (auto claimed = co_await claim_store(*store, loop, std::move(tree)); !claimed)
    log_event(LogLevel::kWarning, "store-not-claimed", store->name(),
              {{"error", claimed.error().to_string()}});
  auto trash = co_await retire_older_stages(*store, epoch);
  if (!trash) co_return fail(std::move(trash).error());
  loop.spawn(empty_trash_of(std::move(store), std::move(*trash)));
  co_return Result<void>();
}

Task<Result<std::unique_ptr<Store>>> open_store(UringLoop& loop, Running& running, StoreConfig config) {
  WorkerPool& workers = *running.file_workers;
  if (!config.is_local()) {
    CANOPY_CO_ASSIGN(NfsOptions nfs, parse_nfs_address(config.address));
    nfs.name = config.name;
    nfs.workers = &workers;
    co_return co_await open_nfs_store(loop, std::move(nfs));
  }
  LocalStoreOptions local;
  local.name = config.name;
  local.shared = config.shared;
  local.workers = &workers;
  auto opened = running.journals->open(loop, config.directory(), local);
  if (!opened) co_return fail(std::move(opened).error());
  if (config.name == kRootStoreName && running.local_root == nullptr) running.local_root = opened->get();
  co_return std::move(*opened);
}

// What the process before has left in its journal comes first. Nobody else serves the tree.
Task<Result<void>> begin_store(const StoreConfig& config, Store& store) {
  if (!config.is_local()) co_return Result<void>();
  co_return co_await static_cast<JournaledStore&>(store).begin();  // as open_store() has made it
}

constexpr Nanos kStoresAwaitedAtStart = 2 * kSecond;  // one that is away holds up nobody for longer

// A set for each loop, over the stores that Settings/Stores.settings names. Begins and ends on the first
// loop.
Task<Result<std::vector<std::unique_ptr<StoreSet>>>> make_sets(Running& running, uint64_t epoch) {
  std::vector<std::unique_ptr<Store>>& roots = running.roots;
  auto config = co_await load_stores(*roots.front());
  if (!config) co_return fail(std::move(config).error());
  auto root = co_await check_marker(*roots.front(), "", "");
  if (!root) co_return fail(std::move(root).error());
  std::vector<std::unique_ptr<StoreSet>> sets;
  auto board = std::make_shared<StoreBoard>();
  for (size_t i = 0; i < roots.size(); ++i) {
    UringLoop* loop = running.loops[i].get();
    StoreSetOptions options;
    options.open = [loop, &running](StoreConfig of) { return open_store(*loop, running, std::move(of)); };
    options.begin = begin_store;
    options.prepare = [loop, epoch, tree = root->id](std::shared_ptr<Store> store) {
      return prepare_store(*loop, std::move(store), epoch, tree);
    };
    options.board = board;
    options.leads = i == 0;
    sets.push_back(std::make_unique<StoreSet>(*loop, std::move(roots[i]), std::move(options)));
    co_await loop->switch_to();
    sets.back()->apply(*config);
  }
  const Nanos deadline = running.loops.front()->now() + kStoresAwaitedAtStart;
  for (size_t i = 0; i < sets.size(); ++i) {
    co_await running.loops[i]->switch_to();
    co_await sets[i]->settle(deadline);
  }
  co_await running.loops.front()->switch_to();
  co_return sets;
}

// On its loop, as an NFS store's connections belong to one. Begins and ends on the first.
Task<Result<void>> open_roots(Running& running, const Options& options) {
  StoreConfig config;
  config.name = kRootStoreName;
  config.address = options.on_nfs() ? options.dir : "dir:" + options.dir;
  Result<void> opened;
  for (const auto& loop : running.loops) {
    co_await loop->switch_to();
    auto store = co_await open_store(*loop, running, config);
    if (store)
      running.roots.push_back(std::move(*store));
    else
      opened = fail(std::move(store).error());
    if (!opened) break;
  }
  co_await running.loops.front()->switch_to();
  co_return opened;
}

// The right to serve the tree, as the generation of this process. Others on this machine are kept out by a
// lock, where there is a file to lock; on an NFS server there are others on other machines.
Task<Result<uint32_t>> claim_tree(Running& running, const Options& options) {
  UringLoop& loop = *running.loops.front();
  Store& root = *running.roots.front();
  if (!options.on_nfs()) {
    CANOPY_CO_ASSIGN(running.lock,
                     FileLock::take(fmt::format("{}/{}/{}", options.dir, kTreeRoot, kHeartbeatElement)));
  }
  co_await keep_ballast(root);  // what follows writes
  running.heartbeat =
      std::make_unique<Heartbeat>(loop, root, fmt::format("{}:{}", host_name(), getpid()), running.lease);
  auto generation = co_await running.heartbeat->claim(running.lock.has_value());
  if (!generation) co_return fail(std::move(generation).error());
  root.forget_names("");  // the holder before changed them while we waited for it
  loop.spawn(beat_on(loop, *running.heartbeat, running.over));
  co_return generation;
}

Task<Result<void>> build_node(Running& running, const Options& options) {
  UringLoop& loop = *running.loops.front();
  if (options.init && !options.on_nfs()) {
    std::error_code error;  // what cannot be made shows when it is opened
    std::filesystem::create_directories(options.dir, error);
  }
  CANOPY_CO_TRY(co_await open_roots(running, options));
  Store& root = *running.roots.front();
  CANOPY_CO_TRY(co_await check_base(root, loop, options));
  auto generation = co_await claim_tree(running, options);
  if (!generation) co_return fail(std::move(generation).error());
  uint64_t epoch = epoch_of(*generation);
  if (running.local_root != nullptr) CANOPY_CO_TRY(co_await running.local_root->begin());
  CANOPY_CO_ASSIGN(running.trash, co_await retire_older_stages(root, epoch));

  auto sets = co_await make_sets(running, epoch);
  if (!sets) co_return fail(std::move(sets).error());

  AccountsOptions accounts;
  accounts.memory_bytes_max = (options.memory_mib << 20) / running.loops.size();
  CANOPY_CO_ASSIGN(running.catalog, co_await make_catalog(*sets->front(), options));
  std::vector<std::unique_ptr<wire::Shard>> shards;
  shards.reserve(running.loops.size());
  for (uint32_t i = 0; i < running.loops.size(); ++i) {
    StoreSet* set = (*sets)[i].get();
    shards.push_back(std::make_unique<wire::Shard>(*running.loops[i], std::move((*sets)[i]), epoch, i,
                                                   accounts, lease_of(running, i), running.catalog.get(),
                                                   set));
  }
  wire::NodeOptions node;
  node.cluster = options.cluster;
  node.backend = host_name();
  node.base = options.on_nfs() ? options.dir : std::filesystem::absolute(options.dir).string();
  running.node = std::make_unique<wire::Node>(node, std::move(shards), *running.hash_workers, epoch,
                                              running.catalog.get());
  CANOPY_CO_TRY(co_await running.node->start());
  loop.spawn(running.catalog->start(loop));  // it serves before that
  co_return Result<void>();
}

// In order: nothing of this process is under way when it gives the tree back. The tables of the methods are
// used by nobody any more then; what sleeps in sweep_on and beat_on ends with the process.
Task<void> stop(Running& running) {
  for (size_t i = 0; i < running.servers.size(); ++i) {
    co_await running.loops[i]->switch_to();
    co_await running.servers[i]->stop(running.loops[i]->now() + 5 * kSecond);
  }
  co_await running.loops.front()->switch_to();
  running.over = true;
  co_await running.node->stop();
  co_await running.journals->end();
  auto released = co_await running.heartbeat->release();
  if (!released)
    log_event(LogLevel::kWarning, "not-released", kHeartbeatElement,
              {{"error", released.error().to_string()}});
}

void tell_ready(const Running& running, const Options& options, std::span<const std::string> addresses) {
  const uint64_t epoch = running.node->epoch();
  std::string line = fmt::format("ready dir={} epoch={}", options.dir, epoch);
  for (const std::string& address : addresses) line += " listen=" + address;
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  log_event(LogLevel::kInfo, "ready", options.dir, {{"epoch", epoch}, {"loops", running.loops.size()}});
}

Task<int> serve(Running& running, const Options& options) {
  UringLoop& loop = *running.loops.front();
  auto built = co_await build_node(running, options);
  if (!built) {
    std::fprintf(stderr, "canopyd: %s\n", built.error().to_string().c_str());
    co_return built.error().code() == Code::kBusy ? 75 : 1;
  }
  wire::Node& node = *running.node;
  wire::MethodTable table;
  wire::SessionMethods::Options session_options;
  session_options.server = "canopyd/" + node.options().version;
  session_options.cluster = options.cluster;
  session_options.page_entries_max = wire::kPageEntriesMax;
  session_options.epoch = [&node] { return node.epoch(); };
  wire::SessionMethods session(session_options);
  wire::LoginService login(node);
  wire::StoresService stores(node);
  wire::DirectoryService directory(node, &stores);
  wire::MailboxesService mailboxes(node);
  wire::InfoService info(node);
  wire::EventsService events(node);
  wire::StatusService status(node);
  wire::Relocations relocations(node, [&stores](std::shared_ptr<const StoresConfig> as_of) {
    return stores.drop_superseded(std::move(as_of));
  });
  wire::DomainMoves domain_moves(node);
  wire::RelocationService relocation(node, relocations, domain_moves, stores);
  wire::TreeService tree(node);
  session.add_to(table);
  login.add_to(table);
  directory.add_to(table);
  mailboxes.add_to(table);
  info.add_to(table);
  events.add_to(table);
  status.add_to(table);
  stores.add_to(table);
  relocation.add_to(table);
  tree.add_to(table);

  wire::RpcServerOptions server_options;
  server_options.cluster = options.cluster;
  server_options.frontend_uids = options.frontend_uids;
  std::vector<wire::RpcServer*> watched;
  for (size_t i = 0; i < running.loops.size(); ++i) {
    server_options.lease_held = lease_of(running, i);
    running.servers.push_back(std::make_unique<wire::RpcServer>(*running.loops[i], table, server_options));
    watched.push_back(running.servers.back().get());
  }
  status.watch(watched);
  std::vector<std::string> addresses;
  auto listening = co_await tree.start();
  if (listening) listening = co_await listen_all(running, options, addresses);
  int exit_code = 0;
  if (listening) {
    for (const auto& shard : node.shards()) {
      co_await shard->loop.switch_to();
      shard->loop.spawn(sweep_on(*shard, running.over));
    }
    co_await loop.switch_to();
    loop.spawn(tree.sweep(running.over));
    loop.spawn(keep_ballast_on(*node.shards().front(), running.over));
    loop.spawn(read_domains_on(node, running.over));
    loop.spawn(relocations.run(running.over));
    loop.spawn(domain_moves.run(running.over));
    loop.spawn(empty_trash(*node.shards().front()->store, std::move(running.trash)));
    tell_ready(running, options, addresses);
    int signal = co_await wait_signal(loop, {SIGINT, SIGTERM});
    log_event(LogLevel::kInfo, "stopping", options.dir, {{"signal", signal}});
    loop.spawn(end_anyway(loop, options.dir));
  } else {
    std::fprintf(stderr, "canopyd: %s\n", listening.error().to_string().c_str());
    exit_code = 1;
  }
  co_await stop(running);
  log_event(LogLevel::kInfo, "stopped", options.dir);
  std::fflush(nullptr);
  std::_Exit(exit_code);
}

int run(const Options& options) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  umask(0);
  if (auto started = start_passwords(); !started) return usage_error(started.error().to_string());

  Running running;
  uint32_t loops = options.loops != 0 ? options.loops : std::max(1u, std::thread::hardware_concurrency());
  for (uint32_t i = 0; i < loops; ++i) {
    auto loop = UringLoop::create();
    if (!loop) return usage_error(loop.error().to_string());
    running.loops.push_back(std::move(*loop));
  }
  running.file_workers = std::make_unique<WorkerPool>("canopy-files", 4 + 2 * loops, 4096);
  auto lock = [](const std::string& file) -> Result<std::shared_ptr<void>> {
    CANOPY_ASSIGN(FileLock taken, FileLock::take(file));
    return std::make_shared<FileLock>(std::move(taken));
  };
  running.journals = std::make_unique<LocalJournals>(*running.loops.front(), lock);
  running.hash_workers = std::make_unique<WorkerPool>("canopy-hash", options.hash_threads, 1024);
  for (uint32_t i = 1; i < loops; ++i) {
    running.threads.emplace_back([loop = running.loops[i].get()] { loop->run(); });
  }
  int code = running.loops.front()->run_until_done(serve(running, options));
  std::fflush(nullptr);
  std::_Exit(code);  // loops of other threads hold tasks that must not be resumed
}

}  // namespace
}  // namespace canopy

int main(int argc, char** argv) {
  canopy::Options options;
  CLI::App app("canopyd: the account storage backend. Serves one tree over the wire protocol.");
  app.set_version_flag("--version", "canopyd 0.1.0");
  app.add_option("--dir", options.dir,
                 "The base directory of the tree, or an export of an NFS server: nfs://HOST/EXPORT?version=3")
      ->required();
  app.add_option("--listen", options.listen,
                 "Where to serve: unix:PATH, or tcp:HOST:PORT with TLS; repeatable")
      ->required();
  app.add_option("--tls-cert", options.tls_certificate, "PEM file with the server's certificate chain");
  app.add_option("--tls-key", options.tls_key, "PEM file with its private key");
  app.add_option("--tls-ca", options.tls_ca, "PEM file with the CA of the clients' certificates");
  app.add_option("--cluster", options.cluster, "The cluster's name, as certificates bear it")
      ->capture_default_str();
  app.add_option("--frontend-uid", options.frontend_uids,
                 "Users of this machine that are frontends; repeatable");
  app.add_option("--loops", options.loops, "Threads that serve; 0: one a core")->capture_default_str();
  app.add_option("--hash-threads", options.hash_threads, "Threads that verify passwords, 19 MiB each")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  app.add_option("--memory-mib", options.memory_mib, "Memory for open accounts")->capture_default_str();
  app.add_option(
      "--catalog", options.catalog,
      "Where this node keeps what it derives from the tree; default: .canopy/catalog in the base directory, "
      "where that is local. May be deleted at any time");
  app.add_option("--catalog-memory-mib", options.catalog_memory_mib,
                 "Memory for the catalog's caches and buffers")
      ->capture_default_str()
      ->check(CLI::Range(8, 1 << 20));
  app.add_option("--catalog-disk-mib", options.catalog_disk_mib, "Disk for message summaries; the oldest go")
      ->capture_default_str()
      ->check(CLI::Range(16, 1 << 30));
  app.add_flag("--init", options.init, "Make a new tree when the directory is empty or not there");
  app.add_option("--log-file", options.log_file, "Append the log to a file; default: stderr");
  app.add_option("--log-level", options.log_level, "debug, info, warning or error")
      ->capture_default_str()
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (options.on_nfs() && options.catalog.empty())
    return canopy::usage_error(
        "--catalog is needed: a tree on an NFS server has no place for what is this node's");
  canopy::block_signals({SIGINT, SIGTERM});
  canopy::LogOptions log;
  log.file = options.log_file;
  log.level = options.log_level == "debug"     ? canopy::LogLevel::kDebug
              : options.log_level == "warning" ? canopy::LogLevel::kWarning
              : options.log_level == "error"   ? canopy::LogLevel::kError
                                               : canopy::LogLevel::kInfo;
  if (auto usable = canopy::check_log_file(log.file); !usable) {
    std::fprintf(stderr, "canopyd: %s\n", usable.error().to_string().c_str());
    return 2;
  }
  canopy::log_start(log);
  canopy::wire::log_protobuf();
  return canopy::run(options);
}
