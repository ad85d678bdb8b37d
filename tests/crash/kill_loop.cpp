// Kills canopyd, and now and then canopy-frontend, with -9 in the middle of a load, starts it again, and
// looks whether all that was acknowledged is there, once. Progress goes to stderr, the result to stdout as
// one line of JSON. Exit status: 0 nothing was lost, 1 a fault was found (or a program did not start), 2
// wrong usage.
#include <sys/wait.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "tests/crash/load.h"
#include "tests/crash/program.h"
#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/report.h"

namespace canopy::crash {
namespace {

namespace fs = std::filesystem;

struct Options {
  uint32_t loops = 100, accounts = 6, populate = 0, start_ms_max = 0;
  double seconds_between = 0.4;
  uint64_t seed = 1;
  std::string bin, dir, ctl;
};

struct Times {
  std::vector<double> ready_ms, answer_ms;
};

bench::Json distribution(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  auto at = [&](double part) {
    return bench::rounded(values[static_cast<size_t>(part * static_cast<double>(values.size() - 1))]);
  };
  if (values.empty()) return bench::Json::object();
  return {{"p50", at(0.5)},
          {"p90", at(0.9)},
          {"p99", at(0.99)},
          {"max", at(1)},
          {"over_1000", std::ranges::count_if(values, [](double ms) { return ms > 1000; })}};
}

Result<uint16_t> free_port(UringLoop& loop) {
  CANOPY_ASSIGN(Address any, Address::parse("tcp:127.0.0.1:0"));
  CANOPY_ASSIGN(auto listener, loop.listen(any, {}));
  return listener->local().port;
}

class KillLoop {
 public:
  KillLoop(UringLoop& loop, const Options& options, uint16_t lmtp_port)
      : loop_(loop),
        options_(options),
        random_(options.seed * 7919 + 1),
        socket_("unix:" + options.dir + "/wire.sock"),
        daemon_(loop, "canopyd",
                {options.bin + "/canopyd", "--dir", options.dir + "/base", "--init", "--listen", socket_},
                options.dir + "/canopyd.log"),
        frontend_(loop, "canopy-frontend",
                  {options.bin + "/canopy-frontend", "--config", options.dir + "/frontend.toml"},
                  options.dir + "/frontend.log"),
        load_(loop, load_options(lmtp_port)) {}

  Task<Result<void>> run() {
    CANOPY_CO_TRY(co_await start_daemon());
    if (options_.populate > 0) CANOPY_CO_TRY(co_await populate());
    CANOPY_CO_TRY(co_await load_.prepare());
    CANOPY_CO_TRY(co_await start_frontend());
    load_.start();
    Result<void> done;
    for (uint32_t i = 1; i <= options_.loops && done && load_.complaints().empty(); ++i)
      done = co_await one_loop(i);
    load_.gate().open();
    if (done) done = co_await last_words();
    if (!done) load_.complain(done.error().to_string());
    if (!done) co_return done;  // what is still under way would wait for a daemon that does not answer
    co_await load_.stop();
    co_return done;
  }

  bench::Json result() const {
    const LoadCounts& counts = load_.counts();
    bench::Json out{{"loops", loops_done_},
                    {"seed", options_.seed},
                    {"accounts", options_.accounts},
                    {"other_accounts", options_.populate},
                    {"daemon_kills", daemon_kills_},
                    {"kills_while_starting", kills_while_starting_},
                    {"frontend_kills", frontend_kills_}};
    out["acknowledged"] = {{"delivered", counts.delivered},
                           {"appended", counts.appended},
                           {"lmtp", counts.lmtp_acknowledged},
                           {"lmtp_sent", counts.lmtp_sent},
                           {"flags", counts.flags},
                           {"expunged", counts.expunged},
                           {"copied", counts.copied},
                           {"mailboxes", counts.mailboxes},
                           {"settings", counts.settings},
                           {"compactions", counts.compactions},
                           {"closes", counts.closes}};
    out["sent_again"] = counts.sent_again;
    out["sent_twice_on_purpose"] = counts.doubled_on_purpose;
    out["messages_verified"] = counts.verified;
    out["ready_ms"] = distribution(times_.ready_ms);
    out["first_answer_ms"] = distribution(times_.answer_ms);
    out["faults"] = load_.complaints();
    return out;
  }

  bool well() const {
    if (!load_.complaints().empty()) return false;
    if (options_.start_ms_max == 0) return true;
    return std::ranges::all_of(times_.answer_ms, [&](double ms) { return ms <= options_.start_ms_max; });
  }

