#include "fuse/completion.h"

#include "fuse/command_line.h"

namespace canopy::mount {
namespace {

struct Words {
  std::string options;  // "--help -f …"
  std::string files;    // those that take a file, as a pattern: "--ca|--cert"
  std::string mount;    // what -o takes: "ro cache_ms= …"
};

void add(std::string& words, const std::string& word, char between = ' ') {
  if (!words.empty()) words += between;
  words += word;
}

Words words_of(const CLI::App& app) {
  Words words;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_snames()) add(words.options, "-" + name);
    for (const std::string& name : option->get_lnames()) {
      add(words.options, "--" + name);
      if (option->get_items_expected_max() > 0 && name != "completion") add(words.files, "--" + name, '|');
    }
  }
  for (const std::string& name : plain_mount_options()) add(words.mount, name);
  for (const std::string& name : valued_mount_options()) add(words.mount, name + "=");
  return words;
}

// What is being typed behind -o is the word after the last comma.
std::string bash(const Words& words) {
  return "# bash completion of canopy-mount; made by `canopy-mount --completion bash`\n"
         "_canopy_mount() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} before=\n"
         "  case \"$previous\" in\n"
         "    -o)\n"
         "      case \"$current\" in *,*) before=${current%,*}, current=${current##*,} ;; esac\n"
         "      COMPREPLY=($(compgen -P \"$before\" -W '" +
         words.mount +
         "' -- \"$current\"))\n"
         "      compopt -o nospace 2>/dev/null\n"
         "      return 0 ;;\n"
         "    --completion) COMPREPLY=($(compgen -W 'bash zsh' -- \"$current\")); return 0 ;;\n"
         "    " +
         words.files +
         ") COMPREPLY=($(compgen -f -- \"$current\")); return 0 ;;\n"
         "  esac\n"
         "  case \"$current\" in\n"
         "    -*) COMPREPLY=($(compgen -W '" +
         words.options +
         "' -- \"$current\")) ;;\n"
         "    *) COMPREPLY=($(compgen -W 'unix: tcp:' -- \"$current\") $(compgen -f -- \"$current\")) ;;\n"
         "  esac\n"
         "}\n"
         "complete -F _canopy_mount canopy-mount\n";
}

std::string zsh(const Words& words) {
  return "#compdef canopy-mount\n"
         "# zsh completion of canopy-mount; made by `canopy-mount --completion zsh`\n"
         "_canopy-mount() {\n"
         "  case \"${words[CURRENT-1]}\" in\n"
         "    -o) compset -P '*,'; compadd -S '' -- " +
         words.mount +
         " ;;\n"
         "    --completion) compadd -- bash zsh ;;\n"
         "    " +
         words.files +
         ") _files ;;\n"
         "    *)\n"
         "      case \"${words[CURRENT]}\" in\n"
         "        -*) compadd -- " +
         words.options +
         " ;;\n"
         "        *) compadd -S '' -- unix: tcp:; _files ;;\n"
         "      esac ;;\n"
         "  esac\n"
         "}\n"
         "if [ \"$funcstack[1]\" = _canopy-mount ]; then _canopy-mount \"$@\"; "
         "else compdef _canopy-mount canopy-mount; fi\n";
}

}  // namespace

std::string completion(const CLI::App& app, const std::string& shell) {
  return shell == "bash" ? bash(words_of(app)) : zsh(words_of(app));
}

}  // namespace canopy::mount
