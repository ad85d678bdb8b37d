// canopy-bench staleness: how long one mount goes on showing what another, or a client of the wire protocol,
// has changed. Both are mounts of one backend; the one that looks has looked right before each change, so
// that its caches are as fresh as can be.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <thread>

#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"
#include "tools/canopy-bench/clients.h"
#include "tools/canopy-bench/latencies.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr auto kLookEvery = std::chrono::milliseconds(1);
constexpr auto kPatience = std::chrono::seconds(10);

struct Options {
  std::string directory, other, raw = "SharedDomains", mailbox, server;
  uint32_t rounds = 100;
};

std::string content_at(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  std::string content(4096, '\0');
  const ssize_t got = read(file, content.data(), content.size());
  close(file);
  content.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return content;
}

Result<void> write_at(const std::string& path, std::string_view content) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return fail_errno(errno, path, "open");
  const ssize_t wrote = write(file, content.data(), content.size());
  const int error = wrote == static_cast<ssize_t>(content.size()) ? 0 : errno;
  if (close(file) != 0 || error != 0) return fail_errno(error != 0 ? error : errno, path, "write");
  return {};
}

std::vector<std::string> messages_in(const std::string& mailbox) {
  std::vector<std::string> names;
  DIR* stream = opendir(mailbox.c_str());
  if (stream == nullptr) return names;
  while (const dirent* entry = readdir(stream))
    if (std::string_view(entry->d_name).ends_with(".eml")) names.emplace_back(entry->d_name);
  closedir(stream);
  return names;
}

std::string flags_at(const std::string& path) {
  std::string flags(256, '\0');
  const ssize_t got = getxattr(path.c_str(), "user.canopy.flags", flags.data(), flags.size());
  flags.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return flags;
}

off_t size_at(const std::string& path) {
  struct stat found = {};
  return stat(path.c_str(), &found) == 0 ? found.st_size : -1;
}

// One kind of change, many times.
class Row {
 public:
  explicit Row(std::string_view what) : what_(what) {}

  // The change is made; counts until `seen`.
  Result<void> until(const std::function<bool()>& seen) {
    const auto changed = SteadyClock::now();
    while (!seen()) {
      if (SteadyClock::now() - changed > kPatience)
        return fail(Code::kInternal, std::string(what_), "it was not seen within 10 s");
      std::this_thread::sleep_for(kLookEvery);
    }
    const int64_t took = (SteadyClock::now() - changed) / std::chrono::nanoseconds(1);
    latencies_.add(took);
    most_ = std::max(most_, took);
    return {};
  }
  Json row() const {
    return {{"change", what_},
            {"times", latencies_.count()},
            {"p50_ms", rounded(latencies_.percentile_us(0.5) / 1000)},
            {"p99_ms", rounded(latencies_.percentile_us(0.99) / 1000)},
            {"most_ms", rounded(static_cast<double>(most_) / 1e6)}};
  }

 private:
  std::string_view what_;
  Latencies latencies_;
  int64_t most_ = 0;
};

Result<void> measure_raw(const Options& options, Report& report) {
  Row made("file made"), grown("file grown"), rewritten("file rewritten, same size"), renamed("file renamed"),
      removed("file removed");
  for (uint32_t round = 0; round < options.rounds; ++round) {
    const std::string name = fmt::format("{}/canopy-bench-staleness-{}-{}", options.raw, getpid(), round);
    const std::string here = options.directory + "/" + name, there = options.other + "/" + name;
    size_at(here);
    CANOPY_TRY(write_at(there, "one"));
    CANOPY_TRY(made.until([&] { return size_at(here) == 3; }));
    content_at(here);
    CANOPY_TRY(write_at(there, "longer"));
    CANOPY_TRY(grown.until([&] { return size_at(here) == 6; }));
    content_at(here);
    CANOPY_TRY(write_at(there, "others"));
    CANOPY_TRY(rewritten.until([&] { return content_at(here) == "others"; }));
    const std::string here_new = here + "-new";
    size_at(here);
    size_at(here_new);
    if (rename(there.c_str(), (there + "-new").c_str()) != 0) return fail_errno(errno, there, "rename");
    CANOPY_TRY(renamed.until([&] { return size_at(here_new) == 6 && size_at(here) < 0; }));
    if (unlink((there + "-new").c_str()) != 0) return fail_errno(errno, there, "unlink");
    CANOPY_TRY(removed.until([&] { return size_at(here_new) < 0; }));
  }
  for (const Row* row : {&made, &grown, &rewritten, &renamed, &removed}) report.add_row(row->row());
  return {};
}

