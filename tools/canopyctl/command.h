// What every command of canopyctl shares: the connection, output as text or JSON, and how a command is
// registered. One group of commands a file (domain.cpp, account.cpp, …), each with one add_…_commands
// function. One thread.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "daemon/base/error.h"
#include "daemon/wire/client/blocking_client.h"

namespace canopy::ctl {

using Json = nlohmann::ordered_json;

// Exit statuses, documented in docs/operations/troubleshooting.md.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitTemporary = 4;

int exit_status_of(const Error& error);
// What the user can do about it; empty when the message says it all.
std::string advice_for(const Error& error);

struct GlobalOptions {
  bool json = false;
  std::string server;  // "unix:PATH" or "tcp:IP:PORT"
  std::string ca, cert, key;
  double timeout_seconds = 30;
};

class Context {
 public:
  explicit Context(const GlobalOptions& globals) : globals_(globals) {}

  bool json() const { return globals_.json; }
  const GlobalOptions& globals() const { return globals_; }

  // Connects at the first use.
  Result<wire::BlockingClient*> client();

  // context.call(&wire::DirectoryStub::get_domain, request)
  template <class Stub, class Request, class Response>
  Result<Response> call(Task<Result<Response>> (Stub::*method)(const Request&, wire::CallOptions) const,
                        const Request& request) {
    CANOPY_ASSIGN(wire::BlockingClient* const connected, client());
    const Stub stub(connected->client());
    return connected->run((stub.*method)(request, wire::CallOptions()));
  }
  std::string new_request_id() { return client_->client().new_request_id(); }

  // With --json prints the object on one line, otherwise the text as it is.
  void print(const Json& object, std::string_view text) const;

  // A command that did its work but found what must not be there (check) ends with this status.
  void exit_with(int status) { exit_status_ = status; }
  int exit_status() const { return exit_status_; }

 private:
  const GlobalOptions& globals_;
  std::unique_ptr<wire::BlockingClient> client_;
  int exit_status_ = kExitOk;
};

// Prints a list row by row, so that a million rows take no memory: a JSON array, or one line of text each.
class ListPrinter {
 public:
  explicit ListPrinter(const Context& context);
  void row(const Json& object, std::string_view text);
  void end();

 private:
  bool json_;
  bool first_ = true;
};

// A command that was added, and where its options go.
template <class Arguments>
struct Command {
  CLI::App* app;
  std::shared_ptr<Arguments> arguments;
};

class Commands {
 public:
  using Action = std::function<Result<void>(Context&)>;
  // The action runs when `app` is the command that the user named.
  void on(CLI::App* app, Action action) {
    app->callback([this, action = std::move(action)] { choose(action); });
  }
  void choose(Action action) { chosen_ = std::move(action); }
  template <class Arguments>
  Command<Arguments> add(CLI::App& group, const std::string& name, const std::string& description,
                         Result<void> (*action)(Context&, const Arguments&)) {
    const Command<Arguments> added = {group.add_subcommand(name, description), std::make_shared<Arguments>()};
    on(added.app,
       [arguments = added.arguments, action](Context& context) { return action(context, *arguments); });
    return added;
  }
  const Action& chosen() const { return chosen_; }

 private:
  Action chosen_;
};

CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& description);

// Refuses an option's value outside of these bounds, and what is no number at all ("nan", which CLI::Range
// takes).
CLI::Validator seconds_between(double least, double most);

// A password: a file's first line (`-`: standard input's), standard input when it is no terminal, or asked
// without echo.
Result<std::string> read_password(const std::string& password_file, bool confirm);

// Whether a string field of a message may hold these bytes.
bool is_utf8(std::string_view text);

std::string human_bytes(uint64_t bytes);  // "1.5 MiB"

// What check and resume say of damage: a line by file and offset, and the same as an object.
std::string damage_line(const v1::Damage& damage);
Json damage_json(const v1::Damage& damage);

void add_domain_commands(CLI::App& app, Commands& commands);
void add_account_commands(CLI::App& app, Commands& commands);
void add_settings_commands(CLI::App& app, Commands& commands);
void add_mailbox_commands(CLI::App& app, Commands& commands);
void add_mailbox_transfer_commands(CLI::App& mailbox, Commands& commands);
void add_cluster_commands(CLI::App& app, Commands& commands);
void add_store_commands(CLI::App& app, Commands& commands);
void add_mounts_commands(CLI::App& app, Commands& commands);
void add_relocation_commands(CLI::App& app, Commands& commands);
Json store_json(const v1::StoreInfo& store);
std::string store_figures(const v1::StoreInfo& store);  // how full and how busy it is, in one line
void add_adopt_command(CLI::App& app, Commands& commands);
void add_import_command(CLI::App& app, Commands& commands);
void add_path_command(CLI::App& app, Commands& commands);
void add_pki_commands(CLI::App& app, Commands& commands);
void add_documentation_commands(CLI::App& app, Commands& commands);

}  // namespace canopy::ctl
