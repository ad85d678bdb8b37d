#include "tools/canopyctl/command_tree.h"

#include <cstdlib>

namespace canopy::ctl {

static constexpr const char* kServerVariable = "CANOPY_SERVER";
static constexpr const char* kServerDefault = "unix:/run/canopy/canopyd.sock";

// What is sent to the server is text; the names of files may be any bytes.
static void require_utf8(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    const std::string type = option->get_type_name();
    if (type == "FILE" || type == "PATH" || type == "DIR" || type == "ADDRESS") continue;
    option->check(CLI::Validator(
        [](const std::string& text) { return is_utf8(text) ? "" : "it has bytes that are no UTF-8"; }, ""));
  }
  for (CLI::App* command : app.get_subcommands({})) require_utf8(*command);
}

void add_all_commands(CLI::App& app, GlobalOptions& globals, Commands& commands) {
  app.description("Administers a Canopy backend: domains, accounts, settings, mailboxes, checks.");
  app.footer("Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 temporary or no answer.");
  // Before the commands are added, so that they inherit it: global options may stand after a command.
  app.fallthrough();
  app.require_subcommand(1);
  app.set_version_flag("--version", "canopyctl 0.1.0");
  globals.server = kServerDefault;
  app.add_option("--server", globals.server,
                 std::string("where canopyd listens: unix:PATH or tcp:IP:PORT (default: $") +
                     kServerVariable + ", else " + kServerDefault + ")")
      ->envname(kServerVariable)
      ->type_name("ADDRESS");
  app.add_flag("--json", globals.json, "print JSON");
  app.add_option("--ca", globals.ca, "certificate of the CA that signed the server's (tcp)")
      ->type_name("FILE");
  app.add_option("--cert", globals.cert, "own certificate (tcp)")->type_name("FILE");
  app.add_option("--key", globals.key, "own private key (tcp)")->type_name("FILE");
  app.add_option("--timeout", globals.timeout_seconds, "how long to wait for an answer (default: 30)")
      ->type_name("SECONDS")
      ->check(seconds_between(0.1, 86400));

  add_domain_commands(app, commands);
  add_account_commands(app, commands);
  add_settings_commands(app, commands);
  add_mailbox_commands(app, commands);
  add_cluster_commands(app, commands);
  add_store_commands(app, commands);
  add_mounts_commands(app, commands);
  add_relocation_commands(app, commands);
  add_adopt_command(app, commands);
  add_import_command(app, commands);
  add_path_command(app, commands);
  add_pki_commands(app, commands);
  add_documentation_commands(app, commands);
  require_utf8(app);
}

}  // namespace canopy::ctl
