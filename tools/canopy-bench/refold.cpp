// canopy-bench refold: accounts move from layout to layout of their domain in a running daemon; beside it a
// bare loop of mkdir and rename moves as many directories on the same disk, in turns: empty ones of its own,
// or those of accounts that the daemon has made in another domain, as theirs lie on the disk as the moved
// ones do.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <thread>

#include "daemon/tree/layout.h"
#include "daemon/wire/client/blocking_client.h"
#include "tools/canopy-bench/patterns.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

struct Options {
  std::string server, dir, pattern = "user%07d@bench.example.com", bare_pattern;
  std::vector<std::string> layouts = {"flat", "1", "1-1", "2-1", "2-2", "hash-1-1"};
  uint32_t count = 100'000;
};

constexpr auto kPolledEvery = std::chrono::seconds(1);  // it gives way to those who ask for anything

// From each to each of the others, by as many steps as there are pairs: a tour over all edges, each once.
std::vector<std::string> tour(const std::vector<std::string>& layouts) {
  std::map<std::string, std::vector<std::string>> left;
  for (const std::string& from : layouts)
    for (const std::string& to : layouts)
      if (from != to) left[from].push_back(to);
  std::vector<std::string> stack = {layouts.front()}, out;
  while (!stack.empty()) {  // Hierholzer's way
    std::vector<std::string>& next = left[stack.back()];
    if (next.empty()) {
      out.push_back(stack.back());
      stack.pop_back();
    } else {
      std::string to = std::move(next.back());
      next.pop_back();
      stack.push_back(std::move(to));
    }
  }
  std::ranges::reverse(out);
  return out;
}

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

std::string domain_of(const std::string& pattern) { return pattern.substr(pattern.find('@') + 1); }

