// How fast info files of about 1 KiB are read and written: dict_speed [ROUNDS]. Prints MB/s and files/s.
#include <chrono>
#include <cstdlib>

#include "daemon/dict/dict.h"
#include "daemon/dict/versioned.h"

int main(int argc, char** argv) {
  using namespace canopy::dict;
  int rounds = argc > 1 ? std::atoi(argv[1]) : 100'000;
  VersionedDict file{{0x100000005, 7}, {}};
  for (int i = 0; i < 24; ++i) {
    file.dict.set(fmt::format("Setting{:02}", i),
                  i % 3 == 0 ? Value(i * 1000) : Value(fmt::format("value of setting {}", i)));
  }
  file.dict.set("LastLogin", Date{1'792'758'600, true});
  file.dict.set("Aliases", Array{"joe", "j.smith", "postmaster"});
  file.dict.set("Key", Data{std::string(64, '\x5a')});
  std::string text = *print_versioned(file, "speed");
  auto measure = [&](const char* what, auto&& once) {
    auto begin = std::chrono::steady_clock::now();
    size_t sum = 0;
    for (int i = 0; i < rounds; ++i) sum += once();
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    fmt::print("{}: {:.0f} MB/s, {:.0f} files/s of {} bytes ({})\n", what,
               static_cast<double>(text.size()) * rounds / seconds / 1e6, rounds / seconds, text.size(), sum);
  };
  measure("parse", [&] { return parse_versioned(text, "speed")->dict.size(); });
  measure("print", [&] { return print_versioned(file, "speed")->size(); });
}
