#include "tools/canopyctl/command.h"

#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>

#include "daemon/dict/text.h"

namespace canopy::ctl {

int exit_status_of(const Error& error) {
  if (error.code() == Code::kNotFound) return kExitNotFound;
  if (error.retryable() || error.code() == Code::kConnectionLost || error.code() == Code::kDeadlineExceeded)
    return kExitTemporary;
  return kExitFailed;
}

std::string advice_for(const Error& error) {
  switch (error.code()) {
    case Code::kConnectionLost:
    case Code::kDeadlineExceeded:
      return "check that canopyd runs and that --server or $CANOPY_SERVER names its address";
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
      // What a disk refuses to the daemon, or a directory to canopyctl, no role can give.
      if (error.is_of_system())
        return "the operating system refused it: look at the owner, the modes and the attributes (lsattr) of "
               "that file and its directory";
      return "run it as root or as the daemon's user, or give --ca, --cert and --key of a certificate with "
             "the role "
             "admin (canopyctl pki issue --role admin)";
    case Code::kNotFound: return "check the name; the list commands show what there is";
    case Code::kNotEmpty: return "give --recursive to delete what is in it too";
    case Code::kDamaged: return "run canopyctl check, then canopyctl check --repair";
    case Code::kStoreFull: return "delete or expunge mail, or add space to the store";
    case Code::kTryAgain:
    case Code::kBusy:
    case Code::kStoreUnavailable: return "try again; canopyctl status shows the state of the stores";
    default: return "";
  }
}

static Result<std::shared_ptr<const TlsContext>> tls_for(const GlobalOptions& globals) {
  if (globals.ca.empty() && globals.cert.empty() && globals.key.empty())
    return fail(Code::kInvalidArgument, globals.server,
                "tcp needs TLS; give --ca, --cert and --key, or use unix:PATH");
  if (globals.ca.empty() || globals.cert.empty() != globals.key.empty())
    return fail(Code::kInvalidArgument, globals.server, "give --ca, and --cert together with --key");
  TlsOptions options;
  options.side = TlsOptions::Side::kClient;
  options.verify = TlsOptions::Verify::kRequired;
  options.ca_file = globals.ca;
  if (!globals.cert.empty()) options.certificates.push_back({globals.cert, globals.key});
  return TlsContext::create(std::move(options));
}

Result<wire::BlockingClient*> Context::client() {
  if (client_) return client_.get();
  CANOPY_ASSIGN(Address address, Address::parse(globals_.server));
  wire::ClientOptions options;
  if (address.kind == Address::Kind::kTcp) {
    CANOPY_ASSIGN(options.tls, tls_for(globals_));
    options.server_name = address.host;
  }
  options.addresses.push_back(std::move(address));
  options.name = "canopyctl/0.1";
  options.call_timeout = static_cast<Nanos>(globals_.timeout_seconds * kSecond);
  CANOPY_ASSIGN(auto client, wire::BlockingClient::create(std::move(options)));
  // Without a server there is nothing to wait for: a person sits before the terminal.
  CANOPY_TRY(client->run(client->client().connect(client->loop().now() + 5 * kSecond)));
  client_ = std::move(client);
  return client_.get();
}

void Context::print(const Json& object, std::string_view text) const {
  if (globals_.json) {
    std::cout << object.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    std::cout << text;
  }
}

ListPrinter::ListPrinter(const Context& context) : json_(context.json()) {}

void ListPrinter::row(const Json& object, std::string_view text) {
  if (json_) {
    std::cout << (first_ ? "[\n" : ",\n") << object.dump(-1, ' ', false, Json::error_handler_t::replace);
  } else {
    std::cout << text << '\n';
  }
  first_ = false;
}

void ListPrinter::end() {
  if (json_) std::cout << (first_ ? "[]\n" : "\n]\n");
}

CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& description) {
  CLI::App* group = parent.add_subcommand(name, description);
  group->require_subcommand(1);
  return group;
}

static Result<std::string> prompt(const char* question) {
  termios before = {};
  if (tcgetattr(STDIN_FILENO, &before) != 0) return fail_errno(errno, "terminal", "read the mode of");
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  std::cerr << question << ": " << std::flush;
  std::string line;
  std::getline(std::cin, line);
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  std::cerr << '\n';
  return line;
}

Result<std::string> read_password(const std::string& password_file, bool confirm) {
  std::string password;
  if (!password_file.empty() && password_file != "-") {
    std::ifstream file(password_file);
    if (!file) return fail(Code::kNotFound, password_file, "the password file cannot be read");
    std::getline(file, password);
  } else if (password_file == "-" || isatty(STDIN_FILENO) == 0) {
    std::getline(std::cin, password);
  } else {
    CANOPY_ASSIGN(password, prompt("Password"));
    if (confirm) {
      CANOPY_ASSIGN(const std::string again, prompt("The same again"));
      if (again != password) return fail(Code::kInvalidArgument, "password", "the two are not the same");
    }
  }
  if (password.ends_with('\r')) password.pop_back();
  if (password.empty()) return fail(Code::kInvalidArgument, "password", "it is empty");
  if (!is_utf8(password)) return fail(Code::kInvalidArgument, "password", "it has bytes that are no UTF-8");
  return password;
}

bool is_utf8(std::string_view text) {
  uint32_t code_point = 0;
  while (!text.empty()) {
    const uint32_t bytes = dict::utf8_sequence(text, code_point);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

CLI::Validator seconds_between(double least, double most) {
  return {[least, most](const std::string& text) {
            double value = 0;
            if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most)
              return std::string();
            return fmt::format("{} is no number of seconds from {} to {}", text, least, most);
          },
          ""};
}

std::string human_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace canopy::ctl
