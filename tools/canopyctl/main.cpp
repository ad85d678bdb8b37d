// canopyctl: the administrator's command line.
#include <csignal>
#include <iostream>

#include "tools/canopyctl/command_tree.h"

namespace canopy::ctl {

static void report(const Error& error, const std::string& advice, bool json) {
  if (json) {
    const Json object = {{"error",
                          {{"code", static_cast<int>(error.code())},
                           {"name", code_name(error.code())},
                           {"object", error.object()},
                           {"message", error.message()},
                           {"retryable", error.retryable()},
                           {"advice", advice}}}};
    std::cerr << object.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
    return;
  }
  std::cerr << "canopyctl: " << error.object() << (error.object().empty() ? "" : ": ") << error.message();
  if (!advice.empty()) std::cerr << "; " << advice;
  std::cerr << '\n';
}

static int run(int argc, char** argv) {
  GlobalOptions globals;
  Commands commands;
  CLI::App app{"", "canopyctl"};
  add_all_commands(app, globals, commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    return app.exit(done);
  } catch (const CLI::ParseError& wrong) {
    // Whether --json was parsed before the mistake is chance; that it was given is not.
    const bool json = std::any_of(argv + 1, argv + argc,
                                  [](const char* word) { return std::string_view(word) == "--json"; });
    report(Error(Code::kInvalidArgument, "", wrong.what()), "see canopyctl --help", json);
    return kExitUsage;
  }
  Context context(globals);
  const Result<void> done = commands.chosen()(context);
  std::cout.flush();
  if (!done) {
    report(done.error(), advice_for(done.error()), globals.json);
    return exit_status_of(done.error());
  }
  if (!std::cout) {
    std::cerr << "canopyctl: the output could not be written\n";
    return kExitFailed;
  }
  return context.exit_status();
}

}  // namespace canopy::ctl

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  return canopy::ctl::run(argc, argv);
}