Result<void> measure_mail(const Options& options, Report& report) {
  Row delivered("message delivered"), flagged("flags set"), expunged("message expunged");
  const std::string here = options.directory + "/" + options.mailbox;
  const std::string there = options.other + "/" + options.mailbox;
  for (uint32_t round = 0; round < options.rounds; ++round) {
    const std::vector<std::string> before = messages_in(here);
    CANOPY_TRY(write_at(there + "/new.eml", fmt::format("Subject: {}\r\n\r\ntext\r\n", round)));
    std::vector<std::string> now;
    CANOPY_TRY(delivered.until([&] { return (now = messages_in(here)).size() > before.size(); }));
    std::string name;
    for (const std::string& each : now)
      if (std::find(before.begin(), before.end(), each) == before.end()) name = each;
    const std::string message = here + "/" + name, changed = there + "/" + name;
    flags_at(message);
    const std::string_view flags = "\\Flagged";
    if (setxattr(changed.c_str(), "user.canopy.flags", flags.data(), flags.size(), 0) != 0)
      return fail_errno(errno, changed, "setxattr");
    CANOPY_TRY(flagged.until([&] { return flags_at(message).find(flags) != std::string::npos; }));
    size_at(message);
    if (unlink(changed.c_str()) != 0) return fail_errno(errno, changed, "unlink");
    CANOPY_TRY(expunged.until([&] { return size_at(message) < 0; }));
  }
  for (const Row* row : {&delivered, &flagged, &expunged}) report.add_row(row->row());
  return {};
}

Result<void> measure_mailboxes(const Options& options, Report& report) {
  Row made("mailbox made"), renamed("mailbox renamed"), removed("mailbox removed");
  for (uint32_t round = 0; round < options.rounds; ++round) {
    const std::string name = fmt::format("{}/bench-{}-{}", options.mailbox, getpid(), round);
    const std::string here = options.directory + "/" + name, there = options.other + "/" + name;
    const std::string here_new = here + "-new", there_new = there + "-new";
    size_at(here);
    if (mkdir(there.c_str(), 0700) != 0) return fail_errno(errno, there, "mkdir");
    CANOPY_TRY(made.until([&] { return size_at(here) >= 0; }));
    size_at(here_new);
    if (rename(there.c_str(), there_new.c_str()) != 0) return fail_errno(errno, there, "rename");
    CANOPY_TRY(renamed.until([&] { return size_at(here_new) >= 0 && size_at(here) < 0; }));
    if (rmdir(there_new.c_str()) != 0) return fail_errno(errno, there_new, "rmdir");
    CANOPY_TRY(removed.until([&] { return size_at(here_new) < 0; }));
  }
  for (const Row* row : {&made, &renamed, &removed}) report.add_row(row->row());
  return {};
}

// Changes by a client of the wire protocol.
class Changes {
 public:
  Changes(const Options& options, Address server)
      : loop_(*UringLoop::create()), clients_(make_clients(*loop_, server, 1)) {
    const std::string_view account = std::string_view(options.mailbox).substr(options.mailbox.find('/') + 1);
    const size_t end = account.find('/');
    domain_ = account.substr(0, end);
    local_ = account.substr(end + 1, account.find('/', end + 1) - end - 1);
  }
  ~Changes() { close_clients(*loop_, clients_); }

  std::string path_of(std::string_view local) const { return fmt::format("accounts/{}/{}", domain_, local); }
  const std::string& local() const { return local_; }

