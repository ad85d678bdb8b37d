// canopyctl path: where the files of an account lie under given settings. Needs no daemon.
#include "daemon/tree/layout.h"
#include "tools/canopyctl/command.h"

namespace canopy::ctl {

namespace {
struct PathArguments {
  std::string domain, account;
  std::string domain_foldering = "flat", account_foldering = "flat", fast_index = "0";
};
}  // namespace

static Result<void> show_path(Context& context, const PathArguments& arguments) {
  CANOPY_ASSIGN(
      const TreeLayout layout,
      TreeLayout::parse(arguments.domain_foldering, arguments.account_foldering, arguments.fast_index));
  AccountAddress address;
  CANOPY_ASSIGN(address.domain, prepare_domain(arguments.domain));
  CANOPY_ASSIGN(address.account, prepare_account(arguments.account));
  const std::string directory = layout.account_directory(address);
  const std::string settings = layout.settings_file(address);
  const std::string info = layout.info_file(address);
  context.print({{"account", address.to_string()},
                 {"account_directory", directory},
                 {"settings_file", settings},
                 {"info_file", info}},
                directory + "\n" + settings + "\n");
  return {};
}

void add_path_command(CLI::App& app, Commands& commands) {
  const auto [path, arguments] = commands.add(
      app, "path", "where an account's directory and settings file lie (no daemon needed)", show_path);
  path->add_option("domain", arguments->domain, "domain name")->required()->type_name("DOMAIN");
  path->add_option("account", arguments->account, "account name")->required()->type_name("ACCOUNT");
  path->add_option("--domain-foldering", arguments->domain_foldering,
                   "flat, 1, 2-1, hash-1-1, ... (default: flat)")
      ->type_name("METHOD");
  path->add_option("--account-foldering", arguments->account_foldering,
                   "the same for accounts (default: flat)")
      ->type_name("METHOD");
  path->add_option("--fast-index", arguments->fast_index,
                   "after which element `fast` stands; 0: nowhere (default)")
      ->type_name("N");
}

}  // namespace canopy::ctl
