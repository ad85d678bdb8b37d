// canopyctl completion and canopyctl man: both are generated from the tree of commands, so they cannot lag
// behind it.
#include <iostream>

#include "tools/canopyctl/command_tree.h"

namespace canopy::ctl {

// ------------------------------------------------------------------------------------------------------ the
// tree
static std::vector<CLI::App*> subcommands_of(CLI::App* app) { return app->get_subcommands({}); }

static std::string path_of(CLI::App* app) {
  const CLI::App* parent = app->get_parent();
  return parent == nullptr ? app->get_name() : path_of(const_cast<CLI::App*>(parent)) + " " + app->get_name();
}

static bool is_flag(const CLI::Option* option) { return option->get_items_expected_max() == 0; }

static std::vector<std::string> option_names(CLI::App* app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app->get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

static std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// ----------------------------------------------------------------------------------------------------
// completion
static void add_completion_rows(CLI::App* app, const std::vector<std::string>& global, std::string& rows) {
  std::vector<std::string> words;
  for (CLI::App* sub : subcommands_of(app)) words.push_back(sub->get_name());
  for (const std::string& name : option_names(app)) words.push_back(name);
  if (app->get_parent() != nullptr)
    for (const std::string& name : global)
      if (std::find(words.begin(), words.end(), name) == words.end()) words.push_back(name);
  rows += "    '" + path_of(app) + "') words='" + joined(words) + "' ;;\n";
  for (CLI::App* sub : subcommands_of(app)) add_completion_rows(sub, global, rows);
}

static std::string group_names(CLI::App* app) {
  std::string names;
  for (CLI::App* sub : subcommands_of(app)) {
    names += " '" + path_of(sub) + "'";
    names += group_names(sub);
  }
  return names;
}

// The command so far is found by matching words against the known paths; a word after them that is no option
// is a file.
static std::string bash_completion(CLI::App* root) {
  std::string rows;
  add_completion_rows(root, option_names(root), rows);
  return "# bash completion of canopyctl; made by `canopyctl completion bash`\n"
         "_canopyctl() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} path=canopyctl word known words=\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    for known in" +
         group_names(root) +
         "; do\n"
         "      [ \"$known\" = \"$path $word\" ] && { path=$known; break; }\n"
         "    done\n"
         "  done\n"
         "  case \"$path\" in\n" +
         rows +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$current\"))\n"
         "}\n"
         "complete -F _canopyctl canopyctl\n";
}

static std::string zsh_completion(CLI::App* root) {
  std::string rows;
  add_completion_rows(root, option_names(root), rows);
  return "#compdef canopyctl\n"
         "# zsh completion of canopyctl; made by `canopyctl completion zsh`\n"
         "_canopyctl() {\n"
         "  local command=canopyctl word known words_here=''\n"
         "  local -a paths=(" +
         group_names(root) +
         " )\n"
         "  for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
         "    if (( ${paths[(Ie)$command $word]} )); then command=\"$command $word\"; fi\n"
         "  done\n"
         "  local path_words=''\n"
         "  case \"$command\" in\n" +
         [&] {
           std::string zsh = rows;
           for (size_t at = zsh.find(" words='"); at != std::string::npos; at = zsh.find(" words='", at + 1))
             zsh.replace(at, 8, " path_words='");
           return zsh;
         }() +
         "  esac\n"
         "  compadd -- ${=path_words} || true\n"
         "  _files\n"
         "}\n"
         "if [ \"$funcstack[1]\" = _canopyctl ]; then _canopyctl \"$@\"; else compdef _canopyctl canopyctl; "
         "fi\n";
}

// ------------------------------------------------------------------------------------------------------ man
// page
static std::string troff(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      out += "\\e";
    } else if (text[i] == '-') {
      out += "\\-";
    } else if ((text[i] == '.' || text[i] == '\'') && (i == 0 || text[i - 1] == '\n')) {
      out += "\\&" + text.substr(i, 1);
    } else {
      out += text[i];
    }
  }
  return out;
}

