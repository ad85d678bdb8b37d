// canopy-bench compare: hands over to the script beside this program, which runs another server and Canopy in
// turns.
#include <unistd.h>

#include <filesystem>

#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

struct Options {
  std::string with;
  std::vector<std::string> arguments;
};

Result<Report> run(const Options& options) {
  std::error_code error;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  std::filesystem::path script = self.parent_path() / fmt::format("canopy-bench-{}.py", options.with);
  std::vector<std::string> words = {"python3", script.string(), "--bench", self.string()};
  words.insert(words.end(), options.arguments.begin(), options.arguments.end());
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execvp("python3", arguments.data());
  return fail_errno(errno, script.string(), "run with python3");
}

}  // namespace

void add_compare(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("compare",
                         "the same scenarios on another program, or another disk, and on Canopy, in turns; "
                         "`compare dovecot -- --help` lists its options");
  command
      ->add_option("server", options->with,
                   "which other program; slowdisk: Canopy itself on a disk whose syncs take long")
      ->required()
      ->check(CLI::IsMember({"dovecot", "passthrough", "slowdisk"}));
  command->add_option("arguments", options->arguments, "for the comparison, after --");
  command->fallthrough(false);
  choose(command, chosen, options, &run);
}

}  // namespace canopy::bench
