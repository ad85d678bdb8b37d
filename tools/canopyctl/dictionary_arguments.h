// Dictionaries on the command line: KEY=VALUE words, files, and their JSON form.
#pragma once

#include "daemon/dict/dict.h"
#include "tools/canopyctl/command.h"

namespace canopy::ctl {

struct DictionaryArguments {
  std::vector<std::string> assignments;  // "Key=Value", Value in the text format or else taken as a string
  std::vector<std::string> unset;
  std::string file;  // "-": standard input
  bool replace = false;
  uint64_t expected_version = 0;
};

void add_dictionary_options(CLI::App& command, DictionaryArguments& arguments);

// What Info.Set merges: an unset key is #NULL#.
Result<dict::Dict> dictionary_of(const DictionaryArguments& arguments);

// "@domain" and "account@domain" as they are, "company.com" as "@company.com", "cluster" as "" (the cluster's
// defaults).
std::string info_target(const std::string& name);

Result<void> change_dictionary(Context& context, const std::string& target, v1::InfoKind kind,
                               const DictionaryArguments& arguments);

// Settings as JSON; text that does not parse (an older tool, a newer daemon) stays a string.
Json settings_json(const std::string& text);

}  // namespace canopy::ctl
