// canopyctl locate, check, status, top.
#include <unistd.h>

#include <csignal>
#include <iostream>

#include "tools/canopyctl/command.h"

namespace canopy::ctl {

namespace {
struct ClusterArguments {
  std::string account, scope;
  bool scope_given = false;
  bool repair = false;
  double interval_seconds = 1;
  uint64_t ticks = 0;
};
}  // namespace

// --------------------------------------------------------------------------------------------------------
// locate
static Result<void> locate(Context& context, const ClusterArguments& arguments) {
  v1::AccountRef request;
  request.set_name(arguments.account);
  CANOPY_ASSIGN(const v1::Location location, context.call(&wire::DirectoryStub::locate, request));
  Json files = Json::array();
  std::string text = fmt::format(
      "{}\n  store      {}\n  directory  {}\n  settings   {} on {}\n  info       {}\n  slot       {} of "
      "backend {}\n",
      arguments.account, location.store(), location.account_directory(), location.settings_file(),
      location.settings_store(), location.info_file(), location.slot(), location.backend());
  for (const v1::LocatedFile& file : location.files()) {
    files.push_back(
        {{"path", file.path()}, {"bytes", file.bytes()}, {"kind", file.kind()}, {"store", file.store()}});
    text += fmt::format("  {:>12}  {:<10} {}\n", human_bytes(file.bytes()), file.kind(), file.path());
  }
  context.print({{"account", arguments.account},
                 {"store", location.store()},
                 {"account_directory", location.account_directory()},
                 {"settings_file", location.settings_file()},
                 {"settings_store", location.settings_store()},
                 {"info_file", location.info_file()},
                 {"slot", location.slot()},
                 {"backend", location.backend()},
                 {"files", files}},
                text);
  return {};
}

// ---------------------------------------------------------------------------------------------------------
// check
std::string damage_line(const v1::Damage& damage) {
  return fmt::format("{}:{}: {} ({} bytes{}){}\n", damage.file(), damage.offset(), damage.what(),
                     damage.length(), damage.account().empty() ? "" : ", " + damage.account(),
                     damage.repaired() ? " - repaired" : "");
}

Json damage_json(const v1::Damage& damage) {
  return {{"file", damage.file()}, {"offset", damage.offset()},   {"length", damage.length()},
          {"what", damage.what()}, {"account", damage.account()}, {"repaired", damage.repaired()}};
}

static Result<void> check(Context& context, const ClusterArguments& arguments) {
  // An empty variable of a script must not mean everything.
  if (arguments.scope_given && (arguments.scope.empty() || arguments.scope == "@"))
    return fail(Code::kInvalidArgument, "scope",
                "name an account or a domain; to check everything, give no scope at all");
  v1::CheckRequest request;
  request.set_scope(arguments.scope.empty() || arguments.scope.find('@') != std::string::npos
                        ? arguments.scope
                        : "@" + arguments.scope);
  request.set_repair(arguments.repair);
  Json damages = Json::array();
  uint64_t accounts = 0, files = 0, bytes = 0, found = 0, left = 0;
  for (bool end = false; !end;) {
    CANOPY_ASSIGN(const v1::CheckResponse part, context.call(&wire::StoresStub::check, request));
    for (const v1::Damage& damage : part.damages()) {
      ++found;
      if (!damage.repaired()) ++left;
      if (context.json()) {
        damages.push_back(damage_json(damage));
      } else {
        std::cout << damage_line(damage);
      }
    }
    accounts += part.accounts();
    files += part.files();
    bytes += part.bytes();
    end = part.end();
    if (!end && part.cursor() == request.cursor())
      return fail(Code::kInternal, "check", "the server's cursor does not move");
    request.set_cursor(part.cursor());
  }
  if (left > 0) context.exit_with(kExitFailed);
  context.print({{"accounts", accounts},
                 {"files", files},
                 {"bytes", bytes},
                 {"damages", damages},
                 {"unrepaired", left}},
                fmt::format("{} accounts, {} files, {}: {} damages{}\n", accounts, files, human_bytes(bytes),
                            found, found == 0 ? "" : fmt::format(", {} not repaired", left)));
  return {};
}

// ------------------------------------------------------------------------------------------------ status and
// top
static Json status_json(const v1::ClusterStatus& status) {
  return {{"cluster", status.cluster()},
          {"backend", status.backend()},
          {"version", status.version()},
          {"epoch", status.epoch()},
          {"slots_owned", status.slots_owned()},
          {"uptime_seconds", status.uptime_seconds()},
          {"accounts_open", status.accounts_open()},
          {"connections", status.connections()},
          {"memory_bytes", status.memory_bytes()},
          {"deliveries", status.deliveries()},
          {"fetches", status.fetches()},
          {"mutations", status.mutations()},
          {"logins", status.logins()},
          {"requests", status.requests()},
          {"errors", status.errors()},
          {"loops", status.loops()},
          {"base", status.base()},
          {"problems", std::vector<std::string>(status.problems().begin(), status.problems().end())}};
}

static Result<void> show_status(Context& context, const ClusterArguments&) {
  const v1::Empty nothing;
  CANOPY_ASSIGN(const v1::ClusterStatus status, context.call(&wire::ClusterStub::get_status, nothing));
  CANOPY_ASSIGN(const v1::ListStoresResponse stores, context.call(&wire::StoresStub::list, nothing));
  std::string text = fmt::format(
      "{} of cluster {}, version {}, epoch {}, up {:.0f} s\n  base           {}\n  slots          {}\n"
      "  loops          {}\n  accounts open  {}\n  connections    {}\n  memory         {}\n  requests       "
      "{} ({} failed)\n",
      status.backend(), status.cluster(), status.version(), status.epoch(), status.uptime_seconds(),
      status.base(), status.slots_owned(), status.loops(), status.accounts_open(), status.connections(),
      human_bytes(status.memory_bytes()), status.requests(), status.errors());
  for (const std::string& problem : status.problems()) text += fmt::format("  PROBLEM        {}\n", problem);
  Json object = status_json(status);
  object["stores"] = Json::array();
  for (const v1::StoreInfo& store : stores.stores()) {
    text += fmt::format("  store {:<8} {} {}\n", store.name(), store.kind(), store_figures(store));
    object["stores"].push_back(store_json(store));
  }
  context.print(object, text);
  return {};
}

static volatile std::sig_atomic_t interrupted = 0;

static Task<void> pause(Loop& loop, double seconds) {
  const Nanos until = loop.now() + static_cast<Nanos>(seconds * kSecond);
  while (loop.now() < until && interrupted == 0)
    co_await loop.sleep(std::min(until - loop.now(), 100 * kMillisecond));
}

static std::string top_text(const v1::ClusterStatus& now, const Json& rates) {
  std::string text = fmt::format("canopyd {} epoch {}  up {:.0f} s  {}\n", now.backend(), now.epoch(),
                                 now.uptime_seconds(), now.base());
  text += fmt::format("accounts open {:>10}   connections {:>10}   memory {:>12}\n\n", now.accounts_open(),
                      now.connections(), human_bytes(now.memory_bytes()));
  for (const auto& [name, rate] : rates.items())
    text += fmt::format("{:<12} {:>12.1f}/s\n", name, rate.get<double>());
  return text;
}

static Result<void> top(Context& context, const ClusterArguments& arguments) {
  CANOPY_ASSIGN(wire::BlockingClient* const client, context.client());
  std::signal(SIGINT, [](int) { interrupted = 1; });
  std::signal(SIGTERM, [](int) { interrupted = 1; });
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  const v1::Empty nothing;
  CANOPY_ASSIGN(v1::ClusterStatus before, context.call(&wire::ClusterStub::get_status, nothing));
  Nanos before_at = client->loop().now();
  for (uint64_t tick = 0; interrupted == 0 && (arguments.ticks == 0 || tick < arguments.ticks); ++tick) {
    client->run(pause(client->loop(), arguments.interval_seconds));
    if (interrupted != 0) break;
    CANOPY_ASSIGN(v1::ClusterStatus now, context.call(&wire::ClusterStub::get_status, nothing));
    const Nanos now_at = client->loop().now();
    const double seconds = static_cast<double>(now_at - before_at) / kSecond;
    // A daemon that was started again counts from 0.
    const auto rate = [&](uint64_t a, uint64_t b) {
      return b < a ? 0.0 : static_cast<double>(b - a) / seconds;
    };
    const Json rates = {{"deliveries", rate(before.deliveries(), now.deliveries())},
                        {"fetches", rate(before.fetches(), now.fetches())},
                        {"mutations", rate(before.mutations(), now.mutations())},
                        {"logins", rate(before.logins(), now.logins())},
                        {"requests", rate(before.requests(), now.requests())},
                        {"errors", rate(before.errors(), now.errors())}};
    Json object = status_json(now);
    object["per_second"] = rates;
    context.print(object, (terminal ? "\033[H\033[2J" : "") + top_text(now, rates));
    std::cout.flush();
    before = std::move(now);
    before_at = now_at;
  }
  return {};
}

void add_cluster_commands(CLI::App& app, Commands& commands) {
  const auto locate_command =
      commands.add(app, "locate", "where an account's files lie, on which store", locate);
  locate_command.app
      ->add_option("account", locate_command.arguments->account, "account, as jsmith@company.com")
      ->required()
      ->type_name("ACCOUNT");

  const auto check_command = commands.add(app, "check", "verify the tree, account logs and catalog", check);
  check_command.app
      ->add_option("scope", check_command.arguments->scope, "an account or a domain (default: everything)")
      ->type_name("SCOPE")
      ->each([arguments = check_command.arguments](const std::string&) { arguments->scope_given = true; });
  check_command.app->add_flag("--repair", check_command.arguments->repair, "mend what can be mended");

  commands.add(app, "status", "what the backend is, holds and has done", show_status);

  const auto top_command = commands.add(app, "top", "the same, live, with rates; ends with Ctrl-C", top);
  top_command.app
      ->add_option("--interval", top_command.arguments->interval_seconds,
                   "seconds between two looks (default: 1)")
      ->type_name("SECONDS")
      ->check(seconds_between(0.05, 3600));
  top_command.app
      ->add_option("--ticks", top_command.arguments->ticks, "end after so many looks (default: never)")
      ->type_name("N");
}

}  // namespace canopy::ctl