 private:
  LoadOptions load_options(uint16_t lmtp_port) const {
    LoadOptions load;
    load.server = *Address::parse(socket_);
    load.lmtp = *Address::parse(fmt::format("tcp:127.0.0.1:{}", lmtp_port));
    load.accounts = options_.accounts;
    load.seed = options_.seed;
    return load;
  }

  // From the start of the process to the line that says ready, and to the first answer.
  Task<Result<void>> start_daemon() {
    Nanos begun = loop_.now();
    CANOPY_CO_TRY(daemon_.launch());
    CANOPY_CO_TRY(co_await daemon_.ready(begun + 60 * kSecond));
    times_.ready_ms.push_back(static_cast<double>(loop_.now() - begun) / 1e6);
    wire::ClientOptions options;
    options.addresses = {*Address::parse(socket_)};
    wire::Client client(loop_, options);
    Result<void> answered;
    if (load_.domain().empty()) {
      answered = co_await client.connect();
    } else {
      v1::MailboxRequest request;
      request.mutable_account()->set_name("user0@" + load_.domain());
      request.set_mailbox("INBOX");
      auto answer = co_await wire::MailboxesStub(client).status(request);
      if (!answer) answered = fail(std::move(answer).error());
    }
    times_.answer_ms.push_back(static_cast<double>(loop_.now() - begun) / 1e6);
    co_await client.close();
    co_return answered;
  }

  Task<Result<void>> start_frontend() {
    CANOPY_CO_TRY(frontend_.launch());
    co_return co_await frontend_.ready(loop_.now() + 60 * kSecond);
  }

  Task<Result<void>> one_loop(uint32_t number) {
    co_await loop_.sleep(static_cast<Nanos>((0.5 + random_.unit()) * options_.seconds_between * 1e9));
    if (number % 4 == 0) {
      ++frontend_kills_;
      CANOPY_CO_TRY(co_await frontend_.end(SIGKILL));
      CANOPY_CO_TRY(co_await start_frontend());
      co_await loop_.sleep(static_cast<Nanos>(random_.unit() * options_.seconds_between * 1e9));
    }
    ++daemon_kills_;
    CANOPY_CO_TRY(co_await daemon_.end(SIGKILL));
    while (random_.below(4) == 0) {  // killed again before it is ready, or just after
      ++kills_while_starting_;
      CANOPY_CO_TRY(daemon_.launch());
      co_await loop_.sleep(random_.below(60) * kMillisecond);
      CANOPY_CO_TRY(co_await daemon_.end(SIGKILL));
    }
    CANOPY_CO_TRY(co_await start_daemon());
    CANOPY_CO_TRY(co_await verify());
    ++loops_done_;
    std::fprintf(stderr, "loop %u of %u: ready after %.0f ms, first answer after %.0f ms, %zu faults\n",
                 number, options_.loops, times_.ready_ms.back(), times_.answer_ms.back(),
                 load_.complaints().size());
    co_return Result<void>();
  }

  Task<Result<void>> verify() {
    if (!co_await load_.gate().close(loop_.now() + 180 * kSecond)) {
      co_return fail(Code::kDeadlineExceeded, "load",
                     fmt::format("{} requests got no answer after the restart", load_.gate().busy()));
    }
    co_await load_.verify();
    load_.gate().open();
    co_return Result<void>();
  }

  // At rest: killed once more, stopped in order once, and checked by canopyctl.
  Task<Result<void>> last_words() {
    if (!co_await load_.gate().close(loop_.now() + 180 * kSecond))
      co_return fail(Code::kDeadlineExceeded, "load", "requests got no answer");
    for (int signal : {SIGKILL, SIGTERM}) {
      CANOPY_CO_ASSIGN(int status, co_await daemon_.end(signal));
      if (signal == SIGTERM && status != 0)
        co_return fail(Code::kInternal, "canopyd",
                       fmt::format("ended with wait status {} after SIGTERM", status));
      CANOPY_CO_TRY(co_await start_daemon());
      co_await load_.verify();
    }
    load_.gate().open();
    Program check(loop_, "canopyctl check",
                  {options_.bin + "/canopyctl", "--server", socket_, "check", load_.domain()},
                  options_.dir + "/check.log");
    CANOPY_CO_TRY(check.launch());
    Result<void> said = co_await check.ready(loop_.now() + 120 * kSecond);
    if (!said) co_return fail(said.error());
    CANOPY_CO_ASSIGN(int status, co_await check.end(0));
    if (status != 0) co_return fail(Code::kDamaged, "canopyctl check", fmt::format("wait status {}", status));
    co_return Result<void>();
  }

