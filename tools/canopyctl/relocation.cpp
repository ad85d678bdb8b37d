// canopyctl relocation: list, show, pause, resume, cancel, set.
#include <thread>

#include "tools/canopyctl/command.h"

namespace canopy::ctl {

namespace {
struct RelocationArguments {
  std::string domain, window;
  std::optional<uint32_t> rate, concurrency;
  bool wait = false;
};

constexpr std::string_view kMountTable = "/";  // in the place of a domain
constexpr auto kLookedAtEvery = std::chrono::milliseconds(500);
}  // namespace

static Json layout_json(const v1::Layout& layout) {
  return {{"account_foldering", layout.account_foldering()}, {"fast_index", layout.fast_index()}};
}

static Json store_json(const v1::RelocationStore& store) {
  return {{"name", store.name()},           {"reads", store.reads()},
          {"writes", store.writes()},       {"state", store.state()},
          {"in_flight", store.in_flight()}, {"latency_p99_us", store.latency_p99_us()}};
}

static Json relocation_json(const v1::RelocationInfo& of) {
  Json from = Json::array();
  for (const v1::Layout& layout : of.from()) from.push_back(layout_json(layout));
  Json stores = Json::array();
  for (const v1::RelocationStore& store : of.stores()) stores.push_back(store_json(store));
  Json out = {{"domain", of.domain()},
              {"state", of.state()},
              {"accounts", of.accounts()},
              {"seen", of.seen()},
              {"moved", of.moved()},
              {"failed", of.failed()},
              {"last_error", of.last_error()},
              {"seconds", of.seconds()},
              {"moved_per_second", of.moved_per_second()},
              {"seconds_left", of.seconds_left()},
              {"rate", of.rate()},
              {"concurrency", of.concurrency()},
              {"window", of.window()},
              {"bytes_copied", of.bytes_copied()},
              {"held_ms_max", of.held_ms_max()},
              {"stores", stores}};
  if (of.domain() == kMountTable) {
    out["superseded_rows"] = of.superseded_rows();
  } else {
    out["to"] = layout_json(of.to());
    out["from"] = from;
  }
  return out;
}

static constexpr std::string_view kAllDomains = "*";

static std::string layout_text(const v1::RelocationInfo& of, const v1::Layout& layout) {
  if (of.domain() == kAllDomains) return "domain foldering " + layout.account_foldering();
  return fmt::format("foldering {}, fast index {}", layout.account_foldering(), layout.fast_index());
}

static std::string store_text(const v1::RelocationStore& store) {
  return fmt::format("{} ({}{} under way, p99 below {} us)", store.name(),
                     store.state() == "up" ? "" : store.state() + ", ", store.in_flight(),
                     store.latency_p99_us());
}

static std::string_view end_name(const v1::RelocationStore& store) {
  if (store.reads() && store.writes()) return "within";
  return store.reads() ? "from store" : "to store";
}

static std::string figures_text(const v1::RelocationInfo& of) {
  std::string line = fmt::format("{}: {}, {}{} moved", of.domain(), of.state(), of.moved(),
                                 of.domain() == kAllDomains ? " domains" : "");
  if (of.accounts() != 0) line += fmt::format(", {} of {} looked at", of.seen(), of.accounts());
  if (of.moved_per_second() > 0) line += fmt::format(", {:.0f}/s", of.moved_per_second());
  if (of.seconds_left() != 0) line += fmt::format(", about {} s left", of.seconds_left());
  if (of.failed() != 0) line += fmt::format(", {} failed: {}", of.failed(), of.last_error());
  return line;
}

static std::string relocation_line(const v1::RelocationInfo& of) {
  std::string line = figures_text(of);
  for (const v1::RelocationStore& store : of.stores())
    line += fmt::format(", {} {}", end_name(store), store_text(store));
  return line + "\n";
}

static std::string relocation_text(const v1::RelocationInfo& of) {
  std::string text = figures_text(of) + "\n";
  for (const v1::RelocationStore& store : of.stores())
    text += fmt::format("  {:<11}  {}\n", end_name(store), store_text(store));
  if (of.domain() == kMountTable)
    text += fmt::format("  superseded   {} rows of the mount table\n", of.superseded_rows());
  else
    text += fmt::format("  to           {}\n", layout_text(of, of.to()));
  if (of.bytes_copied() != 0)
    text += fmt::format("  copied       {} bytes, an account was held for up to {} ms\n", of.bytes_copied(),
                        of.held_ms_max());
  for (const v1::Layout& layout : of.from())
    text += fmt::format("  from         {}\n", layout_text(of, layout));
  text +=
      of.rate() == 0 ? "  rate         no limit\n" : fmt::format("  rate         {}/s at most\n", of.rate());
  text += fmt::format("  concurrency  {}\n", of.concurrency());
  text += fmt::format("  window       {}\n", of.window().empty() ? "at any time" : of.window() + " UTC");
  if (!of.last_error().empty()) text += fmt::format("  last error   {}\n", of.last_error());
  return text;
}

static void print(Context& context, const v1::RelocationInfo& of) {
  context.print(relocation_json(of), relocation_text(of));
}

static Result<void> list(Context& context, const RelocationArguments&) {
  CANOPY_ASSIGN(const v1::ListRelocationsResponse all,
                context.call(&wire::RelocationStub::list, v1::Empty()));
  ListPrinter printer(context);
  for (const v1::RelocationInfo& of : all.relocations()) {
    std::string line = relocation_line(of);
    line.pop_back();
    printer.row(relocation_json(of), line);
  }
  printer.end();
  return {};
}

static Result<void> show(Context& context, const RelocationArguments& arguments) {
  v1::DomainRequest request;
  request.set_name(arguments.domain);
  for (;;) {
    CANOPY_ASSIGN(const v1::RelocationInfo now, context.call(&wire::RelocationStub::get, request));
    const bool over = now.state() == "finished" || now.state() == "none" || now.state() == "paused";
    if (!arguments.wait || over) {
      print(context, now);
      return {};
    }
    if (!context.json()) fmt::print(stderr, "{}", relocation_line(now));
    std::this_thread::sleep_for(kLookedAtEvery);
  }
}

static Result<void> change(Context& context, const v1::SetRelocationRequest& request) {
  CANOPY_ASSIGN(const v1::RelocationInfo now, context.call(&wire::RelocationStub::set, request));
  print(context, now);
  return {};
}

static Result<void> pause_or_resume(Context& context, const std::string& domain, bool paused) {
  v1::SetRelocationRequest request;
  request.set_domain(domain);
  request.set_which(1);
  request.set_paused(paused);
  return change(context, request);
}

static Result<void> pause(Context& context, const RelocationArguments& arguments) {
  return pause_or_resume(context, arguments.domain, true);
}

static Result<void> resume(Context& context, const RelocationArguments& arguments) {
  return pause_or_resume(context, arguments.domain, false);
}

static Result<void> cancel(Context& context, const RelocationArguments& arguments) {
  v1::DomainRequest request;
  request.set_name(arguments.domain);
  CANOPY_ASSIGN(const v1::RelocationInfo now, context.call(&wire::RelocationStub::cancel, request));
  print(context, now);
  return {};
}

static Result<void> set(Context& context, const RelocationArguments& arguments) {
  v1::SetRelocationRequest request;
  request.set_domain(arguments.domain);
  uint32_t which = 0;
  if (arguments.rate) {
    which |= 2;
    request.set_rate(*arguments.rate);
  }
  if (arguments.concurrency) {
    which |= 4;
    request.set_concurrency(*arguments.concurrency);
  }
  if (!arguments.window.empty()) {
    which |= 8;
    if (arguments.window != "always") request.set_window(arguments.window);
  }
  if (which == 0)
    return fail(Code::kInvalidArgument, "relocation set",
                "say what to change: --rate, --concurrency or --window");
  request.set_which(which);
  return change(context, request);
}

static void add_domain(const Command<RelocationArguments>& command) {
  command.app
      ->add_option(
          "domain", command.arguments->domain,
          "whose accounts move; /: what a change of the mount table moves; '*': the domains themselves")
      ->required()
      ->type_name("DOMAIN");
}

void add_relocation_commands(CLI::App& app, Commands& commands) {
  CLI::App& group = *add_group(app, "relocation",
                               "accounts on their way to another layout of their domain or another store");

  commands.add(group, "list", "relocations under way, and those that have ended since the daemon's start",
               list);

  const auto show_command = commands.add(
      group, "show",
      "how far the relocation of a domain is, how fast, how long it takes still, and what the stores that it "
      "reads from and writes to have to do",
      show);
  add_domain(show_command);
  show_command.app->add_flag("--wait", show_command.arguments->wait,
                             "until it has ended or is paused, with its progress on stderr");

  add_domain(commands.add(group, "pause", "move no more accounts until `resume`", pause));
  add_domain(commands.add(group, "resume", "go on", resume));
  add_domain(commands.add(
      group, "cancel",
      "make the layout (or mount table) before the newest the newest again; what has moved goes back. To "
      "leave every account where it is, use `pause`",
      cancel));

  const auto set_command = commands.add(group, "set", "change how a relocation goes on", set);
  add_domain(set_command);
  set_command.app->add_option("--rate", set_command.arguments->rate, "accounts a second at most; 0: no limit")
      ->type_name("N");
  set_command.app
      ->add_option("--concurrency", set_command.arguments->concurrency,
                   "accounts at once on each loop, 1 to 256; within one local store it is one")
      ->type_name("N");
  set_command.app
      ->add_option("--window", set_command.arguments->window,
                   "the part of the day in which accounts move, in UTC, as 01:00-05:00; or `always`")
      ->type_name("FROM-UNTIL");
}

}  // namespace canopy::ctl