static std::string usage_of(CLI::App* app) {
  std::string line = path_of(app);
  for (const CLI::Option* option : app->get_options()) {
    if (!option->get_positional()) continue;
    const std::string name = option->get_type_name().empty() ? option->get_name() : option->get_type_name();
    line += option->get_required() ? " " + name : " [" + name + "]";
    if (option->get_items_expected_max() > 1) line += "...";
  }
  return line;
}

static void add_options(CLI::App* app, std::string& out) {
  for (const CLI::Option* option : app->get_options()) {
    if (option->get_positional()) continue;
    if (option->get_name() == "--help" && app->get_parent() != nullptr) continue;
    std::string names;
    for (const std::string& name : option->get_snames()) names += (names.empty() ? "-" : ", -") + name;
    for (const std::string& name : option->get_lnames()) names += (names.empty() ? "--" : ", --") + name;
    out += ".TP\n\\fB" + troff(names) + "\\fR" +
           (is_flag(option) ? "" : " \\fI" + troff(option->get_type_name()) + "\\fR") + "\n" +
           troff(option->get_description()) + "\n";
  }
}

static void add_command_sections(CLI::App* app, std::string& out) {
  for (CLI::App* sub : subcommands_of(app)) {
    if (!subcommands_of(sub).empty()) {
      out += ".SH " + troff(path_of(sub).substr(std::string("canopyctl ").size())) + "\n" +
             troff(sub->get_description()) + ".\n";
      add_command_sections(sub, out);
      continue;
    }
    out += ".SS \"" + troff(usage_of(sub)) + "\"\n" + troff(sub->get_description()) + ".\n";
    for (const CLI::Option* option : sub->get_options())
      if (option->get_positional())
        out +=
            ".TP\n\\fI" + troff(option->get_type_name()) + "\\fR\n" + troff(option->get_description()) + "\n";
    add_options(sub, out);
  }
}

static std::string man_page(CLI::App* root) {
  std::string out =
      ".TH CANOPYCTL 8 \"\" \"Canopy\" \"Administration\"\n"
      ".SH NAME\ncanopyctl \\- administer a Canopy backend\n"
      ".SH SYNOPSIS\n.B canopyctl\n[\\fIoptions\\fR] \\fIcommand\\fR [\\fIarguments\\fR]\n"
      ".SH DESCRIPTION\n" +
      troff(root->get_description()) +
      "\nEvery command prints JSON with \\fB\\-\\-json\\fR and its own help with \\fB\\-\\-help\\fR.\n"
      ".SH OPTIONS\nThese may stand anywhere on the command line.\n";
  add_options(root, out);
  out += ".SH COMMANDS\n";
  add_command_sections(root, out);
  out +=
      ".SH EXIT STATUS\n"
      ".TP\n0\nThe command did what it says.\n"
      ".TP\n1\nIt failed, or check found damage that is not repaired.\n"
      ".TP\n2\nThe command line is wrong.\n"
      ".TP\n3\nWhat the command is about does not exist.\n"
      ".TP\n4\nA temporary state, or no answer from the daemon; the same command may succeed later.\n"
      ".SH ENVIRONMENT\n.TP\nCANOPY_SERVER\nWhere canopyd listens, when \\-\\-server is not given.\n"
      ".SH SEE ALSO\n.BR canopyd (8),\n.BR canopy\\-frontend (8)\n";
  return out;
}

void add_documentation_commands(CLI::App& app, Commands& commands) {
  CLI::App* root = &app;
  CLI::App* completion = app.add_subcommand("completion", "print a completion script for a shell");
  auto shell = std::make_shared<std::string>();
  completion->add_option("shell", *shell, "bash or zsh")
      ->required()
      ->type_name("SHELL")
      ->check(CLI::IsMember({"bash", "zsh"}).description(""));
  commands.on(completion, [root, shell](Context& context) -> Result<void> {
    const std::string script = *shell == "bash" ? bash_completion(root) : zsh_completion(root);
    context.print({{"shell", *shell}, {"script", script}}, script);
    return {};
  });
  commands.on(app.add_subcommand("man", "print the man page (canopyctl man | man -l -)"),
              [root](Context& context) -> Result<void> {
                const std::string page = man_page(root);
                context.print({{"man", page}}, page);
                return {};
              });
}

}  // namespace canopy::ctl
