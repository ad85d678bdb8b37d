#include "tools/canopyctl/dictionary_arguments.h"

#include <fstream>
#include <iostream>
#include <iterator>

#include "daemon/dict/json.h"

namespace canopy::ctl {

void add_dictionary_options(CLI::App& command, DictionaryArguments& arguments) {
  command
      .add_option(
          "assignments", arguments.assignments,
          "KEY=VALUE, the value in the text format of settings (#5 is a number); other text is a string")
      ->type_name("KEY=VALUE");
  command.add_option("--unset", arguments.unset, "a key to remove (may be repeated)")->type_name("KEY");
  command.add_option("--file", arguments.file, "a dictionary to merge in; - is standard input")
      ->type_name("FILE");
  command.add_flag("--replace", arguments.replace, "replace the whole dictionary instead of merging");
  command
      .add_option("--expect-version", arguments.expected_version,
                  "change nothing unless this is the version there")
      ->type_name("N");
}

static Result<std::string> read_text(const std::string& file) {
  if (file == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(Code::kNotFound, file, "the file cannot be read");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Result<dict::Dict> dictionary_of(const DictionaryArguments& arguments) {
  dict::Dict changes;
  if (!arguments.file.empty()) {
    CANOPY_ASSIGN(const std::string text, read_text(arguments.file));
    CANOPY_ASSIGN(changes, dict::parse_dict(text, arguments.file));
  }
  for (const std::string& assignment : arguments.assignments) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(Code::kInvalidArgument, assignment, "write KEY=VALUE");
    const std::string text = assignment.substr(equals + 1);
    Result<dict::Value> value = dict::parse(text, assignment.substr(0, equals));
    changes.set(assignment.substr(0, equals), value ? std::move(*value) : dict::Value(text));
  }
  for (const std::string& key : arguments.unset) changes.set(key, dict::Null());
  if (changes.empty() && !arguments.replace)
    return fail(Code::kInvalidArgument, "settings", "nothing to change; give KEY=VALUE, --unset or --file");
  return changes;
}

std::string info_target(const std::string& name) {
  if (name == "cluster") return "";
  return name.find('@') == std::string::npos ? "@" + name : name;
}

Json settings_json(const std::string& text) {
  Result<dict::Dict> parsed = dict::parse_dict(text);
  if (!parsed) return text;
  Json json = Json::parse(dict::to_json(*parsed), nullptr, false);
  return json.is_discarded() ? Json(text) : json;
}

Result<void> change_dictionary(Context& context, const std::string& target, v1::InfoKind kind,
                               const DictionaryArguments& arguments) {
  v1::SetInfoRequest request;
  CANOPY_ASSIGN(const dict::Dict changes, dictionary_of(arguments));
  request.set_text(dict::print(changes));
  CANOPY_TRY(context.client());
  request.mutable_account()->set_name(target);
  request.set_kind(kind);
  request.set_replace(arguments.replace);
  request.set_expected_version(arguments.expected_version);
  request.set_request_id(context.new_request_id());
  CANOPY_ASSIGN(const v1::InfoResponse response, context.call(&wire::InfoStub::set, request));
  context.print({{"version", response.version()}, {"epoch", response.epoch()}}, "");
  return {};
}

}  // namespace canopy::ctl
