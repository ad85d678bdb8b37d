// canopyctl pki: init, issue, show. Needs no daemon. DIR holds ca.crt and ca.key, and NAME.crt and NAME.key
// of each certificate; keys are readable by their owner only.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tools/canopyctl/certificates.h"
#include "tools/canopyctl/command.h"

namespace canopy::ctl {

namespace {
struct PkiArguments {
  std::string directory = ".", cluster = "canopy", role, name, file, key_kind = "p256";
  std::vector<std::string> dns_names, addresses;
  int days = 0;
};
}  // namespace

static constexpr int kCaDays = 3650;

static Result<void> write_file(const std::string& path, const std::string& text, mode_t mode) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (file < 0 && errno == EEXIST)
    return fail(Code::kAlreadyExists, path, "the file is there; move it away to make a new one");
  if (file < 0) return fail_errno(errno, path, "create");
  const bool written =
      ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(file) == 0;
  const int reason = errno;
  ::close(file);
  if (!written) return fail_errno(reason, path, "write");
  return {};
}

static Result<std::string> read_file(const std::string& path, const char* advice) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Code::kNotFound, path, std::string("the file cannot be read; ") + advice);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Parts of the URI name and of file names.
static Result<void> check_word(const std::string& word, const char* what) {
  const bool plain = !word.empty() && word.size() <= 128 && word[0] != '.' && word[0] != '-' &&
                     word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-_") == std::string::npos;
  if (plain) return {};
  return fail(Code::kInvalidArgument, word,
              std::string("a ") + what + " is made of a-z, 0-9, '.', '-' and '_'");
}

// The certificate goes last: who sees it finds the key there.
static Result<void> write_pair(const std::string& base, const Pem& pem) {
  std::error_code error;
  if (std::filesystem::exists(base + ".crt", error))
    return fail(Code::kAlreadyExists, base + ".crt", "the file is there; move it away to make a new one");
  CANOPY_TRY(write_file(base + ".key", pem.key, 0600));
  return write_file(base + ".crt", pem.certificate, 0644);
}

static Result<void> init(Context& context, const PkiArguments& arguments) {
  CANOPY_TRY(check_word(arguments.cluster, "cluster name"));
  CANOPY_ASSIGN(const KeyKind kind, parse_key_kind(arguments.key_kind));
  std::error_code error;
  std::filesystem::create_directories(arguments.directory, error);
  if (error) return fail_errno(error.value(), arguments.directory, "create the directory");
  CANOPY_ASSIGN(const Pem ca, make_ca("Canopy CA of " + arguments.cluster,
                                      arguments.days == 0 ? kCaDays : arguments.days, kind));
  const std::string base = arguments.directory + "/ca";
  CANOPY_TRY(write_pair(base, ca));
  context.print({{"certificate", base + ".crt"}, {"key", base + ".key"}, {"cluster", arguments.cluster}},
                base + ".crt\n" + base + ".key\n");
  return {};
}

static Result<void> issue(Context& context, const PkiArguments& arguments) {
  CANOPY_TRY(check_word(arguments.cluster, "cluster name"));
  CANOPY_TRY(check_word(arguments.name, "name"));
  static constexpr const char* kAdvice = "make a CA with canopyctl pki init";
  Pem ca;
  CANOPY_ASSIGN(ca.certificate, read_file(arguments.directory + "/ca.crt", kAdvice));
  CANOPY_ASSIGN(ca.key, read_file(arguments.directory + "/ca.key", kAdvice));
  CertificateRequest request;
  request.common_name = arguments.name;
  request.uris = {"canopy://" + arguments.cluster + "/role/" + arguments.role + "/" + arguments.name};
  request.dns_names = arguments.dns_names;
  request.addresses = arguments.addresses;
  if (arguments.days != 0) request.days = arguments.days;
  CANOPY_ASSIGN(request.key_kind, parse_key_kind(arguments.key_kind));
  CANOPY_ASSIGN(const Pem pem, issue_certificate(ca, request));
  const std::string base = arguments.directory + "/" + arguments.name;
  CANOPY_TRY(write_pair(base, pem));
  context.print({{"certificate", base + ".crt"}, {"key", base + ".key"}, {"uri", request.uris[0]}},
                base + ".crt\n" + base + ".key\n");
  return {};
}

static Result<void> show(Context& context, const PkiArguments& arguments) {
  CANOPY_ASSIGN(const std::string pem, read_file(arguments.file, "name a certificate in PEM"));
  CANOPY_ASSIGN(const CertificateFacts facts, describe_certificate(pem, arguments.file));
  std::string text = fmt::format("{}\n  issuer       {}\n  serial       {}\n  valid        {} to {}{}\n",
                                 facts.subject, facts.issuer, facts.serial, facts.not_before, facts.not_after,
                                 facts.expired ? " (expired)" : "");
  for (const std::string& uri : facts.uris) text += "  role         " + uri + "\n";
  for (const std::string& name : facts.dns_names) text += "  DNS          " + name + "\n";
  for (const std::string& address : facts.addresses) text += "  address      " + address + "\n";
  text += "  fingerprint  " + facts.fingerprint + "\n";
  context.print({{"subject", facts.subject},
                 {"issuer", facts.issuer},
                 {"serial", facts.serial},
                 {"not_before", facts.not_before},
                 {"not_after", facts.not_after},
                 {"expired", facts.expired},
                 {"ca", facts.is_ca},
                 {"uris", facts.uris},
                 {"dns", facts.dns_names},
                 {"addresses", facts.addresses},
                 {"fingerprint", facts.fingerprint}},
                text);
  return {};
}

static void add_making_options(const Command<PkiArguments>& command) {
  PkiArguments& arguments = *command.arguments;
  command.app->add_option("--dir", arguments.directory, "where the files lie (default: here)")
      ->type_name("DIR");
  command.app->add_option("--cluster", arguments.cluster, "name of the cluster (default: canopy)")
      ->type_name("NAME");
  command.app->add_option("--key-type", arguments.key_kind, "p256 (default) or ed25519")->type_name("KIND");
  command.app->add_option("--days", arguments.days, "how long it is valid (default: 3650 for a CA, 825 else)")
      ->type_name("N")
      ->check(CLI::Range(1, 36500).description(""));
}

void add_pki_commands(CLI::App& app, Commands& commands) {
  CLI::App& group = *add_group(app, "pki", "a CA and certificates with roles (no daemon needed)");
  add_making_options(commands.add(group, "init", "make a CA", init));

  const auto issue_command = commands.add(group, "issue", "make a certificate with a role", issue);
  PkiArguments& arguments = *issue_command.arguments;
  add_making_options(issue_command);
  issue_command.app->add_option("--role", arguments.role, "frontend, mount, admin or backend")
      ->required()
      ->type_name("ROLE")
      ->check(CLI::IsMember({"frontend", "mount", "admin", "backend"}).description(""));
  issue_command.app->add_option("--name", arguments.name, "whose it is; the files are called so")
      ->required()
      ->type_name("NAME");
  issue_command.app->add_option("--dns", arguments.dns_names, "a DNS name it is valid for (may be repeated)")
      ->type_name("HOST");
  issue_command.app->add_option("--ip", arguments.addresses, "an address it is valid for (may be repeated)")
      ->type_name("ADDRESS");

  const auto show_command = commands.add(group, "show", "what a certificate says", show);
  show_command.app->add_option("file", show_command.arguments->file, "a certificate in PEM")
      ->required()
      ->type_name("FILE");
}

}  // namespace canopy::ctl
