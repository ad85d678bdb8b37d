// canopyctl settings and canopyctl info: get and set the settings of accounts, domains and the cluster, and
// the info of accounts.
#include "daemon/dict/dict.h"
#include "daemon/dict/json.h"
#include "tools/canopyctl/dictionary_arguments.h"

namespace canopy::ctl {

namespace {
struct InfoArguments {
  std::string target, key;
  bool effective = false;
  DictionaryArguments changes;
};
}  // namespace

static Result<void> print_key(Context& context, const std::string& text, const std::string& key) {
  CANOPY_ASSIGN(const dict::Dict dictionary, dict::parse_dict(text));
  const dict::Value* value = dictionary.find(key);
  if (value == nullptr) return fail(Code::kNotFound, key, "there is no such key");
  const std::string plain = value->string() != nullptr ? *value->string() : dict::print(*value);
  context.print(Json::parse(dict::to_json(*value)), plain + "\n");
  return {};
}

static Result<void> get(Context& context, const InfoArguments& arguments, v1::InfoKind kind) {
  v1::GetInfoRequest request;
  request.mutable_account()->set_name(info_target(arguments.target));
  request.set_kind(kind);
  CANOPY_ASSIGN(const v1::InfoResponse response, context.call(&wire::InfoStub::get, request));
  if (!arguments.key.empty()) return print_key(context, response.text(), arguments.key);
  std::string text = response.text();
  if (const auto parsed = dict::parse_dict(text)) text = dict::print(*parsed, dict::Style::kPretty);
  if (!text.ends_with('\n')) text += '\n';
  context.print({{"version", response.version()},
                 {"epoch", response.epoch()},
                 {"values", settings_json(response.text())},
                 {"text", response.text()}},
                text);
  return {};
}

static Result<void> get_settings(Context& context, const InfoArguments& arguments) {
  return get(context, arguments, arguments.effective ? v1::EFFECTIVE_SETTINGS : v1::SETTINGS);
}
static Result<void> get_info(Context& context, const InfoArguments& arguments) {
  return get(context, arguments, v1::INFO);
}
static Result<void> set_settings(Context& context, const InfoArguments& arguments) {
  return change_dictionary(context, info_target(arguments.target), v1::SETTINGS, arguments.changes);
}
static Result<void> set_info(Context& context, const InfoArguments& arguments) {
  return change_dictionary(context, info_target(arguments.target), v1::INFO, arguments.changes);
}

static void add_target(const Command<InfoArguments>& command, bool is_info) {
  command.app
      ->add_option("target", command.arguments->target,
                   is_info ? "an account, as jsmith@company.com"
                           : "an account (jsmith@company.com), a domain (company.com), or `cluster` for "
                             "everybody's defaults")
      ->required()
      ->type_name(is_info ? "ACCOUNT" : "TARGET");
}

void add_settings_commands(CLI::App& app, Commands& commands) {
  CLI::App& settings = *add_group(app, "settings", "settings of accounts, domains and the cluster");
  CLI::App& info = *add_group(app, "info", "info of accounts: what programs remember about them");
  for (const bool is_info : {false, true}) {
    CLI::App& group = is_info ? info : settings;
    const auto get_command =
        commands.add(group, "get", "print the dictionary or one key", is_info ? get_info : get_settings);
    add_target(get_command, is_info);
    get_command.app->add_option("--key", get_command.arguments->key, "only this key's value")
        ->type_name("KEY");
    if (!is_info)
      get_command.app->add_flag("--effective", get_command.arguments->effective,
                                "with the defaults of domain and cluster");
    const auto set_command =
        commands.add(group, "set", "change keys or the whole dictionary", is_info ? set_info : set_settings);
    add_target(set_command, is_info);
    add_dictionary_options(*set_command.app, set_command.arguments->changes);
  }
}

}  // namespace canopy::ctl