  // Accounts that nothing is done with, so that the node is as full as a real one.
  Task<Result<void>> populate() {
    fs::path mark = fs::path(options_.dir) / fmt::format("populated.{}", options_.populate);
    if (fs::exists(mark)) co_return Result<void>();
    wire::ClientOptions client_options;
    client_options.addresses = {*Address::parse(socket_)};
    client_options.call_timeout = 300 * kSecond;
    wire::Client client(loop_, client_options);
    v1::CreateDomainRequest domain;
    domain.set_name("idle.example");
    domain.set_account_foldering("hash-1-1");
    auto made = co_await wire::DirectoryStub(client).create_domain(domain);
    if (!made && made.error().code() != Code::kAlreadyExists) co_return fail(std::move(made).error());
    Nanos begun = loop_.now();
    for (uint32_t first = 0; first < options_.populate; first += 500) {
      v1::CreateAccountsRequest rows;
      rows.set_exist_ok(true);
      for (uint32_t i = first; i < std::min(first + 500, options_.populate); ++i)
        rows.add_accounts()->set_name(fmt::format("user{:07d}@idle.example", i));
      auto created = co_await wire::DirectoryStub(client).create_accounts(rows);
      if (!created) co_return fail(std::move(created).error());
    }
    co_await client.close();
    std::fprintf(stderr, "%u accounts made in %.0f s\n", options_.populate,
                 static_cast<double>(loop_.now() - begun) / 1e9);
    std::ofstream(mark) << "\n";
    co_return Result<void>();
  }

  UringLoop& loop_;
  const Options options_;
  bench::Random random_;
  const std::string socket_;
  Program daemon_, frontend_;
  Load load_;
  Times times_;
  uint32_t loops_done_ = 0, daemon_kills_ = 0, kills_while_starting_ = 0, frontend_kills_ = 0;
};

void write_frontend_configuration(const Options& options, uint16_t lmtp_port) {
  std::ofstream(options.dir + "/frontend.toml") << fmt::format(
      "[backend]\naddresses = [\"unix:{}/wire.sock\"]\n[[listener]]\nprotocol = \"lmtp\"\n"
      "address = \"tcp:127.0.0.1:{}\"\n",
      options.dir, lmtp_port);
}

int run(Options options) {
  bool own_dir = options.dir.empty();
  if (own_dir) {
    std::string pattern = (fs::temp_directory_path() / "canopy-crash.XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) return 1;
    options.dir = pattern;
  }
  options.dir = fs::absolute(options.dir).string();
  fs::create_directories(options.dir);
  auto loop = UringLoop::create();
  if (!loop) {
    std::fprintf(stderr, "kill_loop: %s\n", loop.error().to_string().c_str());
    return 1;
  }
  auto port = free_port(**loop);
  if (!port) {
    std::fprintf(stderr, "kill_loop: %s\n", port.error().to_string().c_str());
    return 1;
  }
  write_frontend_configuration(options, *port);
  bool well = false;
  {
    KillLoop killing(**loop, options, *port);
    Result<void> done = (*loop)->run_until_done(killing.run());
    well = done && killing.well();
    std::cout << killing.result().dump() << std::endl;
    if (!done) std::_Exit(1);  // tasks may wait for ever: their frames must not be destroyed in any order
  }
  if (well && own_dir) fs::remove_all(options.dir);
  if (!well) std::fprintf(stderr, "kill_loop: everything is kept in %s\n", options.dir.c_str());
  return well ? 0 : 1;
}

}  // namespace
}  // namespace canopy::crash

int main(int argc, char** argv) {
  canopy::crash::Options options;
  std::string self = std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
  options.bin = self;
  CLI::App app("kill_loop: kills the daemon under load, over and over, and looks whether anything is lost");
  app.option_defaults()->take_last();
  app.add_option("--loops", options.loops, "how often canopyd is killed")->capture_default_str();
  app.add_option("--seconds-between", options.seconds_between, "mean time of load before a kill")
      ->capture_default_str();
  app.add_option("--accounts", options.accounts, "accounts under load")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--populate", options.populate, "other accounts in the tree")->capture_default_str();
  app.add_option("--seed", options.seed, "of what the clients do; the timing is the machine's")
      ->capture_default_str();
  app.add_option("--start-ms-max", options.start_ms_max,
                 "a first answer after more is a failure; 0: only reported");
  app.add_option("--dir", options.dir,
                 "where everything is kept; default: a new directory, removed when all is well");
  app.add_option("--bin", options.bin, "where canopyd, canopy-frontend and canopyctl lie")
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  return canopy::crash::run(options);
}