// The directories of the bare loop, with a file in each as accounts have.
class Bare {
 public:
  explicit Bare(const Options& options)
      : options_(options),
        pattern_(options.bare_pattern.empty() ? options.pattern : options.bare_pattern),
        domain_(domain_of(pattern_)) {}
  Result<void> make(const TreeLayout& layout) {
    if (!options_.bare_pattern.empty()) {
      if (::access(path_of(layout, options_.count - 1).c_str(), F_OK) == 0) return {};
      return fail(Code::kNotFound, path_of(layout, options_.count - 1), "make the accounts first");
    }
    for (uint32_t i = 0; i < options_.count; ++i) {
      const std::string path = path_of(layout, i);
      std::filesystem::create_directories(path);
      const int file = ::open((path + "/account.settings").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
      if (file < 0) return fail_errno(errno, path, "open");
      ::close(file);
    }
    return {};
  }
  struct Seconds {
    double renaming = 0, durable = 0;  // the latter with a sync of the file system at the end
  };
  Result<Seconds> move(const TreeLayout& from, const TreeLayout& to) {
    const auto begun = std::chrono::steady_clock::now();
    for (uint32_t i = 0; i < options_.count; ++i) {
      const std::string before = path_of(from, i), after = path_of(to, i);
      if (::rename(before.c_str(), after.c_str()) == 0) continue;
      if (errno != ENOENT) return fail_errno(errno, after, "rename");
      std::filesystem::create_directories(std::filesystem::path(after).parent_path());
      if (::rename(before.c_str(), after.c_str()) != 0) return fail_errno(errno, after, "rename");
    }
    const double renaming = seconds_since(begun);
    const int root = ::open(options_.dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return fail_errno(errno, options_.dir, "open");
    const int synced = ::syncfs(root);
    const int error = errno;
    ::close(root);
    if (synced != 0) return fail_errno(error, options_.dir, "syncfs");
    return Seconds{renaming, seconds_since(begun)};
  }

 private:
  std::string path_of(const TreeLayout& layout, uint32_t number) const {
    const std::string name = *name_from_pattern(pattern_, number);
    const AccountAddress address{name.substr(0, name.find('@')), domain_};
    return options_.dir + "/" + layout.account_directory(address);
  }
  const Options& options_;
  const std::string pattern_, domain_;
};

TreeLayout layout_of(const std::string& foldering) {
  return *TreeLayout::make(Foldering(), *Foldering::parse(foldering), 0);  // looked at before the run
}

// What the daemon says of it: how many accounts it has moved, and at which rate by its own clock, without the
// time in which it waits for renames that come late on a shared store.
Result<v1::RelocationInfo> refold(wire::BlockingClient& client, const std::string& domain,
                                  const std::string& foldering) {
  v1::SetInfoRequest change;
  change.mutable_account()->set_name("@" + domain);
  change.set_kind(v1::SETTINGS);
  change.set_text(fmt::format("{{Foldering=\"{}\";}}", foldering));
  change.set_request_id(client.client().new_request_id());
  CANOPY_TRY(client.run(wire::InfoStub(client.client()).set(change)));
  v1::DomainRequest of;
  of.set_name(domain);
  for (std::optional<double> until_settling;;) {
    CANOPY_ASSIGN(v1::RelocationInfo now, client.run(wire::RelocationStub(client.client()).get(of)));
    if (!now.last_error().empty()) return fail(Code::kInternal, domain, now.last_error());
    if (now.state() == "settling" && !until_settling) until_settling = now.moved_per_second();
    if (until_settling) now.set_moved_per_second(*until_settling);
    if (now.state() == "finished" || now.state() == "none") return now;
    std::this_thread::sleep_for(kPolledEvery);
  }
}

Result<Report> run(const Options& options) {
  Report report("refold");
  for (const std::string& layout : options.layouts) CANOPY_TRY(Foldering::parse(layout));
  if (options.layouts.size() < 2) return fail(Code::kInvalidArgument, "layouts", "at least two");
  const std::string domain = domain_of(options.pattern);
  for (const std::string& pattern : {options.pattern, options.bare_pattern})
    if (!pattern.empty()) CANOPY_TRY(name_from_pattern(pattern, 0));
  if (domain == domain_of(options.bare_pattern))
    return fail(Code::kInvalidArgument, "--bare-pattern",
                "needs another domain: nobody may use its accounts");
  wire::ClientOptions client_options;
  CANOPY_ASSIGN(Address server, Address::parse(options.server));
  client_options.addresses = {server};
  CANOPY_ASSIGN(auto client, wire::BlockingClient::create(client_options));
  Bare bare(options);
  CANOPY_TRY(bare.make(layout_of(options.layouts.front())));
  const std::vector<std::string> steps = tour(options.layouts);
  CANOPY_TRY(refold(*client, domain, options.layouts.front()));
  double sum = 0, durable_sum = 0;
  for (size_t i = 1; i < steps.size(); ++i) {
    ::sync();  // neither pays for what the other has left to be written
    CANOPY_ASSIGN(const Bare::Seconds bare_s, bare.move(layout_of(steps[i - 1]), layout_of(steps[i])));
    ::sync();
    CANOPY_ASSIGN(const auto moved, refold(*client, domain, steps[i]));
    const double bare_rate = options.count / bare_s.renaming, durable_rate = options.count / bare_s.durable;
    const double rate = moved.moved_per_second();
    sum += rate / bare_rate;
    durable_sum += rate / durable_rate;
    report.add_row({{"from", steps[i - 1]},
                    {"to", steps[i]},
                    {"accounts", moved.moved()},
                    {"per_s", rounded(rate)},
                    {"bare_per_s", rounded(bare_rate)},
                    {"ratio", rounded(rate / bare_rate)},
                    {"durable_per_s", rounded(durable_rate)},
                    {"durable_ratio", rounded(rate / durable_rate)}});
  }
  const auto pairs = static_cast<double>(steps.size() - 1);
  report.add_note(
      fmt::format("ratio, on average: {}; to the bare loop and a sync at its end, as ours has: {}",
                  rounded(sum / pairs), rounded(durable_sum / pairs)));
  return report;
}

}  // namespace

void add_refold(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "refold", "move a domain's accounts from layout to layout, beside a bare loop of mkdir and rename");
  command->add_option("--server", options->server, "address of canopyd")->required();
  command
      ->add_option(
          "--dir", options->dir,
          "an empty directory on the same disk, for the bare loop; with --bare-pattern the tree's base")
      ->required();
  command->add_option("--account-pattern", options->pattern,
                      "as `accounts` has made them, with %d or %0Nd for the number");
  command->add_option("--bare-pattern", options->bare_pattern,
                      "the bare loop moves the directories of these accounts, which `accounts` has made in "
                      "another domain in the same way, and which nobody uses; --layouts begins with theirs");
  command->add_option("--count", options->count, "how many there are, numbered from 0");
  command->add_option("--layouts", options->layouts, "every pair of them is tried")->delimiter(',');
  choose(command, chosen, options, &run);
}

}  // namespace canopy::bench