  Result<void> connect() { return loop_->run_until_done(clients_[0]->connect()); }
  Result<void> create(std::string_view local) {
    v1::CreateAccountsRequest request;
    request.add_accounts()->set_name(address(local));
    return done(wire::DirectoryStub(*clients_[0]).create_accounts(request));
  }
  Result<void> remove(std::string_view local) {
    v1::DeleteRequest request;
    request.set_name(address(local));
    return done(wire::DirectoryStub(*clients_[0]).delete_account(request));
  }
  Result<void> set(v1::InfoKind kind, std::string text) {
    v1::SetInfoRequest request;
    request.mutable_account()->set_name(address(local_));
    request.set_kind(kind);
    request.set_text(std::move(text));
    return done(wire::InfoStub(*clients_[0]).set(request));
  }
  Result<void> deliver(std::string content) {
    v1::DeliverRequest request;
    request.add_recipients()->set_address(address(local_));
    request.set_content(std::move(content));
    return done(wire::MailboxesStub(*clients_[0]).deliver(request));
  }

 private:
  std::string address(std::string_view local) const { return fmt::format("{}@{}", local, domain_); }
  template <class T>
  Result<void> done(Task<Result<T>> call) {
    auto answer = loop_->run_until_done(std::move(call));
    if (!answer) return fail(std::move(answer).error());
    return {};
  }

  std::unique_ptr<UringLoop> loop_;
  Clients clients_;
  std::string domain_, local_;
};

Result<void> measure_wire(const Options& options, Report& report) {
  Row made("account created"), removed("account removed"), settings("settings changed"), info("info changed"),
      delivered("message delivered by the wire protocol");
  CANOPY_ASSIGN(const Address server, Address::parse(options.server));
  Changes changes(options, server);
  CANOPY_TRY(changes.connect());
  const std::string here = options.directory + "/", account = here + changes.path_of(changes.local());
  for (uint32_t round = 0; round < options.rounds; ++round) {
    const std::string local = fmt::format("bench-{}-{}", getpid(), round);
    const std::string path = here + changes.path_of(local), text = fmt::format("\"bench {}\"", round);
    size_at(path);
    CANOPY_TRY(changes.create(local));
    CANOPY_TRY(made.until([&] { return size_at(path) >= 0; }));
    size_at(path + "/settings");
    CANOPY_TRY(changes.remove(local));
    CANOPY_TRY(removed.until([&] { return size_at(path) < 0; }));
    for (const auto& [kind, file, row] :
         {std::tuple(v1::SETTINGS, "/settings", &settings), {v1::INFO, "/info", &info}}) {
      content_at(account + file);
      CANOPY_TRY(changes.set(kind, fmt::format("{{BenchStaleness={};}}", text)));
      CANOPY_TRY(row->until([&] { return content_at(account + file).find(text) != std::string::npos; }));
    }
    const size_t before = messages_in(account + "/INBOX").size();
    CANOPY_TRY(changes.deliver(fmt::format("Subject: {}\r\n\r\ntext\r\n", round)));
    CANOPY_TRY(delivered.until([&] { return messages_in(account + "/INBOX").size() > before; }));
  }
  for (const Row* row : {&made, &removed, &settings, &info, &delivered}) report.add_row(row->row());
  return {};
}

Result<Report> run_staleness(const Options& options) {
  Report report("staleness");
  CANOPY_TRY(measure_raw(options, report));
  if (!options.mailbox.empty()) {
    CANOPY_TRY(measure_mail(options, report));
    CANOPY_TRY(measure_mailboxes(options, report));
    if (!options.server.empty()) CANOPY_TRY(measure_wire(options, report));
  }
  return report;
}

}  // namespace

void add_staleness(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "staleness", "how long one mount goes on showing what another mount of the same backend has changed");
  command->add_option("--dir", options->directory, "the mount that looks")->required();
  command->add_option("--other", options->other, "the mount that changes")->required();
  command->add_option("--raw", options->raw, "directory of the raw tree, below both");
  command->add_option(
      "--mailbox", options->mailbox,
      "folder of a mailbox, as accounts/DOMAIN/NAME/INBOX; mail is written there, and expunged");
  command->add_option(
      "--server", options->server,
      "the backend: then also what its protocol changes of the mailbox's account, and accounts that are "
      "created and removed beside it");
  command->add_option("--rounds", options->rounds)->check(CLI::Range(1, 1'000'000));
  choose(command, chosen, options, &run_staleness);
}

}  // namespace canopy::bench
