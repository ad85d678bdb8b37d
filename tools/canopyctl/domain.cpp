// canopyctl domain: create, list, show, rename, delete, foldering, set.
#include <algorithm>

#include "tools/canopyctl/command.h"
#include "tools/canopyctl/dictionary_arguments.h"

namespace canopy::ctl {

namespace {
struct DomainArguments {
  std::string name, to, prefix, foldering;
  uint32_t fast_index = 0;
  bool recursive = false;
  DictionaryArguments changes;
};

constexpr std::string_view kFoldering = "Foldering", kFastIndex = "FastIndex";

// The keys of a domain's settings as they are typed, too.
struct TypedKey {
  std::string_view typed, key;
};
constexpr TypedKey kTypedKeys[] = {{"foldering", kFoldering},
                                   {"account-foldering", kFoldering},
                                   {"fast-index", kFastIndex},
                                   {"account-defaults", "AccountDefaults"}};
}  // namespace

static std::string key_of(std::string typed) {
  for (const TypedKey& one : kTypedKeys)
    if (one.typed == typed) return std::string(one.key);
  return typed;
}

// With the keys as the daemon knows them. A fast index may be written as --fast-index takes it. What is
// removed goes by the name that it has.
static DictionaryArguments with_keys(DictionaryArguments changes) {
  for (std::string& assignment : changes.assignments) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = key_of(assignment.substr(0, equals));
    std::string value = assignment.substr(equals + 1);
    const bool digits = std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; });
    if (key == kFastIndex && !value.empty() && digits) value.insert(0, "#");
    assignment = fmt::format("{}={}", key, value);
  }
  return changes;
}

static Json domain_json(const v1::Domain& domain) {
  return {{"name", domain.name()},
          {"directory", domain.directory()},
          {"account_foldering", domain.account_foldering()},
          {"fast_index", domain.fast_index()},
          {"version", domain.version()},
          {"settings", settings_json(domain.settings())}};
}

static void print_domain(Context& context, const v1::Domain& domain) {
  context.print(
      domain_json(domain),
      fmt::format("{}\n  directory          {}\n  account foldering  {}\n  fast index         {}\n",
                  domain.name(), domain.directory(), domain.account_foldering(), domain.fast_index()));
}

// Of `create`, which says no other setting.
static Result<void> take_layout(const DictionaryArguments& changes, v1::CreateDomainRequest& request) {
  CANOPY_ASSIGN(const dict::Dict settings, dictionary_of(with_keys(changes)));
  for (const dict::Entry& entry : settings) {
    if (entry.key == kFoldering && entry.value.string() != nullptr)
      request.set_account_foldering(*entry.value.string());
    else if (entry.key == kFastIndex && entry.value.number() != nullptr &&
             std::in_range<uint32_t>(*entry.value.number()))
      request.set_fast_index(static_cast<uint32_t>(*entry.value.number()));
    else
      return fail(Code::kInvalidArgument, entry.key,
                  "a domain is made with foldering=METHOD and fast-index=N; `canopyctl domain set` says the "
                  "rest");
  }
  return {};
}

static Result<void> create(Context& context, const DomainArguments& arguments) {
  v1::CreateDomainRequest request;
  request.set_name(arguments.name);
  request.set_account_foldering(arguments.foldering);
  request.set_fast_index(arguments.fast_index);
  if (!arguments.changes.assignments.empty()) CANOPY_TRY(take_layout(arguments.changes, request));
  CANOPY_TRY(context.client());
  request.set_request_id(context.new_request_id());
  CANOPY_ASSIGN(const v1::Domain domain, context.call(&wire::DirectoryStub::create_domain, request));
  print_domain(context, domain);
  return {};
}

static Result<void> list(Context& context, const DomainArguments& arguments) {
  CANOPY_TRY(context.client());
  ListPrinter printer(context);
  v1::ListRequest request;
  request.set_prefix(arguments.prefix);
  for (bool end = false; !end;) {
    CANOPY_ASSIGN(const v1::ListDomainsResponse page,
                  context.call(&wire::DirectoryStub::list_domains, request));
    for (const std::string& name : page.names()) printer.row(name, name);
    end = page.end() || page.names().empty();
    if (!end) request.set_after(page.names(page.names_size() - 1));
  }
  printer.end();
  return {};
}

