// mount_model FIRST SECOND: random operations in an empty directory that two mounts show, against a model.
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "tests/mount-model/player.h"

int main(int argc, char** argv) {
  canopy::mount_model::PlayOptions options;
  CLI::App app("mount_model: random operations through two mounts of one daemon, against a model in memory.");
  app.add_option("FIRST", options.tops[0], "An empty directory, seen through one mount")->required();
  app.add_option("SECOND", options.tops[1], "The same, seen through the other mount")->required();
  app.add_option("--seed", options.seed, "The same seed and options do the same");
  app.add_option("--operations", options.operations, "How many")->capture_default_str();
  app.add_option("--turn", options.turn,
                 "Operations through one mount before it is the other's turn, at most")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--pause-ms", options.pause_ms, "Between two turns; at least the mounts' cache_ms")
      ->capture_default_str();
  app.add_flag("--without-room", options.without_room, "Reserving and freeing room in files is refused");
  app.add_flag("--without-exchange", options.without_exchange, "Exchanging two names is refused");
  app.add_flag("--without-link-times", options.without_link_times,
               "Setting a symbolic link's times may change nothing");
  CLI11_PARSE(app, argc, argv);
  umask(0);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  canopy::mount_model::Player player(options);
  if (!player.play()) return 1;
  std::printf("%llu operations, no difference\n", static_cast<unsigned long long>(options.operations));
  return 0;
}
