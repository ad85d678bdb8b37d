// nfs_speed SECONDS: durable writes of 2 KiB and reads of a known file a second, over a real NFSv3 server
// that it starts: by NfsStore, by libnfs' raw calls (pipelined, by file handle), and by libnfs' path-based
// synchronous calls, in one run, turn by turn: only the ratios mean anything.
#include <fcntl.h>
#include <poll.h>

#include <cstdio>

#include "daemon/runtime/uring_loop.h"
#include "daemon/store/nfs/libnfs.h"
#include "daemon/store/nfs/nfs_store.h"
#include "tests/store/nfs_server.h"

// As in libnfs 4.0.0's own header, which is not part of its development package.
struct nfs_fh {
  int len;
  char* val;
};

namespace canopy {
namespace {

constexpr size_t kBytes = 2048;
constexpr int kRounds = 9;
constexpr int kDepthMax = 16;
const std::string kMessage(kBytes, 'm');
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// As deep as an account's slices lie.
constexpr std::string_view kDirectory = "SharedDomains/company.com/j.sub/s.sub/jsmith.macnt";

std::string path_of(int writer) { return fmt::format("{}/file{}", kDirectory, writer); }

// libnfs as its own examples use it: one context, mounted; calls of both kinds.
class Plain {
 public:
  Plain(const NfsServer& server, const NfsOptions& options) : nfs_(nfs_init_context()) {
    const std::string url = fmt::format("nfs://127.0.0.1{}?version=3&nfsport={}&mountport={}",
                                        options.export_path, server.nfs_port(), options.mount_port);
    nfs_url* parsed = nfs_parse_url_dir(nfs_, url.c_str());
    CANOPY_CHECK(parsed != nullptr && nfs_mount(nfs_, parsed->server, parsed->path) == 0);
    nfs_destroy_url(parsed);
    for (int i = 0; i < kDepthMax; ++i) {
      nfsfh* file = nullptr;
      CANOPY_CHECK(nfs_open(nfs_, ("/" + path_of(i)).c_str(), O_RDWR, &file) == 0);
      files_.push_back(file);
    }
  }
  ~Plain() {
    for (nfsfh* file : files_) nfs_close(nfs_, file);
    nfs_destroy_context(nfs_);
  }

  // Every `depth` files with one call under way.
  enum class What { kWrite, kAttributes, kRead };
  double raw(What what, int depth, double seconds) {
    rpc_context* rpc = nfs_get_rpc_context(nfs_);
    std::vector<Slot> slots(static_cast<size_t>(depth));
    const auto start = Clock::now();
    for (int i = 0; i < depth; ++i) {
      Slot& slot = slots[static_cast<size_t>(i)];
      slot.of = this;
      slot.what = what;
      slot.file = nfs_get_fh(files_[static_cast<size_t>(i)]);
      send(rpc, slot);
    }
    done_ = 0;
    ending_ = false;
    while (under_way_ > 0) {
      pollfd wanted{nfs_get_fd(nfs_), static_cast<short>(nfs_which_events(nfs_)), 0};
      CANOPY_CHECK(poll(&wanted, 1, 1000) >= 0);
      CANOPY_CHECK(nfs_service(nfs_, wanted.revents) == 0);
      ending_ = since(start) >= seconds;
    }
    return static_cast<double>(done_) / since(start);
  }

  // Opens, writes with O_SYNC, closes: one message after the other.
  double by_path(double seconds) {
    uint64_t done = 0;
    const auto start = Clock::now();
    while (since(start) < seconds) {
      nfsfh* file = nullptr;
      CANOPY_CHECK(nfs_open(nfs_, ("/" + path_of(0)).c_str(), O_WRONLY | O_SYNC, &file) == 0);
      CANOPY_CHECK(nfs_pwrite(nfs_, file, done % 4096 * kBytes, kBytes, kMessage.data()) == kBytes);
      CANOPY_CHECK(nfs_close(nfs_, file) == 0);
      ++done;
    }
    return static_cast<double>(done) / since(start);
  }

 private:
  struct Slot {
    Plain* of = nullptr;
    What what = What::kWrite;
    nfs_fh* file = nullptr;
    uint64_t next = 0;
  };
  static void answered(rpc_context* rpc, int status, void* data, void* private_data) {
    CANOPY_CHECK(status == RPC_STATUS_SUCCESS && *static_cast<nfsstat3*>(data) == NFS3_OK);
    auto& slot = *static_cast<Slot*>(private_data);
    ++slot.of->done_;
    --slot.of->under_way_;
    if (!slot.of->ending_) slot.of->send(rpc, slot);
  }
  void send(rpc_context* rpc, Slot& slot) {
    ++under_way_;
    nfs_fh3 handle{};
    handle.data.data_len = static_cast<u_int>(slot.file->len);
    handle.data.data_val = slot.file->val;
    int queued = 0;
    if (slot.what == What::kWrite) {
      WRITE3args arguments{};
      arguments.file = handle;
      arguments.offset = slot.next++ % 4096 * kBytes;
      arguments.count = kBytes;
      arguments.stable = FILE_SYNC;
      arguments.data = {.data_len = kBytes, .data_val = const_cast<char*>(kMessage.data())};
      queued = rpc_nfs3_write_async(rpc, answered, &arguments, &slot);
    } else if (slot.what == What::kRead) {
      READ3args arguments{.file = handle, .offset = 0, .count = kBytes};
      queued = rpc_nfs3_read_async(rpc, answered, &arguments, &slot);
    } else {
      GETATTR3args arguments{.object = handle};
      queued = rpc_nfs3_getattr_async(rpc, answered, &arguments, &slot);
    }
    CANOPY_CHECK(queued == 0);
  }