static Result<void> show(Context& context, const DomainArguments& arguments) {
  v1::DomainRequest request;
  request.set_name(arguments.name);
  CANOPY_ASSIGN(const v1::Domain domain, context.call(&wire::DirectoryStub::get_domain, request));
  print_domain(context, domain);
  return {};
}

static Result<void> rename(Context& context, const DomainArguments& arguments) {
  CANOPY_TRY(context.client());
  v1::RenameRequest request;
  request.set_from(arguments.name);
  request.set_to(arguments.to);
  request.set_request_id(context.new_request_id());
  CANOPY_ASSIGN(const v1::Domain domain, context.call(&wire::DirectoryStub::rename_domain, request));
  print_domain(context, domain);
  return {};
}

static Result<void> remove(Context& context, const DomainArguments& arguments) {
  CANOPY_TRY(context.client());
  v1::DeleteRequest request;
  request.set_name(arguments.name);
  request.set_recursive(arguments.recursive);
  request.set_request_id(context.new_request_id());
  CANOPY_TRY(context.call(&wire::DirectoryStub::delete_domain, request));
  context.print({{"deleted", arguments.name}}, "");
  return {};
}

static Result<void> set(Context& context, const DomainArguments& arguments) {
  return change_dictionary(context, "@" + arguments.name, v1::SETTINGS, with_keys(arguments.changes));
}

static Result<void> set_foldering(Context& context, const DomainArguments& arguments) {
  CANOPY_TRY(context.client());
  v1::SetInfoRequest request;
  request.set_kind(v1::SETTINGS);
  request.set_text("{DomainFoldering=\"" + arguments.foldering + "\";}");
  request.set_request_id(context.new_request_id());
  CANOPY_TRY(context.call(&wire::InfoStub::set, request));
  context.print({{"domain_foldering", arguments.foldering}},
                "canopyctl relocation show '*' says how far domains have moved\n");
  return {};
}

static void add_name(const Command<DomainArguments>& command) {
  command.app->add_option("domain", command.arguments->name, "domain name")->required()->type_name("DOMAIN");
}

void add_domain_commands(CLI::App& app, Commands& commands) {
  CLI::App& group = *add_group(app, "domain", "domains of the tree");

  const auto create_command = commands.add(group, "create", "make a domain", create);
  add_name(create_command);
  CLI::Option* foldering =
      create_command.app
          ->add_option(
              "--account-foldering,--foldering", create_command.arguments->foldering,
              "folders between the domain and its accounts: flat, 1, 2-1, hash-1-1, ... (default: flat)")
          ->type_name("METHOD");
  CLI::Option* fast_index = create_command.app
                                ->add_option("--fast-index", create_command.arguments->fast_index,
                                             "after which path element `fast` stands; 0: nowhere (default)")
                                ->type_name("N");
  create_command.app
      ->add_option("layout", create_command.arguments->changes.assignments,
                   "the same as foldering=METHOD, fast-index=N")
      ->type_name("KEY=VALUE")
      ->excludes(foldering)
      ->excludes(fast_index);

  const auto list_command = commands.add(group, "list", "names of all domains", list);
  list_command.app->add_option("--prefix", list_command.arguments->prefix, "only names that begin so")
      ->type_name("TEXT");

  add_name(commands.add(group, "show", "a domain and its settings", show));

  const auto rename_command = commands.add(group, "rename", "give a domain another name", rename);
  add_name(rename_command);
  rename_command.app->add_option("to", rename_command.arguments->to, "the new name")
      ->required()
      ->type_name("NEW");

  const auto delete_command = commands.add(group, "delete", "delete a domain that has no accounts", remove);
  add_name(delete_command);
  delete_command.app->add_flag("--recursive", delete_command.arguments->recursive,
                               "delete its accounts and all their mail too");

  const auto foldering_command = commands.add(
      group, "foldering",
      "change the folders above domains: new ones lie there at once, the others move in the background",
      set_foldering);
  foldering_command.app
      ->add_option("method", foldering_command.arguments->foldering, "flat, 1, 2-1, hash-1-1, ...")
      ->required()
      ->type_name("METHOD");

  const auto set_command = commands.add(
      group, "set", "change a domain's settings; foldering=METHOD and fast-index=N begin a relocation", set);
  add_name(set_command);
  add_dictionary_options(*set_command.app, set_command.arguments->changes);
}

}  // namespace canopy::ctl
