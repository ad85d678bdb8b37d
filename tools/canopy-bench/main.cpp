// canopy-bench: drives mail servers, the wire protocol and the disk from outside and says how fast they are.
#include <cstdio>

#include "tools/canopy-bench/process_figures.h"
#include "tools/canopy-bench/scenario.h"

int main(int argc, char** argv) {
  using namespace canopy::bench;
  CLI::App app("Measures LMTP and POP3 servers, Canopy's wire protocol, and what the machine itself can do.",
               "canopy-bench");
  app.require_subcommand(1);
  bool json = false;
  app.add_flag("--json", json, "print one line of JSON in place of a table");
  app.fallthrough();
  Chosen chosen;
  add_lmtp(app, chosen);
  add_pop3(app, chosen);
  add_wire(app, chosen);
  add_raw(app, chosen);
  add_idle(app, chosen);
  add_accounts(app, chosen);
  add_info(app, chosen);
  add_open(app, chosen);
  add_chunks(app, chosen);
  add_files(app, chosen);
  add_staleness(app, chosen);
  add_refold(app, chosen);
  add_moves(app, chosen);
  add_compare(app, chosen);
  app.footer("Exit status: 0 measured, 1 something failed, 2 wrong usage.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  raise_open_files();
  canopy::Result<Report> report = chosen();
  if (!report) {
    std::fprintf(stderr, "canopy-bench: %s\n", report.error().to_string().c_str());
    return 1;
  }
  std::string text = json ? report->to_json() + "\n" : report->to_table();
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}
