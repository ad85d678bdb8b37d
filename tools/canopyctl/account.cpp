// canopyctl account: create, list, show, rename, move, delete, set, password, suspend, resume, alias.
#include <ctime>

#include "tools/canopyctl/account_csv.h"
#include "tools/canopyctl/account_move.h"
#include "tools/canopyctl/dictionary_arguments.h"

namespace canopy::ctl {

namespace {
struct AccountArguments {
  std::string name, to, prefix, domain, password_file;
  bool recursive = false, no_password = false, exist_ok = false, disable = false, restored = false;
  CsvArguments csv;
  DictionaryArguments changes;
};
}  // namespace

static Json account_json(const v1::Account& account) {
  const auto figure = [&account](uint64_t value) { return account.cannot_open() ? Json() : Json(value); };
  return {{"name", account.name()},
          {"domain", account.domain()},
          {"state", account.state()},
          {"messages", figure(account.messages())},
          {"bytes", figure(account.bytes())},
          {"quota_messages", figure(account.quota_messages())},
          {"quota_bytes", figure(account.quota_bytes())},
          {"mailboxes", figure(account.mailboxes())},
          {"settings_version", figure(account.settings_version())}};
}

static std::string account_text(const v1::Account& account) {
  const std::string state =
      fmt::format("{}@{}\n  state      {}\n", account.name(), account.domain(), account.state());
  if (account.cannot_open()) return state + "  cannot be opened\n";
  const auto limit = [](uint64_t value, std::string text) {
    return value == 0 ? "no limit" : std::move(text);
  };
  return state + fmt::format("  messages   {} ({})\n  size       {} ({})\n  mailboxes  {}\n",
                             account.messages(),
                             limit(account.quota_messages(), fmt::format("of {}", account.quota_messages())),
                             human_bytes(account.bytes()),
                             limit(account.quota_bytes(), "of " + human_bytes(account.quota_bytes())),
                             account.mailboxes());
}

static void print_account(Context& context, const v1::Account& account) {
  context.print(account_json(account), account_text(account));
}

static Result<void> create(Context& context, const AccountArguments& arguments) {
  if (!arguments.csv.file.empty()) return create_accounts_from_csv(context, arguments.csv);
  if (arguments.name.empty())
    return fail(Code::kInvalidArgument, "account create", "name an account, or a file with --from-csv");
  v1::CreateAccountsRequest request;
  v1::NewAccount& account = *request.add_accounts();
  account.set_name(arguments.name);
  if (!arguments.no_password) {
    CANOPY_ASSIGN(*account.mutable_password(), read_password(arguments.password_file, true));
  }
  if (!arguments.changes.assignments.empty() || !arguments.changes.file.empty()) {
    CANOPY_ASSIGN(const dict::Dict settings, dictionary_of(arguments.changes));
    account.set_settings(dict::print(settings));
  }
  CANOPY_TRY(context.client());
  request.set_exist_ok(arguments.exist_ok);
  request.set_request_id(context.new_request_id());
  CANOPY_ASSIGN(const v1::CreateAccountsResponse response,
                context.call(&wire::DirectoryStub::create_accounts, request));
  if (response.results_size() != 1)
    return fail(Code::kInternal, arguments.name, "the server gave no result for it");
  const v1::CreateAccountResult& result = response.results(0);
  if (result.has_error() && result.error().code() != 0)
    return fail(static_cast<Code>(result.error().code()), result.error().object(), result.error().message());
  const std::string name = result.name().empty() ? arguments.name : result.name();
  context.print({{"name", name}, {"existed", result.existed()}},
                name + (result.existed() ? " was there\n" : "\n"));
  return {};
}

static Result<void> list(Context& context, const AccountArguments& arguments) {
  CANOPY_TRY(context.client());
  ListPrinter printer(context);
  v1::ListRequest request;
  request.set_domain(arguments.domain);
  request.set_prefix(arguments.prefix);
  for (bool end = false; !end;) {
    CANOPY_ASSIGN(const v1::ListAccountsResponse page,
                  context.call(&wire::DirectoryStub::list_accounts, request));
    for (const std::string& name : page.names()) printer.row(name, name);
    end = page.end() || page.names().empty();
    if (!end) request.set_after(page.names(page.names_size() - 1));
  }
  printer.end();
  return {};
}

static Result<void> show(Context& context, const AccountArguments& arguments) {
  v1::AccountRef request;
  request.set_name(arguments.name);
  CANOPY_ASSIGN(const v1::Account account, context.call(&wire::DirectoryStub::get_account, request));
  print_account(context, account);
  return {};
}

static Result<void> rename(Context& context, const AccountArguments& arguments) {
  CANOPY_TRY(context.client());
  v1::RenameRequest request;
  request.set_from(arguments.name);
  request.set_to(arguments.to);
  request.set_request_id(context.new_request_id());
  CANOPY_ASSIGN(const v1::Account account, context.call(&wire::DirectoryStub::rename_account, request));
  print_account(context, account);
  return {};
}

static Result<void> remove(Context& context, const AccountArguments& arguments) {
  CANOPY_TRY(context.client());
  v1::DeleteRequest request;
  request.set_name(arguments.name);
  request.set_recursive(true);
  request.set_request_id(context.new_request_id());
  CANOPY_TRY(context.call(&wire::DirectoryStub::delete_account, request));
  context.print({{"deleted", arguments.name}}, "");
  return {};
}

static Result<void> set(Context& context, const AccountArguments& arguments) {
  return change_dictionary(context, arguments.name, v1::SETTINGS, arguments.changes);
}

static Result<void> set_password(Context& context, const AccountArguments& arguments) {
  v1::SetPasswordRequest request;
  if (!arguments.no_password) {
    CANOPY_ASSIGN(*request.mutable_password(), read_password(arguments.password_file, true));
  }
  CANOPY_TRY(context.client());
  request.mutable_account()->set_name(arguments.name);
  request.set_request_id(context.new_request_id());
  CANOPY_TRY(context.call(&wire::DirectoryStub::set_password, request));
  context.print({{"name", arguments.name}}, "");
  return {};
}

static Result<void> set_state(Context& context, const std::string& name, const std::string& state,
                              bool restored = false) {
  CANOPY_TRY(context.client());
  v1::SetStateRequest request;
  request.set_name(name);
  request.set_state(state);
  request.set_restored(restored);
  request.set_request_id(context.new_request_id());
  CANOPY_ASSIGN(const v1::Account account, context.call(&wire::DirectoryStub::set_state, request));
  if (!account.checked()) {
    print_account(context, account);
    return {};
  }
  Json object = account_json(account);
  std::string text = account_text(account);
  object["restored"] = account.restored();
  if (account.restored()) text += "restored from a copy: its mailboxes have a new UIDVALIDITY\n";
  object["damages"] = Json::array();
  uint64_t left = 0;
  for (const v1::Damage& damage : account.damages()) {
    object["damages"].push_back(damage_json(damage));
    text += damage_line(damage);
    if (!damage.repaired()) ++left;
  }
  object["unrepaired"] = left;
  text += fmt::format("checked: {} damages{}\n", account.damages_size(),
                      account.damages().empty() ? "" : fmt::format(", {} not repaired", left));
  if (left > 0) context.exit_with(kExitFailed);
  context.print(object, text);
  return {};
}
static Result<void> suspend(Context& context, const AccountArguments& arguments) {
  return set_state(context, arguments.name, arguments.disable ? "disabled" : "suspended");
}
static Result<void> resume(Context& context, const AccountArguments& arguments) {
  return set_state(context, arguments.name, "active", arguments.restored);
}

static Result<void> set_alias(Context& context, const AccountArguments& arguments) {
  CANOPY_TRY(context.client());
  v1::SetAliasRequest request;
  request.set_alias(arguments.name);
  request.set_account(arguments.to);
  request.set_request_id(context.new_request_id());
  CANOPY_TRY(context.call(&wire::DirectoryStub::set_alias, request));
  context.print({{"alias", arguments.name}, {"account", arguments.to.empty() ? Json() : Json(arguments.to)}},
                "");
  return {};
}

static Result<void> list_aliases(Context& context, const AccountArguments& arguments) {
  CANOPY_TRY(context.client());
  ListPrinter printer(context);
  const std::string at_domain = "@" + arguments.domain;
  v1::ListRequest request;
  request.set_domain(arguments.domain);
  for (bool end = false; !end;) {
    CANOPY_ASSIGN(const v1::ListAliasesResponse page,
                  context.call(&wire::DirectoryStub::list_aliases, request));
    for (const v1::Alias& alias : page.aliases())
      printer.row({{"alias", alias.name() + at_domain}, {"account", alias.account()}},
                  alias.name() + at_domain + " -> " + alias.account());
    end = page.end() || page.aliases().empty();
    if (!end) request.set_after(page.aliases(page.aliases_size() - 1).name());
  }
  printer.end();
  return {};
}

// ----------------------------------------------------------------------------------------------------
// registration
static void add_name(const Command<AccountArguments>& command, bool required = true) {
  command.app->add_option("account", command.arguments->name, "account, as jsmith@company.com")
      ->required(required)
      ->type_name("ACCOUNT");
}

static void add_password_options(const Command<AccountArguments>& command) {
  command.app
      ->add_option("--password-file", command.arguments->password_file,
                   "read the password from this file's first line; - is standard input (default: ask)")
      ->type_name("FILE");
  command.app->add_flag("--no-password", command.arguments->no_password, "no password: nobody can log in");
}

static void add_create(CLI::App& group, Commands& commands) {
  const auto command = commands.add(group, "create", "make one account, or those of a CSV file", create);
  AccountArguments& arguments = *command.arguments;
  add_name(command, false);
  add_password_options(command);
  command.app->add_flag("--exist-ok", arguments.exist_ok, "an account that is there already is no failure");
  command.app
      ->add_option("--set", arguments.changes.assignments, "a setting of the new account (may be repeated)")
      ->type_name("KEY=VALUE");
  command.app
      ->add_option(
          "--from-csv", arguments.csv.file,
          "rows of name,password,settings with an optional first row of titles; goes on where a stopped run "
          "was (FILE.canopy-state)")
      ->type_name("FILE");
  command.app->add_option("--domain", arguments.csv.domain, "of names without one in the file")
      ->type_name("DOMAIN");
  command.app->add_flag("--restart", arguments.csv.restart, "begin the file anew instead of going on");
  command.app->callback([command, &commands] {
    command.arguments->csv.exist_ok = command.arguments->exist_ok;
    commands.choose([command](Context& context) { return create(context, *command.arguments); });
  });
}

static void add_alias(CLI::App& group, Commands& commands) {
  CLI::App& alias = *add_group(group, "alias", "other addresses of accounts");
  const auto add = [](const Command<AccountArguments>& command) {
    command.app->add_option("alias", command.arguments->name, "the other address")
        ->required()
        ->type_name("ALIAS");
  };
  const auto set_command = commands.add(alias, "set", "let mail to ALIAS go to ACCOUNT", set_alias);
  add(set_command);
  set_command.app->add_option("account", set_command.arguments->to, "the account")
      ->required()
      ->type_name("ACCOUNT");
  add(commands.add(alias, "remove", "remove an alias", set_alias));
  const auto list_command = commands.add(alias, "list", "all aliases of a domain", list_aliases);
  list_command.app->add_option("domain", list_command.arguments->domain, "domain name")
      ->required()
      ->type_name("DOMAIN");
}

void add_account_commands(CLI::App& app, Commands& commands) {
  CLI::App& group = *add_group(app, "account", "accounts of a domain");
  add_create(group, commands);

  const auto list_command = commands.add(group, "list", "names of a domain's accounts", list);
  list_command.app->add_option("domain", list_command.arguments->domain, "domain name")
      ->required()
      ->type_name("DOMAIN");
  list_command.app->add_option("--prefix", list_command.arguments->prefix, "only names that begin so")
      ->type_name("TEXT");

  add_name(commands.add(group, "show", "state, size and quota of an account", show));

  const auto rename_command = commands.add(group, "rename", "give an account another name", rename);
  add_name(rename_command);
  rename_command.app->add_option("to", rename_command.arguments->to, "the new name")
      ->required()
      ->type_name("NEW");

  add_account_move_command(group, commands);

  add_name(commands.add(group, "delete", "delete an account and all its mail", remove));

  const auto set_command = commands.add(group, "set", "change an account's settings", set);
  add_name(set_command);
  add_dictionary_options(*set_command.app, set_command.arguments->changes);

  const auto password_command = commands.add(group, "password", "set an account's password", set_password);
  add_name(password_command);
  add_password_options(password_command);

  const auto suspend_command = commands.add(group, "suspend", "take an account out of use", suspend);
  add_name(suspend_command);
  suspend_command.app->add_flag("--disable", suspend_command.arguments->disable,
                                "only logging in is refused; mail is still taken");
  const auto resume_command =
      commands.add(group, "resume", "take an account back into use; a suspended one is checked then", resume);
  add_name(resume_command);
  resume_command.app->add_flag("--restored", resume_command.arguments->restored,
                               "its files were put back from a copy: mailboxes take a new UIDVALIDITY "
                               "(found out without being said where the copy's log is behind)");
  add_alias(group, commands);
}

}  // namespace canopy::ctl