  nfs_context* nfs_;
  std::vector<nfsfh*> files_;
  uint64_t done_ = 0;
  int under_way_ = 0;
  bool ending_ = false;
};

struct Run {
  Store* store = nullptr;
  std::vector<std::unique_ptr<File>> files;
  uint64_t done = 0;
  int writers = 0;
  bool ending = false;
};

Task<void> write_on(UringLoop& loop, Run& run, size_t writer) {
  std::string_view pieces[] = {kMessage};
  for (uint64_t next = 0; !run.ending; ++next, ++run.done)
    CANOPY_CHECK(
        (co_await run.files[writer]->write(next % 4096 * kBytes, pieces, Durable::kYes)).has_value());
  if (--run.writers == 0) loop.stop();
}

Task<void> read_on(UringLoop& loop, Run& run, size_t writer) {
  const std::string path = path_of(static_cast<int>(kDepthMax + writer));
  for (; !run.ending; ++run.done) CANOPY_CHECK((co_await read_file(*run.store, path, 65536)).has_value());
  if (--run.writers == 0) loop.stop();
}

Task<void> end_after(UringLoop& loop, Run& run, double seconds) {
  co_await loop.sleep(static_cast<Nanos>(seconds * 1e9));
  run.ending = true;
}

using Work = Task<void> (*)(UringLoop&, Run&, size_t);
double with_store(UringLoop& loop, Run& run, Work work, int depth, double seconds) {
  run.done = 0;
  run.ending = false;
  run.writers = depth;
  const auto start = Clock::now();
  for (int i = 0; i < depth; ++i) loop.spawn(work(loop, run, static_cast<size_t>(i)));
  loop.spawn(end_after(loop, run, seconds));
  loop.run();
  return static_cast<double>(run.done) / since(start);
}

Task<Result<void>> prepare(Run& run) {
  CANOPY_CO_TRY(co_await make_directories(*run.store, std::string(kDirectory), 0700, Durable::kYes));
  for (int i = 0; i < 2 * kDepthMax; ++i) {
    CANOPY_CO_ASSIGN(auto file, co_await run.store->open(path_of(i), {.write = true, .create = true}));
    std::string_view pieces[] = {kMessage};
    CANOPY_CO_TRY(co_await file->write(0, pieces, Durable::kYes));
    if (i < kDepthMax) run.files.push_back(std::move(file));
  }
  co_return Result<void>();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

int measure(double seconds) {
  NfsServer server;
  const NfsOptions options = server.options(3, "speed");
  auto loop = *UringLoop::create();
  auto store = *loop->run_until_done(open_nfs_store(*loop, options));
  Run run;
  run.store = store.get();
  CANOPY_CHECK(loop->run_until_done(prepare(run)).has_value());
  Plain plain(server, options);
  std::map<std::string, std::vector<double>> rates;
  for (int round = 0; round < kRounds; ++round) {
    for (int depth : {1, kDepthMax}) {
      const std::string at = fmt::format(" depth {:2}", depth);
      rates["write store" + at].push_back(with_store(*loop, run, write_on, depth, seconds));
      rates["write raw  " + at].push_back(plain.raw(Plain::What::kWrite, depth, seconds));
      rates["read  store" + at].push_back(with_store(*loop, run, read_on, depth, seconds));
      rates["read  raw  " + at].push_back(plain.raw(Plain::What::kRead, depth, seconds));
      rates["getattr raw" + at].push_back(plain.raw(Plain::What::kAttributes, depth, seconds));
    }
    rates["write by path"].push_back(plain.by_path(seconds));
  }
  for (const auto& [name, values] : rates) {
    const auto [least, most] = std::ranges::minmax(values);
    std::printf("%-22s %9.0f/s  (%.0f to %.0f)\n", name.c_str(), median(values), least, most);
  }
  for (const char* at : {" depth  1", " depth 16"}) {
    const double mine = median(rates[std::string("write store") + at]);
    std::printf(
        "write%s: %.2f of raw, %.1f of by path; read of a known file: %.2f of raw, %.2f GETATTR\n", at,
        mine / median(rates[std::string("write raw  ") + at]), mine / median(rates["write by path"]),
        median(rates[std::string("read  store") + at]) / median(rates[std::string("read  raw  ") + at]),
        median(rates[std::string("getattr raw") + at]) / median(rates[std::string("read  store") + at]));
  }
  return 0;
}

}  // namespace
}  // namespace canopy

int main(int argc, char** argv) {
  const double seconds = argc == 2 ? std::atof(argv[1]) : 0;
  if (seconds <= 0) {
    std::fprintf(stderr, "usage: nfs_speed SECONDS\n");
    return 2;
  }
  if (const std::string& why = canopy::NfsServer::why_unavailable(); !why.empty()) {
    std::fprintf(stderr, "nfs_speed: %s\n", why.c_str());
    return 1;
  }
  return canopy::measure(seconds);
}
